"""register_order, mappings that say where an order's fields are, and explain()."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar

import attrs

from adcp_tracker._formatting import describe, is_name, is_similar
from adcp_tracker._logging import logger
from adcp_tracker._platform import reraise_interruption
from adcp_tracker.events.parsing import is_absent
from adcp_tracker.exceptions import ConfigurationError
from adcp_tracker.orders._shapes import get_attribute, log_failure, unfold
from adcp_tracker.orders.names import ALL_ITEM_NAMES, ALL_NAMES, ITEM_NAMES, ORDER_NAMES, canonical
from adcp_tracker.orders.reader import (
    Order,
    OrderItem,
    Trace,
    dispatch_order,
    make_order,
    order_values,
    parse_items,
    read_item,
    read_order,
    to_order,
)

_Source = TypeVar("_Source")
_FIELDS: Final = tuple(ORDER_NAMES)
_ITEM_FIELDS: Final = tuple(ITEM_NAMES)
_CODE_LENGTH: Final = 3


@attrs.frozen
class Constant:
    """A value that every order has, where a text would be taken for a path.

    Attributes:
        value: The value.
    """

    value: object


def register_order(
    kind: type[_Source],
    hook: Callable[[_Source], object] | None = None,
    *,
    item: Mapping[str, object] | None = None,
    **fields: object,
) -> None:
    """Define how orders of class `kind`, and of its subclasses, become an :class:`.Order`.

    Give either a hook, or the fields that can't be found by their usual names. Call this
    once, when the application starts: in Django in ``AppConfig.ready()``, in Flask and
    FastAPI beside the creation of the application.

    Args:
        kind: The shop's own class.
        hook: Returns an :class:`.Order`, or anything else :func:`.to_order` reads.
        item: Where the fields of a line are, by the fields of :class:`.OrderItem`.
        **fields: Where the fields of an :class:`.Order` are: an attribute, a dotted path such
            as ``event.currency``, a function of the order, or a constant.

    Raises:
        ConfigurationError: If there is a hook and fields, neither, or an unknown field.
    """
    named = bool(fields) or item is not None
    if kind is dict:
        raise ConfigurationError("register_order: expected a class of your own, got dict")
    if (hook is not None) is named:
        raise ConfigurationError(
            "register_order: expected a hook, or fields such as order_id=, one of them, "
            f"got {'both' if named else 'neither'}"
        )
    if hook is not None:
        dispatch_order.register(kind, lambda source: order_values(hook(source)))
    else:
        dispatch_order.register(kind, mapping_of(fields, item).read)


def mapping_of(fields: Mapping[str, object], item: Mapping[str, object] | None) -> OrderMapping:
    """Make a mapping, after checking its names.

    Raises:
        ConfigurationError: If a field is unknown, or isn't given in a usable way.
    """
    _check_names(fields, _FIELDS)
    _check_names(item or {}, _ITEM_FIELDS)
    return OrderMapping(dict(fields), dict(item or {}))


def _check_names(fields: Mapping[str, object], known: tuple[str, ...]) -> None:
    for name, path in fields.items():
        if name not in known:
            meant = [each for each in known if is_similar(name, [each])]
            hint = f" Did you mean {meant[0]!r}?" if meant else f" Use one of {', '.join(known)}."
            raise ConfigurationError(f"register_order: Unknown field {name!r}.{hint}")
        if path is None or path == "":
            raise ConfigurationError(f"register_order: {name}: expected a path, got nothing")


@attrs.frozen
class OrderMapping:
    """Where the fields of orders of one kind are.

    Attributes:
        fields: Where each field is: a path, a function, or a constant.
        item: Where the fields of a line are.
        exclusive: Whether other fields are left out, instead of found by their usual names.
    """

    fields: Mapping[str, object]
    item: Mapping[str, object] = attrs.field(factory=dict)
    exclusive: bool = False

    def read(self, source: object, trace: Trace | None = None) -> list[Any]:
        """Read the values of an order.

        Raises:
            InvalidEventError: If it has none of an order's fields.
        """
        # An explicit id is never replaced by another one; other fields are.
        given = {
            name: value
            for name, path in self.fields.items()
            if (value := value_at(source, path)) is not None or name == "order_id"
        }
        if self.item and "items" in given:
            given["items"] = parse_items(given["items"], self.read_item)
        if trace is not None:
            trace.update({name: name_of(self.fields[name]) for name in given})
        return read_order({} if self.exclusive else source, trace, given)

    def read_item(self, source: object) -> object:
        """Read a line. Return it unchanged if it has no known field."""
        given = {
            name: value
            for name, path in self.item.items()
            if (value := value_at(source, path)) is not None
        }
        values = read_item({} if self.exclusive else source, None, given)
        return OrderItem(*values) if type(values) is list else values


def value_at(source: object, path: object) -> object:
    """Return the value at a path: names and numbers with dots, as in ``lines.0.sku``.

    Of several paths in a tuple, the first one with a value counts. A function is called with
    `source`; any other object than a text is a constant. Three capital letters that `source`
    doesn't have are a currency.

    Returns:
        The value; ``None`` if there is none, or reading it raises, which is logged.
    """
    if isinstance(path, Constant):
        return path.value
    if isinstance(path, tuple):
        found = (value_at(source, each) for each in path)
        return next((value for value in found if not is_absent(value)), None)
    if callable(path):
        return _called(source, path)
    if not isinstance(path, str):
        return path
    value: object = source
    for name in path.split("."):
        value = _step(value, name)
        if value is None:
            break
    if value is None and len(path) == _CODE_LENGTH and path.isupper():
        return path
    return value


def _called(source: object, function: Callable[[Any], object]) -> object:
    try:
        return function(source)
    except Exception as error:  # noqa: BLE001 - the shop's own function may raise anything
        reraise_interruption(error)
        log_failure(source, name_of(function), error)
        return None


def _step(value: object, name: str) -> object:
    if isinstance(value, (list, tuple)) and name.isdecimal():
        index = int(name)
        return value[index] if index < len(value) else None
    if isinstance(value, Mapping):
        return value.get(name)
    return get_attribute(value, name)


def name_of(path: object) -> str:
    """Return a path as :func:`.explain` shows it."""
    if isinstance(path, str):
        return path
    if isinstance(path, Constant) or not callable(path):
        return "a constant"
    return f"{getattr(path, '__name__', type(path).__name__)}()"


_PUBLIC: Final = frozenset({"order_id", "total", "currency", "created_at", "country"})
_IDENTIFYING: Final = ("email", "phone", "uids", "click_id")
explained_kinds: Final[set[type]] = set()
"""The classes whose first order was logged."""

_MAX_EXPLAINED: Final = 256
_MOST_UNREAD: Final = 100


@attrs.frozen
class ExplainedField:
    """One field of an order.

    Attributes:
        name: The field of :class:`.Order`, or of its first line, as ``items[0].id``.
        source: The name it was read from; ``None`` if nothing was found.
        value: What was found. Personal data is described, not shown.
    """

    name: str
    source: str | None
    value: str


@attrs.frozen
class Explanation:
    """What an order is read as.

    Attributes:
        kind: The order's class.
        fields: Every field of an order, and those of its first line.
        problems: What the purchase lacks, in words.
        unread: Names in the order and its first line that the library doesn't know, such as a
            misspelt one. Only those that look like names in code are shown. Empty for a class
            given to :func:`.register_order`.
    """

    kind: str
    fields: tuple[ExplainedField, ...]
    problems: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()

    @property
    def missing(self) -> tuple[str, ...]:
        """The fields that weren't found."""
        return tuple(field.name for field in self.fields if field.source is None)

    def __str__(self) -> str:
        width = max(len(field.name) for field in self.fields)
        origin = max(len(field.source or "") for field in self.fields)
        lines = [
            f"  {field.name:<{width}}  {field.source or '-':<{origin}}  {field.value}".rstrip()
            for field in self.fields
        ]
        lines += [f"Not read: {', '.join(self.unread)}."] if self.unread else []
        return "\n".join([f"{self.kind} is read as an order:", *lines, *self.problems])


