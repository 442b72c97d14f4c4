"""gevent that patches after the tracker was made, as with ``gunicorn -k gevent --preload``."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("gevent")

_MADE = """
import sys, time
from adcp_tracker import Tracker
from adcp_tracker.testing import RecordingDestination
seller = RecordingDestination()
tracker = Tracker([seller], directory=sys.argv[1], flush_interval=0.02, handle_sigterm=False)
def track(number):
    tracker.track_purchase({"id": str(number), "total": "1.00", "currency": "EUR"})
"""
_PATCHED = """
from gevent import monkey; monkey.patch_all()
import gevent
beats = 0
def beat():
    global beats
    while True:
        beats += 1
        gevent.sleep(0.01)
gevent.spawn(beat)
greenlets = [gevent.spawn(track, number) for number in range(100, 120)]
gevent.joinall(greenlets)
deadline = time.monotonic() + 20
while time.monotonic() < deadline and len(seller.events) < expected:
    gevent.sleep(0.02)
stats = tracker.close()
while time.monotonic() < deadline and beats < 4:
    gevent.sleep(0.01)
print(len(seller.events), stats.total().delivered, beats > 3)
"""


def _run(code: str, directory: Path) -> str:
    ended = subprocess.run(
        [sys.executable, "-c", code, str(directory / "queue")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return ended.stdout + ended.stderr[-2000:] * bool(ended.returncode)


@pytest.mark.slow
def test_a_tracker_made_before_patching_delivers_from_greenlets(tmp_path: Path) -> None:
    """The uploading thread becomes a greenlet, and waits as greenlets do."""
    assert _run(_MADE + "expected = 20" + _PATCHED, tmp_path).split()[:3] == ["20", "20", "True"]


@pytest.mark.slow
def test_a_tracker_imports_no_framework(tmp_path: Path) -> None:
    """Django is installed here, and none of its settings."""
    code = _MADE + 'track(1); tracker.close(); print([m for m in sys.modules if "django" in m])'
    assert _run(code, tmp_path).strip() == "[]"


@pytest.mark.slow
def test_diskcache_is_whole_for_others(tmp_path: Path) -> None:
    """What the tracker imports of it hides nothing from the host, before or after."""
    after = _MADE + "import diskcache; print(diskcache.Cache.__name__, diskcache.Index.__name__)"
    assert _run(after, tmp_path / "after").strip() == "Cache Index"
    before = "import diskcache\n" + _MADE + "track(1); print(tracker.close().total().delivered)"
    assert _run(before, tmp_path / "before").split()[0] == "1"
