"""A seller that fails now and then, and remembers in which body each event came."""

from __future__ import annotations

import hashlib
import http.server
import json
import socket
import sqlite3
import threading
import time
from collections import Counter
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_FAULTS = ("refused", "busy", "cut before", "cut after", "slow")
_UNNOTED = frozenset({"refused", "busy", "cut before"})
_PORT_S = 30.0
_TABLES = """
CREATE TABLE received (id TEXT PRIMARY KEY, body BLOB, is_changed INTEGER DEFAULT 0) WITHOUT ROWID;
CREATE TABLE expected (id TEXT PRIMARY KEY, is_sure INTEGER) WITHOUT ROWID;
"""
_RECEIVE = """
INSERT INTO received (id, body) VALUES (?, ?)
ON CONFLICT (id) DO UPDATE SET is_changed = is_changed OR body <> excluded.body
"""


@attrs.define(eq=False)
class FaultySeller:
    """What a seller received, and how it fails.

    It remembers in a file, so that a long run takes no more memory than a short one.

    Attributes:
        chance: Decides which request fails, and how.
        folder: Where it remembers.
        failing: The share of requests that fail.
        requests: How many requests it noted.
        resent: How many of them it had noted before.
        faults: How often each fault was played.
    """

    chance: random.Random
    folder: Path
    failing: float = 0.3
    requests: int = 0
    resent: int = 0
    faults: Counter[str] = attrs.field(factory=Counter)
    _bodies: set[bytes] = attrs.field(factory=set)
    _lock: threading.Lock = attrs.field(factory=threading.Lock)
    _listener: _Listener | None = None
    _address: tuple[str, int] = ("127.0.0.1", 0)
    _memory: sqlite3.Connection = attrs.field()

    @_memory.default
    def _open_memory(self) -> sqlite3.Connection:
        place = self.folder / "received"
        memory = sqlite3.connect(place, check_same_thread=False, isolation_level=None)
        memory.executescript("PRAGMA synchronous = OFF; PRAGMA journal_mode = MEMORY;" + _TABLES)
        return memory

    @property
    def url(self) -> str:
        """Where it listens, or did."""
        return f"http://{self._address[0]}:{self._address[1]}"

    def receive(self, body: bytes) -> str:
        """Note a request, and choose how to answer it."""
        with self._lock:
            fault = "none"
            if self.chance.random() < self.failing:
                fault = self.chance.choice(_FAULTS)
            self.faults[fault] += 1
            if fault not in _UNNOTED:
                self._note(body)
        return fault

    def _note(self, body: bytes) -> None:
        digest = hashlib.sha256(body).digest()[:16]
        self.requests += 1
        self.resent += digest in self._bodies
        self._bodies.add(digest)
        ids = [(event["event_id"], digest) for event in json.loads(body)["events"]]
        self._memory.execute("BEGIN")
        self._memory.executemany(_RECEIVE, ids)
        self._memory.execute("COMMIT")

    def count(self) -> int:
        """Return how many events it has, each once."""
        return self._number("SELECT count(*) FROM received")

    def changed(self) -> int:
        """Return how many events came in several bodies."""
        return self._number("SELECT count(*) FROM received WHERE is_changed")

    def expect(self, ids: Iterable[str], *, is_sure: bool = True) -> None:
        """Say which events it should have, or may have if that isn't sure."""
        rows = [(each, is_sure) for each in ids]
        with self._lock:
            self._memory.execute("BEGIN")
            self._memory.executemany("INSERT OR IGNORE INTO expected VALUES (?, ?)", rows)
            self._memory.execute("COMMIT")

    def lost(self) -> list[str]:
        """Return which events it should have and has not."""
        wanted = "SELECT id FROM expected WHERE is_sure EXCEPT SELECT id FROM received"
        return self._ids(wanted)

    def unexpected(self) -> list[str]:
        """Return which events it has and nobody expected."""
        return self._ids("SELECT id FROM received EXCEPT SELECT id FROM expected")

    def _number(self, query: str) -> int:
        with self._lock:
            ((number,),) = self._memory.execute(query)
        return int(number)

    def _ids(self, query: str) -> list[str]:
        with self._lock:
            return [name for (name,) in self._memory.execute(query)]

    def start(self) -> None:
        """Listen; a second start takes the port of the first."""
        deadline = time.monotonic() + _PORT_S
        while self._listener is None:
            try:
                self._listener = _Listener(self._address, _handler(self))
            except OSError:  # noqa: PERF203 - somebody connects from that port
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
        self._address = ("127.0.0.1", self._listener.server_address[1])
        threading.Thread(target=self._listener.serve_forever, daemon=True).start()

    def stop(self) -> None:
        """Listen no more, and cut off who is connected."""
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.shutdown()
            listener.server_close()
            listener.cut_off()

    @contextmanager
    def running(self) -> Iterator[str]:
        """Listen until the end of the block."""
        self.start()
        try:
            yield self.url
        finally:
            self.stop()
            with self._lock:
                self._memory.close()


class _Listener(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(
        self, address: tuple[str, int], handler: type[http.server.BaseHTTPRequestHandler]
    ) -> None:
        self._open: set[socket.socket] = set()
        super().__init__(address, handler)

    def process_request(self, request: socket.socket, client_address: object) -> None:  # type: ignore[override]  # ours are sockets
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: socket.socket) -> None:  # type: ignore[override]  # likewise
        self._open.discard(request)
        super().shutdown_request(request)

    def cut_off(self) -> None:
        """Break off all connections."""
        for each in list(self._open):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: object, client_address: object) -> None:
        del request, client_address  # clients are killed in the middle of what they send


def _handler(seller: FaultySeller) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            fault = seller.receive(body)
            if fault.startswith("cut"):
                self.close_connection = True
                with suppress(OSError):
                    self.connection.shutdown(socket.SHUT_RDWR)
                return
            if fault == "slow":
                time.sleep(seller.chance.random())
            if fault in {"refused", "busy"}:
                self._answer(503 if fault == "refused" else 429, b"{}")
                return
            count = len(json.loads(body)["events"])
            data = {"events_received": count, "events_processed": count}
            answer = {"status": 1, "code": 200, "data": data, "error": None}
            self._answer(200, json.dumps(answer).encode())

        def _answer(self, status: int, body: bytes) -> None:
            with suppress(OSError):  # whoever asked was killed
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name
            del format, args

    return Handler
