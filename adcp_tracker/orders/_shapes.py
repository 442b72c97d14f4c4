"""The shape of an order's source: which names it has, and how they are read.

Attributes of a shop's own objects are read without queries, errors or side effects. Related
objects are looked at only if they are loaded: Django keeps those in a field cache, SQLAlchemy
tells what is unloaded. Neither framework is imported for that.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import cache, lru_cache, partial
from itertools import islice
from types import MethodType
from typing import Any, Final

import attrs

from adcp_tracker._logging import ThrottledLogger
from adcp_tracker._platform import SystemClock, reraise_interruption
from adcp_tracker.events.parsing import parse_text
from adcp_tracker.orders.names import (
    FOREIGN_KEYS,
    ORDER_ID_NAMES,
    SHOPIFY_ID_NAMES,
    SHOPIFY_KEY,
    canonical,
    looks_like_quantity,
)

Convert = Callable[[Any], object]
Get = Callable[[str], object]

_Step = tuple[int, tuple[str, ...], type, Convert]
"""A field's place, its names, the type that needs no conversion, and the conversion."""

TEXT: Final = (str, parse_text)
"""How a field is converted that has no conversion of its own."""

_MAX_KEYS: Final = 1000
_ESSENTIAL: Final = 4
"""How many fields, the first of an order or a line, are read even if that takes a query."""
_SHOPIFY_KEYS: Final = frozenset({SHOPIFY_KEY, "legacy_resource_id"})
_WITH_TO_DICT: Final = frozenset({"pandas", "stripe"})

_MISSING: Final = object()
_BUILTIN: Final = frozenset({"builtins", "types"})
_log: Final = ThrottledLogger(SystemClock())


def get_attribute(source: object, name: str) -> Any:  # noqa: ANN401 - the shop's own value
    """Return an attribute's value, or what it returns if it is a method.

    Returns:
        ``None`` if there is no such attribute, or if it raises, which is logged.
    """
    try:
        value = getattr(source, name, _MISSING)
        if value is _MISSING:
            if hasattr(type(source), name):
                log_failure(source, name, AttributeError())
            return None
        if type(value) is MethodType:
            value = value()
        if hasattr(value, "__await__"):
            getattr(value, "close", int)()
            return None
    except Exception as error:  # noqa: BLE001 - the shop's own code may raise anything
        reraise_interruption(error)
        log_failure(source, name, error)
        return None
    return value


def has_attribute(source: object, name: str) -> bool:
    """Return whether an object has an attribute; ``False`` if its own code raises."""
    try:
        return hasattr(source, name)
    except Exception as error:  # noqa: BLE001 - the shop's own code may raise anything
        reraise_interruption(error)
        return False


def is_loaded(source: object, name: str) -> bool:
    """Return whether an attribute is in memory, so that reading it runs no query."""
    if not has_attribute(source, "_sa_instance_state") and not has_attribute(source, "_state"):
        return True
    state = getattr(source, "_sa_instance_state", None)
    if state is not None:
        return name not in state.unloaded
    if not hasattr(getattr(source, "_state", None), "fields_cache"):
        return True
    descriptor: Any = getattr(type(source), name, None)
    if hasattr(descriptor, "is_cached"):
        return bool(descriptor.is_cached(source))
    field: Any = getattr(descriptor, "field", None)
    deferred = type(descriptor).__name__ == "DeferredAttribute"
    return not deferred or field.attname in source.__dict__


def may_query() -> bool:
    """Return whether a query may run here: never in a coroutine, which it would block."""
    asyncio = sys.modules.get("asyncio")
    if asyncio is None:
        return True
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return True
    return False


@lru_cache(maxsize=256)
def class_attributes(kind: type) -> tuple[str, ...] | None:
    """Return the public names that a class declares; ``None`` if its objects can have others.

    A class can compute names in ``__getattr__``, as rows, proxies and open models do.
    """
    for each in kind.__mro__:
        own = vars(each)
        if "__getattr__" in own:
            return None
        if "__getattribute__" in own and each.__module__ not in _BUILTIN:
            return None
    names = dict.fromkeys(name for each in kind.__mro__ for name in vars(each))
    return tuple(name for name in names if not name.startswith("_"))


def log_failure(source: object, name: str, error: Exception) -> None:
    """Log an attribute that raises, once a minute for each class and name."""
    _log.warning(
        "order.attribute_failed",
        kind=f"{type(source).__module__}.{type(source).__qualname__}",
        attribute=name,
        error=type(error).__name__,
    )


@attrs.frozen
class FieldPlan:
    """Which names a source of one shape has for each field.

    Attributes:
        steps: For each field that the source may have: its place, its names with the best
            first, the type that needs no conversion, and the conversion.
        texts: The steps for texts as a dictionary takes them: the best name, and the others.
        others: The other steps, likewise.
        related: The names of related objects that may hold further fields.
        id_names: The names of the order's id with their usual spelling, if there are several.
        foreign: Whether the source has keys of a payload that can't be read as an order.
        unsure: Whether it has a number of pieces under a name that wasn't read.
        open: Whether sources of this shape may have names that can't be listed.
        is_plain: Whether no field depends on anything but the values of its own names.
    """

    steps: tuple[_Step, ...]
    texts: tuple[tuple[int, str, Convert, tuple[str, ...]], ...] = ()
    others: tuple[tuple[int, str, type, Convert, tuple[str, ...]], ...] = ()
    related: tuple[str, ...] = ()
    id_names: tuple[tuple[str, str], ...] = ()
    foreign: bool = False
    unsure: bool = False
    open: bool = False
    is_plain: bool = attrs.field(init=False)

    @is_plain.default
    def _plainness(self) -> bool:
        return bool(self.steps) and not (self.related or self.id_names or self.foreign)

    def names_of(self, index: int) -> tuple[str, ...]:
        """Return the names of the field at a place, the best first."""
        return next((names for place, names, *_ in self.steps if place == index), ())


