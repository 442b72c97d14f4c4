"""The tools for users' own tests."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from adcp_tracker import EventType, InvalidEventError, Tracker
from adcp_tracker.destinations.base import Batch, Delivered, Destination, EventFailure, Paused
from adcp_tracker.testing import RecordingDestination, RecordingTracker

ORDER = {"id": "A-1", "total": "59.90", "currency": "EUR", "email": "alice@example.com"}


def test_events_are_seen_as_a_seller_gets_them() -> None:
    """An event comes back whole, with every digit, and equal to what the call returned."""
    with RecordingTracker() as tracker:
        returned = tracker.track_purchase(ORDER)
        tracker.track_lead("L-1", email="bob@example.com")

        purchase, lead = tracker.events

    assert purchase == returned
    assert purchase.custom_data is not None
    assert str(purchase.custom_data.value) == "59.90"
    assert lead.event_type is EventType.LEAD


def test_events_come_to_what_was_seen_before() -> None:
    """Looking twice shows the earlier events again, and what has come since."""
    with RecordingTracker() as tracker:
        tracker.track_purchase(ORDER)
        assert [event.event_id for event in tracker.events] == ["A-1"]

        tracker.track_refund(ORDER)
        assert [event.event_id for event in tracker.events] == ["A-1", "A-1:refund"]


def test_a_wrong_event_fails_the_test_that_makes_it() -> None:
    """The tracker is strict, unless it is told not to be."""
    wrong = {**ORDER, "total": Decimal(-1)}
    with RecordingTracker() as tracker, pytest.raises(InvalidEventError, match="value"):
        tracker.track_purchase(wrong)

    with RecordingTracker(strict=False) as tracker:
        tracker.track_purchase(wrong)

        assert tracker.events == []
        assert [letter.code for letter in tracker.dead_letters.list()] == ["INVALID_EVENT"]


def test_nothing_is_left_behind() -> None:
    """The temporary directory is gone once the tracker is closed."""
    with RecordingTracker() as tracker:
        tracker.track_purchase(ORDER)
        directory = Path(str(tracker.settings.directory))
        assert directory.is_dir()

    assert not directory.exists()


def test_a_given_directory_is_kept(tmp_path: Path) -> None:
    """Whoever names a directory wants to look into it."""
    with RecordingTracker(directory=tmp_path / "queue") as tracker:
        tracker.track_purchase(ORDER)

    assert (tmp_path / "queue").is_dir()


def test_other_destinations_get_the_events_too() -> None:
    """The recording one stands beside those of the test."""
    other = RecordingDestination(name="other")
    with RecordingTracker(destinations=[other]) as tracker:
        tracker.track_purchase(ORDER)
        assert len(tracker.events) == 1

    assert [event.event_id for event in other.events] == ["A-1"]


def test_a_destination_answers_as_it_is_told(tmp_path: Path) -> None:
    """An event that the answer names as failed is not among the delivered ones."""

    def answer(batch: Batch) -> Delivered:
        assert len(batch.events) == 3
        by_id = EventFailure("NO", "No.", event_id="b")
        return Delivered(failures=(by_id, EventFailure("NO", "No.", index=2)))

    seller = RecordingDestination(answer=answer)
    with Tracker([], directory=tmp_path / "queue") as tracker:  # so that they go as one batch
        for name in "abc":
            tracker.track_custom(name, event_id=name)
    with Tracker([seller], directory=tmp_path / "queue") as tracker:
        counts = tracker.flush().total()

    assert [event.event_id for event in seller.events] == ["a"]
    assert (counts.delivered, counts.dead) == (1, 2)


def test_a_destination_can_be_down(tmp_path: Path) -> None:
    """A paused destination keeps its events, and the call that made them never knew."""
    seller = RecordingDestination(answer=lambda _: Paused("FORBIDDEN", "No.", "Ask."))
    with Tracker([seller], directory=tmp_path / "queue") as tracker:
        tracker.track_purchase(ORDER)
        counts = tracker.flush(timeout=20.0).total()

    assert counts.pending == 1
    assert seller.events == []
    assert len(seller.batches) >= 1


def test_it_is_a_destination() -> None:
    """It satisfies the protocol that trackers work with."""
    assert isinstance(RecordingDestination(), Destination)
