"""Events of which some values are odd, wherever they stand."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import attrs
import orjson
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from adcp_tracker.events.builder import build_event
from adcp_tracker.events.event import Event, decode
from adcp_tracker.events.model import (
    Content,
    CustomData,
    EventType,
    UniversalId,
    UserMatch,
)
from adcp_tracker.events.parsing import is_absent
from adcp_tracker.events.rules import REASONS
from adcp_tracker.exceptions import InvalidEventError
from tests.support.events import NOW, events, plain_events

if TYPE_CHECKING:
    from collections.abc import Callable

    from adcp_tracker.events.builder import EventFields

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


_PARTS = ("user_match", "custom_data", "surface")


def fields_of(part: attrs.AttrsInstance) -> dict[str, Any]:
    """Return the fields of an event or a part, and its unknown keys beside them."""
    names = [field.name for field in attrs.fields(type(part)) if field.init]
    fields = {name: getattr(part, name) for name in names}
    return {
        **{n: v for n, v in fields.items() if v is not None and n != "extra"},
        **fields["extra"],
    }


@st.composite
def odd_fields(draw: Callable[..., Any]) -> dict[str, Any]:
    """Make the fields of an event, some of them odd, somewhere in its tree."""

    def oddly(part: attrs.AttrsInstance) -> dict[str, Any]:
        names = [field.name for field in attrs.fields(type(part)) if field.init]
        names = [name for name in names if name != "extra"]
        odd = draw(st.dictionaries(st.sampled_from(names), st.sampled_from(ODDITIES), max_size=2))
        return {**fields_of(part), **odd}

    event = draw(st.one_of(plain_events, plain_events, events))
    fields = oddly(event)
    for name in _PARTS:
        if attrs.has(type(fields.get(name))) and draw(st.booleans()):
            fields[name] = oddly(fields[name])
    data = fields.get("custom_data")
    if isinstance(data, dict) and draw(st.booleans()):
        data["contents"] = (oddly(Content("x", 1)), Content("y"))
    return fields


def make(fields: dict[str, Any]) -> Event:
    """Make an event of its fields."""
    named: Any = {name: fields.get(name) for name in ("event_id", "event_type", "event_time")}
    known = {field.name for field in attrs.fields(Event)}
    extra = {name: value for name, value in fields.items() if name not in known}
    rest = {name: value for name, value in fields.items() if name in known and name not in named}
    return Event(**named, **rest, extra=extra)


@pytest.mark.slow
@given(odd_fields())
def test_an_odd_event_is_rejected_with_a_path_or_valid(fields: dict[str, Any]) -> None:
    """Whatever a field holds, the only error is the one that names it."""
    try:
        event = make(fields)
    except InvalidEventError as error:
        assert all(each.path.startswith("$") for each in error.errors)  # noqa: PT017 - either way
        assert all(each.code in REASONS for each in error.errors)  # noqa: PT017 - either way
        assert "object at 0x" not in str(error)  # noqa: PT017 - either way
    else:
        assert not any(byte < ord(" ") for byte in event.json)
        assert orjson.loads(event.json)["event_id"] == event.event_id
        assert decode(event.json).json == event.json


@pytest.mark.slow
@given(odd_fields())
def test_only_what_is_vital_makes_an_odd_event_a_rejected_one(fields: dict[str, Any]) -> None:
    """Outside strict, an event goes without its odd parts, and says which they were."""
    event_type = fields.pop("event_type")
    assume(not is_absent(fields.get("event_id")))  # it gets a random one
    details: EventFields = fields  # type: ignore[assignment]  # some of them are wrong
    try:
        strictly = build_event(event_type, now=NOW, **details)
    except InvalidEventError as error:
        wrong = error.errors
    else:
        assert build_event(event_type, now=NOW, strict=False, **details).json == strictly.json
        return
    try:
        event = build_event(event_type, now=NOW, strict=False, **details)
    except InvalidEventError as error:
        vital = {
            "$.event_id",
            "$.event_type",
            "$.custom_data",
            "$.custom_data.value",
            "$.custom_data.currency",
            "$.custom_data.progress_percent",
            "$.custom_data.progress_seconds",
            "$.custom_event_name",
        }
        assert vital & {each.path for each in error.errors}  # noqa: PT017 - either way
    else:
        assert event.omissions
        assert {each.reason for each in event.omissions} <= {each.code for each in wrong} | {
            "missing"
        }
        assert decode(event.json).json == event.json