def explain(order: object, context: object = None) -> Explanation:
    """Explain what an order is read as: which field is read from where, and what isn't found.

    Nothing is tracked.

    Args:
        order: An order as ``track_purchase`` takes it.
        context: The request it came with, if that may identify the shopper.

    Raises:
        InvalidEventError: If `order` has none of an order's fields.
    """
    values, trace = _traced(order)
    placed = make_order(values)
    fields = [_field(name, values[index], trace) for index, name in enumerate(_FIELDS)]
    line = _source_of_line(order, trace) if _lines(placed) else None
    return Explanation(
        _name_of(type(order)),
        (*fields, *_first_line(placed, line)),
        tuple(_problems(placed, context)),
        _unread(order, line),
    )


def log_first(order: object, placed: Order, context: object) -> None:
    """Log once for each class of orders what its first order was read as.

    That is a warning if the purchase has no value, no currency, or nothing that identifies
    the shopper.
    """
    kind = type(order)
    if kind in explained_kinds or len(explained_kinds) >= _MAX_EXPLAINED:
        return
    explained_kinds.add(kind)
    try:
        _, trace = _traced(order)
        problems = _problems(placed, context)
    except Exception as error:  # noqa: BLE001 - a log entry costs no purchase
        reraise_interruption(error)
        return
    found = " ".join(f"{name}={source}" for name, source in trace.items())
    missing = [name for name in _FIELDS if name not in trace]
    log = logger.warning if problems else logger.info
    log(
        "order.first_read",
        kind=_name_of(kind),
        found=found,
        missing=" ".join(missing),
        problems="; ".join(problems),
    )


