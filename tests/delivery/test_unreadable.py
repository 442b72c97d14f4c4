"""A segment that cannot be read holds up its own events, and nothing else."""

from __future__ import annotations

import errno
import logging
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from adcp_tracker import Tracker
from adcp_tracker.destinations.base import Delivered, Retry
from adcp_tracker.exceptions import UnsafeDirectoryError
from adcp_tracker.journal.files import QueueDirectory
from adcp_tracker.journal.reader import SegmentStore
from adcp_tracker.journal.writer import JournalWriter
from adcp_tracker.outbox.batcher import Batcher
from adcp_tracker.outbox.state import State
from tests.support.booked import balanced
from tests.support.crashing.plans import Promptly
from tests.support.destinations import MemoryOutbox, ScriptedDestination, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from adcp_tracker.destinations.base import Batch, Outcome

WAIT_S = 20.0
NOW_MS = 1_767_225_600_123
EVENT = b'{"event_id":"A-%d","event_type":"lead"}'


def _fill(directory: Path, *ids: str) -> Path:
    """Leave a segment with events of these ids, and return where it is."""
    before = set((directory / "segments").glob("*.log"))
    tracker = Tracker(directory=directory, handle_sigterm=False)
    for each in ids:
        tracker.track("purchase", event_id=each, email="shopper@shop.example")
    tracker.close(0.0)
    (segment,) = set((directory / "segments").glob("*.log")) - before
    return segment


@pytest.fixture
def lead(tmp_path: Path) -> Iterator[Callable[..., Tracker]]:
    """Return a maker of trackers that upload, closed at the end."""
    made: list[Tracker] = []

    def maker(*sellers: ScriptedDestination) -> Tracker:
        tracker = Tracker(
            sellers,
            directory=tmp_path,
            flush_interval=0.02,
            handle_sigterm=False,
            _policy=Promptly(lambda: 0.5),
        )
        made.append(tracker)
        tracker.start()
        return tracker

    yield maker
    for tracker in made:
        tracker.close(0.2)


def test_other_segments_are_sealed_and_its_events_wait_and_are_seen_to(
    tmp_path: Path, lead: Callable[..., Tracker], caplog: pytest.LogCaptureFixture
) -> None:
    """Every destination goes on, new events too; once it can be read it goes, and once only."""
    unreadable = _fill(tmp_path, "A-1", "A-2")
    _fill(tmp_path, "B-1")
    unreadable.chmod(0o644)
    north, south = ScriptedDestination("north"), ScriptedDestination("south")
    with caplog.at_level(logging.WARNING):
        tracker = lead(north, south)
        tracker.track("purchase", event_id="C-1", email="shopper@shop.example")
        wait_until(lambda: (north.ids, south.ids) == (["B-1", "C-1"], ["B-1", "C-1"]))
    assert f"segment.unreadable' reason='{unreadable.name}: " in caplog.text
    assert "remedy=" in caplog.text
    for name in ("north", "south"):
        wait_until(lambda: balanced(tracker, name).delivered == 2)  # noqa: B023 - waited for at once
        assert balanced(tracker, name).pending == 1
    unreadable.chmod(0o600)
    assert tracker.flush(WAIT_S).pending == 0
    assert north.ids == south.ids == ["B-1", "C-1", "A-1", "A-2"]
    assert balanced(tracker, "north").accepted == 4
    assert list((tmp_path / "segments").glob(f"{unreadable.name}*")) == []


def test_a_frozen_batch_waits_for_its_segment_and_others_go(
    tmp_path: Path, lead: Callable[..., Tracker], caplog: pytest.LogCaptureFixture
) -> None:
    """It goes as it was frozen, once it can be read again."""
    unreadable = _fill(tmp_path, "A-1", "A-2")
    sent: list[tuple[bytes, list[bytes]]] = []

    def be_busy(batch: Batch) -> Outcome:
        unreadable.chmod(0o644)
        sent.append((batch.identity, list(batch.events)))
        return Retry("http_503", "busy")

    def take(batch: Batch) -> Outcome:
        sent.append((batch.identity, list(batch.events)))
        return Delivered()

    seller = ScriptedDestination(outcomes=[be_busy])
    with caplog.at_level(logging.WARNING):
        tracker = lead(seller)
        wait_until(lambda: "segment.unreadable" in caplog.text)
        tracker.track("purchase", event_id="C-1", email="shopper@shop.example")
        wait_until(lambda: balanced(tracker).delivered == 1)
    assert seller.ids == ["C-1"]
    counts = balanced(tracker)
    assert (counts.accepted, counts.delivered, counts.pending) == (3, 1, 2)
    seller.always = take
    unreadable.chmod(0o600)
    assert tracker.flush(WAIT_S).pending == 0
    assert sent[0] == sent[1]
    assert seller.ids == ["C-1", "A-1", "A-2"]


