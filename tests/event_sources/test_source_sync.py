"""Registering and listing event sources with both kinds of seller, over real HTTP."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from adcp_tracker import Agent, Interchange, Tracker
from adcp_tracker.event_sources.api import list_sources, rules_from, sync_sources
from adcp_tracker.event_sources.clients import InterchangeClient, Received
from adcp_tracker.event_sources.model import Account, EventSource
from tests.destinations.rawseller import http, raw_seller
from tests.event_sources.asking import ACCOUNT, agent, interchange
from tests.support.destinations import ScriptedDestination
from tests.support.seller import SOURCE

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from pathlib import Path

    from adcp_tracker.destinations.base import Destination
    from adcp_tracker.event_sources.model import SourcesReport
    from adcp_tracker.sandbox import Sandbox
    from tests.destinations.rawseller import RawRequest, RawSeller

WEBSITE = EventSource(event_source_id=SOURCE, name="Website", event_types=["purchase", "refund"])
TILL = EventSource(event_source_id="till", value_currencies=["EUR"])


both = pytest.mark.parametrize("make", [interchange, agent])


def actions(report: SourcesReport) -> dict[str, str]:
    """Return what became of each source."""
    return {source.event_source_id: source.action for source in report.sources}


@both
def test_sources_are_created_updated_left_and_deleted(
    make: Callable[[Sandbox], Destination], seller: Sandbox
) -> None:
    """A sync says what became of each source, and deletes only where it is told to."""
    there = [make(seller)]
    (first,) = sync_sources(there, [WEBSITE, TILL], ACCOUNT)
    assert actions(first) == {SOURCE: "updated", "till": "created"}
    (second,) = sync_sources(there, [WEBSITE], ACCOUNT)
    assert actions(second) == {SOURCE: "unchanged"}
    (third,) = sync_sources(there, [WEBSITE], ACCOUNT, delete_missing=True)
    assert actions(third) == {SOURCE: "unchanged", "till": "deleted"}
    (listed,) = list_sources(there, ACCOUNT)
    assert actions(listed) == {SOURCE: ""}
    assert listed.sources[0].event_types == ("purchase", "refund")
    assert listed.sources[0].health is not None
    assert first.sources[1].setup is not None


@both
def test_a_dry_run_foretells_and_changes_nothing(
    make: Callable[[Sandbox], Destination], seller: Sandbox
) -> None:
    """What it says is what the sync then does."""
    there = [make(seller)]
    (foretold,) = sync_sources(there, [TILL], ACCOUNT, delete_missing=True, dry_run=True)
    (listed,) = list_sources(there, ACCOUNT)
    assert actions(listed) == {SOURCE: ""}
    (done,) = sync_sources(there, [TILL], ACCOUNT, delete_missing=True)
    assert actions(foretold) == actions(done) == {"till": "created", SOURCE: "deleted"}
    (again,) = sync_sources(there, [TILL], ACCOUNT, dry_run=True)
    assert actions(again) == {"till": "unchanged"}


@both
@pytest.mark.parametrize(
    "changed",
    [
        {"name": "Shops"},
        {"event_types": ["purchase"]},
        {"event_types": []},
        {"value_currencies": ["SEK"]},
        {"action_source": "app"},
    ],
    ids=str,
)
def test_a_dry_run_foretells_each_change(
    make: Callable[[Sandbox], Destination], seller: Sandbox, changed: dict[str, Any]
) -> None:
    """Whatever the seller shows of a source, a change of it is foretold, and only a change."""
    till: dict[str, Any] = {
        "event_source_id": "till",
        "name": "Till",
        "event_types": ["purchase", "refund"],
        "value_currencies": ["EUR"],
        "action_source": "in_store",
    }
    there = [make(seller)]
    sync_sources(there, [EventSource(**till)], ACCOUNT)
    (same,) = sync_sources(there, [EventSource(**till)], ACCOUNT, dry_run=True)
    assert actions(same) == {"till": "unchanged"}
    wish = [EventSource(**(till | changed))]
    (foretold,) = sync_sources(there, wish, ACCOUNT, dry_run=True)
    (done,) = sync_sources(there, wish, ACCOUNT)
    assert actions(foretold) == actions(done) == {"till": "updated"}


@both
def test_a_dry_run_foretells_what_keeps_a_sync_from_being_made(
    make: Callable[[Sandbox], Destination], seller: Sandbox
) -> None:
    """Too many sources to delete others, and none at all, are told before as they are after."""
    many = [EventSource(event_source_id=f"s-{number}") for number in range(51)]
    for wish in (many, []):
        foretold, done = (
            sync_sources([make(seller)], wish, ACCOUNT, delete_missing=True, dry_run=dry)[0]
            for dry in (True, False)
        )
        assert foretold.problem == done.problem
        assert done.problem is not None


def test_a_source_that_fails_says_why_and_holds_up_no_other(seller: Sandbox) -> None:
    """Some sellers need a name; ours has one. One that the seller refuses is reported so."""
    seller.configure(needs_name=True)
    source = EventSource(event_source_id="x", surface={"category": "app", "namespace": ""})
    (report,) = sync_sources([interchange(seller)], [source, TILL])
    assert actions(report) == {"x": "failed", "till": "created"}
    assert report.sources[0].errors
    assert not report.is_ok


@both
def test_more_than_fifty_sources_are_registered(
    make: Callable[[Sandbox], Destination], seller: Sandbox
) -> None:
    """Neither kind of seller takes more than fifty a call, and a person need not know."""
    many = [EventSource(event_source_id=f"s-{number}") for number in range(120)]
    (report,) = sync_sources([make(seller)], many, ACCOUNT)
    assert len(report.sources) == 120
    (listed,) = list_sources([make(seller)], ACCOUNT)
    assert len(listed.sources) == 121
    (refused,) = sync_sources([make(seller)], many, ACCOUNT, delete_missing=True)
    assert refused.problem is not None
    assert "50" in refused.problem.message


def test_one_seller_in_trouble_holds_up_no_other(seller: Sandbox) -> None:
    """Each destination has its own answer, or its own reason and remedy."""
    there: list[Destination] = [
        interchange(seller, api_key="wrong", name="a"),
        agent(seller, token="wrong", name="b"),
        interchange(seller, advertiser_id="nobody", name="c"),
        ScriptedDestination("d"),
        interchange(seller, base_url="http://127.0.0.1:9", name="e"),
        agent(seller, name="g"),
    ]
    reports = sync_sources(there, [WEBSITE], ACCOUNT)
    troubles = {each.destination: each.problem for each in reports}
    assert troubles.pop("g") is None
    for name, trouble in troubles.items():
        assert trouble is not None, name
        assert trouble.message, name
        assert trouble.remedy, name


def test_an_agent_has_to_know_the_account(seller: Sandbox) -> None:
    """Without one nothing is asked, and the remedy says what to give."""
    (report,) = list_sources([agent(seller)])
    assert report.problem is not None
    assert "account_id" in report.problem.remedy
    natural = Account(brand="shop.example", operator="shop.example")
    (other,) = sync_sources([agent(seller)], [TILL], natural)
    assert actions(other) == {"till": "created"}


def test_an_older_line_is_not_asked_for_newer_types(seller: Sandbox) -> None:
    """It would refuse the whole request; the reason names source, type and line."""
    source = EventSource(event_source_id="app", event_types=["purchase", "follow"])
    (report,) = sync_sources([agent(seller, adcp_version="3.0")], [TILL, source], ACCOUNT)
    assert report.problem is not None
    assert "'app' has 'follow', of AdCP 3.1" in report.problem.message
    old = agent(seller, adcp_version="3.0")
    (foretold,) = sync_sources([old], [TILL, source], ACCOUNT, dry_run=True)
    assert foretold.problem == report.problem
    (newer,) = sync_sources([agent(seller)], [TILL, source], ACCOUNT)
    assert newer.is_ok


def test_an_agent_without_the_tool_says_so() -> None:
    """Not every agent registers event sources itself."""

    def answer(request: httpx.Request) -> httpx.Response:
        message = json.loads(request.content)
        result: dict[str, object] = {"protocolVersion": "2025-06-18"}
        if message["method"] == "tools/list":
            result = {"tools": [{"name": "log_event"}]}
        body = {"jsonrpc": "2.0", "id": message.get("id"), "result": result}
        return httpx.Response(200, json=body)

    bare = Agent(
        url="http://127.0.0.1/mcp",
        event_source_id=SOURCE,
        token="t",
        transport=httpx.MockTransport(answer),
    )
    (report,) = list_sources([bare], ACCOUNT)
    assert report.problem is not None
    assert "sync_event_sources" in report.problem.message


def test_the_interchanges_summary_as_it_describes_it() -> None:
    """Entries by hour and type, all event sources together, which the note says."""
    asked: list[str] = []

    def ask(method: str, path: str, body: object) -> dict[str, object]:
        asked.append(f"{method} {path} {body}")
        return {
            "periodStart": "2026-03-27T14:00:00.000Z",
            "entries": [
                {
                    "eventHour": "2026-03-27T14:00:00.000Z",
                    "eventType": "conversion",
                    "eventCount": 5,
                },
                {
                    "eventHour": "2026-03-27T15:00:00+01:00",
                    "eventType": "conversion",
                    "eventCount": 2,
                },
                {"eventHour": "2026-03-27T14:00:00.000Z", "eventType": "click", "eventCount": 50},
                {"eventHour": "never", "eventType": "conversion", "eventCount": 9},
                "nonsense",
            ],
            "totalEventCount": 57,
        }

    hour = 493_118
    found = InterchangeClient("1", "w", ask).count_received(None, hour, hour + 2)
    assert isinstance(found, Received)
    assert found.hourly == {492_950: 7}
    assert "all event sources" in found.note
    hours = "startHour=2026-04-03T14%3A00%3A00Z&endHour=2026-04-03T16%3A00%3A00Z"
    assert asked == [f"GET events/summary?eventType=conversion&{hours} None"]


def test_the_tracker_registers_with_all_its_sellers(seller: Sandbox, tmp_path: Path) -> None:
    """One call, every destination, and nothing of it on the connection that delivers."""
    with Tracker([interchange(seller), agent(seller)], directory=tmp_path) as tracker:
        tracker.track_purchase({"id": "o-1", "total": "1", "currency": "EUR"})
        tracker.flush(10.0)
        reports = tracker.event_sources.sync([WEBSITE, TILL], account=ACCOUNT)
        assert [report.is_ok for report in reports] == [True, True]
        tracker.track_purchase({"id": "o-2", "total": "1", "currency": "EUR"})
        assert tracker.flush(10.0).total().delivered == 4
        listed = tracker.event_sources.list(account=ACCOUNT)
        assert {source.event_source_id for source in listed[1].sources} == {SOURCE, "till"}


@pytest.mark.parametrize("answer", [{}, {"event_sources": []}, {"event_sources": [{"x": 1}]}])
def test_a_sync_that_confirms_nothing_is_not_ok(answer: dict[str, object]) -> None:
    """A source that the seller's response doesn't mention is unconfirmed, and teaches nothing."""

    def script(_: RawSeller, connection: socket.socket, __: RawRequest) -> None:
        connection.sendall(http(200, json.dumps({"data": answer}).encode()))

    with raw_seller(script) as strange:
        shop = Interchange(
            advertiser_id="1", event_source_id=SOURCE, api_key="k", base_url=strange.origin
        )
        (report,) = sync_sources([shop], [WEBSITE])
    assert not report.is_ok
    assert actions(report) == {SOURCE: "unconfirmed"}
    assert report.sources[0].errors
    assert rules_from([report], [shop], [WEBSITE]) == {}
