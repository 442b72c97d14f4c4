"""Counts that must balance, and events to put in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.persons import balanced as balanced_in

if TYPE_CHECKING:
    from collections.abc import Callable

    from adcp_tracker.delivery.stats import DestinationStats
    from adcp_tracker.tracker import Tracker


def track(tracker: Tracker, count: int, first: int = 0) -> list[str]:
    """Track leads and return their ids."""
    ids = [f"L-{number}" for number in range(first, first + count)]
    for each in ids:
        tracker.track_lead(event_id=each, email="a@example.com")
    return ids


def track_before(make: Callable[..., Tracker], count: int, **settings: object) -> list[str]:
    """Track leads where nobody uploads yet, so that whoever begins to finds all of them."""
    writer = make(uploader="external", **settings)
    ids = track(writer, count)
    writer.close()
    return ids


def balanced(tracker: Tracker, name: str = "scripted") -> DestinationStats:
    """Return one destination's counts as the tracker has them, which must balance."""
    return balanced_in(tracker.stats(), name)
