"""``adcp-tracker flush``: deliver what waits, and say what is left."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from adcp_tracker._platform import SystemClock
from adcp_tracker.journal.files import QueueDirectory
from adcp_tracker.outbox.directory import FileLeaderLock
from tests.cli.program import NAME, fill, flush_until_tried, pointing_at, run

if TYPE_CHECKING:
    from pathlib import Path

    from adcp_tracker.sandbox import Sandbox


@pytest.mark.slow
def test_what_waits_is_delivered(tmp_path: Path, seller: Sandbox) -> None:
    """The seller has it, and nothing is left; to both kinds of destination if both are set."""
    fill(tmp_path, "A-1", "A-2")
    both = pointing_at(seller, ADCP_AGENT_URL=seller.mcp_url, ADCP_AGENT_TOKEN="sandbox-token")
    ended = run("flush", "--json", ADCP_DIRECTORY=str(tmp_path), **both)
    assert (ended.code, ended.err) == (0, "")
    assert ended.json["pending"] == 0
    assert [counts["delivered"] for counts in ended.json["destinations"].values()] == [2, 2]
    assert {event["event_id"] for event in seller.events} == {"A-1", "A-2"}
    again = run("flush", "--directory", tmp_path, **both)
    assert again.code == 0
    assert "Nothing is pending." in again.out
    assert seller.times_received("A-1") == 2  # once over each kind


@pytest.mark.slow
def test_a_wrong_credential_pauses_and_loses_nothing(tmp_path: Path, seller: Sandbox) -> None:
    """What is left is said with reason and remedy, soon; mended, it is delivered."""
    fill(tmp_path, "A-1")
    wrong = pointing_at(seller, ADCP_API_KEY="not-the-token")
    ended = run("flush", "--directory", tmp_path, "--timeout", "20", **wrong)
    assert ended.code == 1
    assert f"{NAME} is paused; no event is lost: " in ended.out
    assert "Give this destination a valid credential" in ended.out
    assert "Still pending: 1 delivery; kept on disk." in ended.out
    assert "not-the-token" not in ended.out + ended.err
    assert run("flush", "--directory", tmp_path, **pointing_at(seller)).code == 0
    assert seller.times_received("A-1") == 1


def test_a_seller_that_is_down_is_tried_again(tmp_path: Path, seller: Sandbox) -> None:
    """The reason of the last try is shown."""
    fill(tmp_path, "A-1")
    seller.fail(status=503, times=None)
    ended = flush_until_tried("--directory", tmp_path, **pointing_at(seller))
    assert ended.code == 1
    assert f"{NAME} retries automatically. The last attempt failed: " in ended.out
    assert "retrying" in ended.out


@pytest.mark.slow
def test_a_process_that_keeps_uploading_is_named(tmp_path: Path, seller: Sandbox) -> None:
    """When another process does not step aside, a script can tell it from a failure."""
    fill(tmp_path, "A-1")
    first = run("flush", "--directory", tmp_path, "--json", **pointing_at(seller)).json
    fill(tmp_path, "A-2")
    election = FileLeaderLock(QueueDirectory(tmp_path), SystemClock())
    assert election.try_acquire()
    ended = run("flush", "--directory", tmp_path, "--timeout", "0.5", **pointing_at(seller))
    election.release()
    assert ended.code == 4
    expected = f"process {first['leader']} uploads and did not hand over within 0.5 s"
    assert expected in ended.err
    assert ended.out == ""
    assert seller.times_received("A-2") == 0


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"ADCP_API_KEY": ""}, "expected ADCP_API_KEY to be set as well"),
        ({"ADCP_BASE_URL": "http://seller.example"}, "base_url: "),
        ({"ADCP_FLUSH_INTERVAL": "soon"}, "ADCP_FLUSH_INTERVAL: expected a number, got 'soon'"),
        ({"ADCP_FLUSH_INTERVALL": "1"}, "Did you mean ADCP_FLUSH_INTERVAL?"),
    ],
    ids=["in part", "over plain http", "no number", "misspelt"],
)
def test_a_wrong_configuration_is_one_clear_line(
    tmp_path: Path, seller: Sandbox, changes: dict[str, str], says: str
) -> None:
    """Whoever set it is told which variable, and what is expected."""
    fill(tmp_path, "A-1")
    ended = run("flush", "--directory", tmp_path, **pointing_at(seller, **changes))
    assert (ended.code, ended.out) == (2, "")
    assert says in ended.err
    assert len(ended.err.splitlines()) == 1
    assert "sandbox-token" not in ended.err


def test_without_a_destination_there_is_nothing_to_flush_to(tmp_path: Path) -> None:
    """The line names the variables that make one."""
    fill(tmp_path, "A-1")
    ended = run("flush", "--directory", tmp_path)
    assert ended.code == 2
    assert "ADCP_ADVERTISER_ID" in ended.err
    assert "ADCP_AGENT_URL" in ended.err
