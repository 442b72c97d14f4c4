"""Agents of any MCP revision get every event once, and what works is remembered."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

import pytest

from adcp_tracker import Agent
from adcp_tracker.destinations.base import Batch, Delivered, Paused, Retry, Timeouts
from adcp_tracker.destinations.mcp import PROTOCOL, STATELESS_PROTOCOL
from tests.destinations.rawseller import http, raw_seller

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from tests.destinations.rawseller import RawRequest, RawSeller, Script

    Answer = Callable[[RawRequest, dict[str, Any]], tuple[int, dict[str, Any]]]

BATCH = Batch([b'{"event_id":"A-1"}'], b"identity")
REPORT = {"structuredContent": {"events_received": 1, "events_processed": 1}}
META = "io.modelcontextprotocol/"


def agent(origin: str) -> Agent:
    """Return an agent's destination."""
    times = Timeouts(connect=5.0, read=5.0, write=5.0, total=10.0)
    return Agent(url=f"{origin}/mcp", event_source_id="w", token="t", timeout=times)


def serving(answer: Answer) -> Script:
    """Play a server that answers each JSON-RPC request so."""

    def script(_: RawSeller, connection: socket.socket, request: RawRequest) -> None:
        asked = json.loads(request.body)
        if "id" not in asked:
            connection.sendall(http(202))
            return
        status, said = answer(request, asked)
        body = {"jsonrpc": "2.0", "id": asked["id"], **said}
        connection.sendall(http(status, json.dumps(body).encode()))

    return script


def error(code: int, data: object = None, status: int = 400) -> tuple[int, dict[str, Any]]:
    """Return a JSON-RPC error."""
    said = {"code": code, "message": "No."} | ({} if data is None else {"data": data})
    return status, {"error": said}


