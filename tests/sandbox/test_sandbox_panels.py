"""The page's panels: the match coach, and the dead letters of an application."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from adcp_tracker import Interchange, Tracker
from adcp_tracker.cli.sandbox import QueueDeadLetters, _environment
from adcp_tracker.sandbox import SandboxConfig
from tests.support.seller import ADVERTISER, SOURCE, TOKEN, run_seller

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from adcp_tracker.sandbox import Sandbox

EMAIL = "alice@example.com"
HASHED = "ff8d9819fc0e12bf0d24892e45987e249a28dce836a85cad60e28eaaa8c6d976"
NASTY = "<script>alert(1)</script>"


@pytest.fixture
def seller() -> Iterator[Sandbox]:
    """A seller."""
    with run_seller(strict=False) as running:
        yield running


@pytest.fixture
def tracker(seller: Sandbox, tmp_path: Path) -> Iterator[Tracker]:
    """A tracker that sends to the seller."""
    destination = Interchange(
        advertiser_id=ADVERTISER,
        event_source_id=SOURCE,
        api_key=TOKEN,
        base_url=seller.url,
        name="shop",
    )
    with Tracker(
        [destination], directory=tmp_path / "queue", flush_interval=0.05, handle_sigterm=False
    ) as made:
        yield made


@pytest.fixture
def watched(seller: Sandbox, tracker: Tracker, tmp_path: Path) -> Tracker:
    """The tracker, whose dead letters the page shows as of another process."""
    seller.show_dead_letters(QueueDeadLetters(str(tmp_path / "queue")))
    return tracker


def test_the_variable_to_set_is_what_the_page_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A directory in the home directory is written out, as in quotes a shell leaves the ~."""
    monkeypatch.setenv("HOME", str(tmp_path))
    first, *_ = _environment(SandboxConfig(), None, "http://a", "http://b", "~/queue")
    assert first == f"ADCP_DIRECTORY={tmp_path}/queue"


def refuse(seller: Sandbox, tracker: Tracker, *lead_ids: str) -> None:
    """Have the seller refuse events."""
    seller.configure(refuse_events=dict.fromkeys(lead_ids, "INVALID_EVENT_TIME"))
    for lead_id in lead_ids:
        tracker.track_lead(event_id=lead_id, email=EMAIL)
    assert tracker.flush(10).total().dead == len(lead_ids)
    seller.configure(refuse_events={})


def panel(seller: Sandbox, name: str = "dead-letters") -> str:
    """Return the HTML of a panel."""
    answer = httpx.get(f"{seller.origin}/_sandbox/panel/{name}")
    assert answer.status_code == 200
    return answer.text


def post(seller: Sandbox, action: str, content: object) -> tuple[int, dict[str, Any]]:
    """Ask for a replay or a correction."""
    answer = httpx.post(f"{seller.origin}/_sandbox/dead-letters/{action}", json=content)
    return answer.status_code, answer.json()


def count(seller: Sandbox) -> object:
    """Return the number on the page's button."""
    return httpx.get(f"{seller.origin}/_sandbox/dead-letters/count").json()["count"]


def test_without_a_queue_the_panel_says_how_to_get_one(seller: Sandbox) -> None:
    """And nothing can be replayed."""
    assert "adcp-tracker sandbox --directory" in panel(seller)
    assert count(seller) is None
    status, answer = post(seller, "replay", {"all": True})
    assert status == 400
    assert "--directory" in answer["error"]


def test_a_queue_may_come_later(seller: Sandbox, tmp_path: Path) -> None:
    """The panel says what it waits for."""
    seller.show_dead_letters(QueueDeadLetters(str(tmp_path / "later")))
    assert "no such directory" in panel(seller)
    assert "adcp-tracker sandbox --directory" in panel(seller)
    assert count(seller) is None
    assert post(seller, "replay", {"all": True})[0] == 400
    with Tracker(directory=tmp_path / "later", uploader="external") as tracker:
        tracker.track_lead(event_id="L-1", email=EMAIL)
    assert count(seller) == 0


def test_dead_letters_are_grouped_and_hide_the_shopper(seller: Sandbox, watched: Tracker) -> None:
    """By reason and destination, with the event, which can't run a script."""
    refuse(seller, watched, "L-1", NASTY)
    watched.track_purchase({"id": "P-1", "total": "lots", "currency": "EUR", "email": EMAIL})
    watched.flush(10)
    shown = panel(seller)
    assert "2 × INVALID_EVENT_TIME" in shown
    assert "1 × INVALID_EVENT $.custom_data.value" in shown
    assert "at shop" in shown
    assert "lead L-1" in shown
    assert HASHED not in shown
    assert EMAIL not in shown
    assert NASTY not in shown
    assert count(seller) == 3


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"all": True}, 2),
        ({"reason": "INVALID_EVENT_TIME", "destination": "shop"}, 2),
        ({"reason": "INVALID_EVENT_TIME", "destination": "another"}, 0),
        ({"ids": []}, 0),
        ({}, 0),
        ([], 0),
    ],
)
def test_what_is_chosen_is_replayed(
    seller: Sandbox, watched: Tracker, wanted: object, expected: int
) -> None:
    """All, a group or none; the process that uploads sends them."""
    refuse(seller, watched, "L-1", "L-2")
    status, answer = post(seller, "replay", wanted)
    if expected:
        assert answer == {"result": f"Dead letters: {expected} on their way again."}
        watched.start()
        seller.wait_for(expected, 20)
    else:
        assert status == 400
    assert count(seller) == 2 - expected


