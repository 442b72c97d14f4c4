"""Writing events that the short way does not take."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import orjson
import pytest

from adcp_tracker.events.event import Event, EventType


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
