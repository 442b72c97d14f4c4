"""What a new leader sets right that the last one left half done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adcp_tracker import Tracker
from adcp_tracker.destinations.base import Batch, Delivered, EventFailure, Paused
from adcp_tracker.journal.files import QueueDirectory
from adcp_tracker.outbox.dead_letters import DeadLetterStore
from adcp_tracker.outbox.directory import KnownDestinations
from tests.support.destinations import ScriptedDestination, wait_until

if TYPE_CHECKING:
    from pathlib import Path

WAIT_S = 20.0


def refuse_all(batch: Batch) -> Delivered:
    """Refuse every event of a batch."""
    return Delivered(
        tuple(EventFailure("NO", "no", index=index) for index in range(len(batch.events)))
    )


def run(directory: Path, *destinations: ScriptedDestination, ids: tuple[str, ...] = ()) -> Tracker:
    """Live a tracker's life, from its first event to its end."""
    tracker = Tracker(destinations, directory=directory, flush_interval=0.02, handle_sigterm=False)
    for each in ids:
        tracker.track("purchase", event_id=each, email="shopper@shop.example")
    tracker.flush(WAIT_S)
    tracker.close(WAIT_S)
    return tracker


def test_dead_letters_removed_before_the_stats_were_written_leave_the_stats(tmp_path: Path) -> None:
    """Whoever died between the two had put them on their way again, or given them up."""
    tracker = run(tmp_path, ScriptedDestination(outcomes=[refuse_all]), ids=("A-1", "A-2", "A-3"))
    first, *_ = tracker.dead_letters.list()
    assert DeadLetterStore(QueueDirectory(tmp_path)).remove({first.id}) == 1
    counts = run(tmp_path, ScriptedDestination(), ids=("A-4",)).stats().total()
    assert (counts.accepted, counts.delivered, counts.dead) == (3, 1, 2)


def test_a_rebuilt_outbox_keeps_letters_of_sellers_that_are_not_configured(tmp_path: Path) -> None:
    """Nobody would decide again about an event whose destination nobody knows."""
    old, new = ScriptedDestination("old", [refuse_all]), ScriptedDestination("new")
    new.gate.clear()
    tracker = Tracker([old, new], directory=tmp_path, flush_interval=0.02, handle_sigterm=False)
    tracker.track("purchase", event_id="A-1", email="shopper@shop.example")
    wait_until(tracker.dead_letters.list)
    new.gate.set()
    segment = (tmp_path / "segments").iterdir()
    kept = {path: path.read_bytes() for path in segment}
    tracker.close(WAIT_S)
    for path, data in kept.items():
        path.write_bytes(data)
        path.chmod(0o600)
    (tmp_path / "state" / "cache.db").write_bytes(b"no database")
    KnownDestinations(QueueDirectory(tmp_path)).remove("old")
    run(tmp_path, new)
    assert [letter.destination for letter in tracker.dead_letters.list()] == ["old"]


def test_a_segment_that_vanished_takes_only_its_own_events_along(tmp_path: Path) -> None:
    """A batch goes on with what is left of it, under another key."""
    for ids in (("A-1", "A-2"), ("B-1",)):
        run(tmp_path, ids=ids)
    away = ScriptedDestination(outcomes=[Paused("NOT_FOUND", "unknown", "mend it")])
    run(tmp_path, away)
    assert len(away.batches[-1].events) == 3
    sorted((tmp_path / "segments").iterdir())[1].unlink()
    back = ScriptedDestination()
    counts = run(tmp_path, back).stats().total()
    assert back.ids == ["A-1", "A-2"]
    assert back.batches[0].identity != away.batches[0].identity
    assert (counts.accepted, counts.delivered, counts.dropped) == (3, 2, {"vanished": 1})
