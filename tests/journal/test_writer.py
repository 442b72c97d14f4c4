"""The journal: durable when it returns, whatever else happens to the process."""

from __future__ import annotations

import fcntl
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adcp_tracker.exceptions import QueueFullError, UnsafeDirectoryError
from adcp_tracker.journal.files import QueueDirectory
from adcp_tracker.journal.records import DROPPED, encode_event, parse
from adcp_tracker.journal.writer import JournalWriter
from tests.support.descriptors import open_beneath
from tests.support.journals import quick_write, stopped_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from adcp_tracker.journal import _syscalls

NOW_MS = 1_767_225_600_123


@pytest.fixture
def directory(tmp_path: Path) -> QueueDirectory:
    """Return a queue directory that does not exist yet."""
    return QueueDirectory(tmp_path / "queue")


class SlowWrite:
    """Appends as to a disk that takes its time once, for the second write."""

    def __init__(self) -> None:
        self._append = quick_write()
        self.count = 0

    def __call__(self, descriptor: int, data: bytes, size: int) -> int:
        """Write, once slowly."""
        self.count += 1
        if self.count == 2:
            time.sleep(0.06)
        return self._append(descriptor, data, size)


@pytest.fixture(params=[None, SlowWrite])
def append(request: pytest.FixtureRequest) -> _syscalls.Append | None:
    """Return each way to append: holding the GIL, and releasing it after a slow write."""
    choose: Callable[[], _syscalls.Append] | None = request.param
    return choose and choose()


def written(directory: QueueDirectory) -> list[bytes]:
    """Return the bodies of all records on disk, the oldest segment first."""
    bodies: list[bytes] = []
    for path in sorted(directory.segments.glob("*.log")):
        records, damages = parse(path.read_bytes())
        assert damages == []
        bodies += [record.body for record in records]
    return bodies


def body(number: int) -> bytes:
    """Return a small event."""
    return b'{"event_id":"A-%d"}' % number


def fill(journal: JournalWriter, first: int = 0, count: int = 1000) -> None:
    """Append events one after the other."""
    for number in range(first, first + count):
        journal.append(body(number), NOW_MS)


def test_nothing_is_created_before_the_first_event(directory: QueueDirectory) -> None:
    """A tracker that tracks nothing leaves no trace."""
    JournalWriter(directory)
    assert not directory.path.exists()


def test_an_event_is_on_disk_when_the_call_returns(
    directory: QueueDirectory, append: _syscalls.Append | None
) -> None:
    """Each way to append puts whole records into the file, in order."""
    journal = JournalWriter(directory, append=append)
    for number in range(100):
        journal.append(body(number), NOW_MS)
    assert written(directory) == [body(number) for number in range(100)]


@pytest.mark.slow
@given(st.lists(st.tuples(st.binary(max_size=20), st.integers(-1, 2**43)), max_size=50))
def test_a_record_is_written_as_it_is_framed(events: list[tuple[bytes, int]]) -> None:
    """Whatever its checksum and its time are, also where they begin with zeros."""
    with tempfile.TemporaryDirectory() as folder:
        journal = JournalWriter(QueueDirectory(Path(folder) / "queue"))
        for data, accepted_ms in events:
            journal.append(data, accepted_ms)
        kept = b"".join(path.read_bytes() for path in Path(folder).glob("queue/segments/*.log"))
        journal.roll()
    assert kept == b"".join(encode_event(*event) for event in events)


def test_the_writer_holds_its_segment_until_it_lets_go(directory: QueueDirectory) -> None:
    """A segment is locked as long as somebody may write to it, and free afterwards."""
    journal = JournalWriter(directory)
    journal.append(body(1), NOW_MS)
    assert journal.path is not None
    with journal.path.open() as file:
        with pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        journal.roll()
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)


