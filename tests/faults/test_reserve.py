"""What has to be written when the queue or its disk is full, and what a disk misreads once."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from adcp_tracker.outbox.directory import open_outbox
from adcp_tracker.outbox.storage import DamagedOutboxError
from adcp_tracker.tracker import Tracker
from tests.support.booked import balanced, track
from tests.support.destinations import ScriptedDestination, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from adcp_tracker.journal.files import QueueDirectory
    from adcp_tracker.outbox.storage import Outbox
    from tests.faults.conftest import Make

_DROPPING = """
import sys
from adcp_tracker import Tracker
tracker = Tracker(directory=sys.argv[1], uploader="external", max_bytes=8192)
for number in range(2000):
    tracker.track_lead(event_id=f"A-{number}", email="a@example.com")
if sys.argv[2] == "close":
    tracker.close()
elif sys.argv[2] == "sigterm":
    import os, signal
    os.kill(os.getpid(), signal.SIGTERM)
    signal.pause()
"""


@pytest.fixture
def roomy(tmp_path: Path) -> Iterator[Path]:
    """Mount a file system of 16 megabytes; only root can."""
    place = tmp_path / "roomy"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m,mode=0755", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("only root can mount a small volume")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)  # noqa: S607 - root's own path


def _fill(volume: Path) -> Path:
    ballast = volume / "ballast"
    with ballast.open("ab", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            return ballast
    return ballast


@pytest.mark.parametrize("end", ["close", "exit", "sigterm"])
def test_drops_of_a_full_queue_are_counted_however_the_process_ends(
    tmp_path: Path, end: str
) -> None:
    """The bound of the queue does not hold for the record that counts them."""
    command = [sys.executable, "-c", _DROPPING, str(tmp_path / "queue"), end]
    subprocess.run(command, timeout=60, check=False, stderr=subprocess.DEVNULL)
    with Tracker(
        [ScriptedDestination()], directory=tmp_path / "queue", handle_sigterm=False
    ) as tracker:
        total = tracker.flush(20.0).total()
    assert total.delivered + total.dropped["full"] == 2000
    assert total.dropped["full"] > 1000


def test_drops_of_a_full_disk_are_counted_at_the_end(roomy: Path) -> None:
    """Events that waited in memory to the end are counted in the room that was reserved."""
    code = """
import sys
from adcp_tracker import Tracker
tracker = Tracker(directory=sys.argv[1], uploader="external", handle_sigterm=False)
tracker.track_lead(event_id="A-0", email="a@example.com")
try:
    with open(sys.argv[2], "ab", buffering=0) as file:
        while file.write(bytes(4096)):
            pass
except OSError:
    pass
for number in range(1, 1000):
    tracker.track_lead(event_id=f"A-{number}", email="a@example.com")
"""
    queue, ballast = roomy / "queue", roomy / "ballast"
    command = [sys.executable, "-c", code, str(queue), str(ballast)]
    subprocess.run(command, timeout=60, check=True, stderr=subprocess.DEVNULL)
    ballast.unlink()
    with Tracker([ScriptedDestination()], directory=queue, handle_sigterm=False) as tracker:
        total = tracker.flush(20.0).total()
    assert total.delivered + total.dropped.get("disk", 0) == 1000
    assert total.delivered < 1000


def test_a_clean_deploy_on_a_full_volume_drains_the_queue(make: Make, roomy: Path) -> None:
    """The state is opened in the room that was reserved for it."""
    seller = ScriptedDestination()
    first = make(uploader="external", directory=roomy / "queue")
    ids = track(first, 200)
    first.close()
    closed = make(seller, directory=roomy / "queue")
    closed.flush(20.0)
    closed.close()
    second = make(uploader="external", directory=roomy / "queue")
    ids += track(second, 200, first=200)
    second.close()
    _fill(roomy)
    tracker = make(seller, directory=roomy / "queue")
    tracker.start()
    wait_until(lambda: set(seller.ids) == set(ids))
    wait_until(lambda: balanced(tracker).pending == 0)


def test_a_state_that_is_misread_once_is_not_thrown_away(tmp_path: Path) -> None:
    """It is read again before it is called damaged."""
    seller = ScriptedDestination()
    queue = tmp_path / "queue"
    with Tracker([seller], directory=queue, handle_sigterm=False) as tracker:
        track(tracker, 3)
        assert tracker.flush(20.0).total().delivered == 3
    misreadings = [DamagedOutboxError("expected what was written, got something else")] * 3

    class Misread:
        def __init__(self, real: Outbox) -> None:
            self._real = real
            self.apply, self.close = real.apply, real.close

        def load(self) -> dict[str, bytes]:
            values = self._real.load()
            if misreadings:
                raise misreadings.pop()
            return values

    def opener(directory: QueueDirectory) -> Outbox:
        return Misread(open_outbox(directory))

    with Tracker([seller], directory=queue, handle_sigterm=False, _outbox=opener) as tracker:
        track(tracker, 1, first=3)
        assert tracker.flush(20.0).total().delivered == 4
    assert misreadings == []
    assert not list(queue.glob("state.damaged-*"))
