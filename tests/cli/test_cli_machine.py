"""A machine that fails, told from another process that is in the way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.cli.program import fill, pointing_at, run

if TYPE_CHECKING:
    from pathlib import Path

    from adcp_tracker.sandbox import Sandbox


@pytest.fixture
def unreadable(tmp_path: Path) -> Path:
    """A queue whose state cannot be opened."""
    fill(tmp_path / "queue", "A-1")
    run("dead", "replay", "nonsense", "--directory", tmp_path / "queue")  # tells who uploaded
    for file in (tmp_path / "queue/state").iterdir():
        file.unlink()
    (tmp_path / "queue/state/cache.db").mkdir()
    return tmp_path / "queue"


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        ["status"],
        ["flush", "--timeout", "0.5"],
        ["worker", "--once", "--timeout", "0.5"],
        ["dead", "replay", "nonsense", "--timeout", "0.5"],
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_a_state_that_cannot_be_opened_is_the_machines_fault(
    unreadable: Path, seller: Sandbox, command: list[str]
) -> None:
    """Nobody is sent looking for another process that is not there."""
    ended = run(*command, "--directory", unreadable, **pointing_at(seller))
    assert (ended.code, ended.out) == (3, "")
    assert "the queue's state cannot be opened" in ended.err
    assert "no event is lost" in ended.err
    assert seller.times_received("A-1") == 0


@pytest.mark.slow
def test_the_check_finds_a_state_that_cannot_be_opened(unreadable: Path, seller: Sandbox) -> None:
    """What would keep events waiting is a fault, though the seller is well."""
    here = ("--directory", unreadable, "--no-event", "--json")
    ended = run("check", *here, **pointing_at(seller))
    assert ended.code == 1
    faults = [each for each in ended.json["findings"] if each["level"] == "error"]
    assert [each["about"] for each in faults] == ["directory"]
    assert "the queue's state cannot be opened" in faults[0]["message"]
