"""Writing events and their parts as JSON, whatever they hold.

Fields that are ``None`` are left out, as the protocol knows no nulls; ``event_id`` is
always the first key; money keeps its digits; unknown keys stand beside the named ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

import attrs
import orjson

from adcp_tracker.events.parts import EMPTY, Content, CustomData, Surface, UniversalId, UserMatch

if TYPE_CHECKING:
    from adcp_tracker.events.event import Event

Wire = dict[str, Any]
"""What orjson writes as one event or part."""

OPTIONS: Final = orjson.OPT_UTC_Z
"""How orjson writes events."""

_PARTS: Final = (Content, CustomData, Surface, UniversalId, UserMatch)
_MILLISECOND: Final = 1000
_UTC_OFFSET: Final = "+00:00"


def write(event: Event) -> bytes:
    """Write a valid event as one line of UTF-8 without line breaks or tabs."""
    return orjson.dumps(unstructure(event), None, OPTIONS)


def unstructure(part: attrs.AttrsInstance) -> Wire:
    """Turn an event or a part of one into what orjson writes."""
    wire: Wire = {}
    for field in attrs.fields(type(part)):
        # What is not given but worked out is not there yet: the line itself.
        if not field.init or field.name == "extra":
            continue
        value = getattr(part, field.name)
        if value is not None:
            wire[field.name] = _value(value)
    for key, value in getattr(part, "extra", EMPTY).items():
        wire[key] = _value(value)
    return wire


def _value(value: object) -> object:  # noqa: PLR0911 - a line a kind
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return write_time(value)
    if isinstance(value, Decimal):
        # orjson knows nothing of exact numbers, so it gets their digits.
        return orjson.Fragment(format(value, "f"))
    if isinstance(value, _PARTS):
        return unstructure(value)
    if isinstance(value, (list, tuple)):
        return [_value(member) for member in value]
    if isinstance(value, Mapping):
        return {key: _value(member) for key, member in value.items()}
    return value


def write_time(value: datetime) -> str:
    """Write an instant in RFC 3339, with no more digits than it has."""
    precision = "seconds"
    if value.microsecond:
        precision = "microseconds" if value.microsecond % _MILLISECOND else "milliseconds"
    text = value.isoformat(timespec=precision)
    return text.removesuffix(_UTC_OFFSET) + "Z" if text.endswith(_UTC_OFFSET) else text
