"""Whether a file is there, asked in each way."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from adcp_tracker.journal import _syscalls

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.mark.parametrize("choose", [_syscalls.exists_holding_gil, _syscalls.exists_releasing_gil])
def test_what_is_there_is_seen_and_nothing_else(
    choose: Callable[[], _syscalls.Exists], tmp_path: Path
) -> None:
    """Files and directories of any name are, and what lies behind a file is not."""
    is_there = choose()
    file = tmp_path / "Größe"
    file.touch()
    assert is_there(os.fsencode(tmp_path))
    assert is_there(os.fsencode(file))
    assert not is_there(os.fsencode(tmp_path / "nothing"))
    assert not is_there(os.fsencode(file / "nothing"))
