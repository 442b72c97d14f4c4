"""``adcp-tracker sources`` and ``reconcile``, run for real."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.cli.program import NAME, fill, pointing_at, run
from tests.support.seller import ADVERTISER, SOURCE, TOKEN

if TYPE_CHECKING:
    from pathlib import Path

    from adcp_tracker.sandbox import Sandbox


@pytest.fixture
def environment(seller: Sandbox, tmp_path: Path) -> dict[str, str]:
    """An environment with a queue, the Interchange and an agent."""
    agent = {"ADCP_AGENT_URL": seller.mcp_url, "ADCP_AGENT_TOKEN": TOKEN}
    return pointing_at(seller, ADCP_DIRECTORY=str(tmp_path / "queue"), **agent)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file with two event sources and the account."""
    path = tmp_path / "sources.json"
    sources = [
        {"event_source_id": SOURCE, "name": "Website", "event_types": ["purchase"]},
        {"event_source_id": "till"},
    ]
    path.write_text(json.dumps({"account": {"account_id": ADVERTISER}, "event_sources": sources}))
    return path


@pytest.mark.slow
def test_a_sync_shows_what_changed(file: Path, environment: dict[str, str]) -> None:
    """A table for each seller, with what the seller says is to be done."""
    foretold = run("sources", "sync", file, "--dry-run", **environment)
    assert "Dry run: nothing was changed" in foretold.out
    assert run("sources", "list", "--account", ADVERTISER, **environment).out.count("till") == 0
    ended = run("sources", "sync", file, **environment)
    assert ended.code == 0
    assert ended.out.count("created") == 1
    assert ended.out.count("there is nothing to install") == 4
    again = run("sources", "sync", file, "--json", **environment)
    assert [
        source["action"] for each in again.json["destinations"] for source in each["sources"]
    ] == ["unchanged"] * 4
    assert again.json["ok"] is True


@pytest.mark.slow
def test_missing_sources_go_only_when_told(file: Path, environment: dict[str, str]) -> None:
    """``--delete-missing`` deletes what the file does not name."""
    run("sources", "sync", file, **environment)
    file.write_text(json.dumps([{"event_source_id": SOURCE}]))
    kept = run("sources", "sync", file, "--account", ADVERTISER, **environment)
    assert "deleted" not in kept.out
    gone = run("sources", "sync", file, "--delete-missing", "--account", ADVERTISER, **environment)
    assert "deleted" in gone.out
    listed = run("sources", "list", "--account", ADVERTISER, "--json", **environment)
    for each in listed.json["destinations"]:
        assert [source["event_source_id"] for source in each["sources"]] == [SOURCE]


def test_sellers_words_steer_no_terminal(
    file: Path, environment: dict[str, str], seller: Sandbox
) -> None:
    """Markup stays text, and escapes are gone."""
    seller.configure(instructions="[red]Paste[/red]\n\x1b]0;owned\x07 this")
    ended = run("sources", "sync", file, **environment)
    assert "[red]Paste[/red]\n" in ended.out
    assert "\x1b" not in ended.out
    assert "\x07" not in ended.out


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["sync", "nowhere.json"], "nowhere.json: can't read event sources: No such"),
        (["list", "--account", "a", "--brand", "b.example"], "got account_id and"),
        (["list", "--operator", "b.example"], "account.brand"),
    ],
)
def test_mistakes_are_one_clear_line(
    arguments: list[str], expected: str, environment: dict[str, str]
) -> None:
    """A file that is not there, and half an account, are told without a traceback."""
    ended = run("sources", *arguments, **environment)
    assert ended.code == 2
    assert expected in ended.err
    assert ended.err.count("\n") == 1


def test_a_seller_that_does_not_answer_is_an_exit_code(
    environment: dict[str, str], seller: Sandbox
) -> None:
    """The one that answers is shown; the other with reason and remedy."""
    wrong = environment | {"ADCP_AGENT_TOKEN": "wrong"}
    ended = run("sources", "list", "--account", ADVERTISER, **wrong)
    assert ended.code == 1
    assert SOURCE in ended.out
    assert "credential" in ended.out
    assert seller.url not in ended.out


@pytest.mark.slow
def test_reconcile_tells_agreement_and_difference(
    tmp_path: Path, environment: dict[str, str], seller: Sandbox
) -> None:
    """The counts of the queue against each seller's count, and an exit code that says it."""
    queue = tmp_path / "queue"
    agent = environment | {"ADCP_ADVERTISER_ID": "", "ADCP_API_KEY": "", "ADCP_BASE_URL": ""}
    fill(queue, "o-1", "o-2", "o-3")
    run("flush", **agent)
    ended = run("reconcile", "--account", ADVERTISER, **agent)
    assert (ended.code, "The counts agree: 3 events." in ended.out) == (0, True)
    fill(queue, "o-4", "o-5")
    seller.fail(lose=2)
    run("flush", **agent)
    ended = run("reconcile", "--account", ADVERTISER, "--json", **agent)
    assert ended.code == 1
    (found,) = ended.json["destinations"]
    assert (found["delivered"], found["received"], found["difference"]) == (5, 3, -2)
    assert "2 fewer" in run("reconcile", "--account", ADVERTISER, **agent).out


@pytest.mark.slow
def test_each_destination_is_compared_with_its_own_events(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    """One event source that gets every event by REST and by MCP counts them apart."""
    fill(tmp_path / "queue", "o-1", "o-2", "o-3")
    run("flush", **environment)
    ended = run("reconcile", "--account", ADVERTISER, "--json", **environment)
    assert ended.code == 0
    found = {each["destination"]: each for each in ended.json["destinations"]}
    assert len(found) == 2
    received = [sum(row["received"] for row in each["rows"]) for each in found.values()]
    assert received == [3, 3]


@pytest.mark.slow
def test_reconcile_shows_the_interchanges_hours(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    """The running hour is shown, and no verdict rests on it."""
    rest = environment | {"ADCP_AGENT_URL": "", "ADCP_AGENT_TOKEN": ""}
    fill(tmp_path / "queue", "o-1", "o-2")
    run("flush", **rest)
    ended = run("reconcile", "--hours", "2", "--json", **rest)
    assert ended.code == 0
    (found,) = ended.json["destinations"]
    assert found["destination"] == NAME
    assert [(row["delivered"], row["received"]) for row in found["rows"]] == [(2, 2)]
    assert found["rows"][0]["is_final"] is False
    assert "No hour is old enough" in run("reconcile", **rest).out
