"""Build the events of purchases, refunds and leads from a shop's own values."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from decimal import Context as DecimalContext
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NoReturn

import attrs

from adcp_tracker._formatting import format_number
from adcp_tracker._platform import reraise_interruption
from adcp_tracker.events import builder
from adcp_tracker.events.builder import (
    IDENTIFIERS,
    MISSING_ID,
    assemble,
    derive_event_id,
    finish_event,
    in_utc,
    page_of,
    tame,
)
from adcp_tracker.events.event import Event, event_of
from adcp_tracker.events.hashing import IdentifierChecks, identify, unchanged
from adcp_tracker.events.model import (
    EMPTY,
    MAX_EVENT_BYTES,
    Content,
    CustomData,
    EventType,
    UserMatch,
)
from adcp_tracker.events.parsing import (
    CENTS,
    Unvalidated,
    check_decimals,
    fits_currency,
    is_absent,
    parse_amount,
    parse_id,
    sum_lines,
)
from adcp_tracker.events.rules import WRONG_TYPE, Check, InvalidField, below, json_value
from adcp_tracker.events.validation import JsonDict, checks_of, fields_of
from adcp_tracker.exceptions import FieldError, InvalidEventError
from adcp_tracker.orders.reader import (
    ITEMS,
    Order,
    OrderItem,
    converted_values,
    order_values,
    parse_items,
    read_item,
    to_order,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from typing_extensions import Unpack

    from adcp_tracker.context import Context
    from adcp_tracker.events.builder import EventFields

_LINES: Final = frozenset({list, OrderItem})
_CENT: Final = Decimal("0.01")
_VALUE: Final = "$.custom_data.value"
_SETTINGS: Final = ("now", "context", "default_region", "strict")
_WIDE: Final = DecimalContext(prec=200, traps=[])


@attrs.frozen
class _Checks:
    """The checks that an order's values pass on their way into the event's JSON."""

    event_id: Check
    event_time: Check
    url: Check
    match: IdentifierChecks
    value: Check
    currency: Check
    order_id: Check
    line_id: Check
    quantity: Check
    price: Check
    brand: Check
    name: Check
    other_line: Check
    custom: Check


def _look_closer(_value: object) -> NoReturn:
    raise InvalidField([])


_MATCH_CHECKS: Final = checks_of(UserMatch)
_EVENT_CHECKS: Final = checks_of(Event)
_DATA_CHECKS: Final = checks_of(CustomData)
_LINE_CHECKS: Final = checks_of(Content)


@lru_cache(maxsize=256)
def _checked_page(url: str) -> str:
    """Check a page's address; a shop has few that orders are placed on."""
    checked: str = _EVENT_CHECKS["event_source_url"](page_of(url))
    return checked


_CHECKED: Final = _Checks(
    event_id=_EVENT_CHECKS["event_id"],
    event_time=_EVENT_CHECKS["event_time"],
    url=_checked_page,
    match=IdentifierChecks(
        uids=_look_closer,
        click_id=_MATCH_CHECKS["click_id"],
        click_id_type=_MATCH_CHECKS["click_id_type"],
        client_ip=_MATCH_CHECKS["client_ip"],
        client_user_agent=_MATCH_CHECKS["client_user_agent"],
    ),
    value=_DATA_CHECKS["value"],
    currency=_DATA_CHECKS["currency"],
    order_id=unchanged,  # it is the event's id, and has passed that check
    line_id=_LINE_CHECKS["id"],
    quantity=_LINE_CHECKS["quantity"],
    price=_LINE_CHECKS["price"],
    brand=_LINE_CHECKS["brand"],
    name=json_value,
    other_line=_look_closer,
    custom=_look_closer,
)
_UNCHECKED: Final = _Checks(
    match=IdentifierChecks(*[unchanged] * len(attrs.fields(IdentifierChecks))),
    **{field.name: unchanged for field in attrs.fields(_Checks) if field.name != "match"},
)


