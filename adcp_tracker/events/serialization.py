"""Writing events and their parts as JSON, whatever they hold.

Fields that are ``None`` are left out, as the protocol knows no nulls; ``event_id`` is
always the first key; money keeps its digits; unknown keys stand beside the named ones.

What sellers take in one form only is written in that form: a page's address is escaped, a
list of universal ids without members is left out, and under unknown keys an integer of 2^53
or more is written in a string, as in the JSON of Protocol Buffers. As a number it would lose
digits in most parsers, and requests that hold one cannot be compared by RFC 8785.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

import attrs
import orjson

from adcp_tracker.events.model import (
    EMPTY,
    MAX_NUMBER,
    Content,
    CustomData,
    Surface,
    UniversalId,
    UserMatch,
)
from adcp_tracker.events.urls import normalize_url

if TYPE_CHECKING:
    from collections.abc import Callable

    from adcp_tracker.events.event import Event

JsonDict = dict[str, Any]
"""What orjson writes as one event or part."""

OPTIONS: Final = orjson.OPT_UTC_Z
"""How orjson writes events."""

_PARTS: Final = (Content, CustomData, Surface, UniversalId, UserMatch)
_MILLISECOND: Final = 1000
_UTC_OFFSET: Final = "+00:00"


def write(event: Event) -> bytes:
    """Write a valid event as one line of UTF-8 without line breaks or tabs."""
    return orjson.dumps(unstructure(event), None, OPTIONS)


def unstructure(part: attrs.AttrsInstance) -> JsonDict:
    """Turn an event or a part of one into what orjson writes."""
    wire: JsonDict = {}
    for field in attrs.fields(type(part)):
        # What is not given but worked out is not there yet: the line itself.
        if not field.init or field.name == "extra":
            continue
        value = getattr(part, field.name)
        written = None if value is None else _WRITERS.get(field.name, _value)(value)
        if written is not None:
            wire[field.name] = written
    for key, value in getattr(part, "extra", EMPTY).items():
        wire[key] = _value(value)
    return wire


def _value(value: object) -> object:  # noqa: PLR0911 - a line a kind
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return write_time(value)
    if isinstance(value, Decimal):
        return _digits(value)
    if isinstance(value, _PARTS):
        return unstructure(value)
    if isinstance(value, (list, tuple)):
        return [_value(member) for member in value]
    if isinstance(value, Mapping):
        return {key: _value(member) for key, member in value.items()}
    if type(value) is int and not -MAX_NUMBER < value < MAX_NUMBER:
        return str(value)
    return value


def _digits(value: Decimal) -> object:
    """Write an exact number by its digits, as orjson knows nothing of them."""
    digits = format(value, "f")
    is_unsafe = "." not in digits and not -MAX_NUMBER < value < MAX_NUMBER
    return digits if is_unsafe else orjson.Fragment(digits)


_WRITERS: Final[Mapping[str, Callable[[Any], object]]] = {
    "event_source_url": normalize_url,
    "uids": lambda uids: _value(uids) or None,
}
"""How fields are written that are not written as they are; ``None`` leaves one out."""


def write_time(value: datetime) -> str:
    """Write an instant in RFC 3339, with no more digits than it has."""
    precision = "seconds"
    if value.microsecond:
        precision = "microseconds" if value.microsecond % _MILLISECOND else "milliseconds"
    text = value.isoformat(timespec=precision)
    return text.removesuffix(_UTC_OFFSET) + "Z" if text.endswith(_UTC_OFFSET) else text
