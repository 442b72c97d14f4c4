"""The A2A endpoint: an agent card, and skills called by JSON-RPC messages, in A2A 1.0 and 0.3."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from adcp_tracker.sandbox.agent import TOOLS, McpPost, McpResponses

if TYPE_CHECKING:
    from starlette.requests import Request

    from adcp_tracker.sandbox.config import ErrorPlace
    from adcp_tracker.sandbox.failures import ApiError
    from adcp_tracker.sandbox.seller import Seller

_EXTENSION: Final = "https://adcontextprotocol.org/extensions/adcp/v3"
_METHODS: Final = {"SendMessage": "1.0", "message/send": "0.3"}
_INVALID_PARAMS: Final = -32602
_METHOD_NOT_FOUND: Final = -32601


@attrs.frozen
class A2aResponses(McpResponses):
    """Builds the responses to one message: a task with one artifact.

    Attributes:
        version: The version of A2A that the message was sent in.
    """

    version: str = "1.0"

    def success(self, answer: dict[str, object]) -> Response:
        """Return the result of a skill."""
        return self._task("completed", answer)

    def refuse(self, refusal: ApiError, place: ErrorPlace) -> Response:
        """Return an AdCP error, as an HTTP status or in a failed task."""
        if place == "http":
            return self.over_http(refusal)
        return self._task("failed", {"adcp_error": refusal.adcp_body(self.config)})

    def _task(self, state: str, data: dict[str, object]) -> Response:
        is_new = self.version == "1.0"
        part: dict[str, object] = {"data": data} if is_new else {"kind": "data", "data": data}
        task: dict[str, object] = {
            "id": "1",
            "contextId": "1",
            "status": {"state": f"TASK_STATE_{state.upper()}" if is_new else state},
            "artifacts": [{"artifactId": "1", "parts": [part]}],
        }
        if not is_new:
            task["kind"] = "task"
        return self.result({"task": task} if is_new else task)


@attrs.define
class _A2aPost(McpPost):
    """Handles one message."""

    protocol = "A2A"

    async def _handle(self, message: object) -> Response:
        request = message if isinstance(message, dict) else {}
        config, number = self.seller.config, request.get("id")
        version = _METHODS.get(str(request.get("method")))
        self.responses = A2aResponses(config, number, version or "1.0")
        if version is None:
            return self.responses.protocol_error(_METHOD_NOT_FOUND, "Method not found")
        data = _data(request.get("params"))
        self.call = str(data.get("skill"))
        arguments = data.get("input", data.get("parameters"))
        fault = self.seller.faults.take(self.call)
        return await self._call_tool({"arguments": arguments}, fault)

    def _check_accepted(self) -> None:
        """Accept any: responses are JSON."""


def _data(params: object) -> dict[str, object]:
    """Return the first data part of a message; empty if there is none."""
    message = params.get("message") if isinstance(params, dict) else None
    parts = message.get("parts") if isinstance(message, dict) else None
    for part in parts if isinstance(parts, list) else ():
        if isinstance(part, dict) and isinstance(part.get("data"), dict):
            return dict(part["data"])
    return {}


def a2a_routes(seller: Seller) -> list[Route]:
    """Return the routes of the A2A endpoint and its card."""

    async def post(request: Request) -> Response:
        return await _A2aPost(seller, request).answer()

    async def card(request: Request) -> Response:
        url = str(request.base_url.replace(path="/a2a"))
        return JSONResponse(_card(url))

    return [
        Route("/a2a", post, methods=["POST"]),
        Route("/a2a/.well-known/agent-card.json", card),
    ]


def _card(url: str) -> dict[str, object]:
    skills = [{"id": name, "name": name, "description": name, "tags": ["adcp"]} for name in TOOLS]
    interfaces = [
        {"url": url, "protocolBinding": "JSONRPC", "protocolVersion": version}
        for version in ("1.0", "0.3")
    ]
    return {
        "name": "adcp-tracker sandbox",
        "description": "A local seller for tests.",
        "version": "1",
        "url": url,
        "preferredTransport": "JSONRPC",
        "protocolVersion": "0.3.0",
        "supportedInterfaces": interfaces,
        "capabilities": {"extensions": [{"uri": _EXTENSION}]},
        "defaultInputModes": ["application/json"],
        "defaultOutputModes": ["application/json"],
        "skills": skills,
    }
