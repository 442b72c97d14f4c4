"""A queue directory that vanishes, turns read-only or is closed to its owner, while in use."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from adcp_tracker._clock import SystemClock
from adcp_tracker.delivery.leader_lock import LeaderLock
from adcp_tracker.journal.files import QueueDirectory
from adcp_tracker.journal.writer import JournalWriter
from tests.faults.logged import told
from tests.support.booked import balanced, track
from tests.support.destinations import ScriptedDestination, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.faults.conftest import Make

_ROOT = Path(__file__).parents[2]
_NOBODY = 65534


def test_events_of_a_vanished_directory_are_written_again(
    make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Who still holds the open segment puts what is in it into a new directory, all of it."""
    seller = ScriptedDestination()
    seller.gate.clear()
    tracker = make(seller)
    ids = track(tracker, 5)
    wait_until(lambda: seller.batches)
    ids += track(tracker, 5, first=5)
    shutil.rmtree(tmp_path / "queue")
    ids += track(tracker, 5, first=10)
    seller.gate.set()
    wait_until(lambda: set(seller.ids) == set(ids))
    wait_until(lambda: balanced(tracker).pending == 0)
    assert told(caplog)["segment.rescued"] == 1
    assert told(caplog)["flusher.failed"] <= 1


def test_a_writer_without_a_thread_rescues_its_segment_at_its_end(
    make: Make, tmp_path: Path
) -> None:
    """What an external uploader is to find is there when the web process has ended."""
    seller = ScriptedDestination()
    writer = make(uploader="external")
    ids = track(writer, 20)
    shutil.rmtree(tmp_path / "queue")
    ids += track(writer, 20, first=20)
    writer.close()
    tracker = make(seller)
    tracker.flush(10.0)
    assert seller.ids == ids
    assert balanced(tracker).delivered == 40


def test_a_segment_that_grows_past_its_size_is_rescued_too(tmp_path: Path) -> None:
    """Going on in the next segment loses nothing of a vanished one, and keeps the order."""
    directory = QueueDirectory(tmp_path / "queue")
    journal = JournalWriter(directory, segment_bytes=4096)
    bodies = [b'{"event_id":"A-%d"}' % number for number in range(300)]
    for body in bodies[:20]:
        journal.append(body, 1_767_225_600_123)
    shutil.rmtree(directory.path)
    for body in bodies[20:]:
        journal.append(body, 1_767_225_600_123)
    journal.roll()
    data = b"".join(path.read_bytes() for path in sorted(directory.segments.glob("*.log")))
    found = [line[25:] for line in data.splitlines()]
    assert sorted(found) == sorted(bodies)


@contextmanager
def _files_up_to(size: int) -> Iterator[None]:
    """Have the system refuse what would make a file larger."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_vanished_segment_that_is_not_taken_whole_is_rescued_later(tmp_path: Path) -> None:
    """It is kept in memory until the disk takes all of it, and no part is on disk before."""
    directory = QueueDirectory(tmp_path / "queue")
    journal = JournalWriter(directory)
    bodies = [b'{"event_id":"A-%d"}' % number for number in range(50)]
    for body in bodies:
        journal.append(body, 1_767_225_600_123)
    shutil.rmtree(directory.path)
    with _files_up_to(1000):
        journal.roll()
    assert [path.stat().st_size for path in directory.segments.iterdir()] == [0]
    journal.roll()
    data = b"".join(path.read_bytes() for path in directory.segments.iterdir())
    assert [line[25:] for line in data.splitlines()] == bodies


def test_what_is_tracked_while_a_vanished_segment_waits_is_not_held_up(tmp_path: Path) -> None:
    """A segment that is full and gone has a successor, and is rescued as soon as it can be."""
    directory = QueueDirectory(tmp_path / "queue")
    journal = JournalWriter(directory, segment_bytes=4096)
    bodies = [b'{"event_id":"A-%d"}' % number for number in range(300)]
    for body in bodies[:20]:
        journal.append(body, 1_767_225_600_123)
    shutil.rmtree(directory.path)
    with _files_up_to(4000):
        for body in bodies[20:100]:
            journal.append(body, 1_767_225_600_123)
    for body in bodies[100:]:
        journal.append(body, 1_767_225_600_123)
    data = b"".join(path.read_bytes() for path in directory.segments.iterdir())
    assert sorted(line[25:] for line in data.splitlines()) == sorted(bodies)


def test_a_vanished_segment_is_kept_while_its_directory_cannot_be_made(tmp_path: Path) -> None:
    """Something else in the directory's place costs no event either, however long it is there."""
    directory = QueueDirectory(tmp_path / "queue")
    journal = JournalWriter(directory)
    journal.append(b"{}", 1_767_225_600_123)
    shutil.rmtree(directory.path)
    directory.path.write_text("in the way")
    journal.roll()
    journal.roll()
    directory.path.unlink()
    journal.roll()
    (path,) = directory.segments.iterdir()
    assert path.read_bytes().endswith(b"E\t{}\n")


