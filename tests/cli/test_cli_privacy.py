"""Erasing and exporting a person by the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from adcp_tracker import Tracker
from tests.cli.program import clean_environment, run

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def queue(tmp_path: Path) -> Path:
    """A queue with two people's orders, which nobody delivers."""
    path = tmp_path / "queue"
    with Tracker(directory=path, uploader="external") as tracker:
        for number, person in enumerate(["alice", "bob", "alice"]):
            order = {"id": f"A-{number}", "total": 5, "currency": "EUR"}
            tracker.track_purchase({**order, "email": f"{person}@example.com"})
    return path


def test_a_persons_data_is_exported(queue: Path) -> None:
    """As JSON, and nothing else changes or is shown."""
    found = run("export", "--email", "Alice@Example.com", "-d", queue).json
    assert [each["event"]["event_id"] for each in found] == ["A-0", "A-2"]
    assert run("export", "--order-id", "A-1", "--order-id", "A-2", "-d", queue).json != found
    assert run("export", "--event-id", "other", "-d", queue).json == []


def test_a_person_is_erased(queue: Path) -> None:
    """Afterwards the queue holds only the other one; it says what is left to do elsewhere."""
    ended = run("erase", "--email", "alice@example.com", "--yes", "-d", queue)
    assert (ended.code, ended.err.count("@")) == (0, 0)
    assert ended.out.startswith("Erased: 2 events, 0 dead letters, 0 remembered contexts.\n")
    assert run("export", "--email", "alice@example.com", "-d", queue).json == []
    left = run("export", "--email", "bob@example.com", "-d", queue).json
    assert [each["event"]["event_id"] for each in left] == ["A-1"]

    again = run("erase", "--email", "alice@example.com", "--yes", "--json", "-d", queue).json
    assert again["events"] == 0
    assert again["remaining_steps"]


def test_who_is_meant_can_be_read_from_standard_input(queue: Path) -> None:
    """So that no address is in a shell's history or a list of processes."""
    command = [sys.executable, "-m", "adcp_tracker", "export", "--email", "-", "-d", str(queue)]
    lines = "alice@example.com\n\n  bob@example.com\n"
    ended = subprocess.run(
        command, input=lines, capture_output=True, text=True, check=True, env=clean_environment()
    )
    assert len(json.loads(ended.stdout)) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected at least one of --email, --phone"),
        (["--email", "-", "--order-id", "-"], "--email and --order-id: only one option can be"),
        (["--email", "alice", "--yes"], "email"),
        (["--order-id", "A-0"], "confirm with --yes"),
    ],
)
def test_a_wrong_command_erases_nothing(queue: Path, arguments: list[str], message: str) -> None:
    """No identifier, two of standard input, a typing error, and no confirmation."""
    ended = run("erase", *arguments, "-d", queue)
    assert ended.code == 2
    assert message in ended.err
    assert len(run("export", "--order-id", "A-0", "-d", queue).json) == 1
