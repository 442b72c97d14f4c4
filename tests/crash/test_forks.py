"""A fork at the worst moment leaves the child nothing that is the parent's."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING

import pytest

from adcp_tracker import Tracker
from adcp_tracker.destinations.base import Retry
from tests.support.destinations import ScriptedDestination, wait_until
from tests.support.journals import stopped_in

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Python ≥ 3.12 warns of what is shown here to go well.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")

_MOMENT_S = 0.3
_WAIT_S = 20.0
_FORKS = 3


@contextmanager
def _child() -> Iterator[None]:
    """Have a child of a fork that lives on."""
    child = os.fork()
    if child == 0:
        while True:
            signal.pause()
    try:
        yield
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_a_child_never_holds_a_segment_that_another_thread_was_closing(tmp_path: Path) -> None:
    """Else the parent's segment would count as being written for as long as the child lives."""
    seller = ScriptedDestination()
    tracker = Tracker([seller], directory=tmp_path, handle_sigterm=False, durability="power")
    tracker.track("purchase", event_id="A-1", email="shopper@shop.example")
    with stopped_in("sync", partial(tracker.close, _WAIT_S)) as may_go_on:
        threading.Timer(_MOMENT_S, may_go_on.set).start()  # the fork waits for it
        with _child():
            wait_until(lambda: seller.ids == ["A-1"])
            wait_until(lambda: not list((tmp_path / "segments").iterdir()))


def _fork_unseen() -> int:
    """Fork as a server written in C does, without Python's hooks."""
    return int(ctypes.PyDLL(None).fork())


@contextmanager
def _ended() -> Iterator[None]:
    """End a child by whether what it does raises anything."""
    status = 1
    try:
        yield
        status = 0
    finally:
        os._exit(status)


@pytest.mark.parametrize("ends_by", ["exit", "close", "stop", "drop"])
def test_a_child_forked_unseen_leaves_to_its_parent_what_the_parent_counted(
    tmp_path: Path, ends_by: str
) -> None:
    """What was let go before such a fork is counted once, by whichever call the child begins."""
    tracker = Tracker(directory=tmp_path / "queue", uploader="external", handle_sigterm=False)
    tracker.track("purchase", event_id="A-1", email="shopper@shop.example")
    tracker._pipeline.buffer.count_dropped("full", 7)  # noqa: SLF001 - what a full queue does
    child = _fork_unseen()
    if child == 0:
        with _ended():
            if ends_by == "drop":
                tracker._pipeline.buffer.count_dropped("consent")  # noqa: SLF001 - what a denial does
                ends_by = "close"
            if ends_by == "exit":
                tracker._pipeline.on_exit()  # noqa: SLF001 - as at the interpreter's exit
            else:
                getattr(tracker, ends_by)()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    tracker.close()
    seller = ScriptedDestination()
    with Tracker([seller], directory=tmp_path / "queue", handle_sigterm=False) as uploading:
        dropped = uploading.flush(_WAIT_S).total().dropped
    assert dropped == ({"full": 7, "consent": 1} if ends_by == "drop" else {"full": 7})


def test_a_child_forked_unseen_leaves_to_its_parent_what_waits_in_its_memory(
    tmp_path: Path,
) -> None:
    """An event that the disk refused before such a fork is written once, by the parent."""
    queue = tmp_path / "queue"
    tracker = Tracker(directory=queue, uploader="external", handle_sigterm=False)
    queue.write_text("in the way")
    tracker.track("purchase", event_id="A-1", email="shopper@shop.example")
    queue.unlink()
    child = _fork_unseen()
    if child == 0:
        with _ended():
            tracker._pipeline.on_exit()  # noqa: SLF001 - as at the interpreter's exit
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    tracker.close()
    seller = ScriptedDestination()
    with Tracker([seller], directory=queue, handle_sigterm=False) as uploading:
        uploading.flush(_WAIT_S)
    assert seller.ids == ["A-1"]


