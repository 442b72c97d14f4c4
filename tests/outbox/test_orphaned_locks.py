"""Locks that a child of a dead process inherited, as of a server that forks in C."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from adcp_tracker import Tracker
from adcp_tracker._platform import SystemClock
from adcp_tracker.journal.files import QueueDirectory, is_orphaned
from adcp_tracker.outbox.directory import FileLeaderLock
from tests.support.destinations import ScriptedDestination, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")

_LEADER = """
import ctypes, os, signal, sys
from adcp_tracker import Tracker
from adcp_tracker.destinations.base import Retry
from tests.support.destinations import ScriptedDestination, wait_until

seller = ScriptedDestination(outcomes=[Retry("busy", "busy", 600.0)])
tracker = Tracker([seller], directory=sys.argv[1], flush_interval=0.05, handle_sigterm=False)
tracker.track_lead(event_id="A-1", email="a@example.com")
wait_until(lambda: len(seller.batches) == 1)
child = ctypes.PyDLL(None).fork()
if child == 0:
    signal.alarm(60)
    while True:
        signal.pause()
print(child, flush=True)
signal.pause()
"""


@contextmanager
def _orphan(queue: Path, *, dies: bool = True) -> Iterator[int]:
    """Have a child that inherited the locks of a leader; yield the leader's id."""
    with subprocess.Popen(
        [sys.executable, "-c", _LEADER, str(queue)], stdout=subprocess.PIPE, text=True
    ) as leader:
        assert leader.stdout is not None
        child = int(leader.stdout.readline())
        try:
            if dies:
                leader.kill()
                leader.wait()
            yield leader.pid
        finally:
            os.kill(child, signal.SIGKILL)
            leader.kill()


def test_another_process_leads_when_only_an_orphan_has_the_lock(tmp_path: Path) -> None:
    """It delivers what waits, and holds a lock of its own."""
    queue, seller = tmp_path / "queue", ScriptedDestination("second")
    with _orphan(queue), Tracker([seller], directory=queue, handle_sigterm=False) as tracker:
        tracker.track_lead(event_id="B-1", email="b@example.com")
        wait_until(lambda: seller.ids == ["A-1", "B-1"])
        lock = FileLeaderLock(QueueDirectory(queue), SystemClock())
        assert not lock.try_acquire()


def test_an_orphans_segment_is_deleted_once_it_is_delivered(tmp_path: Path) -> None:
    """Personal data does not stay on disk for as long as a stranger lives."""
    queue = tmp_path / "queue"
    directory = QueueDirectory(queue)
    with _orphan(queue):
        state = directory.state
        for path in state.iterdir():
            path.unlink()  # forgets that the seller asked to wait
        seller = ScriptedDestination()
        with Tracker([seller], directory=queue, handle_sigterm=False) as tracker:
            tracker.flush(20.0)
            assert seller.ids == ["A-1"]
        assert list(directory.segments.iterdir()) == []


def test_a_live_leader_keeps_the_lock_that_its_child_inherited(tmp_path: Path) -> None:
    """A stopped one, too: it may go on at any time."""
    queue = tmp_path / "queue"
    with _orphan(queue, dies=False) as leader:
        os.kill(leader, signal.SIGSTOP)
        lock = FileLeaderLock(QueueDirectory(queue), SystemClock())
        assert not lock.try_acquire()
        assert not is_orphaned((queue / "leader.lock").stat())


def test_a_free_lock_is_no_orphans(tmp_path: Path) -> None:
    """Nor is a file that somebody merely has open."""
    path = tmp_path / "lock"
    with path.open("w"):
        assert not is_orphaned(path.stat())


def test_two_processes_replace_an_orphans_lock_once(tmp_path: Path) -> None:
    """Whoever comes second finds the new file locked by a live process."""
    queue = tmp_path / "queue"
    with _orphan(queue):
        locks = [FileLeaderLock(QueueDirectory(queue), SystemClock()) for _ in range(3)]
        assert [lock.try_acquire() for lock in locks] == [True, False, False]
        assert locks[0].renew()
        locks[0].release()
        assert locks[1].try_acquire()
        locks[1].release()
