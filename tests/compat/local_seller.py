"""A seller on this machine, over real HTTP, that keeps each request: REST and MCP.

It is apart from the library's own sandbox, so that these tests outlive changes of that.
"""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterator

BUSY, BAD = "busy", "bad"


@attrs.frozen
class Request:
    """One request with events.

    Attributes:
        kind: ``agent`` or ``interchange``.
        body: Its body; without the number of the call, which a session counts.
        ids: The ids of its events.
        key: Its idempotency key; empty where there is none.
        taken: Whether its events were taken.
    """

    kind: str
    body: str
    ids: tuple[str, ...]
    key: str
    taken: bool


@attrs.define
class LocalSeller:
    """What a seller was sent, and how it answers.

    Attributes:
        is_busy: Whether it answers each request with events by 503.
        refuses: Which events it takes all others without.
        requests: The requests with events, in the order in which they came.
        origin: Where it is.
    """

    is_busy: bool = False
    refuses: frozenset[str] = frozenset()
    requests: list[Request] = attrs.field(factory=list)
    origin: str = ""

    def taken(self, kind: str) -> list[str]:
        """Return the ids of the events taken from one kind of destination, as they came."""
        return [
            name
            for each in list(self.requests)
            if each.kind == kind and each.taken
            for name in each.ids
            if name not in self.refuses
        ]

    def answer(self, message: dict[str, Any], body: str) -> tuple[int, object]:
        """Return the status and the body that answer a request."""
        method = message.get("method")
        if method not in {None, "tools/call"}:
            opened = {"tools": [{"name": "log_event"}]}
            return 200, {"jsonrpc": "2.0", "id": message.get("id"), "result": opened}
        kind = "agent" if method else "interchange"
        given = message["params"]["arguments"] if method else message
        ids = tuple(each["event_id"] for each in given["events"])
        if method:
            body = body.replace(f'"id":{message["id"]},', "", 1)
        taken = not self.is_busy
        self.requests.append(Request(kind, body, ids, given.get("idempotency_key", ""), taken))
        if self.is_busy:
            return 503, {"error": {"code": "SERVICE_UNAVAILABLE", "message": "Later."}}
        content = self._taken(ids)
        if method:
            result = {"structuredContent": content}
            return 200, {"jsonrpc": "2.0", "id": message["id"], "result": result}
        return 200, {"data": content, "error": None}

    def _taken(self, ids: tuple[str, ...]) -> dict[str, Any]:
        failures = [
            {"event_id": name, "code": "INVALID_EVENT_TIME", "message": "Too old."}
            for name in ids
            if name in self.refuses
        ]
        taken = {"events_received": len(ids), "events_processed": len(ids) - len(failures)}
        return {**taken, "partial_failures": failures} if failures else taken


@contextmanager
def local_seller() -> Iterator[LocalSeller]:
    """Run a seller in threads of this process."""
    seller = LocalSeller()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            status, told = seller.answer(json.loads(body), body)
            content = json.dumps(told).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as above
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    seller.origin = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield seller
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