def plain_purchase_event(
    values: Sequence[Any],
    now: datetime,
    context: Context | None,
    default_region: str | None,
    strict: bool,  # noqa: FBT001 - by place, see below
) -> Event:
    """Make the purchase of an order, without fields of the caller's own.

    Does what :func:`purchase_event` does, with positional arguments, because keywords cost a
    dictionary at each call while a shopper waits. Takes the order's values, see
    :func:`.quick_values`.

    Most orders are valid: their values go straight into the event's JSON, each through the
    check of its field. If one doesn't pass, the event is put together again without checks,
    and :func:`.finish_event` finds all that is wrong with it.
    """
    if type(values[ITEMS]) is not tuple and type(values[ITEMS]) is not list:
        values = [*converted_values(values)]
        values[ITEMS] = _lines(values[ITEMS])
    errors: list[FieldError] = []
    try:
        wire = _purchase(values, now, context, default_region, _CHECKED, errors)
    except Exception as error:  # noqa: BLE001 - also of a class of the shop's own
        reraise_interruption(error)
    else:
        if not errors:
            event = event_of(wire, is_baseline=True)
            if len(event.json) <= MAX_EVENT_BYTES:
                return event
    if type(values) is tuple:
        values = converted_values(values)
    errors = []
    fields = _purchase([*map(tame, values)], now, context, default_region, _UNCHECKED, errors)
    return finish_event(fields, errors, now, context, strict=strict)


def _purchase(  # noqa: PLR0913, PLR0917 - while a shopper waits
    values: Sequence[Any],
    now: datetime,
    context: Context | None,
    default_region: str | None,
    check: _Checks,
    errors: list[FieldError],
) -> JsonDict:
    """Return the fields of a purchase, each as its check returns it."""
    (
        order_id,
        total,
        currency,
        items,
        email,
        phone,
        created_at,
        client_ip,
        client_user_agent,
        url,
        click_id,
        click_id_type,
        uids,
        custom,
        country,
    ) = values
    order_id = check.event_id(order_id)
    fields: JsonDict = {
        "event_id": order_id,
        "event_type": "purchase",
        "event_time": check.event_time(now if created_at is None else in_utc(created_at)),
    }
    match = identify(
        email,
        phone,
        uids,
        click_id,
        click_id_type,
        client_ip,
        client_user_agent,
        default_region or country,
        context,
        errors,
        check.match,
    )
    if match is not None:
        fields["user_match"] = match
    if total is None and items:
        total = _sum(items)
    fields["custom_data"] = data = custom_data(order_id, currency, items, total, check)
    if custom is not EMPTY:
        fields["custom_data"] = data = merge(data, check.custom(custom), errors)
        total, currency = data.get("value"), data.get("currency")
    has_cents = type(currency) is str and currency in CENTS and type(total) is Decimal
    if type(total) is Decimal and not (has_cents and total.same_quantum(_CENT)):
        errors += check_decimals(total, currency, _VALUE)
    if check is _UNCHECKED:
        errors += _unreadable(total)
    if url is None and context is not None:
        url = context.event_source_url
    if url is not None:
        fields["action_source"] = "website"
        fields["event_source_url"] = check.url(url)
    return fields


def purchase_event(
    order: object,
    *,
    now: datetime,
    context: Context | None = None,
    default_region: str | None = None,
    strict: bool = True,
    **overrides: Unpack[EventFields],
) -> Event:
    """Make the purchase of an order. The same order always has the same event id.

    Args:
        order: The order; see :func:`to_order`.
        now: The event's time if the order has none.
        context: The request that placed the order; it fills in what the order lacks.
        default_region: The region of phone numbers without a country code.
        strict: See :func:`build_event`.
        **overrides: Fields that replace those of the order, see :class:`.EventFields`.
            ``custom_data`` is added to the order's own.

    Raises:
        InvalidEventError: If the event is invalid; it lists every broken rule.
    """
    if not overrides:
        return plain_purchase_event(order_values(order), now, context, default_region, strict)
    placed = to_order(order)
    basics = {
        "now": now,
        "event_id": _id(placed),
        "event_time": placed.created_at,
        "event_source_url": placed.event_source_url,
        "context": context,
        "default_region": default_region or placed.country,
        "strict": strict,
    }
    errors: list[FieldError] = []
    data = _data_of(placed, placed.items, placed.total, errors)
    return _overridden(EventType.PURCHASE, placed, data, errors, basics, overrides)


