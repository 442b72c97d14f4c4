"""The harness itself: an end that is asked for comes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.crashing.killpoints import RAISING

_ROOT = Path(__file__).parents[2]
_WAIT_S = 30.0


@pytest.mark.parametrize("end", sorted(RAISING))
def test_main_leaves_while_it_waits_for_a_traced_thread_that_asked_for_it(end: str) -> None:
    """CPython 3.11 would hang, as said of how the signal is sent."""
    command = [sys.executable, "-m", "tests.support.crashing.awaited", end]
    ended = subprocess.run(command, capture_output=True, cwd=_ROOT, timeout=_WAIT_S, check=True)
    assert ended.stdout == b"ended"
