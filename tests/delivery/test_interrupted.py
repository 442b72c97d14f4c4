"""Work that an error interrupts is as if it had never been begun."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import orjson

from adcp_tracker import Tracker
from tests.support.destinations import ScriptedDestination, wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pytest

    from adcp_tracker.destinations.base import EventFailure

WAIT_S = 20.0


class _Stumbling(ScriptedDestination):
    """A destination whose own code fails once."""

    stumbles = 1

    def refuses(self, event: Mapping[str, object]) -> EventFailure | None:
        """Fail the first time."""
        del event
        self.stumbles -= 1
        if self.stumbles >= 0:
            raise LookupError("a bug in somebody's destination")
        return None


def _fill(directory: Path, *ids: str, event_type: str = "purchase") -> Path:
    """Leave a segment with events of these ids, and return where it is."""
    before = set((directory / "segments").glob("*.log"))
    tracker = Tracker(directory=directory, handle_sigterm=False)
    for each in ids:
        tracker.track(event_type, event_id=each, email="shopper@shop.example")
    tracker.close(0.0)
    (segment,) = set((directory / "segments").glob("*.log")) - before
    return segment


def _run(directory: Path, seller: ScriptedDestination) -> Tracker:
    return Tracker([seller], directory=directory, flush_interval=0.02, handle_sigterm=False)


def test_a_segment_that_cannot_be_read_costs_no_event_of_another(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What was read before the error was frozen by nobody, so it is read again."""
    _fill(tmp_path, "A-1", "A-2")
    unreadable = _fill(tmp_path, "B-1")
    unreadable.chmod(0o644)
    seller = ScriptedDestination()
    with caplog.at_level(logging.WARNING):
        tracker = _run(tmp_path, seller)
        tracker.start()
        wait_until(lambda: "flusher.failed" in caplog.text)
        tracker.close(0.1)
    unreadable.chmod(0o600)
    tracker = _run(tmp_path, seller)
    tracker.flush(WAIT_S)
    books = tracker.close(WAIT_S).total()
    assert sorted(set(seller.ids)) == ["A-1", "A-2", "B-1"]
    assert (books.accepted, books.delivered, books.pending) == (3, 3, 0)


def test_a_destination_whose_code_fails_costs_no_event(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its error is logged by its kind, and its events go once it has come to its senses."""
    _fill(tmp_path, "A-1", "A-2")
    _fill(tmp_path, "F-1", event_type="follow")
    seller = _Stumbling()
    with caplog.at_level(logging.WARNING):
        tracker = _run(tmp_path, seller)
        tracker.flush(WAIT_S)
        tracker.flush(WAIT_S)
    books = tracker.close(WAIT_S).total()
    assert sorted(orjson.loads(event)["event_id"] for event in seller.delivered) == [
        "A-1",
        "A-2",
        "F-1",
    ]
    assert (books.accepted, books.delivered, books.pending) == (3, 3, 0)
    assert "LookupError" in caplog.text
    assert "somebody's destination" not in caplog.text
