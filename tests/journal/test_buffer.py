"""The way into the journal when the journal cannot take anything."""

from __future__ import annotations

import errno
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import orjson
import pytest

from adcp_tracker._platform import SystemClock
from adcp_tracker.exceptions import QueueFullError
from adcp_tracker.journal.buffer import WriteBuffer
from adcp_tracker.journal.files import QueueDirectory
from adcp_tracker.journal.records import DROPPED, EVENT, Record, parse
from adcp_tracker.journal.writer import JournalWriter

if TYPE_CHECKING:
    from pathlib import Path

NOW_MS = 1_767_225_600_123


class FailingJournal(JournalWriter):
    """A journal whose disk fails for as long as it is told to."""

    error: OSError | None = None

    def append(self, body: bytes, accepted_ms: int) -> None:
        """Append, or fail."""
        if self.error is not None:
            raise self.error
        super().append(body, accepted_ms)

    def append_record(self, body: bytes, accepted_ms: int, kind: bytes) -> None:
        """Append, or fail."""
        if self.error is not None:
            raise self.error
        super().append_record(body, accepted_ms, kind)


@pytest.fixture
def journal(tmp_path: Path) -> FailingJournal:
    """Return a journal that can be told to fail."""
    return FailingJournal(QueueDirectory(tmp_path / "queue"))


def records(tmp_path: Path) -> list[Record]:
    """Return every record on disk."""
    paths = sorted((tmp_path / "queue" / "segments").glob("*.log"))
    return [record for path in paths for record in parse(path.read_bytes())[0]]


def test_what_the_disk_refuses_waits_in_memory_and_is_written_later(
    journal: FailingJournal, tmp_path: Path
) -> None:
    """A disk error is no exception for the host, and loses nothing when it passes."""
    intake = WriteBuffer(journal, SystemClock())
    journal.error = OSError(errno.EIO, "disk")
    for number in range(10):
        intake.append(b'{"event_id":"A-%d"}' % number, NOW_MS)
    assert intake.in_memory == 10
    journal.error = None
    intake.flush()
    assert intake.in_memory == 0
    assert [record.body for record in records(tmp_path)] == [
        b'{"event_id":"A-%d"}' % number for number in range(10)
    ]


@pytest.mark.slow
def test_where_no_uploader_runs_what_waits_is_written_without_another_event(
    journal: FailingJournal, tmp_path: Path
) -> None:
    """A quiet shop's last order is not left in memory; the thread ends when nothing waits."""
    buffer = WriteBuffer(journal, SystemClock(), memory_bytes=30, retries=True)
    before = set(threading.enumerate())
    for error in (OSError(errno.ENOSPC, "full"), OSError(errno.EIO, "disk")):
        journal.error = error
        buffer.append(b"x" * 20, NOW_MS)
        buffer.append(b"x" * 20, NOW_MS)
        started = set(threading.enumerate()) - before
        (thread,) = (each for each in started if each.name == "adcp-retry")
        journal.error = None
        thread.join(20)
        assert not thread.is_alive()
    assert buffer.in_memory == 0
    assert [record.kind for record in records(tmp_path)] == [EVENT, DROPPED] * 2


def test_memory_is_bounded_and_what_is_over_is_counted(
    journal: FailingJournal, tmp_path: Path
) -> None:
    """Only so much waits in memory; the rest is dropped, and the counts are told."""
    reasons: list[str] = []
    intake = WriteBuffer(journal, SystemClock(), on_drop=reasons.append, memory_bytes=100)
    journal.error = OSError(errno.ENOSPC, "full")
    for _ in range(10):
        intake.append(b"x" * 30, NOW_MS)
    assert intake.in_memory == 3
    assert reasons == ["disk"] * 7
    journal.error = None
    intake.flush()
    *events, told = records(tmp_path)
    assert [record.kind for record in events] == [EVENT] * 3
    assert (told.kind, orjson.loads(told.body)) == (DROPPED, {"disk": 7})


