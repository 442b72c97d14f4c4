"""The conversion event: its JSON, a typed view of it, and what is kept of a rejected one.

All the protocol's rules are checked once, for the whole event, when it is made. An event that
exists is valid and has its final JSON, so nothing after it checks or writes again. Its fields
are read back from that JSON on first access, which most callers never need.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, NoReturn

import attrs
import orjson
from cattrs.preconf.orjson import make_converter

from adcp_tracker._formatting import describe
from adcp_tracker.events.model import (
    COMMON_ACTION_SOURCES,
    CUSTOM_DATA,
    EMPTY,
    MAX_ID,
    NEWER_EVENT_TYPES,
    NEWER_UID_TYPES,
    SURFACE,
    USER_MATCH,
    ActionSource,
    Content,
    CustomData,
    EventType,
    Surface,
    UniversalId,
    UserMatch,
)
from adcp_tracker.events.parsing import parse_time
from adcp_tracker.events.rules import (
    MAX_DIGITS,
    MISSING,
    InvalidField,
    Nested,
    at_root,
    choice,
    identifier,
    instant,
    json_object,
    newer_fields,
    rule,
    url,
)
from adcp_tracker.events.validation import (
    JsonDict,
    Omission,
    fields_of,
    fields_viewer,
    part,
    with_extra,
)
from adcp_tracker.exceptions import FieldError, InvalidEventError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_OPTIONS: Final = orjson.OPT_UTC_Z
_dumps: Final = orjson.dumps


@attrs.frozen(repr=False, init=False)
class Event:
    """A valid conversion event.

    Attributes:
        event_id: 1–256 characters; with type and event source, what sellers deduplicate by.
        event_type: What happened.
        event_time: When, with its UTC offset; the far future is allowed.
        user_match: Who the shopper is.
        custom_data: What it was about; ``watch_milestone`` needs its progress.
        action_source: Where it happened.
        event_source_url: The page's absolute URL, needed when it happened on a website.
        custom_event_name: Needed when the type is ``custom``.
        surface: Where it happened, in detail; not every seller takes it.
        ext: Extensions, each under its vendor's key.
        extra: Keys the protocol does not name.
        json: Its final JSON: one line of UTF-8 without line breaks or tabs, ``event_id`` first.
        is_baseline: Whether it uses nothing but what every kind and version of seller takes.
        omissions: What was left out of it because it broke a rule.

    Raises:
        InvalidEventError: If a rule is broken; it lists every broken one.
    """

    event_id: str = attrs.field(metadata=rule(identifier(MAX_ID)))
    event_type: EventType = attrs.field(metadata=rule(choice(EventType), view=EventType))
    event_time: datetime = attrs.field(metadata=rule(instant, view=parse_time))
    user_match: UserMatch | None = attrs.field(default=None, metadata=rule(USER_MATCH))
    custom_data: CustomData | None = attrs.field(default=None, metadata=rule(CUSTOM_DATA))
    action_source: ActionSource | None = attrs.field(
        default=None, metadata=rule(choice(ActionSource), view=ActionSource)
    )
    event_source_url: str | None = attrs.field(default=None, metadata=rule(url))
    custom_event_name: str | None = attrs.field(default=None, metadata=rule(identifier(MAX_ID)))
    surface: Surface | None = attrs.field(default=None, metadata=rule(SURFACE, since="3.1"))
    ext: Mapping[str, object] | None = attrs.field(
        default=None, hash=False, metadata=rule(json_object)
    )
    extra: Mapping[str, object] = attrs.field(default=EMPTY, hash=False)

    json: bytes = attrs.field(init=False, eq=False)
    is_baseline: bool = attrs.field(init=False, eq=False)
    omissions: tuple[Omission, ...] = attrs.field(init=False, eq=False)

    def __init__(  # noqa: PLR0913, PLR0917 - an event's fields
        self,
        event_id: str,
        event_type: EventType | str,
        event_time: datetime,
        user_match: UserMatch | Mapping[str, object] | None = None,
        custom_data: CustomData | Mapping[str, object] | None = None,
        action_source: ActionSource | str | None = None,
        event_source_url: str | None = None,
        custom_event_name: str | None = None,
        surface: Surface | Mapping[str, object] | None = None,
        ext: Mapping[str, object] | None = None,
        extra: Mapping[str, object] = EMPTY,
    ) -> None:
        fields = {
            "event_id": event_id,
            "event_type": event_type,
            "event_time": event_time,
            "user_match": user_match,
            "custom_data": custom_data,
            "action_source": action_source,
            "event_source_url": event_source_url,
            "custom_event_name": custom_event_name,
            "surface": surface,
            "ext": ext,
        }
        try:
            made = event_of(encode_event(with_extra(fields, extra)))
        except InvalidField as invalid:
            raise InvalidEventError(at_root(invalid.errors)) from None
        for name in ("event_id", "json", "is_baseline", "omissions"):
            _set(self, name, getattr(made, name))

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - of any field
        """Read all fields from the JSON when the first one is asked for."""
        if name not in _FIELDS:
            raise AttributeError(name, name=name, obj=self)
        found = _view(read_json(self.json))
        for field, default in _FIELDS.items():
            _set(self, field, found.get(field, default))
        return object.__getattribute__(self, name)

    def __repr__(self) -> str:
        return f"Event(event_id={self.event_id!r}, event_type={self.event_type.value!r})"


def _check_conditions(present: JsonDict, omitted: list[FieldError] | None) -> None:
    """Check what one field asks of another."""
    errors: list[FieldError] = []
    if present.get("action_source") == "website" and present.get("event_source_url") is None:
        expected = 'the page\'s URL, as action_source is "website"'
        error = FieldError(".event_source_url", expected, "nothing", MISSING)
        if omitted is None:
            errors.append(error)
        else:
            del present["action_source"]
            if all(each.path != error.path for each in omitted):
                omitted.append(error)
    event_type = present.get("event_type")
    if event_type == "custom" and present.get("custom_event_name") is None:
        expected = 'a name, as event_type is "custom"'
        errors.append(FieldError(".custom_event_name", expected, "nothing", MISSING))
    if event_type == "watch_milestone" and not _has_progress(present.get("custom_data")):
        expected = 'this or progress_seconds, as event_type is "watch_milestone"'
        path = ".custom_data.progress_percent"
        errors.append(FieldError(path, expected, "nothing", MISSING))
    if errors:
        raise InvalidField(errors)


def _has_progress(data: object) -> bool:
    if isinstance(data, CustomData):
        data = {name: getattr(data, name) for name in _PROGRESS}
    return isinstance(data, Mapping) and any(data.get(name) is not None for name in _PROGRESS)


def _is_baseline(wire: JsonDict) -> bool:
    data, match = wire.get("custom_data"), wire.get("user_match")
    return (
        wire.get("action_source") in COMMON_ACTION_SOURCES
        and wire["event_type"] not in NEWER_EVENT_TYPES
        and _NEWER_FIELDS.isdisjoint(wire)
        and (data is None or _NEWER_DATA.isdisjoint(data))
        and (match is None or "uids" not in match or _knows_all(match["uids"]))
    )


def _knows_all(uids: list[JsonDict]) -> bool:
    return all(uid["type"] not in NEWER_UID_TYPES for uid in uids)


def event_of(
    wire: JsonDict,
    omissions: tuple[Omission, ...] = (),
    *,
    is_baseline: bool | None = None,
) -> Event:
    """Return the event of a checked mapping."""
    event = _new(Event)
    _set_id(event, wire["event_id"])
    _set_json(event, _dumps(wire, None, _OPTIONS))
    _set_baseline(event, _is_baseline(wire) if is_baseline is None else is_baseline)
    _set_omissions(event, omissions)
    return event


def read_json(data: bytes | str) -> Any:  # noqa: ANN401 - whatever it holds
    """Read JSON with every digit of its numbers.

    Raises:
        ValueError: If it is no JSON.
    """
    return json.loads(data, parse_float=Decimal, parse_constant=_reject_constant)


def _reject_constant(name: str) -> NoReturn:
    raise ValueError(name)


_PROGRESS: Final = ("progress_percent", "progress_seconds")
_new: Final = object.__new__
_set: Final = object.__setattr__
_set_id, _set_json, _set_baseline, _set_omissions = (
    getattr(Event, name).__set__ for name in ("event_id", "json", "is_baseline", "omissions")
)
_FIELDS: Final = {
    field.name: EMPTY if field.name == "extra" else None
    for field in attrs.fields(Event)
    if field.init
}
_NEWER_FIELDS: Final = newer_fields(Event)
_NEWER_DATA: Final = newer_fields(CustomData)
_view: Final = fields_viewer(Event)
EVENT: Final = part(Event, condition=_check_conditions)
"""The check of an event's fields."""


def encode_event(fields: dict[Any, Any], omitted: list[FieldError] | None = None) -> JsonDict:
    """Check the fields of an event and return its JSON mapping.

    Args:
        fields: By their names.
        omitted: Receives the errors of optional fields, which are left out. Without it, they are
            raised too.

    Raises:
        InvalidField: If a rule is broken; it lists every broken one.
    """
    wire: JsonDict = EVENT.encode(fields, omitted)
    return wire


converter: Final = make_converter()
"""Turns events and their parts into what orjson writes, and back."""


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
    """Make the hook that reads a part of an event. It is checked with the whole event."""
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
    line = _encode_kept(kept)
    data = kept.get("custom_data")
    parts = dict(data) if isinstance(data, dict) else {}
    sizes = {name: len(_encode_kept(part)) for name, part in parts.items()}
    for name in sorted(sizes, key=sizes.__getitem__, reverse=True):
        if len(line) <= most_bytes:
            break
        parts[name] = describe(parts[name])
        line = _encode_kept({**kept, "custom_data": parts})
    if len(line) <= most_bytes:
        return line
    return _encode_kept({name: _value(kept[name], "", set()) for name in _KNOWN_BY if name in kept})


def _encode_kept(kept: object) -> bytes:
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
