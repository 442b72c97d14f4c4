"""Work that an error interrupts is as if it had never been begun."""

from __future__ import annotations

import logging
import threading
from asyncio import CancelledError
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from adcp_tracker import Tracker
from adcp_tracker._platform import SystemClock
from adcp_tracker.journal.records import encode_event
from adcp_tracker.outbox.directory import open_outbox
from tests.support.destinations import ScriptedDestination, wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from adcp_tracker.destinations.base import Batch, EventFailure, Outcome
    from adcp_tracker.journal.files import QueueDirectory
    from adcp_tracker.outbox.storage import Outbox

WAIT_S = 20.0
NOW_MS = 1_767_225_600_123


class _Stumbling(ScriptedDestination):
    """A destination whose own code fails once."""

    stumbles = 1
    error: type[BaseException] = LookupError

    def check(self, event: Mapping[str, object]) -> EventFailure | None:
        """Fail the first time."""
        del event
        self.stumbles -= 1
        if self.stumbles >= 0:
            raise self.error("a bug in somebody's destination")
        return None


class _Crowded(ScriptedDestination):
    """A destination that knows how many requests were on their way at once."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0

    def send(self, batch: Batch) -> Outcome:
        """Count it while it is on its way."""
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            return super().send(batch)
        finally:
            self.now -= 1


class _Failing(SystemClock):
    """A clock that fails the uploading thread once, when it is told to."""

    def __init__(self) -> None:
        self.is_to_fail = False
        self.asked_since = 0

    def now(self) -> float:
        """Return the time, or fail."""
        if threading.current_thread().name == "adcp_tracker":
            self.asked_since += 1
            if self.is_to_fail:
                self.is_to_fail, self.asked_since = False, 0
                raise LookupError("a bug")
        return SystemClock.now()


def _fill(directory: Path, *ids: str, event_type: str = "purchase") -> Path:
    """Leave a segment with events of these ids, and return where it is."""
    before = set((directory / "segments").glob("*.log"))
    tracker = Tracker(directory=directory, handle_sigterm=False)
    for each in ids:
        tracker.track(event_type, event_id=each, email="shopper@shop.example")
    tracker.close(0.0)
    (segment,) = set((directory / "segments").glob("*.log")) - before
    return segment


def _run(directory: Path, seller: ScriptedDestination, **settings: Any) -> Tracker:  # noqa: ANN401 - as a tracker takes them
    return Tracker(
        [seller], directory=directory, flush_interval=0.02, handle_sigterm=False, **settings
    )


def test_a_segment_that_cannot_be_read_costs_no_event_of_another(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What can be read goes at once, and the rest once it can be."""
    _fill(tmp_path, "A-1", "A-2")
    unreadable = _fill(tmp_path, "B-1")
    unreadable.chmod(0o644)
    seller = ScriptedDestination()
    with caplog.at_level(logging.WARNING):
        tracker = _run(tmp_path, seller)
        tracker.start()
        wait_until(lambda: "segment.unreadable" in caplog.text)
        wait_until(lambda: sorted(seller.ids) == ["A-1", "A-2"])
        tracker.close(0.1)
    unreadable.chmod(0o600)
    tracker = _run(tmp_path, seller)
    tracker.flush(WAIT_S)
    counts = tracker.close(WAIT_S).total()
    assert sorted(set(seller.ids)) == ["A-1", "A-2", "B-1"]
    assert (counts.accepted, counts.delivered, counts.pending) == (3, 3, 0)


@pytest.mark.parametrize("error", [LookupError, CancelledError, SystemExit, KeyboardInterrupt])
def test_a_destination_whose_code_fails_costs_no_event(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, error: type[BaseException]
) -> None:
    """Its error is logged by its kind, and its events go once it has come to its senses."""
    _fill(tmp_path, "A-1", "A-2")
    _fill(tmp_path, "F-1", event_type="follow")
    seller = _Stumbling()
    seller.error = error
    with caplog.at_level(logging.WARNING):
        tracker = _run(tmp_path, seller)
        tracker.flush(WAIT_S)
        tracker.flush(WAIT_S)
    counts = tracker.close(WAIT_S).total()
    assert sorted(orjson.loads(event)["event_id"] for event in seller.delivered) == [
        "A-1",
        "A-2",
        "F-1",
    ]
    assert (counts.accepted, counts.delivered, counts.pending) == (3, 3, 0)
    assert f"error='{error.__name__}'" in caplog.text
    assert "somebody's destination" not in caplog.text


@pytest.mark.slow
def test_an_error_while_a_request_is_on_its_way_sends_nothing_twice(tmp_path: Path) -> None:
    """The lead is kept until the answer is there and settled."""
    seller, clock = _Crowded(), _Failing()
    seller.gate.clear()
    tracker = _run(tmp_path, seller, _clock=clock)
    tracker.track_lead(event_id="A-1", email="a@example.com")
    wait_until(lambda: seller.batches)
    clock.is_to_fail = True
    wait_until(lambda: not clock.is_to_fail and (clock.asked_since > 20 or seller.most > 1))
    seller.gate.set()
    assert tracker.close(WAIT_S).total().delivered == 1
    assert (seller.ids, seller.most) == (["A-1"], 1)


def test_a_segment_that_cannot_be_synced_stops_no_leader(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is synced later, and meanwhile the request on its way stays where it is known."""
    caplog.set_level(logging.DEBUG, "adcp_tracker")
    _fill(tmp_path, "A-1")
    seller = ScriptedDestination()
    seller.gate.clear()
    tracker = _run(tmp_path, seller)
    tracker.start()
    wait_until(lambda: seller.batches)
    unreadable = _fill(tmp_path, "B-1")
    unreadable.chmod(0o644)
    with unreadable.open("ab") as file:  # so that it has to be synced, if it was just before
        file.write(encode_event(b'{"event_id":"B-2"}', NOW_MS))
    wait_until(lambda: "segments.not_synced" in caplog.text or "flusher.failed" in caplog.text)
    unreadable.chmod(0o600)
    seller.gate.set()
    assert tracker.close(WAIT_S).total().delivered == 3
    assert seller.ids == ["A-1", "B-1", "B-2"]
    assert caplog.text.count("leader.elected") == 1


def test_an_error_that_is_no_exception_does_not_end_the_uploading_thread(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Code of others runs in it, and may raise what only looks like the end of a program."""
    failed = threading.Event()

    def fail_once(directory: QueueDirectory) -> Outbox:
        if not failed.is_set():
            failed.set()
            raise CancelledError
        return open_outbox(directory)

    seller = ScriptedDestination()
    tracker = _run(tmp_path, seller, _outbox=fail_once)
    tracker.track_lead(event_id="A-1", email="a@example.com")
    wait_until(lambda: seller.ids)
    assert tracker.close(WAIT_S).total().delivered == 1
    assert "CancelledError" in caplog.text
