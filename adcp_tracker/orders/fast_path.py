"""The short way from an order to the JSON of its purchase.

Most purchases are made of a sound order and nothing else, while a shopper waits. This way
looks at every value of such an order once, judges it by the same rules as an event's,
and writes it where it belongs, without making the parts of an event in between.
Of anything else it makes nothing, and the long way, which explains itself, is taken.
Wherever the short way leads somewhere, the long one leads to the same event.
"""

from __future__ import annotations

from datetime import timezone
from decimal import Decimal
from socket import AF_INET, AF_INET6, inet_pton
from typing import TYPE_CHECKING, Final

from adcp_tracker.events.fast_path import (
    MILLISECOND,
    OBJECTIONS,
    Doubtful,
    fragment,
    known_numbers,
    known_uris,
    learn_uri,
    sound_integer,
    write_clean,
)
from adcp_tracker.events.hashing import hash_email, hash_phone
from adcp_tracker.events.lazy_event import written_event
from adcp_tracker.events.model import (
    COMMON_CURRENCIES,
    EMPTY,
    MAX_ID,
    MAX_NUMBER,
    MAX_TOKEN,
    MAX_TYPE,
    is_currency,
)
from adcp_tracker.events.money import CENTS, fits_currency
from adcp_tracker.events.urls import strip_page_url

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from adcp_tracker.context import Context
    from adcp_tracker.events.event import Event
    from adcp_tracker.events.serialization import JsonDict
    from adcp_tracker.orders.reader import Order, OrderItem

_UTC: Final = timezone.utc
_LISTS: Final = (tuple, list)


def express_purchase(
    order: Order, now: datetime, context: Context | None, default_region: str | None
) -> Event | None:
    """Make the purchase of an order that is sound and simple; ``None`` of any other."""
    order_id, event_time, url = order.order_id, order.created_at, order.event_source_url
    try:
        if event_time is None:
            event_time = now
        microsecond = event_time.microsecond
        if (
            type(order_id) is not str
            or not 0 < len(order_id) <= MAX_ID
            or event_time.tzinfo is not _UTC
            or (microsecond and not microsecond % MILLISECOND)
        ):
            return None
        if url is None and context is not None:
            url = context.event_source_url
        if url is not None and url not in known_uris:
            url = strip_page_url(url)
            learn_uri(url)
        # Whole dictionaries less what is not there: quicker than growing them key by key.
        wire: JsonDict = {
            "event_id": order_id,
            "event_type": "purchase",
            "event_time": event_time,
            "user_match": _match(order, context, default_region),
            "custom_data": _data(order, order_id),
            "action_source": "website",
            "event_source_url": url,
        }
        if wire["user_match"] is None:
            del wire["user_match"]
        if url is None:
            del wire["action_source"], wire["event_source_url"]
        return written_event(order_id, write_clean(wire))
    except OBJECTIONS:
        return None


def _match(order: Order, context: Context | None, default_region: str | None) -> JsonDict | None:  # noqa: C901 - a line a rule
    """Write who the shopper is, if anything says so."""
    email, phone, click_id = order.email, order.phone, order.click_id
    ip, agent, click_id_type = order.client_ip, order.client_user_agent, order.click_id_type
    if order.uids is not None:
        raise Doubtful
    if context is not None:
        ip = ip or context.client_ip
        agent = agent or context.client_user_agent
        if not click_id and (click_id := context.click_id):
            click_id_type = context.click_id_type
    wire: JsonDict = {}
    if email:
        wire["hashed_email"] = hash_email(email)
    if phone:
        wire["hashed_phone"] = hash_phone(phone, default_region)
    if click_id:
        if type(click_id) is not str or len(click_id) > MAX_TOKEN:
            raise Doubtful
        wire["click_id"] = click_id
    if click_id_type:
        if type(click_id_type) is not str or len(click_id_type) > MAX_TYPE:
            raise Doubtful
        wire["click_id_type"] = click_id_type
    if ip:
        inet_pton(AF_INET6 if ":" in ip else AF_INET, ip)
        wire["client_ip"] = ip
    if agent:
        if type(agent) is not str:
            raise Doubtful
        wire["client_user_agent"] = agent if len(agent) <= MAX_TOKEN else agent[:MAX_TOKEN]
    return wire if email or phone or click_id or (ip and agent) else None


def _data(order: Order, order_id: str) -> JsonDict:
    """Write what was bought."""
    total, currency, items = order.total, order.currency, order.items
    if order.custom is not EMPTY or type(items) not in _LISTS:
        raise Doubtful
    value: object = total
    if type(total) is Decimal:
        text = str(total)
        value = known_numbers.get(text) or fragment(text)
        if (text[-3:-2] != "." or currency not in CENTS) and not fits_currency(total, currency):
            raise Doubtful
    elif total is None:
        if items:
            raise Doubtful
    elif type(total) is not int or not 0 <= total < MAX_NUMBER:
        raise Doubtful
    wire: JsonDict = {"value": value, "currency": currency, "order_id": order_id}
    if value is None:
        del wire["value"]
    if currency is None:
        del wire["currency"]
    elif currency not in COMMON_CURRENCIES and not is_currency(currency):
        raise Doubtful
    return _with_lines(wire, items) if items else wire


def _with_lines(wire: JsonDict, items: Sequence[OrderItem]) -> JsonDict:
    """Write the lines of the order, their ids, and how many pieces they are."""
    contents, content_ids, count = [], [], 0
    for item in items:
        item_id, quantity, brand, name = item.id, item.quantity, item.brand, item.name
        price: object = item.price
        if (
            type(item_id) is not str
            or not 0 < len(item_id) <= MAX_ID
            or type(quantity) is not int
            or quantity < 1
        ):
            raise Doubtful
        if type(price) is Decimal:
            text = str(price)
            price = known_numbers.get(text) or fragment(text)
        elif price is not None:
            sound_integer(price, 0)
        line: JsonDict = {"id": item_id, "quantity": quantity, "price": price, "brand": brand}
        if price is None:
            del line["price"]
        if brand is None:
            del line["brand"]
        elif type(brand) is not str or len(brand) > MAX_ID:
            raise Doubtful
        if name is not None:
            if type(name) is not str:
                raise Doubtful
            line["name"] = name
        contents.append(line)
        content_ids.append(item_id)
        count += quantity
    wire["contents"] = contents
    wire["content_ids"] = content_ids
    wire["num_items"] = sound_integer(count, 1)  # None of them is larger than their sum.
    return wire
