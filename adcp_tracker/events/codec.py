"""The one converter between an :class:`.Event` and its JSON.

Money keeps its digits both ways: a :class:`~decimal.Decimal` is written as it is and read as one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from cattrs.preconf.orjson import make_converter

from adcp_tracker._formatting import describe
from adcp_tracker.events.event import Content, CustomData, Event, Surface, UniversalId, UserMatch
from adcp_tracker.events.parsing import (
    parse_content,
    parse_custom_data,
    parse_event,
    parse_surface,
    parse_universal_id,
    parse_user_match,
)
from adcp_tracker.events.serialization import unstructure
from adcp_tracker.exceptions import FieldError, InvalidEventError

converter: Final = make_converter()
"""Turns events and their parts into what orjson writes, and back."""


def encode(event: Event) -> bytes:
    """Give the final JSON of `event`.

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
        wire = json.loads(data, parse_float=Decimal)
    except (ValueError, RecursionError):
        raise InvalidEventError(
            [FieldError("$", "a JSON object", "text that is no JSON")]
        ) from None
    return converter.structure(wire, Event)


def _structure_event(wire: object, _: type[Event]) -> Event:
    if not isinstance(wire, Mapping):
        raise InvalidEventError([FieldError("$", "a JSON object", describe(wire))])
    return Event(**parse_event(wire))


converter.register_structure_hook(Event, _structure_event)
converter.register_structure_hook(UserMatch, lambda wire, _: parse_user_match(wire))
converter.register_structure_hook(UniversalId, lambda wire, _: parse_universal_id(wire))
converter.register_structure_hook(CustomData, lambda wire, _: parse_custom_data(wire))
converter.register_structure_hook(Content, lambda wire, _: parse_content(wire))
converter.register_structure_hook(Surface, lambda wire, _: parse_surface(wire))
for _part in (Event, UserMatch, UniversalId, CustomData, Content, Surface):
    converter.register_unstructure_hook(_part, unstructure)
