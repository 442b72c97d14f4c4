"""``adcp-tracker check``: find out before it matters."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.cli.program import NAME, Ended, pointing_at, run
from tests.support.seller import ADVERTISER, SOURCE, TOKEN

if TYPE_CHECKING:
    from pathlib import Path

    from adcp_tracker.sandbox import Sandbox


def findings(ended: Ended, about: str) -> list[tuple[str, str]]:
    """Return the level and the message of each finding about something."""
    found: list[dict[str, Any]] = ended.json["findings"]
    return [(each["level"], each["message"]) for each in found if each["about"] == about]


def test_a_good_configuration_is_tried_with_a_test_event(tmp_path: Path, seller: Sandbox) -> None:
    """Both kinds of destination take a test event, and no live one."""
    both = pointing_at(seller, ADCP_AGENT_URL=seller.mcp_url, ADCP_AGENT_TOKEN="sandbox-token")
    ended = run("check", "--directory", tmp_path / "queue", "--json", **both)
    assert (ended.code, ended.err) == (0, "")
    assert ended.json["ok"] is True
    assert ("ok", "Accepted a test event with code 'adcp-tracker-check'.") in findings(ended, NAME)
    assert all(each["level"] != "error" for each in ended.json["findings"])
    assert len(seller.test_events) == 2
    assert seller.events == []
    assert {each.test_event_code for each in seller.received} == {"adcp-tracker-check"}


def test_the_code_of_the_test_can_be_chosen_and_left_on_is_noted(
    tmp_path: Path, seller: Sandbox
) -> None:
    """A test code in the configuration would make all conversions vanish, so it is told."""
    here = pointing_at(seller, ADCP_DIRECTORY=str(tmp_path), ADCP_TEST_EVENT_CODE="TEST1")
    tmp_path.chmod(0o700)
    ended = run("check", "--test-code", "TEST2", ADCP_UPLOADER="external", **here)
    assert ended.code == 0
    assert [each.test_event_code for each in seller.received] == ["TEST2"]
    assert "so none counts as a conversion" in ended.out
    assert "Unset ADCP_TEST_EVENT_CODE" in ended.out
    assert "Run: adcp-tracker worker" in ended.out
    assert ended.out.endswith("All checks passed.\n")


def test_a_wrong_credential_is_a_fault_with_its_remedy(tmp_path: Path, seller: Sandbox) -> None:
    """No event is sent where asking was refused already, nor is the credential shown."""
    wrong = pointing_at(seller, ADCP_API_KEY="not-the-token")
    ended = run("check", "--directory", tmp_path / "queue", "--json", **wrong)
    assert ended.code == 1
    assert [level for level, _ in findings(ended, NAME)] == ["error"]
    assert seller.counts["received"] == 0
    assert "not-the-token" not in ended.out


def test_a_seller_that_is_not_there_is_a_fault(tmp_path: Path, seller: Sandbox) -> None:
    """Nobody listens, and the check says so without a traceback."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    nowhere = pointing_at(seller, ADCP_BASE_URL=url)
    ended = run("check", "--directory", tmp_path / "queue", **nowhere)
    assert ended.code == 1
    assert f"error {NAME}: " in ended.out
    assert ended.out.endswith("Some checks failed.\n")


def test_a_refused_test_event_is_a_fault(tmp_path: Path, seller: Sandbox) -> None:
    """The seller's reason is shown."""
    seller.fail(status=400, code="INVALID_REQUEST", message="No \x1b[31mpurchases here.")
    ended = run("check", "--directory", tmp_path / "queue", **pointing_at(seller))
    assert ended.code == 1
    assert "The seller rejected the test event: INVALID_REQUEST" in ended.out
    assert "\x1b" not in ended.out


@pytest.mark.slow
def test_the_test_event_is_one_that_is_taken(tmp_path: Path, seller: Sandbox) -> None:
    """A source known to take leads only, and no dollars, is not tried with a purchase in them."""
    here = pointing_at(seller, ADCP_DIRECTORY=str(tmp_path / "queue"))
    file = tmp_path / "sources.json"
    source = {"event_source_id": SOURCE, "event_types": ["lead"], "value_currencies": ["EUR"]}
    file.write_text(json.dumps([source]))
    assert run("sources", "sync", file, **here).code == 0
    assert run("check", **here).code == 0
    (tried,) = seller.test_events
    assert (tried["event_type"], tried.get("custom_data")) == ("lead", None)


