"""Read one answer out of a stream of server-sent events."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from adcp_tracker.destinations.replies import decode

if TYPE_CHECKING:
    from collections.abc import Callable

_BOM = b"\xef\xbb\xbf"


@attrs.define(eq=False)
class EventStream:
    """Takes a stream piece by piece until the message that was waited for is in.

    Lines may end in LF, CR LF or CR, and a piece may end anywhere, as the standard for
    server-sent events allows. Comments, names, ids and other messages are passed over.

    Attributes:
        wanted: Tells the message that is waited for from all others.
        message: That message, once it is in.
    """

    wanted: Callable[[object], bool]
    message: object = None
    _rest: bytearray = attrs.field(factory=bytearray, init=False)
    _data: list[bytes] = attrs.field(factory=list, init=False)

    def feed(self, piece: bytes) -> bool:
        """Take a piece; return whether the message is in."""
        self._rest += piece
        if self.message is None and (b"\n" in piece or b"\r" in piece):
            lines = self._rest.splitlines(keepends=True)
            # A CR at the very end may be half of a CR LF.
            whole = lines[-1].endswith(b"\n")
            self._rest = bytearray() if whole else lines.pop()
            self._take(lines)
        return self.message is not None

    def finish(self) -> object:
        """Return the message, be the last event's blank line missing or not."""
        if self.message is None:
            self._take([*self._rest.splitlines(keepends=True), bytearray()])
        return self.message

    def _take(self, lines: list[bytearray]) -> None:
        for line in lines:
            text = bytes(line).removeprefix(_BOM).rstrip(b"\r\n")
            if not text:
                self._dispatch()
            elif text == b"data" or text.startswith(b"data:"):
                self._data.append(text[5:].removeprefix(b" "))

    def _dispatch(self) -> None:
        message = decode(b"\n".join(self._data)) if self._data else None
        self._data.clear()
        if self.message is None and message is not None and self.wanted(message):
            self.message = message
