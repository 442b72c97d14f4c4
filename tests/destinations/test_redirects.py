"""Answers that point elsewhere: nobody goes there, and no credential does.

An httpx client that follows redirects takes ``Authorization`` off for another host, but
neither headers of one's own nor a body with hashed identities.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from adcp_tracker import Agent, Interchange
from adcp_tracker.destinations.base import Batch, Delivered, Paused
from adcp_tracker.event_sources.api import list_sources, sync_sources
from adcp_tracker.event_sources.model import Account, EventSource
from tests.destinations.rawseller import answering, http, raw_seller
from tests.support.seller import ADVERTISER, SOURCE, TOKEN, run_seller

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

    from adcp_tracker.sandbox import Sandbox
    from tests.destinations.rawseller import RawRequest, RawSeller, Script

    Shop = Interchange | Agent

STATUSES = (301, 302, 303, 307, 308)
WELCOME = http(200, b'{"data":{"events_received":1,"events_processed":1},"error":null}')
EVENT = (
    b'{"event_id":"order-1","event_type":"purchase","event_time":"2026-01-02T03:04:05Z",'
    b'"user_match":{"uids":[{"type":"other","value":"crm-1"}]},'
    b'"custom_data":{"value":12.5,"currency":"EUR"}}'
)
KINDS = ("interchange", "agent")
NEEDED = [("interchange", "log_event"), ("agent", "initialize"), ("agent", "log_event")]
SPARED = ["notifications/initialized", "tools/list"]


@pytest.fixture
def seller() -> Iterator[Sandbox]:
    """A seller whose answers point elsewhere."""
    with run_seller() as one:
        yield one


@pytest.fixture
def elsewhere() -> Iterator[RawSeller]:
    """Another host, which would take anything."""
    with raw_seller(answering(WELCOME)) as other:
        yield other


def _shop(kind: str, seller: Sandbox) -> Shop:
    if kind == "agent":
        return Agent(url=seller.mcp_url, event_source_id=SOURCE, token=TOKEN)
    return Interchange(
        advertiser_id=ADVERTISER, event_source_id=SOURCE, api_key=TOKEN, base_url=seller.url
    )


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize(("kind", "call"), NEEDED)
def test_a_batch_follows_no_redirect_to_another_host(
    seller: Sandbox, elsewhere: RawSeller, kind: str, call: str, status: int
) -> None:
    """The other host hears nothing, and the batch waits until a person has seen to it."""
    shop = _shop(kind, seller)
    seller.fail(on=call, status=status, location=elsewhere.origin)
    outcome, later = [shop.send(Batch([EVENT], b"identity")) for _ in range(2)]
    shop.close()
    assert elsewhere.connections == 0
    assert isinstance(outcome, Paused)
    assert outcome.code == f"http_{status}"
    assert isinstance(later, Delivered)


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("call", SPARED)
def test_what_an_agent_can_do_without_follows_no_redirect_either(
    seller: Sandbox, elsewhere: RawSeller, call: str, status: int
) -> None:
    """The other host hears nothing, and the seller gets the batch."""
    shop = _shop("agent", seller)
    seller.fail(on=call, status=status, location=elsewhere.origin)
    outcome = shop.send(Batch([EVENT], b"identity"))
    shop.close()
    assert elsewhere.connections == 0
    assert isinstance(outcome, Delivered)
    assert len(seller.events) == 1


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_asked_of_event_sources_follows_no_redirect(
    seller: Sandbox, elsewhere: RawSeller, kind: str, status: int
) -> None:
    """Registering and listing say what is wrong, and the other host hears nothing."""
    shop, account = _shop(kind, seller), Account(account_id=ADVERTISER)
    seller.fail(on="*", times=None, status=status, location=elsewhere.origin)
    (synced,) = sync_sources([shop], [EventSource(event_source_id=SOURCE)], account)
    (listed,) = list_sources([shop], account)
    shop.close()
    assert elsewhere.connections == 0
    for report in (synced, listed):
        assert report.problem is not None
        assert str(status) in report.problem.message


SLASHES = [("/mcp", "/mcp/"), ("/mcp/", "/mcp"), ("/mcp?t=1", "/mcp/?t=1"), ("/mcp?t=1", "/mcp/")]


def _moving(target: str, status: int) -> Script:
    """Be an agent at another path than the one that is asked."""

    def script(_: RawSeller, connection: socket.socket, request: RawRequest) -> None:
        path, wanted = request.line.split()[1], target.partition("?")[0]
        if path.partition("?")[0] != wanted:
            connection.sendall(http(status, headers=f"Location: {target}\r\n"))
            return
        asked = json.loads(request.body)
        report = {"structuredContent": {"events_received": 1, "events_processed": 1}}
        results = {"tools/list": {"tools": [{"name": "log_event"}]}, "tools/call": report}
        answer = {
            "jsonrpc": "2.0",
            "id": asked.get("id"),
            "result": results.get(asked["method"], {}),
        }
        connection.sendall(http(200, json.dumps(answer).encode()))

    return script


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@pytest.mark.parametrize(("given", "target"), SLASHES)
def test_a_slash_is_followed_once_and_remembered(given: str, target: str, status: int) -> None:
    """A server that is mounted elsewhere by a slash gets every event, and one redirect is made."""
    with raw_seller(_moving(target, status)) as seller:
        shop = Agent(url=seller.origin + given, event_source_id=SOURCE, token=TOKEN)
        outcomes = [shop.send(Batch([EVENT], b"identity")) for _ in range(2)]
        shop.close()
    assert all(isinstance(outcome, Delivered) for outcome in outcomes)
    moved = [each for each in seller.requests if each.line.split()[1] == given]
    assert len(moved) == 1
    assert all("t=1" in each.line for each in seller.requests) == ("t=1" in given)
    assert all(each.headers["authorization"] for each in seller.requests)


@pytest.mark.parametrize(
    "location",
    [
        "/other/",
        "/mcp//",
        "/mcp/?other=1",
        "//127.0.0.2/mcp/",
        "http://127.0.0.1:1/mcp/",
        "https://127.0.0.1/mcp/",
        "http://user:pass@127.0.0.1/mcp/",
        "http://[/mcp/",
    ],
)
def test_no_other_redirect_is_followed(location: str) -> None:
    """Another path, query, port, host or scheme pauses."""

    def script(_: RawSeller, connection: socket.socket, __: RawRequest) -> None:
        connection.sendall(http(307, headers=f"Location: {location}\r\n"))

    with raw_seller(script) as seller:
        shop = Agent(url=f"{seller.origin}/mcp", event_source_id=SOURCE, token=TOKEN)
        outcome = shop.send(Batch([EVENT], b"identity"))
        shop.close()
    assert isinstance(outcome, Paused)
    assert len(seller.requests) == 1


def test_a_redirect_that_turns_in_a_circle_ends() -> None:
    """It is followed once for each request, and the destination pauses."""

    def script(_: RawSeller, connection: socket.socket, request: RawRequest) -> None:
        path = request.line.split()[1]
        other = path.rstrip("/") if path.endswith("/") else f"{path}/"
        connection.sendall(http(308, headers=f"Location: {other}\r\n"))

    with raw_seller(script) as seller:
        shop = Agent(url=f"{seller.origin}/mcp", event_source_id=SOURCE, token=TOKEN)
        outcome = shop.send(Batch([EVENT], b"identity"))
        shop.close()
    assert isinstance(outcome, Paused)
    assert len(seller.requests) == 2