def test_a_full_queue_drops_and_tells(journal: FailingJournal, tmp_path: Path) -> None:
    """Over max_bytes new events are dropped by reason, and told once there is room."""
    reasons: list[str] = []
    intake = WriteBuffer(journal, SystemClock(), on_drop=reasons.append)
    journal.error = QueueFullError("full")
    intake.append(b"{}", NOW_MS)
    assert reasons == ["full"]
    assert intake.in_memory == 0
    journal.error = None
    intake.flush()
    (told,) = records(tmp_path)
    assert orjson.loads(told.body) == {"full": 1}


def test_a_full_queue_raises_where_that_was_asked_for(journal: FailingJournal) -> None:
    """With when_full="raise" the caller hears of it, and nothing is counted as dropped."""
    intake = WriteBuffer(journal, SystemClock(), raise_when_full=True)
    journal.error = QueueFullError("full")
    with pytest.raises(QueueFullError):
        intake.append(b"{}", NOW_MS)
    with pytest.raises(QueueFullError):
        intake.append_enveloped({"test": "T"}, b"{}", NOW_MS)


def test_counts_that_cannot_be_written_are_kept(journal: FailingJournal, tmp_path: Path) -> None:
    """A count of drops is not lost because the disk still fails."""
    intake = WriteBuffer(journal, SystemClock())
    intake.count_dropped("consent", 2)
    journal.error = OSError(errno.EIO, "disk")
    intake.flush()
    journal.error = None
    intake.count_dropped("consent")
    intake.flush()
    (told,) = records(tmp_path)
    assert orjson.loads(told.body) == {"consent": 3}


def test_a_child_leaves_to_its_parent_what_is_the_parents(
    journal: FailingJournal, tmp_path: Path
) -> None:
    """After a fork the memory's events and counts are written once, by the parent."""
    intake = WriteBuffer(journal, SystemClock())
    intake.count_dropped("consent")
    intake.reset_after_fork()
    intake.flush()
    assert records(tmp_path) == []


def test_a_callback_that_raises_breaks_no_checkout(
    journal: FailingJournal, caplog: pytest.LogCaptureFixture
) -> None:
    """It is called for each event all the same, and the log tells once of what it raised."""
    reasons: list[str] = []

    def on_drop(reason: str) -> None:
        reasons.append(reason)
        raise ValueError("alice@example.com")

    intake = WriteBuffer(journal, SystemClock(), on_drop=on_drop)
    journal.error = QueueFullError("full")
    intake.append(b"{}", NOW_MS)
    intake.count_dropped("consent", 2)
    assert reasons == ["full", "consent", "consent"]
    (told,) = [each for each in caplog.messages if "on_drop.raised" in each]
    assert "ValueError" in told
    assert "alice" not in caplog.text


_WITHOUT_DESCRIPTORS = """
import os, resource, sys
from adcp_tracker._platform import SystemClock
from adcp_tracker.exceptions import QueueFullError
from adcp_tracker.journal.files import QueueDirectory
from adcp_tracker.journal.buffer import WriteBuffer
from adcp_tracker.journal.writer import JournalWriter
directory = QueueDirectory(sys.argv[1])
directory.prepare()
intake = WriteBuffer(JournalWriter(directory), SystemClock())
assert "structlog" not in sys.modules
resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
taken = []
try:
    while True:
        taken.append(os.open(os.devnull, os.O_RDONLY))
except OSError:
    pass
intake.append(b'{"event_id":"A-1"}', 1767225600123)
print(intake.in_memory)
for each in taken:
    os.close(each)
intake.flush()
print(intake.in_memory)
"""


def test_an_event_is_kept_where_not_even_the_log_can_be_opened(tmp_path: Path) -> None:
    """Without a descriptor left it waits in memory, and the checkout sees no error."""
    ended = subprocess.run(
        [sys.executable, "-c", _WITHOUT_DESCRIPTORS, str(tmp_path / "queue")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.stdout.split(), ended.returncode) == (["1", "0"], 0)
    assert "Traceback" not in ended.stderr
    assert [record.body for record in records(tmp_path)] == [b'{"event_id":"A-1"}']