def use(asked: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """Answer what every revision has."""
    tools = {"tools": [{"name": "log_event"}], "resultType": "complete"}
    results = {"tools/list": tools, "tools/call": REPORT | {"resultType": "complete"}}
    result = results.get(asked["method"])
    return (200, {"result": result}) if result else error(-32601, status=404)


def modern(request: RawRequest, asked: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """Be a server that knows revision 2026-07-28 alone, and checks what it demands."""
    meta = (asked.get("params") or {}).get("_meta")
    if not meta or f"{META}clientCapabilities" not in meta:
        return error(-32602)
    version = meta[f"{META}protocolVersion"]
    named = asked["params"].get("name")
    headers = request.headers
    if (headers["mcp-protocol-version"], headers["mcp-method"]) != (version, asked["method"]):
        return error(-32001)
    if asked["method"] == "tools/call" and headers["mcp-name"] != named:
        return error(-32001)
    if version != STATELESS_PROTOCOL:
        return error(-32022, {"supported": [STATELESS_PROTOCOL], "requested": version})
    if asked["method"] == "server/discover":
        return 200, {"result": {"supportedVersions": [STATELESS_PROTOCOL]}}
    return use(asked)


def modern_by_code(request: RawRequest, asked: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """Refuse the older handshake with the revisions that are spoken; know no discovery."""
    if asked["method"] in {"initialize", "server/discover"}:
        return error(-32022, {"supportedVersions": [STATELESS_PROTOCOL]}, status=200)
    return modern(request, asked)


def modern_by_method(request: RawRequest, asked: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """Know no method of the older handshake."""
    return error(-32601, status=404) if asked["method"] == "initialize" else modern(request, asked)


def old(request: RawRequest, asked: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """Be a server that knows the older revisions alone."""
    if request.headers.get("mcp-protocol-version", PROTOCOL) != PROTOCOL:
        return error(-32000)
    if asked["method"] == "initialize":
        return 200, {"result": {"protocolVersion": PROTOCOL}}
    return use(asked)


def methods(seller: RawSeller) -> list[str]:
    """Return what was asked, in order."""
    return [json.loads(request.body)["method"] for request in seller.requests]


@pytest.mark.parametrize("answer", [modern, modern_by_code, modern_by_method, old])
def test_each_revision_gets_every_event_once(answer: Answer) -> None:
    """Two batches are two calls, and the revision is found out once."""
    with raw_seller(serving(answer)) as seller:
        shop = agent(seller.origin)
        outcomes = [shop.send(BATCH) for _ in range(2)]
        shop.close()
        asked = methods(seller)
    assert all(isinstance(outcome, Delivered) for outcome in outcomes)
    assert asked.count("tools/call") == 2
    assert asked.count("initialize") == 1
    assert asked.count("server/discover") <= 1


def test_a_stateless_request_carries_what_the_revision_demands() -> None:
    """The envelope names version, client and capabilities; there is no session."""
    with raw_seller(serving(modern)) as seller:
        shop = agent(seller.origin)
        shop.send(BATCH)
        shop.close()
        last = seller.requests[-1]
    params = json.loads(last.body)["params"]
    assert params["_meta"][f"{META}protocolVersion"] == STATELESS_PROTOCOL
    assert params["_meta"][f"{META}clientInfo"]["name"] == "adcp_tracker"
    assert (last.headers["mcp-method"], last.headers["mcp-name"]) == ("tools/call", "log_event")
    assert "mcp-session-id" not in last.headers
    assert params["arguments"]["events"] == [{"event_id": "A-1"}]


@pytest.mark.parametrize(("first", "then"), [(old, modern), (modern, old)])
def test_a_server_may_change_its_revision(first: Answer, then: Answer) -> None:
    """An update or a rollback of the server costs no event and no second call of the tool."""
    current = [first]

    def answer(request: RawRequest, asked: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        server = current[0]
        return server(request, asked)

    with raw_seller(serving(answer)) as seller:
        shop = agent(seller.origin)
        assert isinstance(shop.send(BATCH), Delivered)
        current[0] = then
        assert isinstance(shop.send(BATCH), Delivered)
        shop.close()
        bodies = [json.loads(request.body) for request in seller.requests]
    keys = [
        b["params"]["arguments"]["idempotency_key"] for b in bodies if b["method"] == "tools/call"
    ]
    assert len(set(keys)) == 1


def test_revisions_that_nobody_here_speaks_pause_with_the_right_remedy() -> None:
    """Both sides' revisions are named."""
    with raw_seller(serving(lambda *_: error(-32022, {"supported": ["2031-01-01"]}))) as seller:
        shop = agent(seller.origin)
        outcome = shop.send(BATCH)
        shop.close()
    assert isinstance(outcome, Paused)
    assert outcome.code == "MCP_VERSION_UNSUPPORTED"
    assert "2031-01-01" in outcome.message
    assert STATELESS_PROTOCOL in outcome.remedy


@pytest.mark.parametrize(("status", "kind"), [(401, Paused), (403, Paused), (503, Retry)])
def test_trouble_of_another_kind_is_no_matter_of_revisions(
    status: int, kind: type[Paused | Retry]
) -> None:
    """A credential or an outage is told after one request."""
    with raw_seller(serving(lambda *_: error(-32000, status=status))) as seller:
        shop = agent(seller.origin)
        assert isinstance(shop.send(BATCH), kind)
        shop.close()
        assert methods(seller) == ["initialize"]


def test_a_tool_that_asks_for_more_input_pauses() -> None:
    """Nothing was taken, so nothing counts as delivered."""

    def answer(request: RawRequest, asked: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if asked["method"] == "tools/call":
            return 200, {"result": {"resultType": "input_required", "inputRequests": {}}}
        return modern(request, asked)

    with raw_seller(serving(answer)) as seller:
        shop = agent(seller.origin)
        outcome = shop.send(BATCH)
        shop.close()
    assert isinstance(outcome, Paused)
    assert outcome.code == "MCP_INPUT_REQUIRED"


@pytest.mark.parametrize(
    ("method", "reply"),
    [("ping", {"result": {}}), ("roots/list", {"error": {"code": -32601}})],
)
def test_a_servers_own_request_is_answered(method: str, reply: dict[str, Any]) -> None:
    """A server that waits for the answer before it goes on with the call goes on."""
    replied = threading.Event()
    replies: list[dict[str, Any]] = []

    def script(_: RawSeller, connection: socket.socket, request: RawRequest) -> None:
        asked = json.loads(request.body)
        if "method" not in asked:
            replies.append(asked)
            replied.set()
            connection.sendall(http(202))
            return
        if asked["method"] != "tools/call":
            results = {"initialize": {}, "tools/list": {"tools": [{"name": "log_event"}]}}
            body = {
                "jsonrpc": "2.0",
                "id": asked.get("id"),
                "result": results.get(asked["method"], {}),
            }
            connection.sendall(http(200, json.dumps(body).encode()))
            return
        ping = json.dumps({"jsonrpc": "2.0", "id": "p-1", "method": method}).encode()
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        connection.sendall(b"data: " + ping + b"\n\n")
        if replied.wait(20.0):
            body = {"jsonrpc": "2.0", "id": asked["id"], "result": REPORT}
            connection.sendall(b"data: " + json.dumps(body).encode() + b"\n\n")
        connection.close()

    with raw_seller(script) as seller:
        shop = agent(seller.origin)
        outcome = shop.send(BATCH)
        shop.close()
    assert isinstance(outcome, Delivered)
    (answer,) = replies
    assert answer["id"] == "p-1"
    name, value = next(iter(reply.items()))
    assert value.items() <= answer[name].items()
