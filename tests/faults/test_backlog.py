"""A backlog as large as a seller's longest outage, in memory that does not grow with it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    Told = dict[str, int]

_ROOT = Path(__file__).parents[2]
_SHARE, _ALL = 50_000, 1_000_000
_MOST = 1.2
_MOST_DELIVERING_KB = 40 * 1024


def _load(directory: Path, count: int) -> Told:
    command = [sys.executable, "-m", "tests.faults.load", str(directory), str(count)]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr.decode()
    told: Told = json.loads(done.stdout)
    assert told["pending"] == told["taken"] == told["delivered"] == count
    assert told["left"] == 0
    return told


@pytest.mark.timeout(900)
def test_memory_does_not_grow_with_the_backlog(tmp_path: Path, *, full: bool) -> None:
    """Waiting events take next to none; delivering takes a few batches', however many wait."""
    none = _load(tmp_path / "none", 1)
    many = _load(tmp_path / "many", _ALL if full else _SHARE)
    waiting = many["waiting_kb"] / none["waiting_kb"]
    delivering_kb = many["peak_kb"] - none["peak_kb"]
    assert waiting <= _MOST, f"{waiting:.2f} times the memory of a tracker without a backlog"
    assert delivering_kb <= _MOST_DELIVERING_KB
