"""An order's custom data: its value, its lines, and what else the shop says of it."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from decimal import Context, Decimal
from typing import TYPE_CHECKING, Final

import attrs

from adcp_tracker.events.ids import digest_id
from adcp_tracker.events.money import add_up, check_decimals, is_exact
from adcp_tracker.events.parts import EMPTY, Content, CustomData
from adcp_tracker.events.quick import quick
from adcp_tracker.events.reading import Unjudged, read_data
from adcp_tracker.orders.orderlike import OrderItem, read_items, to_item

if TYPE_CHECKING:
    from adcp_tracker.exceptions import Fault
    from adcp_tracker.orders.orderlike import Order

_content: Final = quick(Content)
_data: Final = quick(CustomData)
_WIDE: Final = Context(prec=200, traps=[])


def custom_data(order: Order, items: Unjudged, total: Unjudged) -> Unjudged:
    """Make custom data of `total` and `items`, and of what `order` says of itself."""
    if type(items) is not tuple and type(items) is not list:
        items = read_items(items)
    contents: list[Unjudged] = []
    content_ids: list[str] = []
    count = 0
    try:
        for item in items:
            item_id, quantity, name = item.id, item.quantity, item.name
            extra = EMPTY if name is None else {"name": name}
            contents.append(_content(item_id, quantity, item.price, item.brand, extra))
            content_ids.append(item_id)
            count += quantity
    except (AttributeError, TypeError):
        contents, content_ids = _doubtful(items), []
    if total is None and contents:
        total = add_up((getattr(c, "quantity", None), getattr(c, "price", None)) for c in contents)
    data = _data(
        total,
        order.currency,
        order.order_id,
        tuple(contents) if contents else None,
        tuple(content_ids) if content_ids else None,
        # A count that cannot be right follows from a quantity, which is told already.
        count if type(count) is int and count > 0 else None,
    )
    return data if order.custom is EMPTY else merge(data, order.custom)


def _doubtful(items: Unjudged) -> list[Unjudged]:
    """Make contents of what is not all a clean :class:`.OrderItem`, for the event to judge."""
    alone = isinstance(items, (str, bytes, Mapping)) or not isinstance(items, Iterable)
    lines = map(to_item, [items] if alone else items)
    return [
        Content(line.id, line.quantity, line.price, line.brand)
        if isinstance(line, OrderItem)
        else line
        for line in lines
    ]


def merge(data: Unjudged, more: object) -> Unjudged:
    """Lay what `more` knows over `data`."""
    over = read_data(more)
    if not isinstance(over, CustomData) or not isinstance(data, CustomData):
        return over
    known = attrs.asdict(over, recurse=False)
    changes = {name: value for name, value in known.items() if value is not None}
    changes["extra"] = {**data.extra, **over.extra} or EMPTY
    return attrs.evolve(data, **changes)


def excess_decimals(data: Unjudged) -> tuple[Fault, ...]:
    """Find whether the value has more decimals than its currency.

    Only the value is what was paid: a price per unit may well be finer, as 0.0125 EUR a screw.
    """
    if type(data) is not CustomData or type(data.value) is not Decimal:
        return ()
    if is_exact(data.value, data.currency):
        return ()
    return check_decimals(data.value, data.currency, "$.custom_data.value")


def part_id(data: Unjudged) -> str:
    """Name a part of an order by its amount and lines, for want of a name of its own."""
    if not isinstance(data, CustomData):
        return digest_id("part")
    lines = [(line.id, line.quantity) for line in data.contents or () if type(line) is Content]
    value = None if data.value is None else str(data.value)
    if isinstance(data.value, (int, Decimal)):
        value = str(Decimal(data.value).normalize(_WIDE))
    return digest_id("part", value, *itertools.chain.from_iterable(lines))