def refund_event(  # noqa: PLR0913 - what a refund is known by, each by its name
    order: object,
    *,
    now: datetime,
    refund_id: str | None = None,
    amount: Decimal | int | str | None = None,
    items: Sequence[object] | None = None,
    default_region: str | None = None,
    strict: bool = True,
    **overrides: Unpack[EventFields],
) -> Event:
    """Make the refund of an order or a part of it. Its value is positive.

    It doesn't take the request's context, because most refunds are made by the shop's staff. The
    shopper's identifiers come from the order.

    Args:
        order: The refunded order; see :func:`to_order`.
        now: The event's time.
        refund_id: The refund's own id. Always give it if there is one: without it, two
            refunds of the same amount and items count as one.
        amount: The amount paid back, also with a minus. Left out, the price of `items`, or
            the order's total.
        items: The refunded lines; left out, all of the order's if all of it is refunded.
        default_region: The region of phone numbers without a country code.
        strict: See :func:`build_event`.
        **overrides: Fields that replace those of the order, see :class:`.EventFields`.
            ``custom_data`` is added to the order's own.

    Raises:
        InvalidEventError: If the event is invalid; it lists every broken rule.
    """
    placed = to_order(order)
    value, total = _positive(parse_amount(amount)), _positive(placed.total)
    # An amount of NaN is not as good as none: without one, all of the order is paid back.
    errors = [] if amount is None else _unreadable(value)
    full = items is None and (value is None or _same(value, total))
    lines = _refunded(placed.items if full else parse_items(items))
    data = _data_of(placed, lines, total if full else value, errors)
    basics = {
        "now": now,
        "event_id": _refund_id(placed, refund_id, None if full else data),
        "event_time": now,
        "default_region": default_region or placed.country,
        "strict": strict,
    }
    return _overridden(EventType.REFUND, placed, data, errors, basics, overrides)


def custom_data(
    order_id: Unvalidated,
    currency: Unvalidated,
    items: Unvalidated,
    total: Unvalidated,
    check: _Checks = _UNCHECKED,
) -> JsonDict:
    """Return the custom data of an order.

    Args:
        order_id: The order's id.
        currency: Its currency.
        items: Its lines.
        total: Its total.
        check: The checks. Without them, invalid lines stay in it for validation to find; their
            ids and pieces aren't counted.
    """
    data: JsonDict = {}
    contents, content_ids, count = _contents(items, check)
    if total is not None:
        data["value"] = check.value(total)
    if currency is not None:
        data["currency"] = check.currency(currency)
    if order_id is not None:
        data["order_id"] = check.order_id(order_id)
    if contents:
        data["contents"] = contents
    if content_ids:
        data["content_ids"] = content_ids
    if count:
        data["num_items"] = count
    return data


def _contents(  # noqa: C901 - one pass, while a shopper waits
    items: Unvalidated, check: _Checks
) -> tuple[list[Unvalidated], list[Unvalidated], int | None]:
    """Return an order's lines, their ids, and the number of pieces if it is known."""
    contents: list[Unvalidated] = []
    content_ids: list[Unvalidated] = []
    count, is_known = 0, True
    check_id, check_quantity, check_price = check.line_id, check.quantity, check.price
    for given in items:
        item: Any = given if type(given) in _LINES else read_item(given)
        if type(item) is list:
            item_id, quantity, price, brand, name = item
        elif type(item) is OrderItem:
            item_id, quantity, price = item.id, item.quantity, item.price
            brand, name = item.brand, item.name
        else:
            contents.append(check.other_line(item))
            is_known = False
            continue
        item_id = check_id(item_id)
        line = {"id": item_id}
        if quantity is not None:
            line["quantity"] = check_quantity(quantity)
        if price is not None:
            line["price"] = check_price(price)
        if brand is not None:
            line["brand"] = check.brand(brand)
        if name is not None:
            line["name"] = check.name(name)
        contents.append(line)
        if check is _UNCHECKED and _is_discount(price):
            continue
        if quantity is None or type(quantity) is not int or quantity < 1:
            is_known = False
            if quantity is not None:
                continue
        else:
            count += quantity
        content_ids.append(item_id)
    return contents, content_ids, count if is_known else None


def _lines(items: Unvalidated) -> Sequence[Unvalidated]:
    """Return the lines as a sequence: an iterator can be read only once."""
    if type(items) is tuple or type(items) is list:
        return items
    lines: Any = parse_items(items)
    alone = isinstance(lines, (str, bytes, Mapping)) or not isinstance(lines, Iterable)
    return [lines] if alone else [*lines]


def _is_discount(price: Unvalidated) -> bool:
    if type(price) is Decimal:
        return price.is_signed() and price.is_finite() and price < 0
    return type(price) is int and price < 0


def _unreadable(total: Unvalidated) -> list[FieldError]:
    """Return the error of a total that is NaN: it isn't a null, as it is in other fields."""
    if total is None or not is_absent(total):
        return []
    return [FieldError(_VALUE, "a number ≥ 0", format_number(total), WRONG_TYPE)]