def shape_of(source: object) -> tuple[tuple[object, ...], Iterable[object] | None]:
    """Return what decides which names a source has, and those names if they can be listed."""
    if isinstance(source, dict):
        keys: tuple[object, ...] = tuple(islice(source, _MAX_KEYS))
        return keys, keys
    kind: Any = type(source)
    own = tuple(islice(getattr(source, "__dict__", ()), _MAX_KEYS))
    declared = class_attributes(kind)
    return ((kind,), None) if declared is None else ((kind, *own), (*declared, *own))


def plan_fields(
    names: Mapping[str, tuple[str, ...]],
    conversions: Mapping[str, tuple[type, Convert]],
    related: tuple[str, ...],
    available: Iterable[object] | None,
) -> FieldPlan:
    """Plan which of the available names to read each field from.

    Args:
        names: What a source may call each field.
        conversions: Which type of value a field takes unchanged, and how it converts others.
        related: Names of related objects that may hold further fields.
        available: The names that the source has; ``None`` if they can't be listed.
    """
    spelling = None if available is None else _spellings(available)
    steps: list[_Step] = []
    for index, (field, usual) in enumerate(names.items()):
        ready, convert = conversions.get(field, TEXT)
        present = spelled(usual, spelling)
        if present:
            steps.append((index, tuple(name for name, _ in present), ready, convert))
    id_names: tuple[tuple[str, str], ...] = ()
    if "order_id" in names:
        id_names = _plan_id(steps, conversions["order_id"], spelling)
    keys: Iterable[str] = spelling or ()
    return FieldPlan(
        tuple(steps),
        tuple(
            (index, names[0], convert, names[1:])
            for index, names, ready, convert in steps
            if names and ready is str
        ),
        tuple(
            (index, names[0], ready, convert, names[1:])
            for index, names, ready, convert in steps
            if names and ready is not str
        ),
        tuple(name for name, _ in spelled(related, spelling)),
        id_names,
        not FOREIGN_KEYS.isdisjoint(keys),
        any(map(looks_like_quantity, keys)),
        spelling is None,
    )


def _plan_id(
    steps: list[_Step], conversion: tuple[type, Convert], spelling: Mapping[str, str] | None
) -> tuple[tuple[str, str], ...]:
    """Plan which name to read an order's id from; return its names if there are several."""
    shopify = spelling is not None and not _SHOPIFY_KEYS.isdisjoint(spelling)
    names = spelled(SHOPIFY_ID_NAMES if shopify else ORDER_ID_NAMES, spelling)
    if names and steps[0][0] != 0:
        steps.insert(0, (0, (names[0][0],), *conversion))
    if not names[1:]:
        return ()
    if steps[0][0] == 0:
        steps[0] = (0, (), *conversion)
    return names


def _spellings(available: Iterable[object]) -> dict[str, str]:
    """Map the usual spelling of names to the one a source has; the usual one wins."""
    texts = [name for name in available if isinstance(name, str)]
    spelled = {canonical(name): name for name in reversed(texts)}
    spelled.update({name: name for name in texts if name in spelled})
    return spelled


def spelled(
    names: Iterable[str], spelling: Mapping[str, str] | None
) -> tuple[tuple[str, str], ...]:
    """Return the names a source has, as it spells them and as they are usually spelled."""
    if spelling is not None:
        return tuple((spelling[name], name) for name in names if name in spelling)
    return tuple((spelled, name) for name in names for spelled in {name: 0, camel(name): 0})


@cache
def camel(name: str) -> str:
    return re.sub(r"_([a-z])", lambda found: found[1].upper(), name)


def unfold(source: object) -> object:
    """Return a mapping, a database row or a series of pandas as a dictionary."""
    kind = type(source)
    if kind is dict:
        return source
    if isinstance(source, Mapping):
        return {key: source[key] for key in islice(source, _MAX_KEYS)}
    if kind.__module__.partition(".")[0] in _WITH_TO_DICT and hasattr(kind, "to_dict"):
        return source.to_dict()  # type: ignore[attr-defined]  # a pandas.Series, a StripeObject
    if hasattr(kind, "keys") and hasattr(kind, "__getitem__"):
        return {key: source[key] for key in islice(source.keys(), _MAX_KEYS)}  # type: ignore[attr-defined, index]
    return source


def getter(source: object, plan: FieldPlan) -> Get:
    """Return a function that gets a value by its name; of an ORM, what is loaded or essential."""
    if isinstance(source, dict):
        return source.get
    if not has_attribute(source, "_state") and not has_attribute(source, "_sa_instance_state"):
        return partial(get_attribute, source)
    essential = {name for index, names, *_ in plan.steps if index < _ESSENTIAL for name in names}
    essential.update(name for name, _ in plan.id_names)
    queries = may_query()

    def get(name: str) -> object:
        if is_loaded(source, name) or (queries and name in essential):
            return get_attribute(source, name)
        return None

    return get
