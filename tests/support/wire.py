"""Talking to a seller as its clients do, without the library under test."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

import attrs
import httpx

from tests.support.seller import ADVERTISER, PLAIN, SOURCE, TOKEN

if TYPE_CHECKING:
    from adcp_tracker.sandbox import Sandbox
    from tests.support.seller import SellerProcess

HASH = "ff8d9819fc0e12bf0d24892e45987e249a28dce836a85cad60e28eaaa8c6d976"
AUTHORIZED = {"Authorization": f"Bearer {TOKEN}"}

request = partial(httpx.request, verify=PLAIN)
"""Send one request over a connection of its own."""


def make_event(event_id: object = "o-1", **more: object) -> dict[str, Any]:
    """Return a good event, with some fields changed or added."""
    return {
        "event_id": event_id,
        "event_type": "purchase",
        "event_time": "2026-01-02T03:04:05Z",
        "user_match": {"hashed_email": HASH},
        "custom_data": {"value": 12.5, "currency": "EUR"},
        **more,
    }


def log_event_url(seller: Sandbox | SellerProcess, advertiser: str = ADVERTISER) -> str:
    """Return where events are sent over REST."""
    return f"{seller.url}/advertisers/{advertiser}/log-event"


def send(seller: Sandbox | SellerProcess, *events: object, **more: object) -> httpx.Response:
    """Send `events` in one REST request, with more keys around them."""
    body = {"event_source_id": SOURCE, "events": list(events), **more}
    return request("POST", log_event_url(seller), json=body, headers=AUTHORIZED)


def events_of(response: httpx.Response) -> list[dict[str, Any]]:
    """Return the messages of an answer, whether it is JSON or server-sent events."""
    if response.headers["content-type"].startswith("application/json"):
        return [response.json()]
    lines = response.text.splitlines()
    return [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]


@attrs.define
class McpClient:
    """A plain MCP client."""

    url: str
    headers: dict[str, str] = attrs.Factory(
        lambda: {**AUTHORIZED, "Accept": "application/json, text/event-stream"}
    )
    message_id: int = 0

    def post(self, method: str, params: object = None, *, note: bool = False) -> httpx.Response:
        """Send one message, and return what came back over HTTP."""
        self.message_id += 1
        message: dict[str, object] = {"jsonrpc": "2.0", "method": method, "params": params or {}}
        if not note:
            message["id"] = self.message_id
        return request("POST", self.url, json=message, headers=self.headers)

    def ask(self, method: str, params: object = None) -> dict[str, Any]:
        """Send one request, and return the message that answers it."""
        answer = events_of(self.post(method, params))[-1]
        assert answer["id"] == self.message_id
        return answer

    def initialize(self) -> dict[str, Any]:
        """Open a session."""
        response = self.post("initialize", {"protocolVersion": "2025-06-18", "capabilities": {}})
        if "mcp-session-id" in response.headers:
            self.headers["Mcp-Session-Id"] = response.headers["mcp-session-id"]
        assert self.post("notifications/initialized", note=True).status_code == 202
        answer: dict[str, Any] = events_of(response)[-1]["result"]
        return answer

    def use(self, tool: str, **arguments: object) -> dict[str, Any]:
        """Use a tool, and return its result."""
        answer = self.ask("tools/call", {"name": tool, "arguments": arguments})
        result: dict[str, Any] = answer["result"]
        return result
