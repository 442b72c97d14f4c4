"""The counts by the hour, which what sellers count is held against."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from adcp_tracker import Tracker
from adcp_tracker.destinations.base import Delivered, EventFailure
from adcp_tracker.outbox.state import Counts
from tests.support.destinations import HandClock, ScriptedDestination

if TYPE_CHECKING:
    from pathlib import Path

HOUR = 3600.0
START = 495_000 * HOUR


def test_events_are_counted_in_the_hour_of_their_delivery() -> None:
    """From the hour's first second to its last, and apart from the next hour's."""
    counts = Counts()
    for count, second in ((2, 0.0), (3, HOUR - 0.01), (5, HOUR)):
        counts.deliver(count, START + second, live=True)
    assert counts.hourly == {"495000": 5, "495001": 5}
    assert counts.delivered == 10


@pytest.mark.parametrize(("count", "live"), [(3, False), (0, True)])
def test_tests_and_nothing_are_no_hour(count: int, live: bool) -> None:  # noqa: FBT001 - a case
    """Sellers count no test events, so neither do the hours; empty batches make no hour."""
    counts = Counts()
    counts.deliver(count, START, live=live)
    assert (counts.hourly, counts.delivered) == ({}, count)


def test_only_the_last_35_days_are_kept() -> None:
    """The number of hours is bounded, and the oldest goes first."""
    counts = Counts()
    for hour in range(35 * 24 + 7):
        counts.deliver(1, START + hour * HOUR, live=True)
    assert len(counts.hourly) == 35 * 24
    assert min(counts.hourly) == str(495_000 + 7)
    assert counts.delivered == 35 * 24 + 7


def test_hours_are_in_the_stats_and_survive_a_restart(tmp_path: Path) -> None:
    """What was delivered in an hour is there for a later process; failed events are not in it."""
    clock = HandClock(START)
    failing = Delivered(failures=(EventFailure("INVALID_EVENT", "no", event_id="L-1"),))
    destination = ScriptedDestination(outcomes=[failing])
    with Tracker([destination], directory=tmp_path, _clock=clock) as tracker:
        for number in range(3):
            tracker.track_lead(f"L-{number}", event_id=f"L-{number}")
        tracker.track_lead("T", test_event_code="T")
        tracker.flush(10.0)
    clock.time += HOUR
    with Tracker([destination], directory=tmp_path, _clock=clock) as tracker:
        tracker.track_lead("L-9")
        tracker.flush(10.0)
        hourly = tracker.stats().destinations["scripted"].hourly
    assert hourly == {"495000": 2, "495001": 1}
