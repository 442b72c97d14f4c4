"""Judging and writing an event in one quick pass.

:func:`write_sound` runs on the caller's path for every event, so it is written for speed:
it looks at each value once, judges it and puts it where it is written, and says "no"
wherever a closer look is needed. :mod:`.faults` gives that closer look and has the last word.
What is valid but out of the ordinary is written by :mod:`.writing`.

Some rules cost nothing this way: orjson refuses torn strings and foreign types by itself,
and a line without a backslash has no control character in any of its strings.
"""

from __future__ import annotations

import re
from binascii import a2b_hex
from datetime import timezone
from decimal import Decimal
from socket import AF_INET, AF_INET6, inet_pton
from typing import TYPE_CHECKING, Final

import attrs
import orjson

from adcp_tracker.events.model import (
    COMMON_CURRENCIES,
    DIGEST_LENGTH,
    EMPTY,
    MAX_ID,
    MAX_NUMBER,
    MAX_TOKEN,
    MAX_TYPE,
    MAX_WORD,
    ActionSource,
    Content,
    CustomData,
    EventType,
    is_currency,
)
from adcp_tracker.events.serialization import OPTIONS
from adcp_tracker.events.urls import is_uri

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from adcp_tracker.events.event import Event
    from adcp_tracker.events.model import UserMatch
    from adcp_tracker.events.serialization import JsonDict

MILLISECOND: Final = 1000
"""In microseconds: a time of whole ones is written in another way."""

_BACKSLASH: Final = ord("\\")
_DELETE: Final = 0x7F
_LISTS: Final = (tuple, list)
_DATA_NAMES: Final = frozenset({"ext", *(field.name for field in attrs.fields(CustomData))})
_CONTENT_NAMES: Final = frozenset({"ext", *(field.name for field in attrs.fields(Content))})
_UTC: Final = timezone.utc
_WEBSITE: Final = ActionSource.WEBSITE.value
_SOURCES: Final = {source: source.value for source in ActionSource}
_CONDITIONAL: Final = frozenset({EventType.CUSTOM, EventType.WATCH_MILESTONE})
_UNCONDITIONAL: Final = {word: word.value for word in EventType if word not in _CONDITIONAL}
_MAX_NUMBERS: Final = 4096
_MAX_URIS: Final = 1024
known_numbers: Final[dict[str, orjson.Fragment]] = {}
"""Numbers that came before, as prices do, by their digits."""

_is_money: Final = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,20})?").fullmatch
known_uris: Final[set[str]] = set()
"""Absolute URIs that came before, as a shop has few pages without their queries.

None of them has anything that :func:`.strip_page_url` cuts, so what is here needs no look by it.
"""

_find_wide_control: Final = re.compile(rb"\xc2[\x80-\x9f]|\xe2\x80[\xa8\xa9]").search
_dumps: Final = orjson.dumps
_Fragment: Final = orjson.Fragment


class Doubtful(Exception):  # noqa: N818 - a signal between the functions below, never an error
    """A value asks for the closer look."""


# What else is raised by a value that is not of its field's kind.
OBJECTIONS: Final = (
    Doubtful,
    ArithmeticError,
    AttributeError,
    LookupError,
    OSError,
    TypeError,
    ValueError,
)


def write_sound(event: Event) -> bytes | None:
    """Write `event` if it is surely valid; ``None`` only asks for a closer look."""
    try:
        return write_clean(_sound_event(event))
    except OBJECTIONS:
        return None


def write_clean(wire: JsonDict) -> bytes:
    """Write a judged event as its line, in which no string may need an escape.

    Raises:
        Doubtful: If one does, so that a control character could be in an id.
    """
    line = _dumps(wire, None, OPTIONS)
    if _BACKSLASH in line or _DELETE in line:
        raise Doubtful
    if not line.isascii() and _find_wide_control(line):
        raise Doubtful
    return line


def _sound_event(event: Event) -> JsonDict:
    event_id, event_time, microsecond = (
        event.event_id,
        event.event_time,
        event.event_time.microsecond,
    )
    url = event.event_source_url
    if not (
        type(event_id) is str
        and 0 < len(event_id) <= MAX_ID
        and event_time.tzinfo is _UTC
        and (microsecond % MILLISECOND or not microsecond)
        and event.custom_event_name is None
        and event.surface is None
        and event.ext is None
        and event.extra is EMPTY
    ):
        raise Doubtful
    wire: JsonDict = {
        "event_id": event_id,
        "event_type": _UNCONDITIONAL[event.event_type],
        "event_time": event_time,
    }
    if event.user_match is not None:
        wire["user_match"] = _sound_match(event.user_match)
    if event.custom_data is not None:
        wire["custom_data"] = _sound_data(event.custom_data)
    if event.action_source is not None:
        wire["action_source"] = source = _SOURCES[event.action_source]
        if url is None and source is _WEBSITE:
            raise Doubtful
    if url is not None:
        if url not in known_uris:
            learn_uri(url)
        wire["event_source_url"] = url
    return wire


