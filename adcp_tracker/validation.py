"""One quick look at a whole event: is it sound?

It runs for every event on the caller's path, so it is written for speed:
one pass, no messages, cheap tests first, and "no" wherever a closer look is needed.
:mod:`adcp_tracker.faults` gives that closer look and has the last word;
whatever is sound here has no fault there.

The parts keep their fields in the instance's dict, and reading that once
costs half of looking up every attribute.
"""

from __future__ import annotations

import re
from binascii import a2b_hex
from datetime import datetime, timezone
from decimal import Decimal
from socket import AF_INET, AF_INET6, inet_pton
from typing import TYPE_CHECKING, Final

from adcp_tracker.parts import EMPTY
from adcp_tracker.vocabulary import (
    COMMON_ACTION_SOURCES,
    NEWER_EVENT_TYPES,
    ActionSource,
    EventType,
    SurfaceCategory,
    UidType,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from adcp_tracker.events import Event
    from adcp_tracker.parts import Content, CustomData, Surface, UniversalId, UserMatch

MAX_ID: Final = 256
"""Length of event, order and content ids, and of brands."""

MAX_TOKEN: Final = 512
"""Length of click ids, universal ids and user agents."""

MAX_TYPE: Final = 64
"""Length of a click id's type."""

MAX_WORD: Final = 128
"""Length of a content type, and of a surface's property type and namespace."""

MAX_EXPONENT: Final = 18
"""Numbers are below this power of ten: more than any price, and safe in 64 bits."""

MAX_NUMBER: Final = 10**MAX_EXPONENT
"""Integers are below this."""

MIN_EXPONENT: Final = -20
"""Decimals begin above this power of ten, so that none explodes into a million zeros."""

MAX_PERCENT: Final = 100
"""A whole progress."""

DIGEST_LENGTH: Final = 64
"""Hex digits of a SHA-256."""

is_uri: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[!#-;=?-Z\[\]_a-z~]+").fullmatch
"""Match an absolute URI, by the characters RFC 3986 allows."""

is_currency: Final = re.compile(r"[A-Z]{3}").fullmatch
"""Match what looks like a code of ISO 4217."""

_LISTS: Final = (tuple, list)
_UTC: Final = timezone.utc
_WEBSITE: Final = ActionSource.WEBSITE
_WORLD_ID: Final = UidType.WORLD_ID_NULLIFIER
_CONDITIONAL: Final = frozenset({EventType.CUSTOM, EventType.WATCH_MILESTONE})
_COMMON_CURRENCIES: Final = frozenset({"AUD", "CAD", "CHF", "EUR", "GBP", "JPY", "USD"})


def is_sound(event: Event) -> bool:
    """Tell whether `event` is surely valid; ``False`` only asks for a closer look."""
    try:
        return _event_is_sound(event)
    except (ArithmeticError, AttributeError, LookupError, OSError, TypeError, ValueError):
        # Some value is not of its field's kind. The closer look tells which.
        return False


def is_plain(event: Event) -> bool:
    """Tell whether `event` uses nothing but what every kind and line of seller takes."""
    fields = event.__dict__
    data, match = fields["custom_data"], fields["user_match"]
    return (
        fields["surface"] is None
        and fields["event_type"] not in NEWER_EVENT_TYPES
        and fields["action_source"] in COMMON_ACTION_SOURCES
        and (data is None or data.progress_percent is data.progress_seconds is None)
        and (match is None or match.uids is None or _WORLD_ID not in [u.type for u in match.uids])
    )


def _event_is_sound(event: Event) -> bool:
    fields = event.__dict__
    event_id, event_time = fields["event_id"], fields["event_time"]
    action_source, url = fields["action_source"], fields["event_source_url"]
    match, data = fields["user_match"], fields["custom_data"]
    return bool(
        0 < len(event_id) <= MAX_ID
        and event_id.isprintable()
        and type(fields["event_type"]) is EventType
        and type(event_time) is datetime
        and event_time.tzinfo is _UTC
        and (action_source is None or type(action_source) is ActionSource)
        and (action_source is not _WEBSITE if url is None else is_uri(url))
        and (match is None or _match_is_sound(match))
        and (data is None or _data_is_sound(data))
        and (fields["event_type"] not in _CONDITIONAL or _has_what_it_needs(event))
        and (fields["custom_event_name"] is None or _is_word(fields["custom_event_name"]))
        and (fields["surface"] is None or _surface_is_sound(fields["surface"]))
        and fields["ext"] is None
        and (fields["extra"] is EMPTY or _extra_is_sound(fields["extra"], fields))
    )


def _has_what_it_needs(event: Event) -> bool:
    if event.event_type is EventType.CUSTOM:
        return event.custom_event_name is not None
    data = event.custom_data
    return data is not None and not (data.progress_percent is data.progress_seconds is None)


def _match_is_sound(match: UserMatch) -> bool:
    fields = match.__dict__
    email, phone, uids = fields["hashed_email"], fields["hashed_phone"], fields["uids"]
    ip, agent, click_id = fields["client_ip"], fields["client_user_agent"], fields["click_id"]
    return bool(
        (email or phone or (ip and agent) or click_id or uids)
        and (email is None or (len(email) == DIGEST_LENGTH and a2b_hex(email).hex() == email))
        and (phone is None or (len(phone) == DIGEST_LENGTH and a2b_hex(phone).hex() == phone))
        and (ip is None or inet_pton(AF_INET6 if ":" in ip else AF_INET, ip))
        and (
            agent is None
            or (type(agent) is str and 0 < len(agent) <= MAX_TOKEN and agent.isascii())
        )
        and (click_id is None or (0 < len(click_id) <= MAX_TOKEN and click_id.isprintable()))
        and (fields["click_id_type"] is None or _is_type(fields["click_id_type"]))
        and (uids is None or _uids_are_sound(uids))
        and (fields["extra"] is EMPTY or _extra_is_sound(fields["extra"], fields))
    )


def _uids_are_sound(uids: Sequence[UniversalId]) -> bool:
    for uid in uids:
        if not (
            type(uid.type) is UidType
            and 0 < len(uid.value) <= MAX_TOKEN
            and uid.value.isprintable()
            and uid.extra is EMPTY
        ):
            return False
    return type(uids) in _LISTS and len(uids) > 0


def _data_is_sound(data: CustomData) -> bool:
    fields = data.__dict__
    value, currency, order_id = fields["value"], fields["currency"], fields["order_id"]
    contents, content_ids = fields["contents"], fields["content_ids"]
    num_items = fields["num_items"]
    return bool(
        (value is None or _is_amount(value))
        and (currency is None or currency in _COMMON_CURRENCIES or is_currency(currency))
        and (order_id is None or (0 < len(order_id) <= MAX_ID and order_id.isprintable()))
        and (contents is None or _contents_are_sound(contents))
        and (content_ids is None or _ids_are_sound(content_ids))
        and (num_items is None or (type(num_items) is int and 0 <= num_items < MAX_NUMBER))
        and (fields["content_type"] is None or _is_word(fields["content_type"]))
        and (fields["content_name"] is None or fields["content_name"].isprintable())
        and (fields["content_category"] is None or fields["content_category"].isprintable())
        and (fields["search_string"] is None or fields["search_string"].isprintable())
        and (fields["progress_percent"] is None or 0 <= fields["progress_percent"] <= MAX_PERCENT)
        and (fields["progress_percent"] is None or _is_amount(fields["progress_percent"]))
        and (fields["progress_seconds"] is None or _is_amount(fields["progress_seconds"]))
        and (fields["extra"] is EMPTY or _extra_is_sound(fields["extra"], fields))
    )


def _contents_are_sound(contents: Sequence[Content]) -> bool:
    for content in contents:
        fields = content.__dict__
        content_id, quantity = fields["id"], fields["quantity"]
        price, brand = fields["price"], fields["brand"]
        if not (
            0 < len(content_id) <= MAX_ID
            and content_id.isprintable()
            and (quantity is None or (type(quantity) is int and 0 < quantity < MAX_NUMBER))
            and (price is None or _is_amount(price))
            and (brand is None or (len(brand) <= MAX_ID and brand.isprintable()))
            and (fields["extra"] is EMPTY or _extra_is_sound(fields["extra"], fields))
        ):
            return False
    return type(contents) in _LISTS


def _ids_are_sound(ids: Sequence[str]) -> bool:
    for content_id in ids:
        if not (0 < len(content_id) <= MAX_ID and content_id.isprintable()):
            return False
    return type(ids) in _LISTS


def _surface_is_sound(surface: Surface) -> bool:
    return (
        type(surface.category) is SurfaceCategory
        and (surface.property_type is None or _is_word(surface.property_type))
        and (surface.namespace is None or _is_word(surface.namespace))
        and (surface.property_id is None or _is_word(surface.property_id))
        and surface.extra is EMPTY
    )


def _is_amount(value: Decimal | int) -> bool:
    if type(value) is Decimal:
        return (
            MIN_EXPONENT < value.adjusted() < MAX_EXPONENT
            and value.is_finite()
            and not value.is_signed()
        )
    return type(value) is int and 0 <= value < MAX_NUMBER


def _is_type(text: str) -> bool:
    return 0 < len(text) <= MAX_TYPE and text.isprintable()


def _is_word(text: str) -> bool:
    return 0 < len(text) <= MAX_WORD and text.isprintable()


def _extra_is_sound(extra: Mapping[str, object], named: Mapping[str, object]) -> bool:
    for key, value in extra.items():
        if key in named or key == "ext" or not key.isprintable():
            return False
        if type(value) is str:
            if not value.isprintable():
                return False
        elif type(value) is not bool and not (type(value) is int and 0 <= value < MAX_NUMBER):
            return False
    return type(extra) is dict
