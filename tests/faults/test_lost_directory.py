"""A queue directory that vanishes, turns read-only or is closed to its owner, while in use."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from adcp_tracker._platform import SystemClock
from adcp_tracker.journal.files import QueueDirectory
from adcp_tracker.journal.writer import JournalWriter
from adcp_tracker.outbox.directory import FileLeaderLock
from tests.faults.logged import told
from tests.support.booked import balanced, track
from tests.support.destinations import ScriptedDestination, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.faults.conftest import Make

_ROOT = Path(__file__).parents[2]
_NOBODY = 65534


def test_tracking_and_delivery_go_on_in_a_new_directory(make: Make, tmp_path: Path) -> None:
    """What was in the deleted one is gone; what is tracked after the next maintenance is sent."""
    seller = ScriptedDestination()
    tracker = make(seller)
    track(tracker, 5)
    wait_until(lambda: balanced(tracker).delivered == 5)
    (tmp_path / "queue").rename(tmp_path / "away")  # at once, whatever is being written there
    shutil.rmtree(tmp_path / "away")
    number = iter(range(5, 10_000))

    def is_delivered_again() -> bool:
        ids = track(tracker, 1, first=next(number))
        return tracker.flush(0.5).leader != 0 and ids[0] in seller.ids

    wait_until(is_delivered_again)


def test_a_writer_begins_a_new_segment_when_its_own_was_deleted(tmp_path: Path) -> None:
    """At the next roll; records in the deleted segment are gone."""
    directory = QueueDirectory(tmp_path / "queue")
    journal = JournalWriter(directory)
    journal.append(b'{"event_id":"A-1"}', 1_767_225_600_123)
    shutil.rmtree(directory.path)
    journal.roll(older_than=300.0)
    journal.append(b'{"event_id":"A-2"}', 1_767_225_600_123)
    (path,) = directory.segments.iterdir()
    assert path.read_bytes().endswith(b'E\t{"event_id":"A-2"}\n')


def test_nobody_leads_by_a_lock_that_vanished(make: Make, tmp_path: Path) -> None:
    """After the directory was replaced, one process uploads: who holds the new lock."""
    seller = ScriptedDestination()
    tracker = make(seller, flush_interval=0.5)
    track(tracker, 1)
    wait_until(lambda: balanced(tracker).delivered == 1)
    other = QueueDirectory(tmp_path / "other")
    other.prepare()
    rival = FileLeaderLock(other, SystemClock())
    assert rival.try_acquire()
    (tmp_path / "queue").rename(tmp_path / "away")  # while it rests, for half a second
    other.path.rename(tmp_path / "queue")
    number = iter(range(1, 10_000))

    def is_written_there() -> bool:
        track(tracker, 1, first=next(number))
        return any((tmp_path / "queue" / "segments").iterdir())

    wait_until(is_written_there)
    wait_until(lambda: not tracker._pipeline.flusher.is_leading)  # noqa: SLF001 - told by nothing else
    sent = len(seller.batches)
    ids = track(tracker, 3, first=next(number))
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
