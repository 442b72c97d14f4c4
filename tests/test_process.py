"""ForkAware in somebody else's process: exits, signals and forks, each with a real process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest

from adcp_tracker import _process
from adcp_tracker.tracker import Tracker
from tests.support.destinations import ScriptedDestination

if TYPE_CHECKING:
    from pathlib import Path

HEAD = """
import os, signal, sys, threading, time
from adcp_tracker.destinations.base import Delivered
from adcp_tracker.tracker import Tracker

class Writing:
    '''Writes the ids it takes to a file, at once.'''
    name = "writing"
    max_events = 10_000
    max_bytes = 10_000_000
    def send(self, batch):
        import orjson
        with open(sys.argv[2], "a") as file:
            for event in batch.events:
                file.write(orjson.loads(event)["event_id"] + "\\n")
        return Delivered()
    def check(self, event): return None
    def close(self): pass
    def after_fork(self): pass

def make(**settings):
    # No event is uploaded by itself, so that what arrives was delivered at the end.
    return Tracker([Writing()], directory=sys.argv[1], flush_interval=30.0, **settings)

def track(tracker, *names):
    for name in names:
        tracker.track_lead(event_id=name, email="a@example.com")
"""


def run(tmp_path: Path, body: str) -> tuple[int, list[str]]:
    """Run a program and return its exit code and the ids that were delivered."""
    code = HEAD + textwrap.dedent(body)
    process = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, str(tmp_path / "q"), str(tmp_path / "ids")],
        timeout=60,
        check=False,
        capture_output=True,
        text=True,
    )
    assert "Traceback" not in process.stderr or "expected" in process.stderr, process.stderr
    ids = tmp_path / "ids"
    return process.returncode, ids.read_text().split() if ids.exists() else []


@pytest.mark.slow
def test_a_clean_exit_delivers(tmp_path: Path) -> None:
    """A program that just ends has its events delivered, and says nothing."""
    assert run(tmp_path, "track(make(), 'a', 'b')") == (0, ["a", "b"])


@pytest.mark.slow
def test_an_exception_delivers(tmp_path: Path) -> None:
    """An unhandled exception is the host's; the events are delivered."""
    code, ids = run(tmp_path, "track(make(), 'a')\nraise SystemExit('expected')")
    assert (code, ids) == (1, ["a"])


@pytest.mark.slow
def test_sigterm_without_a_handler_delivers_and_ends_as_it_would(tmp_path: Path) -> None:
    """The default of SIGTERM is kept: the process dies of the signal, after a flush."""
    code, ids = run(
        tmp_path, "track(make(), 'a')\nos.kill(os.getpid(), signal.SIGTERM)\ntime.sleep(60)"
    )
    assert (code, ids) == (-signal.SIGTERM, ["a"])


@pytest.mark.slow
def test_the_hosts_handler_is_called(tmp_path: Path) -> None:
    """A handler that was there before us still has its say, and may end the process."""
    body = """
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(7))
        track(make(), 'a')
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)
    """
    assert run(tmp_path, body) == (7, ["a"])


@pytest.mark.slow
def test_a_handler_that_comes_after_us_is_left_alone(tmp_path: Path) -> None:
    """We never put ourselves in a handler's place."""
    body = """
        tracker = make()
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(8))
        track(tracker, 'a')
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)
    """
    assert run(tmp_path, body) == (8, ["a"])


@pytest.mark.slow
def test_an_ignored_sigterm_stays_ignored(tmp_path: Path) -> None:
    """A process that ignores SIGTERM goes on."""
    body = """
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        track(make(), 'a')
        os.kill(os.getpid(), signal.SIGTERM)
        sys.exit(3)
    """
    assert run(tmp_path, body) == (3, ["a"])


@pytest.mark.slow
def test_sigterm_in_the_middle_of_a_flush_does_not_hang(tmp_path: Path) -> None:
    """The handler takes no lock that the interrupted code may hold."""
    body = """
        tracker = make(shutdown_timeout=20.0)
        track(tracker, 'a')
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGTERM)).start()
        while True:
            tracker.flush(0.01)
    """
    code, ids = run(tmp_path, body)
    assert (code, ids) == (-signal.SIGTERM, ["a"])


@pytest.mark.slow
def test_a_child_of_multiprocessing_delivers_before_it_ends(tmp_path: Path) -> None:
    """It ends by ``os._exit``, which skips exit hooks, and nobody else may upload for long."""
    body = """
        import multiprocessing
        tracker = make()
        context = multiprocessing.get_context("fork")
        for name in "abc":
            child = context.Process(target=track, args=(tracker, name))
            child.start()
            child.join()
        os._exit(0)
    """
    code, ids = run(tmp_path, body)
    assert (code, ids) == (0, ["a", "b", "c"])


