"""Reads events and their parts from JSON, and writes them as JSON.

Money keeps its digits both ways: a :class:`~decimal.Decimal` is written as it is and read as one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from cattrs.preconf.orjson import make_converter

from adcp_tracker._formatting import describe
from adcp_tracker.events.event import (
    Content,
    CustomData,
    Event,
    Surface,
    UniversalId,
    UserMatch,
    encode_event,
    event_of,
    read_json,
)
from adcp_tracker.events.model import CUSTOM_DATA, SURFACE, USER_MATCH
from adcp_tracker.events.parsing import parse_time
from adcp_tracker.events.rules import InvalidField, Nested, at_root
from adcp_tracker.events.validation import fields_of, part
from adcp_tracker.exceptions import FieldError, InvalidEventError

if TYPE_CHECKING:
    from collections.abc import Callable

    from adcp_tracker.events.validation import JsonDict

converter: Final = make_converter()
"""Turns events and their parts into what orjson writes, and back."""


def encode(event: Event) -> bytes:
    """Return the final JSON of `event`.

    Returns:
        One line of UTF-8 without line breaks or tabs; ``event_id`` is its first key.
    """
    return event.json


def decode(data: bytes | str) -> Event:
    """Read an event from its JSON, with every digit of its numbers.

    Raises:
        InvalidEventError: If `data` is no JSON object, or the event in it breaks a rule.
    """
    try:
        wire = read_json(data)
    except (ValueError, RecursionError):
        error = FieldError("$", "a JSON object", "text that is no JSON")
        raise InvalidEventError([error]) from None
    return converter.structure(wire, Event)


def _structure_event(wire: object, _: type[Event]) -> Event:
    if not isinstance(wire, Mapping):
        raise InvalidEventError([FieldError("$", "a JSON object", describe(wire))])
    fields = {**wire, "event_time": parse_time(wire.get("event_time"))}
    try:
        return event_of(encode_event(fields))
    except InvalidField as invalid:
        raise InvalidEventError(at_root(invalid.errors)) from None


def _structure_part(nested: Nested) -> Callable[[Any, object], Any]:
    """Make the hook that reads a part of an event, and leaves it to the event to check it."""
    return lambda wire, _: nested.view(wire) if isinstance(wire, Mapping) else wire


def _unstructure_part(nested: Nested) -> Callable[[Any], JsonDict]:
    def unstructure(value: Any) -> JsonDict:  # noqa: ANN401 - an instance of the part's class
        wire: JsonDict = nested.encode(value, None)
        return wire

    return unstructure


converter.register_structure_hook(Event, _structure_event)
converter.register_unstructure_hook(Event, lambda event: encode_event(fields_of(event, Event)))
for _kind, _nested in {
    UserMatch: USER_MATCH,
    UniversalId: part(UniversalId),
    CustomData: CUSTOM_DATA,
    Content: part(Content),
    Surface: SURFACE,
}.items():
    converter.register_structure_hook(_kind, _structure_part(_nested))
    converter.register_unstructure_hook(_kind, _unstructure_part(_nested))
