"""Many trackers in one process: they end together, and forgotten ones leave nothing behind."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from adcp_tracker.tracker import Tracker
from tests.support.booked import track
from tests.support.destinations import ScriptedDestination, wait_until

_HANGING = """
import sys, time
from adcp_tracker import Tracker
from tests.support.destinations import ScriptedDestination, wait_until
trackers, sellers = [], []
for number in range(20):
    seller = ScriptedDestination()
    seller.gate.clear()
    tracker = Tracker([seller], directory=f"{sys.argv[1]}/{number}", flush_interval=0.02)
    tracker.track_lead(event_id="A-1", email="a@example.com")
    trackers.append(tracker)
    sellers.append(seller)
wait_until(lambda: all(seller.batches for seller in sellers), 60.0)
print(time.time(), flush=True)
"""


@pytest.mark.slow
def test_twenty_trackers_with_hanging_sellers_share_one_shutdown(tmp_path: Path) -> None:
    """The process ends in about one shutdown_timeout, not in twenty of them."""
    ended = subprocess.run(
        [sys.executable, "-c", _HANGING, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        timeout=120,
        check=True,
    )
    assert time.time() - float(ended.stdout) < 20.0


def _threads(known: set[threading.Thread]) -> int:
    new = set(threading.enumerate()) - known
    return sum(each.name.startswith("adcp_tracker") for each in new)


def _descriptors_beneath(folder: Path) -> int:
    links = [Path("/proc/self/fd") / name for name in os.listdir("/proc/self/fd")]  # noqa: PTH208
    targets = [os.readlink(link) for link in links if link.is_symlink()]  # noqa: PTH115
    return sum(target.startswith(str(folder)) for target in targets)


@pytest.mark.slow
def test_an_unreferenced_tracker_delivers_and_ends_its_threads(tmp_path: Path) -> None:
    """Closed or not: a thousand of them must not be a thousand threads."""
    known = set(threading.enumerate())
    sellers = []
    for number in range(20):
        seller = ScriptedDestination()
        tracker = Tracker(
            [seller],
            directory=tmp_path / str(number),
            flush_interval=0.02,
            handle_sigterm=False,
        )
        track(tracker, 3)
        sellers.append(seller)
        del tracker
    gc.collect()
    wait_until(lambda: all(len(seller.ids) == 3 for seller in sellers))
    wait_until(lambda: _threads(known) == 0)
    gc.collect()
    wait_until(lambda: _descriptors_beneath(tmp_path) == 0)