def _preload(directory: Path, ready: Path) -> None:
    """Be a server that loads the shop, forks a worker for it, and is killed."""
    # No thread may ask for the interpreter's turn just then: the child would hand it over,
    # and wait for ever for a thread that it does not have.
    sys.setswitchinterval(_WAIT_S)
    busy = ScriptedDestination()
    busy.always = lambda _: Retry("http_503", "busy")  # so that whoever comes next delivers
    tracker = Tracker([busy], directory=directory, flush_interval=_MOMENT_S)
    tracker.track("purchase", event_id="A-1", email="shopper@shop.example")
    wait_until(lambda: tracker.stats().leader == os.getpid())
    # A thread that comes back from a system call may ask all the same, about once in 500 forks.
    for _ in range(_FORKS):
        worker = _fork_unseen()
        if worker == 0:
            tracker.track("purchase", event_id="A-2", email="shopper@shop.example")
            ready.write_text(str(os.getpid()))
            while True:
                signal.pause()
        with suppress(AssertionError):
            wait_until(ready.exists)
            break
        os.kill(worker, signal.SIGKILL)


@pytest.mark.parametrize("first", ["track", "start", "flush"])
def test_a_worker_that_uwsgi_has_forked_uploads(tmp_path: Path, first: str) -> None:
    """Its master never does, so its workers have to, whatever they do first."""
    done = subprocess.run(
        [sys.executable, "-c", _UWSGI, str(tmp_path / "queue"), first],
        timeout=_WAIT_S,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


_UWSGI = """
import ctypes, os, sys, types
sys.modules["uwsgi"] = types.SimpleNamespace(has_threads=True)
from adcp_tracker import Tracker
from tests.support.destinations import ScriptedDestination, wait_until
from tests.support.journals import stopped_in
seller = ScriptedDestination()
tracker = Tracker([seller], directory=sys.argv[1], flush_interval=0.1)
worker = ctypes.PyDLL(None).fork()
if worker:
    os._exit(os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1]))
if sys.argv[2] != "track":
    getattr(tracker, sys.argv[2])()
tracker.track("purchase", event_id="A-1", email="shopper@shop.example")
wait_until(lambda: seller.ids == ["A-1"])
os._exit(0)
"""


def test_a_child_forked_by_a_server_in_c_stops_no_process_from_uploading(tmp_path: Path) -> None:
    """Once it tracks, it lets go of its parent's claim; its own events are delivered too."""
    ready, seller = tmp_path / "ready", ScriptedDestination()
    server = os.fork()
    if server == 0:
        try:
            _preload(tmp_path / "queue", ready)
        finally:
            os._exit(0)
    os.waitpid(server, 0)
    worker = int(ready.read_text())
    try:
        tracker = Tracker([seller], directory=tmp_path / "queue", handle_sigterm=False)
        tracker.flush(_WAIT_S)
        assert "A-2" in seller.ids
        assert tracker.close(_WAIT_S).pending == 0
    finally:
        os.kill(worker, signal.SIGKILL)


_ENDING = """
import ctypes, os, sys
from adcp_tracker import Tracker
from adcp_tracker.context import Consent, RequestContext
tracker = Tracker(directory=sys.argv[1], uploader="external", handle_sigterm=False)
tracker.track_lead(event_id="A-1", email="a@example.com")
for number in range(3):
    refused = RequestContext(consent=Consent.DENIED)
    tracker.track_lead(event_id=f"D-{number}", email="a@example.com", context=refused)
child = ctypes.PyDLL(None).fork()
if child == 0:
    {"exit": tracker._pipeline.on_exit, "close": tracker.close, "stop": tracker.stop}[sys.argv[2]]()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
tracker.close()
"""


@pytest.mark.parametrize("end", ["exit", "close", "stop"])
def test_a_child_that_ends_tells_nothing_that_is_its_parents(tmp_path: Path, end: str) -> None:
    """Even if Python was not told of the fork, what was dropped is counted once."""
    command = [sys.executable, "-c", _ENDING, str(tmp_path / "queue"), end]
    subprocess.run(command, timeout=_WAIT_S, check=True)
    with Tracker(
        [ScriptedDestination()], directory=tmp_path / "queue", handle_sigterm=False
    ) as tracker:
        assert tracker.flush(_WAIT_S).total().dropped == {"consent": 3}
