"""The queue on a platform that lacks what Linux has, simulated as macOS."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

_MACOS = """
import fcntl, mmap, os, sys
del os.fdatasync
for name in [each for each in dir(mmap) if each.startswith("MADV_")]:
    delattr(mmap, name)
synced = []
if {full!r}:
    fcntl.F_FULLFSYNC = 51
    real = fcntl.fcntl
    def fcntl_(descriptor, command, *rest):
        if command == 51:
            synced.append(descriptor)
            if {refused!r}:
                raise OSError(45, "Operation not supported")
            return 0
        return real(descriptor, command, *rest)
    fcntl.fcntl = fcntl_
from adcp_tracker import Tracker
from adcp_tracker.testing import RecordingDestination
seller = RecordingDestination()
tracker = Tracker([seller], directory=sys.argv[1], durability="power", handle_sigterm=False)
for number in range(20):
    tracker.track_purchase({{"id": str(number), "total": "1.00", "currency": "EUR"}})
stats = tracker.close()
print(len(seller.events), stats.pending, bool(synced))
"""


@pytest.mark.parametrize(("full", "refused"), [(False, False), (True, False), (True, True)])
def test_the_queue_works_without_fdatasync(tmp_path: Path, *, full: bool, refused: bool) -> None:
    """It syncs by F_FULLFSYNC where there is one and the file system has it, else by fsync."""
    code = _MACOS.format(full=full, refused=refused)
    ended = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "queue")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.stdout.split()[:3] == ["20", "0", str(full)], ended.stderr[-2000:]