def _sum(items: Unvalidated) -> Decimal | None:
    """Return the sum of all lines, discounts included; ``None`` if a line is unreadable."""
    lines = []
    for given in items:
        item: Any = given if type(given) in _LINES else read_item(given)
        if type(item) is list:
            lines.append((item[1], item[2]))
        elif type(item) is OrderItem:
            lines.append((item.quantity, item.price))
        else:
            return None
    total = sum_lines(lines)
    return None if total is None or total < 0 else total


def _data_of(
    order: Order, items: Unvalidated, total: Unvalidated, errors: list[FieldError]
) -> JsonDict:
    """Return unchecked custom data of an order, its custom keys included."""
    items = _lines(items)
    if total is None and items:
        total = _sum(items)
    errors += _unreadable(total)
    data = custom_data(order.order_id, order.currency, items, total)
    return data if order.custom is EMPTY else merge(data, order.custom, errors)


def merge(data: JsonDict, more: object, errors: list[FieldError]) -> JsonDict:
    """Return `data` with the fields of `more` in place of its own."""
    if is_absent(more):
        return data
    try:
        over = fields_of(more, CustomData)
    except InvalidField as error:
        errors += below(error.errors, "$.custom_data")
        return data
    return {**data, **{name: value for name, value in over.items() if value is not None}}


def partial_refund_id(data: JsonDict) -> str:
    """Derive the id of a partial refund from its amount and lines."""
    contents = data.get("contents", ())
    lines = [(line.get("id"), line.get("quantity")) for line in contents if type(line) is dict]
    amount = value = data.get("value")
    if isinstance(amount, (int, Decimal)):
        value = str(Decimal(amount).normalize(_WIDE))
    return derive_event_id("part", value, *itertools.chain.from_iterable(lines))


def _positive(amount: Unvalidated) -> Unvalidated:
    """Return an amount without its sign: shops write refunds with and without a minus."""
    return abs(amount) if _is_discount(amount) else amount


def _refunded(items: Unvalidated) -> Unvalidated:
    """Return refunded lines with positive quantities and prices."""
    if type(items) is not tuple and type(items) is not list:
        return items
    return [_refunded_line(line) for line in items]


def _refunded_line(given: Unvalidated) -> Unvalidated:
    line = given if type(given) in _LINES else read_item(given)
    if type(line) is OrderItem:
        line = [*attrs.astuple(line, recurse=False)]
    if type(line) is not list:
        return line
    item_id, quantity, price, *rest = line
    return [item_id, _positive(quantity), _positive(price), *rest]


def _refund_id(order: Order, refund_id: str | None, part: JsonDict | None) -> Unvalidated:
    """Return the id of a refund's event; without a refund's id, it is derived from the part."""
    order_id = _id(order)
    if not isinstance(order_id, str):
        return order_id
    try:
        if part is not None and parse_id(refund_id) is None:
            refund_id = partial_refund_id(part)
        return builder.refund_id(order_id, refund_id)
    except InvalidEventError:
        return MISSING_ID


def _id(order: Order) -> Unvalidated:
    order_id: Unvalidated = order.order_id
    return MISSING_ID if is_absent(order_id) else order_id


def _same(amount: Unvalidated, total: Unvalidated) -> bool:
    try:
        return bool(amount == total)
    except Exception as error:  # noqa: BLE001 - a signalling NaN's, or of a class of the shop's
        reraise_interruption(error)
        return False


def _overridden(  # noqa: PLR0913, PLR0917 - what an order is overridden by
    event_type: EventType,
    order: Order,
    data: JsonDict,
    errors: list[FieldError],
    basics: dict[str, Any],
    overrides: Mapping[str, object],
) -> Event:
    """Build an order's event from its fields and from those that replace them."""
    own = {name: getattr(order, name) for name in IDENTIFIERS}
    more = {name: value for name, value in overrides.items() if not is_absent(value)}
    if "click_id" in more:
        del own["click_id_type"]
    data = merge(data, more.pop("custom_data", None), errors)
    value, currency = data.get("value"), data.get("currency")
    if type(value) is Decimal and not fits_currency(value, currency):
        errors += check_decimals(value, currency, _VALUE)
    settings = {name: basics.pop(name) for name in _SETTINGS if name in basics}
    details = {**own, **basics, **more, "custom_data": data}
    return assemble(event_type, details, errors, **settings)
