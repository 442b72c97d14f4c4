"""Reading events and their parts from mappings, without judging them.

Names are sorted into fields and ``extra``, and values turned into what their field holds
where nothing is lost by it. Whatever does not fit is left as it is, so that the
:class:`.Event` it ends in can name every fault at once, with its path.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import attrs

from adcp_tracker.events.model import (
    EMPTY,
    MAX_NUMBER,
    ActionSource,
    Content,
    CustomData,
    EventType,
    Surface,
    SurfaceCategory,
    UidType,
    UniversalId,
    UserMatch,
)

if TYPE_CHECKING:
    from enum import Enum

Unvalidated: TypeAlias = Any
"""What should be of its field's kind, and may not be: an :class:`.Event` will tell."""

Fields = Mapping[str, None]
Readers = Mapping[str, Callable[[object], object]]

_match_time: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?"
    r" ?(?:([Zz]|UTC|GMT)|([+-])(\d\d)(?::?(\d\d))?)?",
    re.ASCII,
).fullmatch
_is_mail_date: Final = re.compile(
    r"(?:[A-Z][a-z]{2},? )?\d{1,2} [A-Z][a-z]{2} \d{4} \d\d:\d\d(?::\d\d)? (?:[+-]\d{4}|GMT|UTC?)",
    re.ASCII,
).fullmatch
_MAX_TIME: Final = 64
_FIRST_UNIX_TIME: Final = 946_684_800  # 2000-01-01
_LAST_UNIX_TIME: Final = 4_102_444_800  # 2100-01-01
_MS_PER_S: Final = 1000
_NULL_TYPES: Final = frozenset({"NAType", "NaTType", "MaskedConstant"})
_NEVER_NULL: Final = frozenset({int, bool, dict, list, tuple, bytes})


def is_absent(value: object) -> bool:  # noqa: PLR0911 - a line a kind
    """Return whether a value stands for no value.

    That is ``None``, an empty or blank string, NaN, and the nulls of pandas and NumPy.
    """
    if value is None:
        return True
    kind = type(value)
    if kind in _NEVER_NULL:
        return False
    if isinstance(value, str):
        return not value or value.isspace()
    if isinstance(value, float):
        return value != value  # noqa: PLR0124 - only NaN differs from itself
    if isinstance(value, Decimal):
        return value.is_nan()
    if kind.__name__ in _NULL_TYPES:
        return True
    return kind.__name__ == "datetime64" and bool(value != value)  # noqa: PLR0124 - NaT


def parse_user_match(value: object) -> Unvalidated:
    """Read a :class:`.UserMatch`; anything but a mapping is left as it is."""
    return _read(value, UserMatch, _MATCH_FIELDS, _MATCH_READERS)


def parse_custom_data(value: object) -> Unvalidated:
    """Read :class:`.CustomData`; anything but a mapping is left as it is."""
    return _read(value, CustomData, _DATA_FIELDS, _DATA_READERS)


def parse_surface(value: object) -> Unvalidated:
    """Read a :class:`.Surface`; anything but a mapping is left as it is."""
    return _read(value, Surface, _SURFACE_FIELDS, _SURFACE_READERS)


def parse_universal_id(value: object) -> Unvalidated:
    """Read a :class:`.UniversalId`; anything but a mapping is left as it is."""
    return _read(value, UniversalId, _UID_FIELDS, _UID_READERS)


def parse_content(value: object) -> Unvalidated:
    """Read a :class:`.Content`; anything but a mapping is left as it is."""
    return _read(value, Content, _CONTENT_FIELDS, _CONTENT_READERS)


def parse_enum(value: object, words: type[Enum]) -> Unvalidated:
    """Read a member of an enumeration from its value."""
    try:
        return words(value)
    except ValueError:
        return value


def parse_number(value: object) -> object:
    """Read a float by the digits it is written with, never by its binary value."""
    return Decimal(repr(value)) if type(value) is float else value


