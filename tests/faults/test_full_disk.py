"""A volume that is full, at each thing that writes to it."""

from __future__ import annotations

import errno
import logging
from typing import TYPE_CHECKING

import pytest

from adcp_tracker.destinations.base import Batch, EventFailure, Outcome, Rejected, Retry
from adcp_tracker.journal.encryption import Encryption
from adcp_tracker.journal.files import QueueDirectory
from adcp_tracker.journal.reader import SegmentStore
from adcp_tracker.outbox.dead_letters import DeadLetter, DeadLetterStore
from tests.faults.logged import told
from tests.support.booked import balanced, track
from tests.support.destinations import ScriptedDestination, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from adcp_tracker.tracker import Tracker
    from tests.faults.conftest import Make

BUSY = Retry("http_503", "busy")
SMALL_SEGMENTS = 1 << 20
"""A bound that makes segments of 64 KiB, sixteen to the volume."""


class Ballast:
    """A file that takes all room there is on a volume."""

    def __init__(self, volume: Path) -> None:
        self.path = volume / "ballast"

    def fill(self, leaving: int = 0) -> None:
        """Take all room but so many bytes."""
        with self.path.open("ab", buffering=0) as file:
            try:
                while file.write(bytes(4096)):
                    pass
            except OSError:
                file.truncate(max(self.path.stat().st_size - leaving, 0))

    def drop(self) -> None:
        """Give the room back."""
        self.path.unlink()


@pytest.fixture
def ballast(volume: Path) -> Ballast:
    """Return what can fill the volume."""
    return Ballast(volume)


def test_an_append_waits_in_memory_for_room(
    make: Make, volume: Path, ballast: Ballast, caplog: pytest.LogCaptureFixture
) -> None:
    """No event is lost, none breaks a checkout, and the log says so once."""
    seller = ScriptedDestination()
    writer = make(directory=volume / "queue", uploader="external")
    ids = track(writer, 10)
    ballast.fill()
    ids += track(writer, 400, first=10)
    assert told(caplog) == {"journal.not_written": 1}
    ballast.drop()
    writer.flush(0.0)
    writer.close()
    tracker = make(seller, directory=volume / "queue")
    tracker.flush(10.0)
    assert sorted(seller.ids) == sorted(ids)
    assert balanced(tracker).dropped == {}


def test_a_segment_that_cannot_be_begun_waits_for_room(
    make: Make, volume: Path, ballast: Ballast, caplog: pytest.LogCaptureFixture
) -> None:
    """Room runs out just as one segment ends and the next begins; a torn record is whole later."""
    seller = ScriptedDestination()
    writer = make(directory=volume / "queue", uploader="external", max_bytes=SMALL_SEGMENTS)
    ids = track(writer, 10)
    ballast.fill(leaving=64 * 1024)
    ids += track(writer, 1000, first=10)
    assert told(caplog) == {"journal.not_written": 1}
    ballast.drop()
    writer.flush(0.0)
    writer.close()
    tracker = make(seller, directory=volume / "queue")
    tracker.flush(10.0)
    assert sorted(seller.ids) == sorted(ids)
    assert balanced(tracker).dropped == {}


def test_a_full_volume_is_drained_by_one_leader(
    make: Make, volume: Path, ballast: Ballast, caplog: pytest.LogCaptureFixture
) -> None:
    """State and counts cannot be written; events are sent once all the same, and give room."""
    caplog.set_level(logging.DEBUG, "adcp_tracker")
    seller = ScriptedDestination()
    seller.gate.clear()
    tracker = make(seller, directory=volume / "queue", max_bytes=SMALL_SEGMENTS)
    ids = track(tracker, 1)
    wait_until(lambda: seller.batches)
    ids += track(tracker, 1000, first=1)
    counts = volume / "queue" / "books.json"
    wait_until(counts.exists)
    ballast.fill()
    books_were = counts.stat().st_mtime_ns
    seller.gate.set()
    wait_until(lambda: len(seller.ids) == len(ids))

    def is_refused() -> int:
        ballast.fill()  # each segment that is deleted makes room
        return told(caplog)["stats.not_written"]

    wait_until(is_refused)
    wait_until(lambda: balanced(tracker).delivered == len(ids))
    assert sorted(seller.ids) == sorted(ids)
    found = told(caplog)
    assert found["leader.elected"] == 1
    assert found["outbox.not_written"] == 1
    assert len(list((volume / "queue" / "segments").iterdir())) == 1
    ballast.drop()
    wait_until(lambda: counts.exists() and counts.stat().st_mtime_ns > books_were)
    assert tracker.close(10.0).total().delivered == len(ids)


