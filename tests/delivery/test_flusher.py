"""The flusher: one thread that uploads, whoever starts, stops or forks meanwhile."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

import pytest

from adcp_tracker import Tracker
from adcp_tracker._platform import SystemClock
from adcp_tracker.delivery.flusher import FORK_WAIT_SECONDS, Flusher
from adcp_tracker.delivery.outcomes import RetryPolicy
from adcp_tracker.delivery.uploader import UploaderConfig
from adcp_tracker.journal.files import QueueDirectory
from adcp_tracker.journal.writer import JournalWriter
from adcp_tracker.outbox.directory import DirectoryStore, FileLeaderLock
from tests.support.destinations import MemoryOutbox, ScriptedDestination, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from adcp_tracker.outbox.storage import Outbox

WAIT_S = 20.0
_MOMENT_S = 0.2
_CLOSE_S = 5.0
_FORKS = 8
_REAL_START = threading.Thread.start


class _Watched(MemoryOutbox):
    """An outbox in memory that knows whether it is open."""

    is_open = True

    def close(self) -> None:
        """Note that it is not."""
        self.is_open = False


class Opening:
    """Opens outboxes in memory, each only when it may; counts them."""

    def __init__(self) -> None:
        self.opened = 0
        self.begun = threading.Event()
        self.may_go_on = threading.Event()
        self.may_go_on.set()

    def __call__(self, directory: QueueDirectory) -> Outbox:
        """Open one."""
        del directory
        self.begun.set()
        self.may_go_on.wait(WAIT_S)
        self.opened += 1
        self.last = _Watched()
        return self.last


@pytest.fixture
def opening() -> Opening:
    """How outboxes are opened."""
    return Opening()


@pytest.fixture
def seller() -> ScriptedDestination:
    """Where events go."""
    return ScriptedDestination()


@pytest.fixture
def flusher(tmp_path: Path, opening: Opening, seller: ScriptedDestination) -> Iterator[Flusher]:
    """A flusher that is stopped at the end."""
    setting = UploaderConfig(
        DirectoryStore(QueueDirectory(tmp_path), None, opening),
        (seller,),
        RetryPolicy(lambda: 0.5),
        SystemClock(),
        idle_seconds=0.01,
    )
    one = Flusher(setting, lambda: None)
    yield one
    seller.gate.set()
    opening.may_go_on.set()
    one.stop(WAIT_S)


def _uploading() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name == "adcp_tracker"]


def _within(function: object) -> threading.Thread:
    thread = threading.Thread(target=function, daemon=True)  # type: ignore[arg-type]  # a callable
    thread.start()
    return thread


def test_an_error_while_the_thread_starts_leaves_no_thread_that_nobody_knows_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the next event would start a second, and both would upload."""

    def start_and_fail(self: threading.Thread) -> None:
        _REAL_START(self)
        monkeypatch.undo()
        raise KeyboardInterrupt

    seller = ScriptedDestination()
    tracker = Tracker([seller], directory=tmp_path, flush_interval=0.01, handle_sigterm=False)
    before = len(_uploading())
    monkeypatch.setattr(threading.Thread, "start", start_and_fail)
    with pytest.raises(KeyboardInterrupt):
        tracker.track_lead(event_id="L-1", email="a@example.com")
    tracker.track_lead(event_id="L-2", email="a@example.com")
    assert len(_uploading()) == before + 1
    assert tracker.close(WAIT_S).total().delivered == 2
    assert seller.ids == ["L-1", "L-2"]
    assert len(_uploading()) == before


