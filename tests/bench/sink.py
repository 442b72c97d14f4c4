"""The receiver that every client delivers to: a small HTTP server in a process of its own.

It reads a request whole, counts how often the marker occurs in its body, adds that to a
counter that the measuring process reads through shared memory, and answers.
The one answer contains what each client looks for in it,
so none of them retries and none is spared the reading of an answer.
It decodes nothing, so it is not what is measured: its own CPU time is counted too.

Run as ``python -m tests.bench.sink MARKER_HEX COUNTERS_FILE``; it prints its port.
"""

from __future__ import annotations

import asyncio
import mmap
import re
import struct
import sys
import time
from pathlib import Path

COUNTERS = struct.Struct("=QQQQ")
"""Requests, events, bytes of bodies, nanoseconds of the sink's own CPU."""

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_ENCODED = re.compile(rb"\r\n(?:content|transfer)-encoding:", re.IGNORECASE)


class Counters:
    """What was received so far, shared through a mapped file."""

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), COUNTERS.size)
        self._requests = self._events = self._bytes = 0

    def add(self, events: int, size: int) -> None:
        """Count one request."""
        self._requests += 1
        self._events += events
        self._bytes += size
        COUNTERS.pack_into(
            self._memory, 0, self._requests, self._events, self._bytes, time.process_time_ns()
        )


class Connection(asyncio.Protocol):
    """One client's connection: requests come in, answers go out in their order."""

    def __init__(self, marker: bytes, counters: Counters) -> None:
        self._marker = marker
        self._counters = counters
        self._received = bytearray()
        self._body: tuple[int, int] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        if not isinstance(transport, asyncio.Transport):
            raise TypeError(f"expected a stream, got {type(transport).__name__}")
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Take in `data` and answer every request that is now complete."""
        self._received += data
        while self._find_body() and self._body and len(self._received) >= self._body[1]:
            self._answer(*self._body)
            del self._received[: self._body[1]]
            self._body = None

    def _find_body(self) -> bool:
        if self._body is not None:
            return True
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return False
        length = _LENGTH.search(self._received, 0, end)
        if length is None or _ENCODED.search(self._received, 0, end):
            self._write(b"411 Length Required", b"a plain body with its length, please")
            self._transport.close()
            return False
        self._body = (end + 4, end + 4 + int(length[1]))
        return True

    def _answer(self, start: int, stop: int) -> None:
        events = self._received.count(self._marker, start, stop)
        self._counters.add(events, stop - start)
        self._write(
            b"200 OK",
            b'{"status":1,"code":200,"data":{"events_received":%d,"events_processed":%d},'
            b'"error":null}' % (events, events),
        )

    def _write(self, status: bytes, body: bytes) -> None:
        self._transport.write(
            b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
            % (status, len(body), body)
        )


async def serve(marker: bytes, path: Path) -> None:
    """Listen on a free loopback port, print it, and receive until killed."""
    counters = Counters(path)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Connection(marker, counters), "127.0.0.1", 0, backlog=1024
    )
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(bytes.fromhex(sys.argv[1]), Path(sys.argv[2])))