def _sound_match(match: UserMatch) -> JsonDict:  # noqa: C901 - one pass, a line a rule
    email, phone, click_id = match.hashed_email, match.hashed_phone, match.click_id
    ip, agent = match.client_ip, match.client_user_agent
    wire: JsonDict = {}
    if email is not None:
        if len(email) != DIGEST_LENGTH or a2b_hex(email).hex() != email:
            raise Doubtful
        wire["hashed_email"] = email
    if phone is not None:
        if len(phone) != DIGEST_LENGTH or a2b_hex(phone).hex() != phone:
            raise Doubtful
        wire["hashed_phone"] = phone
    if click_id is not None:
        wire["click_id"] = _token(click_id, MAX_TOKEN)
    if match.click_id_type is not None:
        wire["click_id_type"] = _token(match.click_id_type, MAX_TYPE)
    if ip is not None:
        inet_pton(AF_INET6 if ":" in ip else AF_INET, ip)
        wire["client_ip"] = ip
    if agent is not None:
        if type(agent) is not str or not 0 < len(agent) <= MAX_TOKEN:
            raise Doubtful
        wire["client_user_agent"] = agent
    identified = email or phone or click_id or (ip and agent)
    if not identified or match.uids is not None or match.extra is not EMPTY:
        raise Doubtful
    return wire


def _sound_data(data: CustomData) -> JsonDict:  # noqa: C901, PLR0912 - one pass, a line a rule
    currency, order_id, ids = data.currency, data.order_id, data.content_ids
    wire: JsonDict = {}
    if data.value is not None:
        wire["value"] = _number(data.value)
    if currency is not None:
        if currency not in COMMON_CURRENCIES and not is_currency(currency):
            raise Doubtful
        wire["currency"] = currency
    if order_id is not None:
        if type(order_id) is not str or not 0 < len(order_id) <= MAX_ID:
            raise Doubtful
        wire["order_id"] = order_id
    if data.contents is not None:
        wire["contents"] = _sound_contents(data.contents)
    if ids is not None:
        if type(ids) not in _LISTS:
            raise Doubtful
        for content_id in ids:
            if type(content_id) is not str or not 0 < len(content_id) <= MAX_ID:
                raise Doubtful
        wire["content_ids"] = ids
    if (count := data.num_items) is not None:
        if type(count) is not int or not 0 <= count < MAX_NUMBER:
            raise Doubtful
        wire["num_items"] = count
    if data.progress_percent is not None or data.progress_seconds is not None:
        raise Doubtful
    if data.content_type is not None:
        wire["content_type"] = _token(data.content_type, MAX_WORD)
    if data.content_name is not None:
        wire["content_name"] = _text(data.content_name)
    if data.content_category is not None:
        wire["content_category"] = _text(data.content_category)
    if data.search_string is not None:
        wire["search_string"] = _text(data.search_string)
    if data.extra is not EMPTY:
        _add_sound_extra(wire, data.extra, _DATA_NAMES)
    return wire


def _sound_contents(contents: Sequence[Content]) -> list[JsonDict]:
    if type(contents) not in _LISTS:
        raise Doubtful
    wires = []
    for content in contents:
        content_id, quantity, price = content.id, content.quantity, content.price
        if type(content_id) is not str or not 0 < len(content_id) <= MAX_ID:
            raise Doubtful
        wire: JsonDict = {"id": content_id}
        if quantity is not None:
            if type(quantity) is not int or not 0 < quantity < MAX_NUMBER:
                raise Doubtful
            wire["quantity"] = quantity
        if type(price) is Decimal:
            text = str(price)
            wire["price"] = known_numbers.get(text) or fragment(text)
        elif price is not None:
            wire["price"] = sound_integer(price, 0)
        if content.brand is not None:
            wire["brand"] = _text(content.brand, MAX_ID)
        if content.extra is not EMPTY:
            _add_sound_extra(wire, content.extra, _CONTENT_NAMES)
        wires.append(wire)
    return wires


def _add_sound_extra(wire: JsonDict, extra: Mapping[str, object], named: frozenset[str]) -> None:
    """Put unknown keys beside the named ones, as long as they hold the simplest of values."""
    for key, value in extra.items():
        kind = type(value)
        if key in named or (kind is not str and kind is not bool and not _is_safe(value)):
            raise Doubtful
        wire[key] = value


def _is_safe(value: object) -> bool:
    return type(value) is int and -MAX_NUMBER < value < MAX_NUMBER


def _token(value: str, longest: int) -> str:
    if type(value) is not str or not 0 < len(value) <= longest:
        raise Doubtful
    return value


def _text(value: str, longest: int | None = None) -> str:
    if type(value) is not str or (longest is not None and len(value) > longest):
        raise Doubtful
    return value


def sound_integer(value: object, least: int) -> int:
    """Return `value` if it is an integer from `least`.

    Raises:
        Doubtful: If it is not.
    """
    if type(value) is not int or not least <= value < MAX_NUMBER:
        raise Doubtful
    return value


def _number(value: Decimal | int) -> object:
    """Give a number's own digits to orjson, which knows no Decimal."""
    if type(value) is Decimal:
        text = str(value)
        return known_numbers.get(text) or fragment(text)
    return sound_integer(value, 0)


def learn_uri(url: str) -> None:
    """Remember an absolute URI that is written as it is.

    Raises:
        Doubtful: If it is none, or has to be escaped.
    """
    if not is_uri(url):
        raise Doubtful
    if "#" in url or "@" in url:
        return
    if len(known_uris) >= _MAX_URIS:
        known_uris.clear()
    known_uris.add(url)


def fragment(text: str) -> orjson.Fragment:
    """Keep the digits of a number that looks like money.

    Raises:
        Doubtful: If it is negative, infinite, very large, or written with a power of ten.
    """
    if not _is_money(text):
        raise Doubtful
    if len(known_numbers) >= _MAX_NUMBERS:
        known_numbers.clear()
    return known_numbers.setdefault(text, _Fragment(text))