def parse_time(value: object) -> Unvalidated:
    """Parse a time. Return the value unchanged if it isn't one.

    Takes RFC 3339 and the forms of ISO 8601 that shops export, RFC 2822, Unix times in
    seconds or milliseconds, and NumPy's ``datetime64``. Digits after the microsecond are cut.
    """
    if isinstance(value, datetime):
        return value
    if not isinstance(value, str):
        return _from_number(value)
    text = value.strip() if len(value) <= _MAX_TIME else ""
    found = _match_time(text)
    if found is None:
        return _from_mail_date(text) or value
    *numbers, second, fraction, zulu, sign, hours, minutes = found.groups()
    zone = timezone.utc if zulu else None
    try:
        if sign:
            offset = timedelta(hours=int(hours), minutes=int(minutes or 0))
            zone = timezone(-offset if sign == "-" else offset) if offset else timezone.utc
        year, month, day, hour, minute = map(int, numbers)
        micro = int((fraction or "0").ljust(6, "0")[:6])
        return datetime(year, month, day, hour, minute, int(second or 0), micro, tzinfo=zone)
    except ValueError:
        return value


def _from_mail_date(text: str) -> datetime | None:
    """Parse a date of RFC 2822, as ``Fri, 02 Oct 2026 21:36:24 +0000``."""
    if not _is_mail_date(text):
        return None
    from email.utils import parsedate_to_datetime  # noqa: PLC0415 - rarely needed

    try:
        return parsedate_to_datetime(text)
    except ValueError:
        return None


def _from_number(value: object) -> Unvalidated:
    """Read a Unix time, if it can be one of this century, and a ``datetime64``."""
    if type(value).__name__ == "datetime64":
        return value.astype("datetime64[us]").item()  # type: ignore[attr-defined]  # NumPy's
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        for seconds in (value, value / _MS_PER_S if abs(value) < MAX_NUMBER else 0):
            if _FIRST_UNIX_TIME <= seconds < _LAST_UNIX_TIME:
                return datetime.fromtimestamp(seconds, timezone.utc)
    return value


def parse_event(value: Mapping[str, object]) -> dict[str, Unvalidated]:
    """Read the arguments of an :class:`.Event`, which its constructor judges."""
    return _arguments(value, _EVENT_FIELDS, _EVENT_READERS)


def _read(
    value: object, kind: Callable[..., object], fields: Fields, readers: Readers
) -> Unvalidated:
    return kind(**_arguments(value, fields, readers)) if isinstance(value, Mapping) else value


def _arguments(value: Mapping[Any, object], fields: Fields, readers: Readers) -> dict[str, Any]:
    """Sort a mapping's keys into named fields and extra; a null is as good as no key."""
    known: dict[str, Any] = dict(fields)
    extra: dict[Any, object] = {}
    for key, member in value.items():
        if member is None:
            continue
        if key in fields:
            reader = readers.get(key)
            known[key] = member if reader is None else reader(member)
        else:
            extra[key] = member
    known["extra"] = extra or EMPTY
    return known


def _fields(kind: type[attrs.AttrsInstance]) -> Fields:
    """List the named fields, unset: even a required one that is missing is found by the check."""
    return {field.name: None for field in attrs.fields(kind) if field.name != "extra"}


def _all(reader: Callable[[object], object]) -> Callable[[object], object]:
    def read(values: object) -> object:
        return tuple(map(reader, values)) if isinstance(values, (list, tuple)) else values

    return read


def _word(words: type[Enum]) -> Callable[[object], object]:
    return partial(parse_enum, words=words)


_EVENT_FIELDS: Final = {
    "event_id": None,
    "event_type": None,
    "event_time": None,
    "user_match": None,
    "custom_data": None,
    "action_source": None,
    "event_source_url": None,
    "custom_event_name": None,
    "surface": None,
    "ext": None,
}
_MATCH_FIELDS: Final = _fields(UserMatch)
_DATA_FIELDS: Final = _fields(CustomData)
_CONTENT_FIELDS: Final = _fields(Content)
_UID_FIELDS: Final = _fields(UniversalId)
_SURFACE_FIELDS: Final = _fields(Surface)

_EVENT_READERS: Final[Readers] = {
    "event_type": _word(EventType),
    "event_time": parse_time,
    "user_match": parse_user_match,
    "custom_data": parse_custom_data,
    "action_source": _word(ActionSource),
    "surface": parse_surface,
}
_MATCH_READERS: Final[Readers] = {"uids": _all(parse_universal_id)}
_DATA_READERS: Final[Readers] = {
    "value": parse_number,
    "contents": _all(parse_content),
    "content_ids": _all(lambda content_id: content_id),
    "progress_percent": parse_number,
    "progress_seconds": parse_number,
}
_CONTENT_READERS: Final[Readers] = {"price": parse_number}
_UID_READERS: Final[Readers] = {"type": _word(UidType)}
_SURFACE_READERS: Final[Readers] = {"category": _word(SurfaceCategory)}
