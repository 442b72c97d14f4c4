"""RejectedEvent, and what a dead letter may keep of it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Final

import attrs
import orjson

from adcp_tracker._formatting import describe
from adcp_tracker.events.model import Content, CustomData
from adcp_tracker.events.rules import MAX_DIGITS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from adcp_tracker.exceptions import FieldError


# A search text and custom keys could contain anything.
_PRIVATE: Final = frozenset({"search_string", "extra"})
_MAX_KEPT: Final = 256
_KNOWN_BY: Final = ("event_id", "event_type", "event_time")


def redact_rejected(
    event_id: object,
    event_type: object,
    event_time: object,
    data: object,
    errors: Iterable[FieldError],
) -> dict[str, object]:
    """Return an event's id, type, time and custom data, with invalid values described.

    Returns:
        A mapping for :func:`encode_within`; amounts in it have their own digits.
    """
    wrong = {error.path for error in errors}
    kept = {
        "event_id": _value(event_id, "$.event_id", wrong),
        "event_type": _value(event_type, "$.event_type", wrong),
        "event_time": _value(event_time, "$.event_time", wrong),
    }
    if isinstance(data, (CustomData, Mapping)):
        kept["custom_data"] = _part(data, CustomData, "$.custom_data", wrong)
    return kept


def encode_within(kept: Mapping[str, object], most_bytes: int) -> bytes:
    """Return the JSON of what :func:`redact_rejected` kept, within a size.

    The largest parts of the custom data are replaced by their description; if that isn't
    enough, only the id, type and time are kept.

    Args:
        kept: What was kept.
        most_bytes: The size.
    """
    line = _dumps(kept)
    data = kept.get("custom_data")
    parts = dict(data) if isinstance(data, dict) else {}
    sizes = {name: len(_dumps(part)) for name, part in parts.items()}
    for name in sorted(sizes, key=sizes.__getitem__, reverse=True):
        if len(line) <= most_bytes:
            break
        parts[name] = describe(parts[name])
        line = _dumps({**kept, "custom_data": parts})
    if len(line) <= most_bytes:
        return line
    return _dumps({name: _value(kept[name], "", set()) for name in _KNOWN_BY if name in kept})


def _dumps(kept: object) -> bytes:
    return orjson.dumps(kept, _number)


def _number(value: Decimal) -> orjson.Fragment:
    """Write an amount as a number, so that the event can be corrected and sent."""
    return orjson.Fragment(format(value, "f"))


def _part(
    part: object, kind: type[attrs.AttrsInstance], path: str, wrong: set[str]
) -> dict[str, object]:
    kept = {}
    for field in attrs.fields(kind):
        name = field.name
        value = part.get(name) if isinstance(part, Mapping) else getattr(part, name)
        if value is not None and name not in _PRIVATE:
            kept[name] = _value(value, f"{path}.{name}", wrong)
    return kept


def _value(value: object, path: str, wrong: set[str]) -> object:  # noqa: PLR0911 - a line a kind
    if path in wrong:
        return describe(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, (list, tuple)):
        return [_value(member, f"{path}[{index}]", wrong) for index, member in enumerate(value)]
    if isinstance(value, (Content, Mapping)):
        return _part(value, Content, path, wrong)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, float):
        value = Decimal(repr(value))
    if isinstance(value, Decimal):
        return value if value.is_finite() and abs(value.adjusted()) < MAX_DIGITS else str(value)
    if isinstance(value, str):
        return value if len(value) <= _MAX_KEPT else describe(value)
    return value if type(value) is int else describe(value)


@attrs.frozen
class RejectedEvent:
    """An event that is invalid. It is stored as a dead letter.

    It is returned in place of an event, so that code that only reads the id keeps working.

    Attributes:
        event_type: Its type.
        event_id: Its id; empty if it has none.
        errors: Every broken rule.
    """

    event_type: str
    event_id: str
    errors: tuple[FieldError, ...]

    @property
    def faults(self) -> tuple[FieldError, ...]:
        """The same errors, for code written before they had their name."""
        return self.errors
