"""Stats say what is true when this process doesn't lead, and what odd queues cost is bounded."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from adcp_tracker._platform import SystemClock
from adcp_tracker.delivery.outcomes import RetryPolicy
from adcp_tracker.delivery.stats import StatsReader, current_stats
from adcp_tracker.delivery.uploader import Uploader, UploaderConfig
from adcp_tracker.destinations.base import Retry
from adcp_tracker.exceptions import OutboxError
from adcp_tracker.journal.files import QueueDirectory
from adcp_tracker.journal.records import encode_event
from adcp_tracker.journal.writer import JournalWriter
from adcp_tracker.outbox.dead_letters import DeadLetter, DeadLetterStore
from adcp_tracker.outbox.directory import DirectoryStore
from adcp_tracker.tracker import Tracker
from tests.support.booked import track
from tests.support.destinations import MemoryOutbox, ScriptedDestination, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOW_MS = 1_767_225_600_123

_LEADING = """
import sys, threading
from adcp_tracker import Tracker
from tests.support.destinations import ScriptedDestination
seller = ScriptedDestination()
tracker = Tracker([seller], directory=sys.argv[1], flush_interval=0.05, handle_sigterm=False)
tracker.track_lead(event_id="A-1", email="a@example.com")
assert tracker.flush(20.0).total().delivered == 1
print("leads", flush=True)
threading.Event().wait()
"""


def test_a_child_asks_anew_where_its_parent_waits(tmp_path: Path) -> None:
    """After a fork that Python isn't told of, the parent's thread looks as if it were alive."""
    may_go_on = threading.Event()
    reader = StatsReader(DirectoryStore(QueueDirectory(tmp_path)))
    with pytest.raises(OutboxError, match="does not answer"):
        reader.ask(lambda _: may_go_on.wait(60.0), 0.0)
    with pytest.raises(OutboxError, match="does not answer"):
        reader.ask(lambda _: "found", 0.0)
    reader.reset_after_fork()
    assert reader.ask(lambda _: "found", 60.0) == "found"
    may_go_on.set()


@pytest.mark.slow
def test_what_waits_behind_a_stopped_leader_is_pending(tmp_path: Path) -> None:
    """flush(), stats() and close() count it, and tell whose counts these are and how old."""
    queue = tmp_path / "queue"
    with subprocess.Popen(
        [sys.executable, "-c", _LEADING, str(queue)], stdout=subprocess.PIPE, text=True
    ) as leader:
        try:
            assert leader.stdout is not None
            assert leader.stdout.readline() == "leads\n"
            store = DirectoryStore(QueueDirectory(queue))
            wait_until(lambda: current_stats(store).total().delivered == 1)
            os.kill(leader.pid, 19)  # SIGSTOP: it keeps the lock and does nothing
            tracker = Tracker([ScriptedDestination()], directory=queue, handle_sigterm=False)
            track(tracker, 500)
            flushed = tracker.flush(0.2)
            assert (flushed.pending, flushed.leader) == (500, leader.pid)
            assert flushed.host == os.uname().nodename
            assert flushed.as_json()["age"] == pytest.approx(flushed.age, abs=5.0)
            total = tracker.stats().total()
            assert (total.accepted, total.delivered, total.pending) == (501, 1, 500)
            assert tracker.close(0.2).pending == 500
        finally:
            leader.kill()


def test_what_comes_after_the_last_uploader_is_pending(tmp_path: Path) -> None:
    """Everything was delivered when it ended; what others track since is counted, with its age."""
    queue = tmp_path / "queue"
    with Tracker([ScriptedDestination()], directory=queue) as tracker:
        track(tracker, 1)
        assert tracker.flush(20.0).total().delivered == 1
    began = time.time()
    with Tracker(directory=queue, uploader="external") as shop:
        track(shop, 2, first=1)
        stats = shop.stats()
    assert (stats.pending, stats.total().accepted) == (2, 3)
    assert stats.oldest_at == pytest.approx(began, abs=20.0)
    assert stats.destinations["scripted"].oldest_at == stats.oldest_at


def _uploader(path: Path, clock: SystemClock, seller: ScriptedDestination) -> Uploader:
    store = DirectoryStore(QueueDirectory(path), None, lambda _: MemoryOutbox())
    config = UploaderConfig(store, [seller], RetryPolicy(lambda: 0.5), clock, 1.0)
    return Uploader(config, lambda: None)


class _MovedClock(SystemClock):
    """A wall clock that can be set back."""

    offset = 0.0

    def now(self) -> float:
        """Return the time of day as it was set."""
        return time.time() + self.offset


def test_a_clock_that_is_set_back_delays_no_retry(tmp_path: Path) -> None:
    """What was to be tried in two seconds is tried in two seconds."""
    JournalWriter(QueueDirectory(tmp_path)).append(b'{"event_id":"A-1"}', NOW_MS)
    clock = _MovedClock()
    seller = ScriptedDestination(outcomes=[Retry("http_503", "busy")])
    uploader = _uploader(tmp_path, clock, seller)
    uploader.run_once()
    wait_until(lambda: uploader.run_once() > 0 and not uploader.is_sending)
    assert uploader.next_attempt_at() - clock.now() < 10.0
    clock.offset = -3000.0
    uploader.run_once()
    assert uploader.next_attempt_at() - clock.now() < 10.0
    uploader.close()


@pytest.mark.slow
def test_very_many_segments_cost_little(tmp_path: Path) -> None:
    """20,000 segments: the first purchase asks for few files, and waiting costs a fiftieth."""
    directory = QueueDirectory(tmp_path)
    directory.prepare()
    for number in range(20_000):
        path = directory.segments / f"{NOW_MS * 10**6 + number:020d}-1-{number:08x}.log"
        path.write_bytes(encode_event(b'{"event_id":"A-%d"}' % number, NOW_MS))
        path.chmod(0o600)
    journal = JournalWriter(directory, max_bytes=1 << 30)
    with _counted_calls() as calls:
        journal.append(b'{"event_id":"B-1"}', NOW_MS)
    assert calls["listdir"] == 1
    assert sum(calls[name] for name in ("stat", "lstat", "open", "scandir")) < 1100
    uploader = _uploader(
        tmp_path, SystemClock(), ScriptedDestination(outcomes=[Retry("busy", "busy", 600)])
    )
    with _counted_calls() as calls:
        uploader.segments.sync()
    assert calls["fdatasync"] + calls["fsync"] < 100
    wait_until(lambda: uploader.run_once() > 0 and not uploader.is_sending)
    for _ in range(6):  # each learns of some segments that they are closed
        uploader.run_once()
    began, paused = time.process_time(), 0.0
    with _counted_calls() as calls:
        for _ in range(5):
            paused += uploader.run_once()
    assert sum(calls[name] for name in ("stat", "lstat", "open", "scandir")) < 100
    began, paused = time.process_time(), 0.0
    for _ in range(5):
        paused += uploader.run_once()
    busy = time.process_time() - began
    uploader.close()
    assert busy / (busy + paused) <= 0.02


@contextmanager
def _counted_calls() -> Iterator[Counter[str]]:
    """Count this thread's calls of functions that are written in C, by their names."""
    calls: Counter[str] = Counter()

    def note(_: object, event: str, function: object) -> None:
        if event == "c_call":
            calls[getattr(function, "__name__", "")] += 1

    sys.setprofile(note)
    try:
        yield calls
    finally:
        sys.setprofile(None)


@pytest.mark.slow
def test_a_new_leader_reads_each_dead_letter_once(tmp_path: Path) -> None:
    """Also where the state is lost: then the letters are counted in the same pass."""
    directory = QueueDirectory(tmp_path)
    directory.prepare()
    letters = DeadLetterStore(directory)
    event, name = b'{"pad":"%s"}' % (b"x" * 400), f"{NOW_MS * 10**6:020d}-1-aaaaaaaa.log"
    for start in range(0, 50_000, 10_000):
        letters.add(
            [
                DeadLetter("scripted", name, place, 0.0, "X", "$: odd", event=event)
                for place in range(start, start + 10_000)
            ],
            start,
        )
    with _counted_calls() as calls:
        uploader = _uploader(tmp_path, SystemClock(), ScriptedDestination())
    files = len(list(directory.dead.iterdir()))
    assert files > 1
    assert calls["loads"] < 50_000 + 100
    assert uploader.stats().destinations["scripted"].dead == 50_000
    uploader.close()
