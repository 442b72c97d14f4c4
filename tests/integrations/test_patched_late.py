"""gevent that patches when the library has been imported, and a tracker made."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(find_spec("gevent") is None, reason="needs gevent")

_LATE = """
import sys
from adcp_tracker import Tracker
from adcp_tracker.testing import RecordingDestination

seller = RecordingDestination()
tracker = Tracker([seller], directory=sys.argv[1], flush_interval=3)
from gevent import monkey
monkey.patch_all()
import gevent

tracker.track_purchase({"id": "1", "total": "1.00", "currency": "EUR"})
while not seller.events:
    gevent.sleep(0.01)
for _ in range(60):  # each of these would last a whole interval if the idle thread held the hub
    gevent.sleep(0)
tracker.flush(5)
tracker.close()
print(len(seller.events))
"""
_NO_DJANGO = """
import sys
from adcp_tracker import Tracker
from adcp_tracker.testing import RecordingDestination

with Tracker([RecordingDestination()], directory=sys.argv[1]) as tracker:
    tracker.track_purchase({"id": "1", "total": "1.00", "currency": "EUR"})
    tracker.flush(5)
print([name for name in ("django.conf", "flask", "fastapi", "starlette") if name in sys.modules])
import diskcache
from django.conf import settings
settings.configure()
print(diskcache.DjangoCache.__name__, hasattr(diskcache, "NoSuchThing"))
"""


def run(program: str, directory: Path) -> list[str]:
    """Return the lines that a program prints."""
    command = [sys.executable, "-c", program, str(directory / "queue")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.slow
def test_other_greenlets_go_on_while_an_event_is_delivered(tmp_path: Path) -> None:
    """Nothing that waits was bound before gevent patched: no thread stops the whole process."""
    assert run(_LATE, tmp_path) == ["1"]


def test_a_tracker_loads_no_framework(tmp_path: Path) -> None:
    """A dependency's Django cache stays out, and is still there for a site that uses it."""
    pytest.importorskip("django")
    assert run(_NO_DJANGO, tmp_path) == ["[]", "DjangoCache False"]
