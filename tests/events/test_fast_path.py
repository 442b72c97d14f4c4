"""The quick judgement against the closer look."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adcp_tracker.events.event import Content, CustomData, Event, EventType, UniversalId, UserMatch
from adcp_tracker.events.fast_path import write_sound
from adcp_tracker.events.serialization import write
from adcp_tracker.events.validation import validate
from adcp_tracker.exceptions import InvalidEventError
from tests.support.events import NOW, events, plain_events

if TYPE_CHECKING:
    from collections.abc import Callable

Part = TypeVar("Part", bound=attrs.AttrsInstance)

ODDITIES: list[object] = [
    "",
    " ",
    "x",
    "a\nb",
    'a"b',
    "a\x7fb",
    "a\x9bb",
    "\u2028",
    "\ud800",
    "é",
    "x" * 300,
    "x" * 600,
    "f" * 64,
    "F" * 64,
    "12.5",
    "EUR",
    "eur",
    "1.2.3.4",
    "::1",
    "1.2.3.4\n",
    "fe80::1%eth0",
    "https://a.example/",
    "//a.example",
    "website",
    "purchase",
    "custom",
    b"bytes",
    True,
    0,
    -1,
    1,
    2**70,
    1.5,
    float("nan"),
    Decimal("NaN"),
    Decimal("sNaN"),
    Decimal("Infinity"),
    Decimal(-1),
    Decimal("-0"),
    Decimal("1E+40"),
    Decimal("1E-40"),
    Decimal("1E+3"),
    [],
    ["x"],
    [""],
    [1],
    (),
    ("x", "y"),
    {},
    {"a": 1},
    {"id": 1},
    {"ext": 1},
    {1: 2},
    {"a": None},
    {"a": float("inf")},
    EventType.PURCHASE,
    EventType.CUSTOM,
    NOW,
    datetime(2026, 1, 1),  # noqa: DTZ001 - naive on purpose
    UserMatch(),
    UserMatch(client_ip="1.2.3.4"),
    CustomData(),
    [Content("x")],
    [Content("x", 0)],
    [UniversalId("id5", "x")],  # type: ignore[arg-type]  # a string of the same value is fine
    object(),
]
"""Values that some field takes and most do not."""


def unchecked(kind: type[Part], **fields: object) -> Part:
    """Make an instance of `kind` that nobody has judged."""
    made: Part = object.__new__(kind)
    for field in attrs.fields(kind):
        default = None if field.default is attrs.NOTHING else field.default
        object.__setattr__(made, field.name, fields.get(field.name, default))
    return made


@st.composite
def odd_events(draw: Callable[..., Any]) -> Event:
    """Make an event of which some fields are odd, somewhere in its tree."""

    def oddly(part: Part) -> Part:
        names = [field.name for field in attrs.fields(type(part)) if field.init]
        odd = draw(st.dictionaries(st.sampled_from(names), st.sampled_from(ODDITIES), max_size=2))
        return unchecked(type(part), **{name: getattr(part, name) for name in names} | odd)

    event: Event = oddly(draw(st.one_of(plain_events, plain_events, events)))
    if type(event.user_match) is UserMatch and draw(st.booleans()):
        object.__setattr__(event, "user_match", oddly(event.user_match))
    data = event.custom_data
    if type(data) is CustomData and draw(st.booleans()):
        data = oddly(data)
        if type(data.contents) is tuple and data.contents and draw(st.booleans()):
            object.__setattr__(data, "contents", (oddly(Content("x", 1)),))
        object.__setattr__(event, "custom_data", data)
    return event


@pytest.mark.slow
@given(odd_events())
def test_what_is_sound_has_no_fault(event: Event) -> None:
    """The quick judgement never lets through what the closer look refuses."""
    line = write_sound(event)
    if line is not None:
        assert validate(event) == []
        assert line == write(event)


@pytest.mark.slow
@given(odd_events())
def test_what_has_no_fault_can_be_written(event: Event) -> None:
    """The closer look never lets through what has no JSON, or has a raw control character."""
    if not validate(event):
        line = write(event)
        assert not any(byte < ord(" ") for byte in line)


@pytest.mark.slow
@given(odd_events())
def test_an_odd_event_is_refused_with_a_path_and_without_a_crash(event: Event) -> None:
    """Whatever a field holds, the only error is the one that names it."""
    fields = {field.name: getattr(event, field.name) for field in attrs.fields(Event) if field.init}
    if validate(event):
        with pytest.raises(InvalidEventError) as caught:
            Event(**fields)
        assert all(fault.path.startswith("$") for fault in caught.value.errors)
        assert "object at 0x" not in str(caught.value)
    else:
        assert Event(**fields) == event


@given(plain_events)
def test_ordinary_events_are_judged_at_once(event: Event) -> None:
    """An event as most are takes the quick way, unless its strings need escapes."""
    line = write(event)
    if line.isascii() and b"\\" not in line:
        assert write_sound(event) == line
