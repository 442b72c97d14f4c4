"""purchase_event, refund_event."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from decimal import Context as DecimalContext
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import attrs

from adcp_tracker.events import builder
from adcp_tracker.events._fast_init import quick
from adcp_tracker.events.builder import MISSING_ID, build_event, derive_event_id, finish_event
from adcp_tracker.events.hashing import user_match
from adcp_tracker.events.model import EMPTY, Content, CustomData, EventType
from adcp_tracker.events.money import check_decimals, fits_currency, parse_amount, sum_lines
from adcp_tracker.events.parsing import Unvalidated, parse_custom_data
from adcp_tracker.events.rejected import redact_rejected
from adcp_tracker.exceptions import InvalidEventError
from adcp_tracker.orders.fast_path import express_purchase
from adcp_tracker.orders.reader import (
    Order,
    OrderItem,
    parse_items,
    to_item,
    to_order,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from typing_extensions import Unpack

    from adcp_tracker.context import Context
    from adcp_tracker.events.builder import EventFields
    from adcp_tracker.events.event import Event
    from adcp_tracker.events.parsing import Unvalidated
    from adcp_tracker.exceptions import FieldError


_content: Final = quick(Content)
_data: Final = quick(CustomData)
_WIDE: Final = DecimalContext(prec=200, traps=[])


def custom_data(order: Order, items: Unvalidated, total: Unvalidated) -> Unvalidated:
    """Make custom data of `total` and `items`, and of what `order` says of itself."""
    if type(items) is not tuple and type(items) is not list:
        items = parse_items(items, to_item)
    contents: list[Unvalidated] = []
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
        total = sum_lines(
            (getattr(c, "quantity", None), getattr(c, "price", None)) for c in contents
        )
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


def _doubtful(items: Unvalidated) -> list[Unvalidated]:
    """Make contents of what is not all a clean :class:`.OrderItem`, for the event to judge."""
    alone = isinstance(items, (str, bytes, Mapping)) or not isinstance(items, Iterable)
    lines = map(to_item, [items] if alone else items)
    return [
        Content(line.id, line.quantity, line.price, line.brand)
        if isinstance(line, OrderItem)
        else line
        for line in lines
    ]


def merge(data: Unvalidated, more: object) -> Unvalidated:
    """Lay what `more` knows over `data`."""
    over = parse_custom_data(more)
    if not isinstance(over, CustomData) or not isinstance(data, CustomData):
        return over
    known = attrs.asdict(over, recurse=False)
    changes = {name: value for name, value in known.items() if value is not None}
    changes["extra"] = {**data.extra, **over.extra} or EMPTY
    return attrs.evolve(data, **changes)


def excess_decimals(data: Unvalidated) -> tuple[FieldError, ...]:
    """Find whether the value has more decimals than its currency.

    Only the value is what was paid: a price per unit may well be finer, as 0.0125 EUR a screw.
    """
    if type(data) is not CustomData or type(data.value) is not Decimal:
        return ()
    if fits_currency(data.value, data.currency):
        return ()
    return check_decimals(data.value, data.currency, "$.custom_data.value")


def partial_refund_id(data: Unvalidated) -> str:
    """Name a part of an order by its amount and lines, for want of a name of its own."""
    if not isinstance(data, CustomData):
        return derive_event_id("part")
    lines = [(line.id, line.quantity) for line in data.contents or () if type(line) is Content]
    value = None if data.value is None else str(data.value)
    if isinstance(data.value, (int, Decimal)):
        value = str(Decimal(data.value).normalize(_WIDE))
    return derive_event_id("part", value, *itertools.chain.from_iterable(lines))


__all__ = [
    "Order",
    "OrderItem",
    "build_event",
    "lead_event",
    "purchase_event",
    "refund_event",
    "to_order",
]

_PURCHASE: Final = EventType.PURCHASE
_SHOPPER: Final = (
    "email",
    "phone",
    "uids",
    "click_id",
    "click_id_type",
    "client_ip",
    "client_user_agent",
)


def purchase_event(
    order: Order,
    *,
    now: datetime,
    context: Context | None = None,
    default_region: str | None = None,
    **overrides: Unpack[EventFields],
) -> Event:
    """Make the purchase of an order: the same order always makes the same event id.

    Args:
        order: The order; see :func:`to_order`.
        now: The event's time if the order has none.
        context: The request that placed the order, which fills in what the order lacks.
        default_region: Where phone numbers are that do not begin with a plus.
        **overrides: Anything :func:`build_event` takes, instead of what the order has;
            custom_data is added to the order's own.

    Raises:
        InvalidEventError: If a rule is broken; it lists every broken one.
    """
    if not overrides:
        return plain_purchase_event(order, now, context, default_region)
    basics = {
        "now": now,
        "event_id": _id(order),
        "event_time": now if order.created_at is None else order.created_at,
        "event_source_url": order.event_source_url,
        "context": context,
        "default_region": default_region,
    }
    data = custom_data(order, order.items, order.total)
    return _overridden(_PURCHASE, order, data, basics, overrides)


def plain_purchase_event(
    order: Order, now: datetime, context: Context | None, default_region: str | None
) -> Event:
    """Make the purchase of an order and of nothing else, by the short way if that leads there.

    Takes and raises what :func:`purchase_event` does, by place: handing keywords on makes
    a dictionary at each step, while a shopper waits.
    """
    event = express_purchase(order, now, context, default_region)
    if event is not None:
        return event
    data = custom_data(order, order.items, order.total)
    faults = excess_decimals(data)
    try:
        match = user_match(
            email=order.email,
            phone=order.phone,
            uids=order.uids,
            click_id=order.click_id,
            click_id_type=order.click_id_type,
            client_ip=order.client_ip,
            client_user_agent=order.client_user_agent,
            default_region=default_region,
            context=context,
        )
    except InvalidEventError as error:
        match, faults = None, error.errors + faults
    return finish_event(
        builder.purchase_id(order.order_id),
        _PURCHASE,
        now if order.created_at is None else order.created_at,
        match,
        data,
        context,
        faults,
        event_source_url=order.event_source_url,
    )


def refund_event(  # noqa: PLR0913 - what a refund is known by, each by its name
    order: Order,
    *,
    now: datetime,
    refund_id: str | None = None,
    amount: Decimal | int | str | None = None,
    items: Sequence[object] | None = None,
    context: Context | None = None,  # noqa: ARG001 - see below
    default_region: str | None = None,
    **overrides: Unpack[EventFields],
) -> Event:
    """Make the refund of an order, of all of it or of a part; its value is positive.

    The request's context stays out of it, as most refunds are made by the shop's staff:
    who the shopper is, is what the order tells.

    Args:
        order: The refunded order; see :func:`to_order`.
        now: The event's time.
        refund_id: Which refund of the order. Give it wherever there is one: without it,
            two refunds of the same amount and items count as one.
        amount: What is paid back; left out, the price of `items`, or all of the order.
        items: The refunded lines; left out, all of the order's if all of it is refunded.
        context: Not used, and taken so that all events can be made in the same way.
        default_region: Where phone numbers are that do not begin with a plus.
        **overrides: Anything :func:`build_event` takes, instead of what the order has;
            custom_data is added to the order's own.

    Raises:
        InvalidEventError: If a rule is broken; it lists every broken one.
    """
    value = parse_amount(amount)
    full = items is None and (value is None or _same(value, order.total))
    if full:
        data = custom_data(order, order.items, order.total)
    else:
        data = custom_data(order, () if items is None else parse_items(items, to_item), value)
    if refund_id is None and not full:
        refund_id = partial_refund_id(data)
    known = isinstance(order.order_id, str)
    event_id = builder.refund_id(order.order_id, refund_id) if known else _id(order)
    return _overridden(
        EventType.REFUND,
        order,
        data,
        {"now": now, "event_id": event_id, "event_time": now, "default_region": default_region},
        overrides,
    )


def lead_event(
    lead_id: str | None = None,
    *,
    now: datetime,
    context: Context | None = None,
    default_region: str | None = None,
    **details: Unpack[EventFields],
) -> Event:
    """Make a lead: the same lead always makes the same event id.

    Args:
        lead_id: The lead's own id; left out, the event's id is given or a random one.
        now: The event's time if none is given.
        context: The request that made the lead.
        default_region: Where phone numbers are that do not begin with a plus.
        **details: Anything :func:`build_event` takes.

    Raises:
        InvalidEventError: If a rule is broken; it lists every broken one.
    """
    if lead_id is not None:
        details.setdefault("event_id", builder.lead_id(lead_id))
    return build_event(
        EventType.LEAD, now=now, context=context, default_region=default_region, **details
    )


def _id(order: Order) -> Unvalidated:
    order_id: Unvalidated = order.order_id
    return MISSING_ID if order_id is None else order_id


def _same(amount: Unvalidated, total: Unvalidated) -> bool:
    try:
        return bool(amount == total)
    except ArithmeticError:  # A signalling NaN does not even compare.
        return False


def _overridden(
    event_type: EventType,
    order: Order,
    data: Unvalidated,
    basics: dict[str, Any],
    overrides: Mapping[str, object],
) -> Event:
    """Build an order's event from its fields and from what the caller puts in their place."""
    own = {name: getattr(order, name) for name in _SHOPPER}
    more = {name: value for name, value in overrides.items() if value is not None}
    if "click_id" in more:
        del own["click_id_type"]
    if "custom_data" in more:
        data = merge(data, more["custom_data"])
    faults = excess_decimals(data)
    arguments: dict[str, Any] = {**own, **basics, **more, "custom_data": data}
    try:
        event = build_event(event_type, **arguments)
    except InvalidEventError as error:
        raise InvalidEventError((*faults, *error.errors), event=error.event) from None
    if faults:
        kept = redact_rejected(event.event_id, event_type, event.event_time, data, faults)
        raise InvalidEventError(faults, event=kept)
    return event
