"""Sellers' agents on the MCP frameworks that people use, as a program.

Run as ``python -m tests.conformance.framework_seller FRAMEWORK DIRECTORY PORT...``, with a port
for each of :data:`SHAPES`. Each server has the tool ``log_event`` with another kind of return
type, and writes what it took to ``taken.jsonl``. The last one refuses the handshake of the
older MCP revisions, as a server does that speaks 2026-07-28 alone.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvicorn

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    App = Callable[[Any, Any, Any], Awaitable[None]]

SHAPES = ("object", "union", "text", "stateless")
REVISION = "2026-07-28"


def _tool(shape: str, directory: Path) -> Callable[..., Any]:
    def take(events: list[dict[str, Any]]) -> dict[str, Any]:
        ids = [event["event_id"] for event in events]
        with (directory / "taken.jsonl").open("a") as file:
            file.write(json.dumps({"shape": shape, "ids": ids}) + "\n")
        return {"events_received": len(ids), "events_processed": len(ids)}

    def log_event(  # noqa: PLR0913, PLR0917 - the protocol's arguments
        event_source_id: str,
        events: list[dict[str, Any]],
        idempotency_key: str,
        adcp_version: str = "",
        adcp_major_version: int = 0,
        test_event_code: str | None = None,
    ) -> Any:  # noqa: ANN401 - set below
        """Take conversion events."""
        del event_source_id, idempotency_key, adcp_version, adcp_major_version, test_event_code
        report = take(events)
        return json.dumps(report) if shape == "text" else report

    kinds = {"union": dict[str, Any] | str, "text": str}
    log_event.__annotations__ = {
        "event_source_id": str,
        "events": list[dict[str, Any]],
        "idempotency_key": str,
        "adcp_version": str,
        "adcp_major_version": int,
        "test_event_code": str | None,
        "return": kinds.get(shape, dict[str, Any]),
    }
    return log_event


def _app(framework: str, tool: Callable[..., Any]) -> App:
    if framework == "mcp":
        from mcp.server.mcpserver import MCPServer  # noqa: PLC0415 - one of two

        server: Any = MCPServer("seller")
        server.tool()(tool)
        app: App = server.streamable_http_app()
        return app
    from fastmcp import FastMCP  # noqa: PLC0415 - one of two

    fast: Any = FastMCP("seller")
    fast.tool()(tool)
    made: App = fast.http_app()
    return made


def _without_sessions(app: App) -> App:
    """Return `app` without the handshake of the older revisions."""

    async def serve(scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401 - ASGI's shape
        if scope["type"] != "http" or scope["method"] != "POST":
            await app(scope, receive, send)
            return
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        asked = json.loads(body)
        if asked.get("method") == "initialize":
            data = {"supported": [REVISION], "requested": asked["params"]["protocolVersion"]}
            error = {"code": -32022, "message": "Unsupported protocol version", "data": data}
            said = json.dumps({"jsonrpc": "2.0", "id": asked["id"], "error": error}).encode()
            kind = [(b"content-type", b"application/json")]
            await send({"type": "http.response.start", "status": 400, "headers": kind})
            await send({"type": "http.response.body", "body": said})
            return
        whole = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def replay() -> Any:  # noqa: ANN401 - ASGI's shape
            return next(whole, None) or await receive()

        await app(scope, replay, send)

    return serve


async def _serve(framework: str, directory: Path, ports: list[int]) -> None:
    servers = []
    for shape, port in zip(SHAPES, ports, strict=True):
        app = _app(framework, _tool(shape, directory))
        served = _without_sessions(app) if shape == "stateless" else app
        config = uvicorn.Config(served, port=port, log_level="warning")
        servers.append(uvicorn.Server(config).serve())
    await asyncio.gather(*servers)


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1], Path(sys.argv[2]), list(map(int, sys.argv[3:]))))
