"""The one way between an :class:`.Event` and its JSON.

Money keeps its digits both ways: a :class:`~decimal.Decimal` is written as it is and
read as one. Fields that are ``None`` are left out, as the protocol knows no nulls.
``event_id`` is always the first key.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any, Final

import orjson
from cattrs.preconf.orjson import make_converter

from adcp_tracker.events import (
    Content,
    CustomData,
    Event,
    Surface,
    UniversalId,
    UserMatch,
)
from adcp_tracker.exceptions import Fault, InvalidEventError
from adcp_tracker.inspection import describe
from adcp_tracker.parts import EMPTY
from adcp_tracker.reading import read_event

Wire = dict[str, Any]
"""What orjson writes as one event or part."""

_MILLISECOND: Final = 1000
_UTC: Final = timezone.utc

converter: Final = make_converter()
"""Turns events and their parts into what orjson writes, and back."""


def _number(value: Decimal | int) -> object:
    """Give a number's own digits to orjson, which knows no Decimal."""
    if type(value) is Decimal:
        text = str(value)
        return orjson.Fragment(text if "E" not in text else format(value, "f"))
    return value


def _unstructure_content(content: Content) -> Wire:
    fields = content.__dict__
    wire = {"id": fields["id"]}
    if (quantity := fields["quantity"]) is not None:
        wire["quantity"] = quantity
    if (price := fields["price"]) is not None:
        wire["price"] = _number(price)
    if (brand := fields["brand"]) is not None:
        wire["brand"] = brand
    if (extra := fields["extra"]) is not EMPTY:
        wire.update(extra)
    return wire


def _unstructure_data(data: CustomData) -> Wire:
    wire = {name: value for name, value in data.__dict__.items() if value is not None}
    if (value := wire.get("value")) is not None:
        wire["value"] = _number(value)
    if "contents" in wire:
        wire["contents"] = [_unstructure_content(content) for content in wire["contents"]]
    return _with_extra(wire)


def _unstructure_uid(uid: UniversalId) -> Wire:
    return _with_extra({"type": uid.type.value, "value": uid.value, "extra": uid.extra})


def _unstructure_surface(surface: Surface) -> Wire:
    wire = {name: value for name, value in surface.__dict__.items() if value is not None}
    wire["category"] = surface.category.value
    return _with_extra(wire)


def _unstructure_match(match: UserMatch) -> Wire:
    wire = {name: value for name, value in match.__dict__.items() if value is not None}
    if "uids" in wire:
        wire["uids"] = [_unstructure_uid(uid) for uid in wire["uids"]]
    return _with_extra(wire)


def _with_extra(wire: Wire) -> Wire:
    """Put unknown keys beside the named ones."""
    extra = wire.pop("extra")
    if extra is not EMPTY:
        wire.update(extra)
    return wire


def _unstructure_event(event: Event) -> Wire:
    fields = event.__dict__
    event_time = fields["event_time"]
    if (
        type(event_time) is not datetime
        or event_time.tzinfo is not _UTC
        or not event_time.microsecond % _MILLISECOND
    ):
        event_time = _time(event_time)
    wire = {
        "event_id": fields["event_id"],
        "event_type": fields["event_type"]._value_,
        "event_time": event_time,
    }
    if (match := fields["user_match"]) is not None:
        wire["user_match"] = _unstructure_match(match)
    if (data := fields["custom_data"]) is not None:
        wire["custom_data"] = _unstructure_data(data)
    if (source := fields["action_source"]) is not None:
        wire["action_source"] = source._value_
    if (url := fields["event_source_url"]) is not None:
        wire["event_source_url"] = url
    if (name := fields["custom_event_name"]) is not None:
        wire["custom_event_name"] = name
    if (surface := fields["surface"]) is not None:
        wire["surface"] = _unstructure_surface(surface)
    if (ext := fields["ext"]) is not None:
        wire["ext"] = ext
    if (extra := fields["extra"]) is not EMPTY:
        wire.update(extra)
    return wire


def _time(value: datetime) -> str:
    """Write an instant by hand where orjson would not, or would with too many digits."""
    precision = "seconds"
    if value.microsecond:
        precision = "microseconds" if value.microsecond % _MILLISECOND else "milliseconds"
    text = value.isoformat(timespec=precision)
    return text[:-6] + "Z" if text.endswith("+00:00") else text


def _fallback(value: object) -> object:
    """Write what unknown keys may hold beyond orjson's own types."""
    if isinstance(value, Decimal):
        return _number(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"not a value of an event: {type(value).__name__}")


def encode(event: Event) -> bytes:
    """Write `event` as its final JSON.

    Returns:
        One line of UTF-8 without line breaks or tabs; ``event_id`` is its first key.
    """
    return orjson.dumps(_unstructure_event(event), _fallback, orjson.OPT_UTC_Z)


def decode(data: bytes | str) -> Event:
    """Read an event from its JSON, with every digit of its numbers.

    Raises:
        InvalidEventError: If `data` is no JSON object, or the event in it breaks a rule.
    """
    try:
        wire = json.loads(data, parse_float=Decimal)
    except (ValueError, RecursionError) as error:
        raise InvalidEventError([Fault("$", "an event's JSON", "text that is none")]) from error
    return _structure_event(wire)


def _structure_event(wire: object, _: object = None) -> Event:
    if not isinstance(wire, Mapping):
        raise InvalidEventError([Fault("$", "a JSON object", describe(wire))])
    return Event(**read_event(wire))


converter.register_unstructure_hook(Event, _unstructure_event)
converter.register_unstructure_hook(UserMatch, _unstructure_match)
converter.register_unstructure_hook(CustomData, _unstructure_data)
converter.register_unstructure_hook(Content, _unstructure_content)
converter.register_unstructure_hook(UniversalId, _unstructure_uid)
converter.register_unstructure_hook(Surface, _unstructure_surface)
converter.register_structure_hook(Event, _structure_event)
