"""How long events have waited."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adcp_tracker.delivery.stats import oldest_waiting
from adcp_tracker.journal.files import QueueDirectory
from adcp_tracker.journal.reader import SegmentStore
from adcp_tracker.journal.writer import JournalWriter
from adcp_tracker.outbox.state import FrozenBatch, Span

if TYPE_CHECKING:
    from pathlib import Path

NOON_MS = 1_767_268_800_000


def queue_with(path: Path, *times: int) -> SegmentStore:
    """Return the segments of a queue with events accepted at `times`, all in one segment."""
    directory = QueueDirectory(path / "queue")
    directory.prepare()
    journal = JournalWriter(directory)
    for time in times:
        journal.append(b"{}", time)
    journal.roll()
    return SegmentStore(directory)


def test_the_oldest_is_the_first_that_is_in_no_batch(tmp_path: Path) -> None:
    """What a destination has dealt with already does not wait."""
    segments = queue_with(tmp_path, NOON_MS, NOON_MS + 5000)
    sizes = segments.sizes()
    assert oldest_waiting(segments, sizes, {}) == NOON_MS / 1000
    half = {name: size // 2 for name, size in sizes.items()}
    assert oldest_waiting(segments, sizes, half) == NOON_MS / 1000 + 5


def test_a_batch_on_its_way_waits_too(tmp_path: Path) -> None:
    """An event that was sealed and not taken yet is older than what came after it."""
    segments = queue_with(tmp_path, NOON_MS, NOON_MS + 5000)
    ((name, size),) = segments.sizes().items()
    batch = FrozenBatch("a", 0, (Span(name, 0, size // 2),), 1)
    assert oldest_waiting(segments, {name: size}, {name: size // 2}, [batch]) == NOON_MS / 1000


def test_nothing_waits_where_all_is_in_batches_or_gone(tmp_path: Path) -> None:
    """A segment that is sealed, was deleted or holds no record has no age."""
    segments = queue_with(tmp_path, NOON_MS)
    sizes = segments.sizes()
    assert oldest_waiting(segments, sizes, sizes) is None
    assert oldest_waiting(segments, {"gone.log": 9}, {}) is None
    (tmp_path / "queue/segments/torn.log").write_bytes(b"no record")
    (tmp_path / "queue/segments/torn.log").chmod(0o600)
    assert oldest_waiting(segments, {"torn.log": 9}, {}) is None