def test_one_that_cannot_be_deleted_is_deleted_later(
    tmp_path: Path, lead: Callable[..., Tracker], caplog: pytest.LogCaptureFixture
) -> None:
    """It holds nothing any more that has to be sent, and delivery goes on beside it."""
    undeletable = _fill(tmp_path, "A-1")

    def answer(batch: Batch) -> Outcome:
        del batch
        undeletable.chmod(0o644)
        return Delivered()

    seller = ScriptedDestination(outcomes=[answer])
    with caplog.at_level(logging.WARNING):
        tracker = lead(seller)
        wait_until(lambda: "segment.not_deleted" in caplog.text)
        tracker.track("purchase", event_id="C-1", email="shopper@shop.example")
        wait_until(lambda: seller.ids == ["A-1", "C-1"])
    undeletable.chmod(0o600)
    wait_until(lambda: not undeletable.exists())
    wait_until(lambda: balanced(tracker).delivered == 2)


def test_a_leader_begins_beside_a_batch_of_which_a_part_vanished_and_a_part_is_unreadable(
    tmp_path: Path, lead: Callable[..., Tracker]
) -> None:
    """The part that can be read later goes then, and what is gone is counted."""
    vanishing, unreadable = _fill(tmp_path, "A-1"), _fill(tmp_path, "B-1")
    away = ScriptedDestination()
    away.always = lambda _: Retry("http_503", "busy")
    first = lead(away)
    wait_until(lambda: away.batches)
    first.close(0.0)
    vanishing.unlink()
    unreadable.chmod(0o644)
    seller = ScriptedDestination()
    second = lead(seller)
    second.track("purchase", event_id="C-1", email="shopper@shop.example")
    wait_until(lambda: seller.ids == ["C-1"])
    unreadable.chmod(0o600)
    assert second.flush(WAIT_S).pending == 0
    assert seller.ids == ["C-1", "B-1"]
    assert sum(balanced(second).dropped.values()) == 1


def test_what_cannot_be_synced_is_said_each_time_until_it_can(tmp_path: Path) -> None:
    """Else a later round would take it for synced."""
    unreadable = _fill(tmp_path, "A-1")
    unreadable.chmod(0o644)
    segments = SegmentStore(QueueDirectory(tmp_path))
    for _ in range(2):
        with pytest.raises(UnsafeDirectoryError):
            segments.sync()
    unreadable.chmod(0o600)
    segments.sync()


class _BadBlock(SegmentStore):
    """Segments on a disk that gives nothing from one place of one of them on.

    Attributes:
        bad: Which, and from where on; ``None`` once the disk is well.
    """

    bad: tuple[str, int] | None = None

    @contextmanager
    def reading(self, name: str) -> Iterator[Callable[[int, int], bytes]]:
        """Read up to that place, and fail there, as the kernel does."""
        with super().reading(name) as read:

            def careful(start: int, length: int) -> bytes:
                if self.bad is None or name != self.bad[0]:
                    return read(start, length)
                if start >= self.bad[1]:
                    raise OSError(errno.EIO, os.strerror(errno.EIO))
                return read(start, min(length, self.bad[1] - start))

            yield careful


@pytest.mark.parametrize("place", range(0, 230, 7))
def test_a_bad_block_holds_up_what_stands_from_it_on_and_loses_none_of_it(
    tmp_path: Path, place: int
) -> None:
    """Wherever it begins in a record: the cursor waits there, and no event goes twice."""
    directory = QueueDirectory(tmp_path)
    directory.prepare()
    journal = JournalWriter(directory)
    names = []
    for first in (0, 3):
        for number in range(first, first + 3):
            journal.append(EVENT % number, NOW_MS)
        assert journal.path is not None
        names.append(journal.path.name)
        journal.roll()
    size = len(EVENT % 0) + 26
    segments = _BadBlock(directory)
    segments.bad = names[0], place
    batcher = Batcher(segments, State(MemoryOutbox(), ["scripted"]))
    found: list[bytes] = []

    def seal() -> list[str]:
        sealed = batcher.next_batches(ScriptedDestination(), segments.sizes(), 1_767_225_601.0)
        found.extend(each.event for _, members in sealed.batches for each in members)
        return [name for name, _ in sealed.unreadable]

    whole = min(place // size, 3)
    assert seal() == ([names[0]] if whole < 3 else [])
    assert found == [EVENT % number for number in (*range(whole), 3, 4, 5)]
    assert seal() == ([names[0]] if whole < 3 else [])
    segments.bad = None
    assert seal() == []
    assert sorted(found) == [EVENT % number for number in range(6)]