@pytest.mark.slow
def test_a_child_made_by_a_fork_delivers_its_own_events_once(tmp_path: Path) -> None:
    """Parent and child, forked before and after the first event, each deliver what is theirs."""
    body = """
        tracker = make()
        track(tracker, 'a')
        child = os.fork()
        if not child:
            track(tracker, 'b')
            tracker.flush(20)
            os._exit(0)
        os.waitpid(child, 0)
        track(tracker, 'c')
    """
    code, ids = run(tmp_path, body)
    assert code == 0
    assert sorted(ids) == ["a", "b", "c"]


@pytest.mark.slow
def test_forks_while_the_leader_works_harm_neither(tmp_path: Path) -> None:
    """Many forks beside a busy uploading thread: every child and the parent go on."""
    body = """
        tracker = Tracker([Writing()], directory=sys.argv[1], flush_interval=0.01)
        children = []
        for number in range(20):
            track(tracker, f'p{number}')
            child = os.fork()
            if not child:
                track(tracker, f'c{number}')
                os._exit(0)
            children.append(child)
        assert all(os.waitstatus_to_exitcode(os.waitpid(c, 0)[1]) == 0 for c in children)
        tracker.flush(20)
    """
    code, ids = run(tmp_path, body)
    assert code == 0
    assert sorted(ids) == sorted([f"p{n}" for n in range(20)] + [f"c{n}" for n in range(20)])


@pytest.mark.slow
def test_preloading_starts_no_thread(tmp_path: Path) -> None:
    """A tracker made before the workers are forked works in each of them."""
    body = """
        tracker = make()
        assert threading.active_count() == 1
        workers = []
        for number in range(3):
            worker = os.fork()
            if not worker:
                track(tracker, f'w{number}')
                sys.exit(0)
            workers.append(worker)
        for worker in workers:
            os.waitpid(worker, 0)
        assert threading.active_count() == 1
        tracker.flush(20)
    """
    code, ids = run(tmp_path, body)
    assert code == 0
    assert sorted(ids) == ["w0", "w1", "w2"]


@pytest.mark.slow
def test_a_tracker_closed_before_the_fork_is_used_by_the_child(tmp_path: Path) -> None:
    """As where the loading of the shop tracks something, and the workers go on."""
    body = """
        tracker = make()
        track(tracker, 'a')
        tracker.close()
        child = os.fork()
        if not child:
            track(tracker, 'b')
            sys.exit(0)
        os.waitpid(child, 0)
    """
    assert run(tmp_path, body) == (0, ["a", "b"])


@pytest.mark.slow
def test_what_is_tracked_after_a_close_and_a_flush_is_delivered_at_the_exit(
    tmp_path: Path,
) -> None:
    """A flush starts the thread anew, so the end of the process is told again."""
    body = """
        tracker = make()
        track(tracker, 'a')
        tracker.close()
        tracker.flush()
        track(tracker, 'b')
    """
    assert run(tmp_path, body) == (0, ["a", "b"])


@pytest.mark.slow
@pytest.mark.parametrize("call", ["flush()", "dead_letters.discard(['unknown'])"])
def test_a_child_inherits_no_lock_of_a_tracker_that_was_closed_and_called(
    tmp_path: Path, call: str
) -> None:
    """Whatever starts the thread anew, a fork is told; else no other process could upload."""
    body = f"""
        tracker = make()
        track(tracker, 'a')
        tracker.close()
        tracker.{call}
        while not tracker._pipeline.flusher.is_leading:
            time.sleep(0.01)
        child = os.fork()
        if not child:
            descriptors = [f'/proc/self/fd/{{each}}' for each in os.listdir('/proc/self/fd')]
            found = [os.readlink(each) for each in descriptors if os.path.islink(each)]
            os._exit(any('leader.lock' in each or 'cache.db' in each for each in found))
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """
    assert run(tmp_path, body) == (0, ["a"])


@pytest.mark.slow
@pytest.mark.parametrize("uploader", ["thread", "external"])
def test_drops_after_a_close_are_logged_at_exit(tmp_path: Path, uploader: str) -> None:
    """The counts know of it although nothing else was tracked since."""
    body = f"""
        from adcp_tracker.context import Consent, RequestContext
        tracker = make(uploader={uploader!r})
        track(tracker, 'a')
        tracker.close()
        for number in range(4):
            refused = RequestContext(consent=Consent.DENIED)
            tracker.track_lead(event_id=str(number), email="a@example.com", context=refused)
        tracker.close()
        tracker.track_lead(event_id='4', email="a@example.com", context=refused)
    """
    assert run(tmp_path, body)[0] == 0
    with Tracker(
        [ScriptedDestination("writing")], directory=tmp_path / "q", handle_sigterm=False
    ) as tracker:
        assert tracker.flush(10.0).total().dropped == {"consent": 5}


