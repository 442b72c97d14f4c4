"""``adcp-tracker coach``: how well events match, and what to change; and 80 columns."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from adcp_tracker import EventSource, Interchange, Tracker
from adcp_tracker.event_sources.rules import from_source, save
from adcp_tracker.journal.files import QueueDirectory
from tests.cli.program import NAME, run
from tests.cli.test_cli_dead import bury
from tests.support.seller import ADVERTISER, SOURCE, TOKEN

if TYPE_CHECKING:
    from pathlib import Path

    from adcp_tracker.sandbox import Sandbox

EMAIL = "alice@example.com"


def order(number: int, **changes: object) -> dict[str, object]:
    """Return an order with nothing suspicious, but for the changes."""
    usual: dict[str, object] = {
        "id": f"A-{number}",
        "total": "59.90",
        "currency": "EUR",
        "email": EMAIL,
        "phone": "+442079460000",
        "client_ip": f"8.8.4.{number}",
        "client_user_agent": f"Mozilla/5.0 {number}",
    }
    return usual | changes


def fill(
    directory: Path, count: int = 20, test_event_code: str | None = None, **changes: object
) -> None:
    """Leave purchases in a queue."""
    with Tracker(
        directory=directory, uploader="external", test_event_code=test_event_code
    ) as tracker:
        for number in range(count):
            tracker.track_purchase(order(number, **changes))


def suspicions(view: dict[str, list[dict[str, str]]]) -> list[str]:
    """Return the codes of what is suspicious."""
    return [each["code"] for each in view["suspicions"]]


def test_sound_events_are_not_suspicious(tmp_path: Path) -> None:
    """The shares are shown, and what could be added; no value of any event is."""
    fill(tmp_path)
    ended = run("coach", "--directory", tmp_path, "--json")
    assert (ended.code, ended.err) == (0, "")
    (view,) = ended.json["views"]
    assert (view["name"], view["events"], view["suspicions"]) == ("queue", 20, [])
    assert view["identifiers"] == {
        "hashed_email": 1.0,
        "hashed_phone": 1.0,
        "uids": 0.0,
        "click_id": 0.0,
        "client_ip": 1.0,
        "client_user_agent": 1.0,
    }
    assert [each["identifier"] for each in ended.json["missing"]] == ["uids", "click_id"]
    human = run("coach", ADCP_DIRECTORY=str(tmp_path))
    assert human.code == 0
    assert "E-mail address, hashed  100%" in human.out
    assert "Nothing suspicious." in human.out
    assert not [part for part in (EMAIL, "8.8.4.", "Mozilla", "59.9") if part in human.out]


def test_what_is_suspicious_in_a_queue_is_shown_with_the_line_to_change(tmp_path: Path) -> None:
    """One line for each suspicion; the exit code asks for attention."""
    fill(tmp_path, total="5990", client_ip="10.0.0.1", client_user_agent="python-httpx/0.27")
    ended = run("coach", "--directory", tmp_path)
    assert ended.code == 1
    for line in (
        "100% of the IP addresses are private",
        "set trusted_proxies",
        "At least half of the events have the same browser.",
        "as if they were in cents",
        "from_minor(",
    ):
        assert line in ended.out
    assert "10.0.0.1" not in ended.out
    assert "httpx" not in ended.out


def test_a_test_code_left_on_is_suspicious(tmp_path: Path) -> None:
    """From half of the events."""
    fill(tmp_path, count=9, test_event_code="T")
    fill(tmp_path, count=11)
    assert run("coach", "--directory", tmp_path).code == 0
    fill(tmp_path, count=2, test_event_code="T")
    ended = run("coach", "--directory", tmp_path, "--json")
    assert suspicions(ended.json["views"][0]) == ["test_code"]


def test_currencies_are_compared_with_what_the_event_source_accepts(tmp_path: Path) -> None:
    """As the seller answered, or as it was declared."""
    fill(tmp_path, count=5)
    assert run("coach", "--directory", tmp_path, "--json").code == 0
    source = EventSource(event_source_id=SOURCE, value_currencies=["CHF"])
    save(QueueDirectory(tmp_path), {NAME: from_source(source)})
    ended = run("coach", "--directory", tmp_path, "--json")
    assert suspicions(ended.json["views"][0]) == ["other_currency"]


def test_delivered_events_are_known_by_the_counts_of_a_sample(
    tmp_path: Path, seller: Sandbox
) -> None:
    """Though they are deleted; beside what the seller says of them."""
    destination = Interchange(
        advertiser_id=ADVERTISER, event_source_id=SOURCE, api_key=TOKEN, base_url=seller.url
    )
    with Tracker([destination], directory=tmp_path, handle_sigterm=False) as tracker:
        for number in range(20):
            tracker.track_purchase(order(number, email=None, phone=None, total=None))
        for number in range(20):
            tracker.track_lead(f"L-{number}", email=EMAIL)
        tracker.flush(10.0)
    ended = run("coach", "--directory", tmp_path, "--json")
    queue, sent = ended.json["views"]
    assert (queue["name"], queue["events"]) == ("queue", 0)
    assert (sent["name"], sent["events"]) == (NAME, 40)
    assert sent["identifiers"]["hashed_email"] == 0.5
    assert suspicions(sent) == ["no_value"]
    assert sent["match_quality"] == 0.75
    assert len(sent["warnings"]) == 1


def test_dead_letters_are_grouped_by_reason(tmp_path: Path) -> None:
    """With their number; their events count if they are whole and nowhere else."""
    bury(tmp_path, count=3)
    ended = run("coach", "--directory", tmp_path, "--json")
    assert ended.code == 1
    (group,) = ended.json["dead_letters"]
    assert (group["reason"], group["destination"], group["count"]) == (
        "INVALID_EVENT_TIME",
        NAME,
        3,
    )
    assert ended.json["views"][0]["events"] == 3
    assert f"INVALID_EVENT_TIME: 3 at {NAME}" in run("coach", "--directory", tmp_path).out


def test_an_empty_queue_has_nothing_to_look_at(tmp_path: Path) -> None:
    """Which is said, and is no problem."""
    QueueDirectory(tmp_path).prepare()
    ended = run("coach", "--directory", tmp_path)
    assert ended.code == 0
    assert "There is nothing to look at yet" in ended.out


@pytest.mark.slow
@pytest.mark.parametrize("command", ["coach", "status", "dead list"])
def test_everything_fits_into_80_columns(tmp_path: Path, command: str) -> None:
    """No line is longer, and no word is broken."""
    fill(tmp_path, total="5990", client_ip="10.0.0.1")
    bury(tmp_path, message="$.event_time: expected a time with its offset " * 3)
    destination = Interchange(
        advertiser_id=ADVERTISER, event_source_id=SOURCE, api_key=TOKEN, base_url="http://[::1]:1"
    )
    with Tracker([destination], directory=tmp_path, handle_sigterm=False) as tracker:
        tracker.flush(0.2)
    ended = run(*command.split(), ADCP_DIRECTORY=str(tmp_path), COLUMNS="80")
    assert ended.out
    path = str(tmp_path)
    assert not [line for line in ended.out.splitlines() if len(line) > 80 and path not in line]
    assert json.loads(run(*command.split(), "--json", ADCP_DIRECTORY=path, COLUMNS="80").out)
