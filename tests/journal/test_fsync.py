"""Durability against a power cut, on a disk that does not always confirm."""

from __future__ import annotations

import errno
import fcntl
import os
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adcp_tracker._platform import SystemClock
from adcp_tracker.journal._syscalls import FsyncError
from adcp_tracker.journal.buffer import WriteBuffer
from adcp_tracker.journal.encryption import EncryptedJournalWriter, Encryption
from adcp_tracker.journal.files import QueueDirectory
from adcp_tracker.journal.records import parse
from adcp_tracker.journal.writer import JournalWriter
from tests.support.destinations import wait_until
from tests.support.journals import quick_write, stopped_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

NOW_MS = 1_767_225_600_123
WAIT_S = 20.0


class Disk:
    """Syncs, and fails to as it is told.

    Args:
        fails: Whether each of the next syncs fails.
    """

    def __init__(self, fails: Iterable[bool] = ()) -> None:
        self.fails = list(fails)
        self.count = 0

    def __call__(self, descriptor: int) -> None:
        """Sync, or fail."""
        self.count += 1
        if self.fails and self.fails.pop(0):
            raise OSError(errno.EIO, "Input/output error")
        os.fdatasync(descriptor)


class GatedDisk(Disk):
    """A disk whose first sync lasts until its gate is opened."""

    def __init__(self, fails: Iterable[bool]) -> None:
        super().__init__(fails)
        self.is_syncing, self.gate = threading.Event(), threading.Event()

    def __call__(self, descriptor: int) -> None:
        """Sync, or fail, the first time once the gate is open."""
        if not self.is_syncing.is_set():
            self.is_syncing.set()
            self.gate.wait(WAIT_S)
        super().__call__(descriptor)


@pytest.fixture
def directory(tmp_path: Path) -> QueueDirectory:
    """Return a queue directory that does not exist yet."""
    return QueueDirectory(tmp_path / "queue")


def body(number: int) -> bytes:
    """Return a small event."""
    return b'{"event_id":"A-%d"}' % number


def written(directory: QueueDirectory) -> list[bytes]:
    """Return the bodies of all records on disk."""
    data = b"".join(path.read_bytes() for path in sorted(directory.segments.glob("*.log")))
    records, damages = parse(data)
    assert not damages
    return [record.body for record in records]


def fails(append: Callable[[], None]) -> bool:
    """Say whether the disk did not confirm what was appended."""
    try:
        append()
    except FsyncError:
        return True
    return False


def test_a_failed_sync_fails_for_every_thread_that_wrote_before(directory: QueueDirectory) -> None:
    """The kernel tells one of them; a sync that succeeds afterwards confirms none of it."""
    disk = GatedDisk([False, True])
    journal = JournalWriter(directory, synchronous=True, sync=disk)
    failed: dict[int, bool] = {}

    def work(number: int) -> None:
        failed[number] = fails(lambda: journal.append(body(number), NOW_MS))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    threads[0].start()
    disk.is_syncing.wait(WAIT_S)
    for thread in threads[1:]:
        thread.start()
    wait_until(lambda: len(written(directory)) == 4)
    disk.gate.set()
    for thread in threads:
        thread.join()
    assert failed == {0: False, 1: True, 2: True, 3: True}
    assert disk.count == 2


def test_what_comes_after_a_failed_sync_is_confirmed_by_the_next(
    directory: QueueDirectory,
) -> None:
    """A failure is over for what was not written yet."""
    journal = JournalWriter(directory, synchronous=True, sync=Disk([False, True]))
    outcomes = [fails(lambda: journal.append(body(1), NOW_MS)) for _ in range(4)]
    assert outcomes == [False, True, False, False]


@pytest.mark.parametrize("how", ["closed", "followed"])
def test_a_segment_that_is_not_confirmed_at_its_end_fails_for_who_wrote_to_it(
    directory: QueueDirectory, how: str
) -> None:
    """Whoever finds its segment closed, or another one in its place, is told as well."""
    quick, disk = quick_write(), Disk()
    told: list[bool] = []

    def end_segment() -> None:
        if how == "closed":
            disk.fails = [True]
            journal.roll()
        else:
            disk.fails = [False, True]  # its own record is confirmed, what it leaves is not
            told.append(fails(lambda: journal.append(b"x" * 500, NOW_MS)))

    def append(descriptor: int, data: bytes, size: int) -> int:
        count = quick(descriptor, data, size)
        if b"A-1" in data:
            other = threading.Thread(target=end_segment)
            other.start()
            other.join()
        return count

    journal = JournalWriter(
        directory, synchronous=True, sync=disk, append=append, segment_bytes=400
    )
    journal.append(body(0), NOW_MS)
    assert fails(lambda: journal.append(body(1), NOW_MS))
    assert not any(told)
    assert body(1) in written(directory)


def test_what_is_appended_while_its_segment_is_closed_is_confirmed(
    directory: QueueDirectory,
) -> None:
    """No sync that began before a record was written counts for it."""
    confirmed: dict[int, bytes] = {}
    has_tried = threading.Event()
    goes_on: list[threading.Event] = []

    def append(descriptor: int, data: bytes, size: int) -> int:
        count = quick_write()(descriptor, data, size)
        if b"A-1" in data:
            has_tried.set()
        return count

    def sync(descriptor: int) -> None:
        is_there = os.fstat(descriptor)
        content = os.pread(descriptor, is_there.st_size, 0)
        while goes_on:
            goes_on.pop().set()
            has_tried.wait(WAIT_S)
        confirmed[is_there.st_ino] = content

    journal = JournalWriter(directory, synchronous=True, sync=sync, append=append)
    journal.append(body(0), NOW_MS)
    with stopped_in("_write_through", lambda: journal.append(body(1), NOW_MS)) as may_go_on:
        goes_on.append(may_go_on)
        journal.roll()
    assert body(1) in b"".join(confirmed.values())
    assert written(directory) == [body(0), body(1)]


