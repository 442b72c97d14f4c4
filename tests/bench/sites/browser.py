"""A client that keeps its connection open, and does as little as a client can."""

from __future__ import annotations

import re
import socket

from tests.bench.sites.requests import HEADERS, UnexpectedAnswerError

_TIMEOUT_S = 30.0
_CHUNK = 65_536
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_END = b"\r\n\r\n"


class NoAnswerError(ConnectionError):
    """The server closed the connection instead of answering."""


class Browser:
    """One connection to a server on this machine."""

    def __init__(self, port: int) -> None:
        """Connect.

        Raises:
            OSError: If nobody listens there.
        """
        self._socket = socket.create_connection(("127.0.0.1", port), _TIMEOUT_S)

    def ask(self, target: str, count: int) -> None:
        """Ask for `target`, a path with its query, so many times, one after the other.

        Raises:
            UnexpectedAnswerError: If an answer is not 200, or has no length.
            NoAnswerError: If the server closes the connection.
        """
        lines = [f"GET {target} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in HEADERS.items()]
        request = "\r\n".join([*lines, "", ""]).encode()
        for _ in range(count):
            self._socket.sendall(request)
            self._read_answer(target)

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def _read_answer(self, target: str) -> None:
        received = b""
        while _END not in received:
            received += self._more()
        head, _, body = received.partition(_END)
        length = _LENGTH.search(head)
        # To its end whatever it says, or the rest would be taken for the next answer.
        missing = int(length[1]) - len(body) if length else 0
        while missing > 0:
            missing -= len(self._more())
        if b" 200 " not in head[:16] or length is None:
            told = head[:80].decode("latin-1")
            raise UnexpectedAnswerError(f"{target}: expected 200 and a length, got {told}")

    def _more(self) -> bytes:
        received = self._socket.recv(_CHUNK)
        if not received:
            raise NoAnswerError("expected an answer, got the end of the connection")
        return received
