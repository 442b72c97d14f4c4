"""A seller of nothing but sockets, which can misbehave in every way."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Script = Callable[["RawSeller", socket.socket, "RawRequest"], None]

PEM = Path(__file__).with_name("seller.pem")


@attrs.frozen
class RawRequest:
    """A request as it came."""

    line: str
    headers: dict[str, str]
    body: bytes


@attrs.define(eq=False)
class RawSeller:
    """What a running seller saw; ``script`` plays for each request."""

    script: Script
    listener: socket.socket
    tls: ssl.SSLContext | None = None
    requests: list[RawRequest] = attrs.field(factory=list)
    connections: int = 0
    stopping: threading.Event = attrs.field(factory=threading.Event)

    @property
    def origin(self) -> str:
        """Where it is reached."""
        scheme = "https" if self.tls else "http"
        return f"{scheme}://127.0.0.1:{self.listener.getsockname()[1]}"

    def serve(self) -> None:
        """Accept until stopped."""
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            if self.stopping.is_set():
                connection.close()
                return
            self.connections += 1
            threading.Thread(target=self._converse, args=(connection,), daemon=True).start()

    def _converse(self, connection: socket.socket) -> None:
        with suppress(OSError, ValueError), connection:
            connection.settimeout(10)
            spoken = self.tls.wrap_socket(connection, server_side=True) if self.tls else connection
            with spoken:
                while not self.stopping.is_set():
                    request = _read_request(spoken)
                    if request is None:
                        return
                    if "/_sandbox/" in request.line:  # a tracker looks for the local seller
                        spoken.sendall(http(404))
                        continue
                    self.requests.append(request)
                    self.script(self, spoken, request)


@contextmanager
def raw_seller(
    script: Script,
    tls: ssl.SSLContext | None = None,
) -> Iterator[RawSeller]:
    """Run a seller that answers each request as `script` does."""
    listener = socket.create_server(("127.0.0.1", 0))
    seller = RawSeller(script, listener, tls)
    thread = threading.Thread(target=seller.serve, daemon=True)
    thread.start()
    try:
        yield seller
    finally:
        seller.stopping.set()
        with suppress(OSError), socket.create_connection(listener.getsockname(), 1):
            pass
        thread.join(5)
        listener.close()


def tls_context() -> ssl.SSLContext:
    """Return the server's side of an encrypted connection."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(PEM)
    return context


def answering(*answers: bytes) -> Script:
    """Give the answers one after the other, and the last one from then on."""

    def script(seller: RawSeller, connection: socket.socket, _: RawRequest) -> None:
        connection.sendall(answers[min(len(seller.requests), len(answers)) - 1])

    return script


def http(
    status: int,
    body: bytes = b"",
    headers: str = "",
    content_type: str = "application/json",
    length: int | None = None,
) -> bytes:
    """Return an HTTP answer, whose length may be a lie."""
    size = len(body) if length is None else length
    kind = f"Content-Type: {content_type}\r\n" if content_type else ""
    head = f"HTTP/1.1 {status} Said\r\n{kind}Content-Length: {size}\r\n{headers}\r\n"
    return head.encode() + body


def reset(connection: socket.socket) -> None:
    """Break a connection by a TCP reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def _read_request(connection: socket.socket) -> RawRequest | None:
    received = b""
    while b"\r\n\r\n" not in received:
        piece = connection.recv(65_536)
        if not piece:
            return None
        received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    line, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (text.partition(": ") for text in lines)}
    while len(body) < int(headers.get("content-length", "0")):
        body += connection.recv(65_536)
    return RawRequest(line, headers, body)