def test_segments_are_rolled_by_size(
    directory: QueueDirectory, append: _syscalls.Append | None
) -> None:
    """A full segment is followed by another, and no record is lost on the way."""
    journal = JournalWriter(directory, segment_bytes=500, append=append)
    for number in range(200):
        journal.append(body(number), NOW_MS)
    assert len(list(directory.segments.glob("*.log"))) > 10
    assert written(directory) == [body(number) for number in range(200)]


def test_a_segment_is_rolled_by_age_only_when_old_enough(directory: QueueDirectory) -> None:
    """Rolling by age leaves a young segment open."""
    journal = JournalWriter(directory)
    journal.append(body(1), NOW_MS)
    first = journal.path
    journal.roll(older_than=3600.0)
    assert journal.path == first
    journal.roll(older_than=0.0)
    assert journal.path is None


def test_threads_share_a_journal_while_it_rolls(
    directory: QueueDirectory, append: _syscalls.Append | None
) -> None:
    """Eight threads lose and tear nothing, though segments change under them."""
    journal = JournalWriter(directory, segment_bytes=2000, append=append)

    def work(first: int) -> None:
        for number in range(first, first + 500):
            journal.append(body(number), NOW_MS)

    threads = [threading.Thread(target=work, args=(1000 * each,)) for each in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = {body(1000 * each + number) for each in range(8) for number in range(500)}
    found = written(directory)
    assert len(found) == len(expected)
    assert set(found) == expected


@pytest.mark.slow
def test_threads_track_while_the_journal_is_closed_under_them(directory: QueueDirectory) -> None:
    """Closing a segment while others append never writes into somebody else's file."""
    journal = JournalWriter(directory)
    stop = threading.Event()
    counts = [0] * 4

    def work(place: int) -> None:
        while not stop.is_set():
            journal.append(body(place * 10**6 + counts[place]), NOW_MS)
            counts[place] += 1

    threads = [threading.Thread(target=work, args=(each,)) for each in range(4)]
    for thread in threads:
        thread.start()
    while min(counts) < 50:
        journal.roll()
    stop.set()
    for thread in threads:
        thread.join()
    assert len(written(directory)) == sum(counts)


def test_a_child_writes_its_own_segment(directory: QueueDirectory) -> None:
    """After a fork without any hook, parent and child each write to a file of their own."""
    journal = JournalWriter(directory)
    journal.append(body(1), NOW_MS)
    parents = journal.path
    child = os.fork()
    if not child:  # pragma: no cover - in the child
        journal.append(body(2), NOW_MS)
        os._exit(0 if journal.path != parents else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    journal.append(body(3), NOW_MS)
    assert journal.path == parents
    assert sorted(written(directory)) == [body(1), body(2), body(3)]


def test_a_child_does_not_keep_its_dead_parents_segment(directory: QueueDirectory) -> None:
    """A child that has abandoned the journal holds no lock on the parent's segment."""
    journal = JournalWriter(directory)
    journal.append(body(1), NOW_MS)
    path = journal.path
    assert path is not None
    ready, go = os.pipe(), os.pipe()
    child = os.fork()
    if not child:  # pragma: no cover - in the child
        journal.close_inherited()
        os.write(ready[1], b"x")
        os.read(go[0], 1)
        os._exit(0)
    os.read(ready[0], 1)
    journal.roll()
    with path.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.write(go[1], b"x")
    os.waitpid(child, 0)
    for end in (*ready, *go):
        os.close(end)


def test_other_kinds_of_records_stand_among_events(directory: QueueDirectory) -> None:
    """Counts of dropped events go the same way as events."""
    journal = JournalWriter(directory)
    journal.append(body(1), NOW_MS)
    journal.append_record(b'{"full":2}', NOW_MS, DROPPED)
    assert written(directory) == [body(1), b'{"full":2}']


def test_a_full_directory_refuses_and_says_why(directory: QueueDirectory) -> None:
    """Over max_bytes nothing more is taken, and what is there stays whole."""
    journal = JournalWriter(directory, max_bytes=1000, segment_bytes=400)
    with pytest.raises(QueueFullError, match=r"expected less than 1000 bytes waiting"):
        fill(journal)
    found = written(directory)
    assert found == [body(number) for number in range(len(found))]
    assert found
    assert directory.used_bytes() < 1500


def test_room_that_comes_free_is_used(directory: QueueDirectory) -> None:
    """Once segments are delivered and deleted, events are taken again."""
    clock = SteppingClock()
    journal = JournalWriter(directory, max_bytes=300, segment_bytes=100, clock=clock)
    with pytest.raises(QueueFullError):
        fill(journal)
    for path in directory.segments.glob("*.log"):
        path.unlink()
    clock.time += 1.0
    journal.append(body(7), NOW_MS)
    assert written(directory) == [body(7)]


def test_a_short_write_ends_its_segment(directory: QueueDirectory) -> None:
    """A record that the disk took in part is never followed by another in its segment."""
    failing = ShortWrites(quick_write())
    journal = JournalWriter(directory, append=failing)
    journal.append(body(1), NOW_MS)
    failing.next_length = 10
    journal.append(body(2), NOW_MS)
    journal.append(body(3), NOW_MS)
    torn, whole = sorted(directory.segments.glob("*.log"))
    assert torn.read_bytes().endswith(b"\n") is False
    assert [record.body for record in parse(torn.read_bytes())[0]] == [body(1)]
    assert [record.body for record in parse(whole.read_bytes())[0]] == [body(2), body(3)]


@contextmanager
def descriptors_left(count: int) -> Iterator[None]:
    """Leave this process so many descriptors to open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken: list[int] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        with suppress(OSError):
            while True:
                taken.append(os.open(os.devnull, os.O_RDONLY))
        for _ in range(count):
            os.close(taken.pop())
        yield
    finally:
        for each in taken:
            os.close(each)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_a_segment_that_ends_without_descriptors_left_is_written_once(
    directory: QueueDirectory, count: int
) -> None:
    """Whoever's event made it full sees no error; all goes on in the old segment or the next."""
    journal = JournalWriter(directory, segment_bytes=500)
    fill(journal, count=5)
    open_before = len(open_beneath(directory.path))
    with descriptors_left(count):
        fill(journal, first=5, count=50)
    fill(journal, first=55, count=50)
    assert Counter(written(directory)) == Counter(map(body, range(105)))
    assert len(open_beneath(directory.path)) == open_before
    assert len(list(directory.segments.glob("*.log"))) > 2


def test_a_vanished_directory_is_made_again(directory: QueueDirectory) -> None:
    """A cleaned-up directory does not stop a new process from tracking."""
    JournalWriter(directory).append(body(1), NOW_MS)
    for path in sorted(directory.path.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    directory.path.rmdir()
    JournalWriter(directory).append(body(2), NOW_MS)
    assert written(directory) == [body(2)]


def test_files_and_folders_are_ours_alone(directory: QueueDirectory) -> None:
    """Whatever the umask is, nobody else may look in."""
    before = os.umask(0)
    try:
        JournalWriter(directory).append(body(1), NOW_MS)
    finally:
        os.umask(before)
    for path in [directory.path, *directory.path.rglob("*")]:
        assert path.stat().st_mode & 0o077 == 0, path


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o701])
def test_an_open_directory_is_refused_with_the_remedy(directory: QueueDirectory, mode: int) -> None:
    """A directory that others can enter is not used, and the message says what to run."""
    directory.path.mkdir()
    directory.path.chmod(mode)
    with pytest.raises(UnsafeDirectoryError, match=r"chmod go-rwx"):
        JournalWriter(directory).append(body(1), NOW_MS)


def test_a_linked_directory_is_refused(directory: QueueDirectory, tmp_path: Path) -> None:
    """A link could be turned to another place between two writes."""
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    directory.path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UnsafeDirectoryError, match=r"expected a directory, got a link"):
        JournalWriter(directory).append(body(1), NOW_MS)