def test_a_directory_open_to_others_is_a_fault(tmp_path: Path, seller: Sandbox) -> None:
    """Everything else is checked all the same, and --no-event sends nothing."""
    (tmp_path / "queue").mkdir(mode=0o755)
    here = ("--directory", tmp_path / "queue", "--no-event", "--json")
    ended = run("check", *here, **pointing_at(seller))
    assert ended.code == 1
    ((level, message),) = findings(ended, "directory")
    assert level == "error"
    assert "chmod go-rwx" in message
    assert [level for level, _ in findings(ended, NAME)] == ["ok"]
    assert seller.counts["received"] == 0


def test_the_client_is_explained_hop_by_hop() -> None:
    """Each address has its verdict, and nothing is sent anywhere."""
    request = ("--peer", "10.0.0.1", "--header", "X-Forwarded-For: 9.9.9.9, 8.8.8.8, 10.0.0.2")
    ended = run("check", "--ip", *request, "--trusted-proxy", "10.0.0.0/8", "--json")
    assert ended.code == 0
    assert ended.json["client_ip"] == "8.8.8.8"
    verdicts = [hop["verdict"] for hop in ended.json["hops"]]
    assert verdicts == ["trusted proxy", "trusted proxy", "client", "not read"]
    untrusted = run("check", "--ip", *request)
    assert untrusted.code == 1
    assert "The client's address is unknown, so none is sent." in untrusted.out
    assert "--trusted-proxy" in untrusted.out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--trusted-proxy", "0.0.0.0/0"], "trusted_proxies[0]: "),
        (["--header", "no colon"], "--header: expected 'Name: value'"),
        (["--platform", "unheard"], "platform: expected one of"),
    ],
    ids=["everybody", "no header", "no platform"],
)
def test_a_wrong_question_about_a_client_is_refused(arguments: list[str], says: str) -> None:
    """The line says which option, and what is expected."""
    ended = run("check", "--ip", "--peer", "8.8.8.8", *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert says in ended.err


def test_a_directory_that_does_not_exist_is_not_created(tmp_path: Path, seller: Sandbox) -> None:
    """Before the first event there is no directory; checking leaves it so."""
    fresh = run("check", "--directory", tmp_path / "new/queue", "--json", **pointing_at(seller))
    assert fresh.code == 0
    (found,) = findings(fresh, "directory")
    assert found[0] == "ok"
    assert "does not exist yet" in found[1]
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    blocked = run("check", "--directory", tmp_path / "file/queue", "--json", **pointing_at(seller))
    assert blocked.code == 1
    assert findings(blocked, "directory")[0][0] == "error"


def test_an_empty_directory_gets_no_queue(tmp_path: Path, seller: Sandbox) -> None:
    """A directory made for the queue is tested for writing and left empty."""
    tmp_path.chmod(0o700)
    ended = run("check", "--directory", tmp_path, "--json", **pointing_at(seller))
    assert ended.code == 0
    assert list(tmp_path.iterdir()) == []


def test_a_source_of_another_currency_is_told_from_a_broken_one(
    tmp_path: Path, seller: Sandbox
) -> None:
    """The test purchase is in dollars; a seller that only takes euros works all the same."""
    url = f"{seller.url}/advertisers/{ADVERTISER}/event-sources/sync"
    source = {"event_source_id": SOURCE, "name": "Website", "value_currencies": ["EUR"]}
    body = {"account": {"account_id": ADVERTISER}, "event_sources": [source]}
    httpx.post(url, json=body, headers={"Authorization": f"Bearer {TOKEN}"}).raise_for_status()
    ended = run("check", "--directory", tmp_path / "queue", "--json", **pointing_at(seller))
    assert ended.code == 0
    levels = [level for level, _ in findings(ended, NAME)]
    assert "warning" in levels
    assert "error" not in levels
