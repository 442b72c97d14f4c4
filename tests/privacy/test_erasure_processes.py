"""Erasing a person while other processes write, lead, or die in the middle of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from adcp_tracker.destinations.base import Retry
from tests.support.destinations import ScriptedDestination, wait_until
from tests.support.persons import EMAIL, balanced, found_on_disk, track_alice, track_others

if TYPE_CHECKING:
    from collections.abc import Callable

    from adcp_tracker.tracker import Tracker

    Make = Callable[..., Tracker]

pytestmark = pytest.mark.slow

_ROOT = Path(__file__).parents[2]
_WAIT_S = 30.0

LEADER = """
import sys
from adcp_tracker.destinations.base import Retry
from adcp_tracker.tracker import Tracker
from tests.support.destinations import ScriptedDestination, wait_until
from tests.support.persons import STEADY, track_alice, track_others

destination = ScriptedDestination()
destination.always = lambda batch: Retry("http_503", "down", retry_after=1.0)
tracker = Tracker([destination], directory=sys.argv[1], flush_interval=0.02, _policy=STEADY)
track_others(tracker, 3)
track_alice(tracker)
wait_until(lambda: tracker.stats().destinations["scripted"].retrying)
print("leads", flush=True)
sys.stdin.readline()
destination.always = None
wait_until(lambda: len(destination.delivered) == 3)
print(*sorted(destination.ids), flush=True)
tracker.close()
"""

WRITER = """
import sys
from adcp_tracker.tracker import Tracker
from tests.support.persons import track_alice, track_others

tracker = Tracker([], directory=sys.argv[1], handle_sigterm=False)
first = int(sys.argv[2])
for number in range(300):
    track_others(tracker, 1, first=first + number)
    track_alice(tracker, f"alice-{first + number}")
    if number == 20:
        print("writes", flush=True)
        sys.stdin.readline()
tracker.close()
"""

DIES = """
import os, sys
from adcp_tracker.privacy.matching import person
from adcp_tracker.journal.files import QueueDirectory
from adcp_tracker.outbox.directory import open_outbox
from tests.support.destinations import ScriptedDestination
from tests.support.persons import EMAIL, erasure, leading

dying = False

class Outbox:
    def __init__(self, directory):
        self.real = open_outbox(directory)
        self.load, self.close = self.real.load, self.real.close
    def apply(self, puts, removes):
        if dying:
            os._exit(9)
        self.real.apply(puts, removes)

directory = QueueDirectory(sys.argv[1])
with leading(directory, ScriptedDestination(), outbox=Outbox) as leadership:
    dying = True
    erasure(directory, person(email=EMAIL))(leadership)
"""


def _start(script: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.Popen(
        command, cwd=_ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def _go_on(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def test_the_process_that_uploads_hands_over_and_goes_on_without_the_person(
    make: Make, tmp_path: Path
) -> None:
    """It held the batch in memory; once it leads again, it has what is left of it."""
    queue = tmp_path / "queue"
    with _start(LEADER, queue) as leader:
        assert _line(leader) == "leads"
        here = make(uploader="external")
        assert here.privacy.erase(email=EMAIL).events == 1
        assert found_on_disk(queue) == []
        here.close()
        _go_on(leader)
        assert _line(leader) == "B-0 B-1 B-2"
        assert leader.wait(_WAIT_S) == 0
    stats = make(ScriptedDestination(), uploader="external").stats()
    assert balanced(stats).dropped == {"erased": 1}
    assert balanced(stats).delivered == 3


def test_writers_go_on_while_a_person_is_erased(make: Make, tmp_path: Path) -> None:
    """They lose nothing of anybody else's; what they still write of the person is found next."""
    queue = tmp_path / "queue"
    here = make(uploader="external")
    writers = [_start(WRITER, queue, number * 1000) for number in range(2)]
    for writer in writers:
        assert _line(writer) == "writes"
    for writer in writers:
        _go_on(writer)
    erased = here.privacy.erase(email=EMAIL).events
    assert erased >= 42
    while any(writer.poll() is None for writer in writers):
        erased += here.privacy.erase(email=EMAIL).events
    erased += here.privacy.erase(email=EMAIL).events
    for writer in writers:
        with writer:
            assert writer.returncode == 0
    assert erased == 600
    assert found_on_disk(queue) == []
    here.close()
    destination = ScriptedDestination()
    counts = balanced(make(destination).flush())
    assert sorted(destination.ids) == sorted(
        f"B-{first + number}" for first in (0, 1000) for number in range(300)
    )
    assert (counts.accepted, counts.dropped) == (1200, {"erased": 600})


def test_a_death_in_the_middle_is_made_good(make: Make, tmp_path: Path) -> None:
    """Erased on disk and not yet in the counts: the next leader counts it as erased."""
    queue = tmp_path / "queue"
    before = make(ScriptedDestination(outcomes=[Retry("http_503", "down")]))
    track_others(before, 3)
    track_alice(before)
    wait_until(lambda: before.stats().destinations["scripted"].retrying)
    before.close(timeout=0.0)
    with _start(DIES, queue) as dying:
        assert dying.wait(_WAIT_S) == 9
    assert found_on_disk(queue / "segments") == []
    destination = ScriptedDestination()
    after = make(destination)
    assert after.privacy.erase(email=EMAIL).is_complete
    assert found_on_disk(queue) == []
    counts = balanced(after.flush())
    assert sorted(destination.ids) == ["B-0", "B-1", "B-2"]
    assert (counts.accepted, counts.delivered, counts.dropped) == (4, 3, {"erased": 1})
