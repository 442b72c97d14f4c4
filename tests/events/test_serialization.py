"""Writing events that the short way does not take."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adcp_tracker.events.event import Event, event_of
from adcp_tracker.events.model import EventType
from adcp_tracker.recorder import type_of


@pytest.mark.parametrize(
    ("microsecond", "written"),
    [
        (0, "2026-01-02T03:04:05Z"),
        (7_000, "2026-01-02T03:04:05.007Z"),
        (120_000, "2026-01-02T03:04:05.120Z"),
        (123_456, "2026-01-02T03:04:05.123456Z"),
    ],
)
def test_an_instant_of_any_precision_is_written(microsecond: int, written: str) -> None:
    """One event in a thousand happens on a whole millisecond; it is an event like others."""
    time = datetime(2026, 1, 2, 3, 4, 5, microsecond, tzinfo=timezone.utc)
    event = Event("A-1", EventType.PURCHASE, time)
    assert orjson.loads(event.json)["event_time"] == written


def test_an_offset_is_kept() -> None:
    """A time zone other than UTC is written as it was given."""
    zone = timezone(timedelta(hours=5, minutes=30))
    event = Event("A-1", EventType.PURCHASE, datetime(2026, 1, 2, 3, 4, 5, tzinfo=zone))
    assert orjson.loads(event.json)["event_time"] == "2026-01-02T03:04:05+05:30"


@given(
    event_id=st.text(min_size=1, max_size=40) | st.just('A","event_type":"x'),
    kind=st.sampled_from(EventType),
)
def test_the_type_is_found_without_parsing_the_event(event_id: str, kind: EventType) -> None:
    """Whatever the id contains; also where it looks like the field itself."""
    wire = {"event_id": event_id, "event_type": kind.value, "event_time": "2026-01-02T03:04:05Z"}
    event = event_of(wire)
    assert type_of(event, event.json) == kind.value


def test_the_type_of_an_event_whose_keys_are_in_another_order_is_parsed() -> None:
    """Nothing but the beginning is looked at."""
    event = Event("A-1", EventType.LEAD, datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc))
    assert type_of(event, b'{"event_type":"purchase","event_id":"A-1"}') == "lead"