def test_dead_letters_wait_for_room(make: Make, volume: Path, ballast: Ballast) -> None:
    """An event that dies on a full disk is a letter once there is room, and its segment stays."""

    def refuse(batch: Batch) -> Outcome:
        return Rejected(
            "BAD", "no", tuple(EventFailure("BAD", "no", index=0) for _ in batch.events)
        )

    seller = ScriptedDestination(outcomes=[refuse])
    seller.gate.clear()
    tracker = make(seller, directory=volume / "queue")
    ids = track(tracker, 2)
    wait_until(lambda: seller.batches)
    ballast.fill()
    seller.gate.set()
    wait_until(lambda: balanced(tracker).dead == 1)
    tracker.flush(5.0)
    assert tracker.dead_letters.list() == []
    assert any((volume / "queue" / "segments").iterdir())
    ballast.drop()
    wait_until(lambda: len(tracker.dead_letters.list()) == 1)
    assert balanced(tracker).delivered == 1
    assert seller.ids == ids[1:]


def _letters(count: int) -> list[DeadLetter]:
    event = b'{"event_id":"A","note":"%s"}' % (b"x" * 5000)
    return [DeadLetter("a", "s.log", n, 1.0, "BAD", "no", event=event) for n in range(count)]


@pytest.mark.parametrize("keys", [None, [b"k" * 32]], ids=["plain", "sealed"])
def test_letters_that_do_not_fit_at_once_take_no_room_twice(
    volume: Path, ballast: Ballast, keys: list[bytes] | None
) -> None:
    """Each try goes on where the disk left off, so that they take what they need and no more."""
    queue = QueueDirectory(volume / "queue")
    queue.prepare()
    encryption = keys and Encryption(keys)
    letters, kept = _letters(24), DeadLetterStore(queue, encryption or None)
    for number in (1, 2, 3):
        ballast.fill(leaving=10 * 4096)
        with pytest.raises(OSError, match="No space left"):
            kept.add(letters, float(number))
        assert 4 * number <= len(list(kept)) <= 8 * number
    ballast.drop()
    kept.add(letters, 4.0)
    assert [letter.offset for letter in kept] == list(range(24))
    (path,) = queue.dead.iterdir()
    alone = QueueDirectory(volume / "alone")
    alone.prepare()
    path.rename(alone.path / "kept")
    kept.add(letters, 5.0)
    assert (alone.path / "kept").stat().st_size == next(queue.dead.iterdir()).stat().st_size


def test_a_letter_that_is_removed_between_two_tries_is_written_when_it_is_given_again(
    volume: Path, ballast: Ballast
) -> None:
    """Its event went again meanwhile, and died again."""
    queue = QueueDirectory(volume / "queue")
    queue.prepare()
    letters, kept = _letters(8), DeadLetterStore(queue)
    ballast.fill(leaving=6 * 4096)
    with pytest.raises(OSError, match="No space left"):
        kept.add(letters, 1.0)
    assert kept.remove({letters[0].id}) == 1
    ballast.drop()
    kept.add(letters, 2.0)
    assert sorted(letter.offset for letter in kept) == list(range(8))


