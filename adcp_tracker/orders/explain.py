"""explain(): what an order is read as, field by field."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import attrs

from adcp_tracker._formatting import describe
from adcp_tracker._logging import logger
from adcp_tracker.exceptions import InvalidEventError
from adcp_tracker.orders.mapping import OrderMapping, value_at
from adcp_tracker.orders.names import ORDER_NAMES
from adcp_tracker.orders.reader import (
    Order,
    OrderItem,
    Trace,
    dispatch_order,
    make_order,
    order_values,
    read_item,
    read_order,
    to_order,
)

_FIELDS: Final = tuple(ORDER_NAMES)
_PUBLIC: Final = frozenset({"order_id", "total", "currency", "created_at", "country"})
_IDENTIFYING: Final = ("email", "phone", "uids", "click_id")
explained_kinds: Final[set[type]] = set()
"""The classes whose first order was logged."""

_MAX_EXPLAINED: Final = 256


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
    """

    kind: str
    fields: tuple[ExplainedField, ...]
    problems: tuple[str, ...] = ()

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
    return Explanation(
        _name_of(type(order)),
        (*fields, *_first_line(order, placed, trace)),
        tuple(_problems(placed, context)),
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
    except InvalidEventError:
        return
    problems = _problems(placed, context)
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


def _first_line(order: object, placed: Order, trace: Trace) -> list[ExplainedField]:
    if not placed.items or not isinstance(placed.items[0], OrderItem):
        return []
    first = placed.items[0]
    names: Trace = {}
    source = trace.get("items", "items")
    lines: Any = value_at(order, source)
    if hasattr(lines, "all"):
        lines = lines.all()
    line = next(iter(lines), None) if isinstance(lines, Iterable) else None
    if line is not None and not isinstance(lines, Mapping) and not isinstance(line, OrderItem):
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
    lines: Any = order.items or ()
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


def _name_of(kind: type) -> str:
    return (
        kind.__qualname__
        if kind.__module__ == "builtins"
        else f"{kind.__module__}.{kind.__qualname__}"
    )