def test_a_thread_that_could_not_be_started_is_not_taken_for_one_that_runs(
    flusher: Flusher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that nobody waits for it, and the next event tries again."""

    def refuse(self: threading.Thread) -> None:
        del self
        monkeypatch.undo()
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(RuntimeError):
        flusher.start()
    assert not flusher.is_running
    flusher.start()
    assert flusher.is_running


def test_a_thread_that_did_not_end_in_time_never_uploads_beside_its_successor(
    flusher: Flusher, opening: Opening
) -> None:
    """It ends as soon as it can, and until then the lock is its own."""
    opening.may_go_on.clear()
    flusher.start()
    assert opening.begun.wait(WAIT_S)
    (late,) = _uploading()
    flusher.stop(0.0)
    flusher.start()
    assert len(_uploading()) == 2
    opening.may_go_on.set()
    wait_until(lambda: not late.is_alive())
    wait_until(lambda: opening.opened == 2)
    assert flusher.is_leading
    assert len(_uploading()) == 1


def test_the_lock_belongs_to_the_thread_that_took_it(tmp_path: Path) -> None:
    """Another thread of the process is refused as another process is."""
    directory = QueueDirectory(tmp_path)
    directory.prepare()
    election, answers = FileLeaderLock(directory, SystemClock()), list[bool]()
    assert election.try_acquire()
    assert election.try_acquire()
    _within(lambda: answers.append(election.try_acquire())).join(WAIT_S)
    election.release()
    _within(lambda: answers.append(election.try_acquire())).join(WAIT_S)
    assert answers == [False, True]
    election.release()


def test_no_thread_begins_to_upload_in_the_middle_of_a_fork(
    flusher: Flusher, opening: Opening
) -> None:
    """A child that was forked while another thread is in SQLite could never use it."""
    flusher.pause_for_fork()
    starting = _within(flusher.start)
    starting.join(_MOMENT_S)
    assert starting.is_alive()
    assert not opening.begun.is_set()
    flusher.resume_after_fork()
    starting.join(WAIT_S)
    assert opening.begun.wait(WAIT_S)


def test_a_fork_waits_for_a_thread_that_is_stopping(flusher: Flusher, opening: Opening) -> None:
    """It may have the database open yet."""
    opening.may_go_on.clear()
    flusher.start()
    assert opening.begun.wait(WAIT_S)
    flusher.stop(0.0)
    parking = _within(flusher.pause_for_fork)
    parking.join(_MOMENT_S)
    assert parking.is_alive()
    opening.may_go_on.set()
    parking.join(WAIT_S)
    assert not parking.is_alive()
    assert _uploading() == []


def test_a_fork_beside_a_close_waits_no_longer_than_the_close(
    flusher: Flusher, opening: Opening
) -> None:
    """The thread that ends instead of standing still is not waited for in vain."""
    opening.may_go_on.clear()
    flusher.start()
    assert opening.begun.wait(WAIT_S)
    parking = _within(flusher.pause_for_fork)
    stopping = _within(lambda: flusher.stop(WAIT_S))
    wait_until(lambda: stopping.is_alive() and parking.is_alive())
    began = time.monotonic()
    opening.may_go_on.set()
    parking.join(WAIT_S)
    assert time.monotonic() - began < FORK_WAIT_SECONDS
    stopping.join(WAIT_S)


def _send_without_answer(directory: Path, flusher: Flusher, seller: ScriptedDestination) -> None:
    """Have a request on its way."""
    seller.gate.clear()
    journal = JournalWriter(QueueDirectory(directory))
    journal.append(b'{"event_id":"A-1","event_type":"lead"}', 1_767_225_600_123)
    journal.roll()
    flusher.start()
    wait_until(lambda: seller.batches)


def _expect_a_quick_fork(flusher: Flusher, opening: Opening) -> None:
    began = time.monotonic()
    flusher.pause_for_fork()
    assert time.monotonic() - began < FORK_WAIT_SECONDS
    assert not opening.last.is_open
    flusher.resume_after_fork()


def test_a_fork_waits_for_no_request_before_a_hand_over(
    tmp_path: Path, flusher: Flusher, opening: Opening, seller: ScriptedDestination
) -> None:
    """While the last one is on its way, the thread stands still as ever, its database closed."""
    _send_without_answer(tmp_path, flusher, seller)
    rival, asked = FileLeaderLock(QueueDirectory(tmp_path), SystemClock()), threading.Event()

    def ask() -> None:
        while not seller.gate.is_set():
            rival.acquire(_MOMENT_S)
            asked.set()

    asking = _within(ask)
    assert asked.wait(WAIT_S)  # for longer than the thread needs to hear of it
    _expect_a_quick_fork(flusher, opening)
    seller.gate.set()
    asking.join(WAIT_S)
    rival.release()


def test_a_fork_waits_for_no_request_of_a_thread_that_is_stopping(
    tmp_path: Path, flusher: Flusher, opening: Opening, seller: ScriptedDestination
) -> None:
    """It stands still as well, however often it was told."""
    _send_without_answer(tmp_path, flusher, seller)
    flusher.stop(0.0)
    flusher.stop(0.0)
    assert not flusher.has_ended
    _expect_a_quick_fork(flusher, opening)
    seller.gate.set()
    wait_until(lambda: flusher.has_ended)
    assert seller.ids == ["A-1"]


@pytest.mark.slow
def test_a_close_takes_no_longer_than_it_may(tmp_path: Path) -> None:
    """To flush and to end the thread share the time, where a seller does not answer."""
    hanging = ScriptedDestination()
    hanging.gate.clear()
    tracker = Tracker([hanging], directory=tmp_path, flush_interval=0.01, handle_sigterm=False)
    tracker.track_lead(event_id="L-1", email="a@example.com")
    wait_until(lambda: hanging.batches)
    began = time.monotonic()
    tracker.close(_CLOSE_S)
    assert time.monotonic() - began < 1.75 * _CLOSE_S
    hanging.gate.set()


# Python ≥ 3.12 warns of what is shown here to go well.
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_children_of_a_fork_beside_a_first_event_can_all_upload(tmp_path: Path) -> None:
    """Wherever the parent's thread stands that begins to upload, a child delivers its own."""
    for number in range(_FORKS):
        seller = ScriptedDestination()
        tracker = Tracker(
            [seller], directory=tmp_path / str(number), flush_interval=0.01, handle_sigterm=False
        )
        name = f"L-{number}"
        first = _within(
            lambda name=name, tracker=tracker: tracker.track_lead(
                lead_id=name, email="b@example.com"
            )
        )
        child = os.fork()
        if child == 0:
            status = 1
            try:
                tracker.track_lead(lead_id="child", email="a@example.com")
                status = tracker.close(WAIT_S).pending
            finally:
                os._exit(status)
        assert os.waitpid(child, 0)[1] == 0
        first.join(WAIT_S)
        assert tracker.close(WAIT_S).pending == 0