def test_one_dead_letter_is_replayed(seller: Sandbox, watched: Tracker) -> None:
    """The other stays; an unknown one is named."""
    refuse(seller, watched, "L-1", "L-2")
    (first, _) = watched.dead_letters.list()
    _, answer = post(seller, "replay", {"ids": [first.id, "unknown"]})
    assert answer["result"] == "Dead letters: 1 on their way again, 1 not there any more."
    assert count(seller) == 1


def test_a_dead_letter_is_corrected_and_sent(seller: Sandbox, watched: Tracker) -> None:
    """With its hidden identifiers as they were."""
    refuse(seller, watched, "L-1")
    (letter,) = watched.dead_letters.list()
    event = letter.masked_event() | {"event_id": "L-9"}
    assert event["user_match"] == {"hashed_email": "•••"}
    status, answer = post(seller, "correct", {"id": letter.id, "event": json.dumps(event)})
    assert (status, answer["result"]) == (200, "Dead letters: 1 on their way again.")
    watched.start()
    seller.wait_for(1, 20)
    assert seller.events[0]["event_id"] == "L-9"
    assert seller.events[0]["user_match"] == {"hashed_email": HASHED}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{", "not JSON"),
        ("[]", "expected an object"),
        ('{"event_id": "L-1", "event_type": "no"}', "$.event_type"),
    ],
)
def test_a_bad_correction_is_refused(
    seller: Sandbox, watched: Tracker, text: str, expected: str
) -> None:
    """With the reason; the dead letter stays."""
    refuse(seller, watched, "L-1")
    (letter,) = watched.dead_letters.list()
    status, answer = post(seller, "correct", {"id": letter.id, "event": text})
    assert status == 400
    assert expected in answer["error"]
    assert post(seller, "correct", {"id": "unknown", "event": "{}"})[0] == 400
    assert count(seller) == 1


def test_dead_letters_are_exported_without_identifiers(seller: Sandbox, watched: Tracker) -> None:
    """All, or those of a reason; one JSON object per line."""
    refuse(seller, watched, "L-1", "L-2")
    answer = httpx.get(f"{seller.origin}/_sandbox/dead-letters/export")
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert [each["event"]["event_id"] for each in lines] == ["L-1", "L-2"]
    assert HASHED not in answer.text
    assert "attachment" in answer.headers["content-disposition"]
    none = httpx.get(f"{seller.origin}/_sandbox/dead-letters/export", params={"reason": "other"})
    assert none.text == ""


@pytest.mark.parametrize("action", ["replay", "correct"])
def test_another_page_cannot_replay(seller: Sandbox, watched: Tracker, action: str) -> None:
    """Nor can a form, whose content is no JSON."""
    refuse(seller, watched, "L-1")
    url = f"{seller.origin}/_sandbox/dead-letters/{action}"
    foreign = httpx.post(url, json={"all": True}, headers={"Origin": "https://evil.example"})
    form = httpx.post(url, data={"all": "true"})
    assert (foreign.status_code, form.status_code) == (403, 400)
    assert count(seller) == 1


def test_the_page_sends_nothing_itself(seller: Sandbox, watched: Tracker) -> None:
    """Whatever destinations are configured where the seller runs."""
    refuse(seller, watched, "L-1")
    watched.stop()
    requests = len(seller.requests)
    assert post(seller, "replay", {"all": True})[0] == 200
    assert count(seller) == 0
    assert watched.stats().pending == 1
    assert len([each for each in seller.requests[requests:] if each.call == "log_event"]) == 0


def test_the_coach_looks_at_what_was_received(seller: Sandbox, tracker: Tracker) -> None:
    """Shares, the seller's own words, suspicions and the lines to change."""
    assert "No event has been received yet." in panel(seller, "coach")
    for number in range(20):
        tracker.track_purchase(
            {
                "id": f"A-{number}",
                "total": 5990 + number,
                "currency": "EUR",
                "client_ip": f"8.8.8.{number}",
                "client_user_agent": "python-httpx/0.27",
            }
        )
    tracker.flush(10)
    shown = panel(seller, "coach")
    assert "The newest 20 events" in shown
    assert "Match quality of the accepted events: 50%" in shown
    assert "as if they were in cents" in shown
    assert "one browser are normal" in shown
    assert "track_purchase(order, email=customer.email)" in shown
    assert "httpx" not in shown
    assert "8.8.8." not in shown


def test_the_coach_compares_currencies_with_the_event_source(seller: Sandbox) -> None:
    """One that it doesn't accept is rejected, and named as the reason."""
    url = f"{seller.url}/advertisers/{ADVERTISER}"
    headers = {"Authorization": f"Bearer {TOKEN}"}
    event = {
        "event_id": "A-1",
        "event_type": "purchase",
        "event_time": "2026-01-02T12:00:00Z",
        "user_match": {"hashed_email": "f" * 64},
        "custom_data": {"value": 5, "currency": "CHF"},
    }
    source = {"event_source_id": SOURCE, "name": "shop", "value_currencies": ["EUR"]}
    synced = httpx.post(
        f"{url}/event-sources/sync",
        json={"account": {"account_id": ADVERTISER}, "event_sources": [source]},
        headers=headers,
    )
    assert synced.is_success, synced.text
    body = {"event_source_id": SOURCE, "events": [event]}
    httpx.post(f"{url}/log-event", json=body, headers=headers)
    assert "in a currency that the event source doesn" in panel(seller, "coach")


def test_an_unknown_panel_is_not_found(seller: Sandbox) -> None:
    """Nor is a dead letter's page anywhere else."""
    assert httpx.get(f"{seller.origin}/_sandbox/panel/other").status_code == 404