@pytest.mark.slow
@pytest.mark.parametrize("end", ["", "os.kill(os.getpid(), signal.SIGTERM); time.sleep(60)"])
def test_one_trackers_trouble_at_the_end_keeps_no_other_from_delivering(
    tmp_path: Path, end: str
) -> None:
    """Each is asked to finish, whatever became of those before."""
    body = f"""
        class Failing(Writing):
            def close(self): raise OSError('expected')
        trackers = []
        for name in 'abc':
            directory = os.path.join(sys.argv[1], name)
            trackers.append(Tracker([Failing()], directory=directory, flush_interval=30.0))
        for name, tracker in zip('abc', trackers):
            track(tracker, name)
        {end}
    """
    code, ids = run(tmp_path, body)
    assert sorted(ids) == ["a", "b", "c"]
    assert code == (-signal.SIGTERM if end else 0)


@pytest.mark.slow
def test_a_process_that_never_tracked_says_nothing_at_its_end(tmp_path: Path) -> None:
    """An unused tracker leaves no file and takes no time."""
    assert run(tmp_path, "make()") == (0, [])
    assert not (tmp_path / "q").exists()


def test_an_unused_tracker_is_unregistered(tmp_path: Path) -> None:
    """The hooks hold no tracker alive."""
    tracker = Tracker([ScriptedDestination()], directory=tmp_path, handle_sigterm=False)
    assert tracker._pipeline in _process._registered_objects  # noqa: SLF001 - there is nothing else to see
    tracker.close()
    assert tracker._pipeline not in _process._registered_objects  # noqa: SLF001 - as above


def test_sigterm_is_chained_once(tmp_path: Path) -> None:
    """Several trackers put one handler before the host's."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        for name in "ab":
            Tracker([ScriptedDestination()], directory=tmp_path / name).close()
        first = signal.getsignal(signal.SIGTERM)
        Tracker([ScriptedDestination()], directory=tmp_path / "c").close()
        assert signal.getsignal(signal.SIGTERM) is first
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a fork")
def test_an_inherited_lock_is_given_back(tmp_path: Path) -> None:
    """A child that outlives its parent does not keep the parent's claim to upload."""
    body = """
        tracker = make()
        track(tracker, 'a')
        tracker.flush(20)
        child = os.fork()
        if not child:
            time.sleep(60)
            os._exit(0)
        print(child, flush=True)
        os._exit(0)
    """
    code = HEAD + textwrap.dedent(body)
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "q"), str(tmp_path / "ids")],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
    destination = ScriptedDestination("writing")
    with Tracker([destination], directory=tmp_path / "q", handle_sigterm=False) as tracker:
        tracker.track_lead(event_id="b", email="a@example.com")
        assert tracker.flush(10.0).pending == 0
    assert destination.ids == ["b"]
    os.kill(child, signal.SIGKILL)


@pytest.mark.slow
def test_trackers_with_hanging_sellers_share_one_shutdown_timeout(tmp_path: Path) -> None:
    """The healthy ones deliver meanwhile, in whichever order they were made."""
    body = """
        class Hanging(Writing):
            closed = threading.Event()
            def send(self, batch): self.closed.wait(100); raise OSError('expected')
            def close(self): self.closed.set()
        trackers = []
        for number in range(12):
            directory = os.path.join(sys.argv[1], str(number))
            kind = Writing if number == 7 else type('H', (Hanging,), {'closed': threading.Event()})
            trackers.append(Tracker([kind()], directory=directory, shutdown_timeout=4.0))
            track(trackers[-1], str(number))
        while not all(each._pipeline.flusher.is_leading for each in trackers):
            time.sleep(0.01)
        started = time.monotonic()
        from adcp_tracker import _process
        _process._at_exit()
        assert time.monotonic() - started < 20.0
    """
    code, ids = run(tmp_path, body)
    assert (code, ids) == (0, ["7"])


@pytest.mark.slow
def test_trackers_that_nobody_uses_anymore_leave_no_threads(tmp_path: Path) -> None:
    """Their events are delivered first."""
    body = """
        for number in range(10):
            tracker = make()
            track(tracker, str(number))
            del tracker
        deadline = time.monotonic() + 20
        while threading.active_count() > 1 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert threading.active_count() == 1
    """
    code, ids = run(tmp_path, body)
    assert code == 0
    assert sorted(ids) == [str(number) for number in range(10)]
