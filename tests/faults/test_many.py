"""Many processes, many threads, and threads that are none."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from adcp_tracker.journal.writer import segment_bytes
from tests.support.booked import balanced, track
from tests.support.descriptors import open_beneath
from tests.support.destinations import ScriptedDestination, wait_until
from tests.support.seller import run_seller

if TYPE_CHECKING:
    from tests.faults.conftest import Make

_ROOT = Path(__file__).parents[2]
PROCESSES, THREADS = 64, 200
_LONGEST_TURN_S = 0.1


def _run(module: str, *arguments: object) -> dict[str, Any]:
    command = [sys.executable, "-m", f"tests.faults.{module}", *map(str, arguments)]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, check=False, timeout=110)
    assert done.returncode == 0, done.stderr.decode()
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def _ids(count: int) -> list[str]:
    return sorted(f"L-{number}" for number in range(count))


def test_sixty_four_processes_share_a_directory(tmp_path: Path, *, full: bool) -> None:
    """All write at once, a segment each; one uploads, and the seller has each event once."""
    each = 500 if full else 25
    with run_seller() as seller:
        told = _run(
            "crowd",
            json.dumps(
                {
                    "directory": str(tmp_path / "queue"),
                    "url": seller.url,
                    "processes": PROCESSES,
                    "each": each,
                }
            ),
        )
        assert told["failed"] == 0
        (totals,) = told["stats"]["destinations"].values()
        assert (totals["delivered"], totals["pending"]) == (PROCESSES * each, 0)
        assert sorted(event.event_id for event in seller.received) == _ids(PROCESSES * each)
        assert seller.counts["duplicates"] == 0
    assert list((tmp_path / "queue" / "segments").iterdir()) == []


def test_two_hundred_threads_share_a_tracker(make: Make, *, full: bool) -> None:
    """No event is torn, lost or doubled, across segments that end under their hands."""
    each, bound = (1000, 1 << 27) if full else (50, 1 << 23)
    seller = ScriptedDestination()
    tracker = make(seller, max_bytes=bound)
    start = threading.Barrier(THREADS)

    def run(number: int) -> None:
        start.wait()
        track(tracker, each, first=number * each)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert tracker.flush(60.0).pending == 0
    assert sorted(seller.ids) == _ids(THREADS * each)
    assert balanced(tracker).delivered == THREADS * each
    assert sum(map(len, seller.delivered)) > 2 * segment_bytes(bound)


def test_threads_that_have_ended_leave_nothing_open(make: Make, tmp_path: Path) -> None:
    """However many have tracked, a process has one segment and one database open."""
    tracker = make(ScriptedDestination())
    track(tracker, 1)
    tracker.flush(10.0)
    before = len(open_beneath(tmp_path))
    assert before
    for number in range(1, THREADS):
        thread = threading.Thread(target=track, args=(tracker, 1, number))
        thread.start()
        thread.join()
    tracker.flush(10.0)
    assert balanced(tracker).delivered == THREADS
    # The segment may have been closed at first, for want of events.
    wait_until(lambda: len(open_beneath(tmp_path)) <= before + 1)


def test_greenlets_deliver_like_threads(tmp_path: Path) -> None:
    """Under gevent the flusher is a greenlet; it delivers, and lets the others run."""
    pytest.importorskip("gevent")
    with run_seller() as seller:
        told = _run("green", tmp_path / "queue", seller.url, 50, 20)
        (totals,) = told["stats"]["destinations"].values()
        assert (totals["delivered"], totals["pending"]) == (1000, 0)
        assert sorted(event.event_id for event in seller.received) == _ids(1000)
    assert told["seconds"] / told["turns"] < _LONGEST_TURN_S