def _traced(order: object) -> tuple[list[Any], Trace]:
    trace: Trace = {}
    if isinstance(order, Order):
        values = [*order_values(order)]
        trace.update({name: name for name, value in zip(_FIELDS, values, strict=True) if value})
        return values, trace
    reader = dispatch_order.dispatch(type(order))
    mapping = getattr(reader, "__self__", None)
    if isinstance(mapping, OrderMapping):
        return [*mapping.read(order, trace)], trace
    if reader is dispatch_order.dispatch(object):
        return [*read_order(order, trace)], trace
    placed = to_order(order)
    values, trace = _traced(placed)
    return values, {name: f"the hook's {source}" for name, source in trace.items()}


def _field(name: str, value: object, trace: Trace) -> ExplainedField:
    source = trace.get(name)
    if source is None:
        return ExplainedField(name, None, "not found")
    if name == "items" and isinstance(value, tuple):
        return ExplainedField(name, source, f"{len(value)} lines" if len(value) != 1 else "1 line")
    return ExplainedField(name, source, str(value) if name in _PUBLIC else describe(value))


def _unread(order: object, line: object) -> tuple[str, ...]:
    """Return the names that the library doesn't know; none if the class is registered."""
    if dispatch_order.dispatch(type(order)) is not dispatch_order.dispatch(object):
        return ()
    of_line = (f"items[0].{name}" for name in _unknown(line, ALL_ITEM_NAMES))
    return (*_unknown(order, ALL_NAMES), *of_line)


def _unknown(source: object, known: Collection[str]) -> list[str]:
    source = unfold(source)
    names = source if isinstance(source, dict) else getattr(source, "__dict__", ())
    shown = (name for name in names if is_name(name) and not name.startswith("_"))
    return [name for name in shown if canonical(name) not in known][:_MOST_UNREAD]


def _source_of_line(order: object, trace: Trace) -> object:
    """Return the first line as the shop has it; ``None`` if there is none, or one of ours."""
    lines: Any = value_at(order, trace.get("items", "items"))
    if hasattr(lines, "all"):
        lines = lines.all()
    is_list = isinstance(lines, Iterable) and not isinstance(lines, Mapping)
    line = next(iter(lines), None) if is_list else None
    return None if isinstance(line, OrderItem) else line


def _first_line(placed: Order, line: object) -> list[ExplainedField]:
    first = next(iter(_lines(placed)), None)
    if not isinstance(first, OrderItem):
        return []
    names: Trace = {}
    if line is not None:
        read_item(line, names)
    return [
        ExplainedField(
            f"items[0].{field.name}",
            None if value is None else names.get(field.name, field.name),
            "not found" if value is None else str(value),
        )
        for field in attrs.fields(OrderItem)
        for value in [getattr(first, field.name)]
    ]


def _problems(order: Order, context: object) -> list[str]:
    problems = []
    lines = _lines(order)
    summed = [getattr(line, "price", None) is not None and line.quantity for line in lines]
    if order.total is None and not (summed and all(summed)):
        problems.append("It has no value, so sellers can't optimize for it.")
    elif order.currency is None:
        problems.append("It has a value without a currency.")
    known = any(getattr(each, name, None) for each in (order, context) for name in _IDENTIFYING)
    pair = all(
        getattr(order, name, None) or getattr(context, name, None)
        for name in ("client_ip", "client_user_agent")
    )
    if not known and not pair:
        problems.append("Nothing identifies the shopper, so no seller can match it.")
    return problems


def _lines(order: Order) -> Sequence[OrderItem]:
    """Return an order's lines; none if its items are something else, which stays as it is."""
    return order.items if isinstance(order.items, (list, tuple)) else ()


def _name_of(kind: type) -> str:
    return (
        kind.__qualname__
        if kind.__module__ == "builtins"
        else f"{kind.__module__}.{kind.__qualname__}"
    )