def test_a_segment_is_closed_though_the_disk_does_not_confirm_it(directory: QueueDirectory) -> None:
    """A host that closes its tracker sees no error, and nothing keeps the segment in use."""
    journal = JournalWriter(directory, synchronous=True, sync=Disk([False, True]))
    journal.append(body(1), NOW_MS)
    path = journal.path
    assert path is not None
    journal.roll()
    with path.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.slow
@given(st.lists(st.booleans(), max_size=40))
def test_no_event_is_lost_whichever_syncs_fail(pattern: list[bool]) -> None:
    """An event the disk did not confirm is appended again under its id until one is confirmed."""
    with tempfile.TemporaryDirectory() as folder:
        directory = QueueDirectory(Path(folder) / "queue")
        journal = JournalWriter(directory, synchronous=True, sync=Disk(pattern), segment_bytes=150)
        buffer = WriteBuffer(journal, SystemClock())
        for number in range(10):
            buffer.append(body(number), NOW_MS)
            buffer.flush()
        while buffer.in_memory:
            buffer.flush()
        journal.roll()
        assert set(written(directory)) == set(map(body, range(10)))


def test_an_event_is_kept_until_the_disk_confirms_it(directory: QueueDirectory) -> None:
    """Each try appends the record again, since the kernel takes the old pages for written."""
    disk = Disk([True] * 3)
    buffer = WriteBuffer(JournalWriter(directory, synchronous=True, sync=disk), SystemClock())
    buffer.append(body(1), NOW_MS)
    tries = 0
    while buffer.in_memory:
        buffer.flush()
        tries += 1
    assert (tries, disk.count) == (3, 4)
    assert written(directory) == [body(1)] * 4


def test_an_unconfirmed_event_is_encrypted_in_memory_and_on_disk(
    directory: QueueDirectory,
) -> None:
    """No try writes it in clear."""
    encryption = Encryption([b"k" * 32])
    journal = EncryptedJournalWriter(encryption, directory, synchronous=True, sync=Disk([True]))
    buffer = WriteBuffer(journal, SystemClock())
    buffer.append(body(1), NOW_MS)
    assert buffer.in_memory == 1
    buffer.flush()
    assert buffer.in_memory == 0
    (path,) = directory.segments.iterdir()
    assert body(1) not in path.read_bytes()
    assert [each.body for each in encryption.parse(path.read_bytes())[0]] == [body(1)] * 2


def test_drop_counts_that_the_disk_does_not_confirm_are_written_once(
    directory: QueueDirectory,
) -> None:
    """A repeated record of counts would be counted twice."""
    journal = JournalWriter(directory, synchronous=True, sync=Disk([True, True]))
    buffer = WriteBuffer(journal, SystemClock())
    buffer.count_dropped("full", 7)
    for _ in range(3):
        buffer.flush()
    (counts,) = written(directory)
    assert orjson.loads(counts) == {"full": 7}


def test_without_memory_left_an_unconfirmed_event_is_not_dropped(
    directory: QueueDirectory,
) -> None:
    """It is in its segment, and delivered from there."""
    reasons: list[str] = []
    journal = JournalWriter(directory, synchronous=True, sync=Disk([True] * 5))
    buffer = WriteBuffer(journal, SystemClock(), on_drop=reasons.append, memory_bytes=40)
    for number in range(5):
        buffer.append(body(number), NOW_MS)
    assert buffer.in_memory == 2
    assert (reasons, len(written(directory))) == ([], 5)


def test_an_unconfirmed_event_that_is_erased_is_not_appended_again(
    directory: QueueDirectory,
) -> None:
    """Erasing a person also reaches what waits for the disk's confirmation."""
    journal = JournalWriter(directory, synchronous=True, sync=Disk([True]))
    buffer = WriteBuffer(journal, SystemClock())
    buffer.append(body(1), NOW_MS)
    assert buffer.erase(lambda _: True) == 1
    buffer.flush()
    assert written(directory)[:1] == [body(1)]
    assert written(directory).count(body(1)) == 1


class _ActingClock(SystemClock):
    """A clock that does something the next time it is read, if it is to."""

    act: Callable[[], None] | None = None

    def monotonic(self) -> float:
        """Act, and return the time."""
        act, self.act = self.act, None
        if act is not None:
            act()
        return time.monotonic()


def test_a_record_in_a_segment_that_was_just_begun_is_synced_too(
    directory: QueueDirectory,
) -> None:
    """Its thread takes the sync of the segment before for its own, which must not be."""
    synced: dict[int, int] = {}

    def sync(descriptor: int) -> None:
        os.fdatasync(descriptor)
        status = os.fstat(descriptor)
        synced[status.st_ino] = status.st_size

    clock = _ActingClock()
    journal = JournalWriter(directory, synchronous=True, sync=sync, segment_bytes=150, clock=clock)
    other = threading.Thread(target=lambda: journal.append(body(2), NOW_MS))

    def write_meanwhile() -> None:
        other.start()
        wait_until(lambda: body(2) in written(directory))

    journal.append(body(0), NOW_MS)

    def roll_with_another() -> None:
        clock.act = write_meanwhile  # read next once the new segment is in its place

    roll_with_another()
    journal.append(b"x" * 300, NOW_MS)
    other.join()
    for path in directory.segments.glob("*.log"):
        assert synced.get(path.stat().st_ino) == path.stat().st_size