def test_a_foreign_directory_is_refused(directory: QueueDirectory) -> None:
    """Another user's directory could be emptied or filled by that user."""
    if os.geteuid() != 0:
        pytest.skip("only root can give a directory away")
    directory.path.mkdir(mode=0o700)
    os.chown(directory.path, 12345, 12345)
    with pytest.raises(UnsafeDirectoryError, match=r"got user 12345"):
        JournalWriter(directory).append(body(1), NOW_MS)


def test_power_durability_syncs_before_it_returns(directory: QueueDirectory) -> None:
    """With synchronous writes each call waits for the disk; threads share a wait."""
    journal = JournalWriter(directory, synchronous=True, segment_bytes=2000)
    threads = [threading.Thread(target=fill, args=(journal, each, 50)) for each in (0, 100, 200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(written(directory)) == 150


def test_the_record_outlives_a_killed_process(directory: QueueDirectory) -> None:
    """What was acknowledged is whole on disk after SIGKILL in the middle of writing."""
    code = (
        "import sys; from adcp_tracker.journal.writer import JournalWriter\n"
        "from adcp_tracker.journal.files import QueueDirectory\n"
        "journal = JournalWriter(QueueDirectory(sys.argv[1]))\n"
        "number = 0\n"
        "while True:\n"
        '    journal.append(b\'{"event_id":"A-%d"}\' % number, 1767225600123)\n'
        "    print(number, flush=True); number += 1\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(directory.path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for _ in range(200):
            acknowledged = int(process.stdout.readline())
        process.kill()
        rest = process.stdout.read().split()
    last = int(rest[-1]) if rest else acknowledged
    found = written(directory)
    assert found[: last + 1] == [body(number) for number in range(last + 1)]
    assert len(found) <= last + 2


class SteppingClock:
    """A clock that stands until it is set."""

    def __init__(self) -> None:
        self.time = 1_767_225_600.0

    def now(self) -> float:
        """Return the set time."""
        return self.time

    def monotonic(self) -> float:
        """Return the set time."""
        return self.time

    def sleep(self, seconds: float) -> None:
        """Step on."""
        self.time += seconds


class ShortWrites:
    """Appends as a disk does that is about to be full."""

    def __init__(self, append: _syscalls.Append) -> None:
        self._append = append
        self.next_length: int | None = None

    def __call__(self, descriptor: int, data: bytes, size: int) -> int:
        """Write, once in part if so told."""
        length, self.next_length = self.next_length, None
        if length is None:
            return self._append(descriptor, data, size)
        return self._append(descriptor, data[:length], length)


def test_after_a_slow_write_the_interpreter_lock_is_released_until_the_disk_is_quick(
    directory: QueueDirectory,
) -> None:
    """A slow disk stops the thread that writes, and no other."""
    append = SlowWrite()
    journal = JournalWriter(directory, append=append)
    journal.append(body(0), NOW_MS)  # opens the segment
    for number in range(1, 200):
        journal.append(body(number), NOW_MS)
    assert written(directory) == [body(number) for number in range(200)]
    assert 1 < append.count < 110


def test_what_is_appended_while_its_segment_is_closed_goes_into_another(
    directory: QueueDirectory, tmp_path: Path
) -> None:
    """And not into a file that has the number of the closed one by then."""
    journal = JournalWriter(directory, append=SlowWrite())
    for number in range(3):
        journal.append(body(number), NOW_MS)
    closed = journal._descriptor  # noqa: SLF001 - nobody else is told
    others: list[int] = []
    with stopped_in("_write_releasing_gil", lambda: journal.append(body(3), NOW_MS)):
        journal.roll()
        while not others or others[-1] < closed:  # the lowest number that is free comes first
            others.append(os.open(tmp_path / "other", os.O_WRONLY | os.O_CREAT))
    for each in others:
        os.close(each)
    assert (tmp_path / "other").read_bytes() == b""
    assert written(directory) == [body(number) for number in range(4)]