def test_evidence_that_cannot_be_kept_holds_nothing_up(
    make: Make, volume: Path, ballast: Ballast, caplog: pytest.LogCaptureFixture
) -> None:
    """A damaged record is counted though its bytes find no room, and the others are delivered."""
    seller = ScriptedDestination()
    seller.gate.clear()
    queue = QueueDirectory(volume / "queue")
    tracker = make(seller, directory=queue.path)
    track(tracker, 1)
    wait_until(lambda: seller.batches)
    writer = make(directory=queue.path, uploader="external")
    ids = track(writer, 20, first=1)
    writer.stop()
    newest = max(queue.segments.glob("*.log"))
    data = bytearray(newest.read_bytes())
    data[300] ^= 1
    newest.write_bytes(data)
    ballast.fill()
    seller.gate.set()
    wait_until(lambda: balanced(tracker).delivered == 20)
    assert set(seller.ids) == {"L-0", *ids} - {"L-2"}
    assert balanced(tracker).dropped == {"damaged": 1}
    assert told(caplog)["quarantine.not_written"] == 1


def test_a_process_that_starts_on_a_full_volume_waits_for_room(
    make: Make, volume: Path, ballast: Ballast, caplog: pytest.LogCaptureFixture
) -> None:
    """The database cannot be opened then; events stay on disk, and are sent once it can."""
    seller = ScriptedDestination()
    writer = make(directory=volume / "queue", uploader="external")
    ids = track(writer, 50)
    writer.stop()
    ballast.fill()
    tracker = make(seller, directory=volume / "queue")
    tracker.start()
    wait_until(lambda: told(caplog)["flusher.failed"])
    assert tracker.flush(0.2).destinations == {}
    ballast.drop()
    tracker.flush(10.0)
    assert seller.ids == ids
    assert told(caplog) == {"flusher.failed": 1, "destination.not_entered": 1}
    assert balanced(tracker).delivered == 50


def _dead(make: Make, volume: Path, count: int) -> tuple[Tracker, ScriptedDestination]:
    """Return a tracker with so many dead letters, on a volume that is about to be full."""

    def refuse(batch: Batch) -> Outcome:
        failures = (EventFailure("BAD", "no", index=i) for i in range(len(batch.events)))
        return Rejected("BAD", "no", tuple(failures))

    seller = ScriptedDestination()
    seller.always = refuse
    tracker = make(seller, directory=volume / "queue", max_bytes=SMALL_SEGMENTS)
    track(tracker, count)
    wait_until(lambda: len(tracker.dead_letters.list()) == count)
    seller.always = None
    tracker.flush(10.0)
    return tracker, seller


def test_a_replay_that_finds_no_room_can_be_made_again(
    make: Make, volume: Path, ballast: Ballast
) -> None:
    """What the disk took is on its way and no letter any more; the rest are letters as before."""
    tracker, seller = _dead(make, volume, 40)
    ids = [letter.id for letter in tracker.dead_letters.list()]
    ballast.fill()
    with pytest.raises(OSError, match=r"room|No space"):
        tracker.dead_letters.replay(ids)
    ballast.drop()
    again = tracker.dead_letters.replay(ids)
    assert again.refused == ()
    tracker.flush(10.0)
    assert sorted(seller.ids) == sorted(f"L-{number}" for number in range(40))
    counts = balanced(tracker)
    assert (counts.delivered, counts.dead, counts.accepted) == (40, 0, 40)
    assert tracker.dead_letters.list() == []


def test_dead_letters_that_the_disk_cannot_remove_are_not_sent_twice(
    make: Make, volume: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are withdrawn at once, and erased as soon as it can be done; the counts know."""
    tracker, seller = _dead(make, volume, 2)
    ids = [letter.id for letter in tracker.dead_letters.list()]
    refusals = [OSError(errno.EIO, "no")] * 3
    sync = SegmentStore.sync

    def refuse(segments: SegmentStore) -> None:
        if refusals:
            raise refusals.pop()
        sync(segments)

    monkeypatch.setattr(SegmentStore, "sync", refuse)
    assert len(tracker.dead_letters.replay(ids).replayed) == 2
    assert tracker.dead_letters.replay(ids).replayed == ()
    assert tracker.dead_letters.discard(ids) == 0
    wait_until(lambda: tracker.dead_letters.list() == [])
    tracker.flush(10.0)
    assert sorted(seller.ids) == ["L-0", "L-1"]
    counts = balanced(tracker)
    assert (counts.delivered, counts.dead, counts.accepted) == (2, 0, 2)
