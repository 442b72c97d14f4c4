"""A tracker that was closed and is used again lives in its process as before."""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from adcp_tracker import Tracker
from adcp_tracker.destinations.base import Paused
from tests.support.destinations import ScriptedDestination
from tests.support.seller import ADVERTISER, SOURCE, TOKEN

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.seller import SellerProcess

PROGRAM = """
import os, sys, time
from adcp_tracker import Interchange, Tracker

directory, url, advertiser, source, token = sys.argv[1:]
tracker = Tracker(
    [Interchange(advertiser_id=advertiser, event_source_id=source, api_key=token, base_url=url)],
    directory=directory, flush_interval=0.05,
)
tracker.track_lead(lead_id="1")
tracker.close()
tracker.track_lead(lead_id="2")
assert not tracker.flush(60).pending
closed, parent_closes = os.pipe()
child = os.fork()
if child == 0:
    os.close(parent_closes)
    os.read(closed, 1)                # until the parent does not upload any more
    tracker.track_lead(lead_id="3")   # starts the child's own thread
    time.sleep(60)
tracker.close()
os.close(parent_closes)
sys.stdin.read()                      # until the test has seen the child's event
os.kill(child, 9)
os.waitpid(child, 0)
"""


def test_the_stats_of_a_closed_tracker_start_nothing(tmp_path: Path) -> None:
    """Whoever looks at them after the end finds what was delivered, and no thread is there."""
    away = ScriptedDestination(outcomes=[Paused("NOT_FOUND", "unknown", "mend it")])
    tracker = Tracker([away], directory=tmp_path, handle_sigterm=False)
    tracker.track_lead(lead_id="1")
    left = tracker.close(20.0)
    counts = tracker.stats()
    assert "adcp_tracker" not in {each.name for each in threading.enumerate()}
    assert counts.total() == left.total()
    assert (counts.total().accepted, counts.total().pending) == (1, 1)


@pytest.mark.slow
def test_a_child_of_a_fork_uploads_although_the_tracker_was_closed_once(
    tmp_path: Path, seller_process: SellerProcess
) -> None:
    """The fork is told to a tracker whose thread was started anew after a close."""
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM, str(tmp_path / "queue")]
    command += [seller_process.url, ADVERTISER, SOURCE, TOKEN]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        try:
            seller_process.wait_for(3, timeout=60)
        finally:
            process.communicate()
    assert process.returncode == 0