def test_a_child_leaves_a_vanished_segment_to_its_parent(tmp_path: Path) -> None:
    """What was in it is written again once, by the parent."""
    directory = QueueDirectory(tmp_path / "queue")
    journal = JournalWriter(directory)
    journal.append(b"{}", 1_767_225_600_123)
    shutil.rmtree(directory.path)
    directory.path.write_text("in the way")
    journal.roll()
    directory.path.unlink()
    child = os.fork()
    if not child:  # pragma: no cover - in the child
        journal.close_inherited()
        journal.roll()
        os._exit(len(list(directory.path.glob("segments/*"))))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    journal.roll()
    assert len(list(directory.segments.iterdir())) == 1


def test_nobody_leads_by_a_lock_that_vanished(make: Make, tmp_path: Path) -> None:
    """After the directory was replaced, one process uploads: who holds the new lock."""
    seller = ScriptedDestination()
    tracker = make(seller, flush_interval=0.5)
    track(tracker, 1)
    wait_until(lambda: balanced(tracker).delivered == 1)
    other = QueueDirectory(tmp_path / "other")
    other.prepare()
    rival = LeaderLock(other, SystemClock())
    assert rival.try_acquire()
    (tmp_path / "queue").rename(tmp_path / "away")  # while it rests, for half a second
    other.path.rename(tmp_path / "queue")
    track(tracker, 1, first=1)
    wait_until(lambda: not tracker._pipeline.flusher.is_leading)  # noqa: SLF001 - told by nothing else
    sent = len(seller.batches)
    ids = track(tracker, 3, first=2)
    tracker.flush(0.3)
    assert len(seller.batches) == sent
    rival.release()
    wait_until(lambda: set(ids) <= set(seller.ids))


def _remount(volume: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", str(volume)], check=True)  # noqa: S607 - root's own path


def test_a_volume_that_turns_read_only_costs_no_event(
    make: Make, volume: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Events wait in memory until it can be written again; the log says it once a cause."""
    seller = ScriptedDestination()
    tracker = make(seller, directory=volume / "queue")
    ids = track(tracker, 5)
    tracker.close(10.0)
    _remount(volume, "ro")
    caplog.clear()
    ids += track(tracker, 50, first=5)
    wait_until(lambda: told(caplog)["flusher.failed"])
    assert told(caplog) == {"journal.not_written": 1, "flusher.failed": 1}
    _remount(volume, "rw")
    wait_until(lambda: len(seller.ids) == len(ids))
    assert seller.ids == ids
    assert tracker.close(10.0).total().delivered == 55


_SHOP = """
import encodings.idna, json, os, sys
import httpx, structlog
import adcp_tracker.outbox._diskcache
from tests.support.booked import balanced, track
from tests.support.destinations import ScriptedDestination
from adcp_tracker.tracker import Tracker
os.setgroups([]); os.setgid({nobody}); os.setuid({nobody})
seller = ScriptedDestination()
tracker = Tracker([seller], directory={directory!r}, flush_interval=0.02, handle_sigterm=False)
number = 0
def say(**facts):
    print(json.dumps(facts), flush=True)
for line in sys.stdin:
    if line.strip() == "track":
        track(tracker, 10, first=number); number += 10
        say(tracked=number)
    elif line.strip() == "end":
        tracker.close(10.0)
        say(ids=seller.ids, pending=tracker.stats().pending)
    else:
        say(sent=len(seller.ids))
"""


@pytest.fixture
def place() -> Iterator[Path]:
    """Return a directory of an unprivileged user, whom rights do bind."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    folder = Path("/tmp") / f"adcp-rights-{os.getpid()}-{time.monotonic_ns()}"  # noqa: S108 - others' way
    folder.mkdir(mode=0o700)
    os.chown(folder, _NOBODY, _NOBODY)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("lost", ["", "segments", "state"])
def test_lost_rights_cost_no_event(place: Path, lost: str) -> None:
    """Whatever a user may not open any more is tried again until it may be."""
    queue = place / "queue"
    code = _SHOP.format(nobody=_NOBODY, directory=str(queue))
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=_ROOT,
    ) as shop:

        def ask(word: str) -> dict[str, object]:
            assert shop.stdin is not None
            assert shop.stdout is not None
            shop.stdin.write(word + "\n")
            shop.stdin.flush()
            answer: dict[str, object] = json.loads(shop.stdout.readline())
            return answer

        try:
            ask("track")
            wait_until(lambda: ask("look")["sent"] == 10)
            (queue / lost).chmod(0)
            ask("track")
            ask("track")
            (queue / lost).chmod(0o700)
            ask("track")
            wait_until(lambda: ask("look")["sent"] == 40)
            end = ask("end")
        finally:
            shop.kill()
    assert end == {"ids": [f"L-{number}" for number in range(40)], "pending": 0}
