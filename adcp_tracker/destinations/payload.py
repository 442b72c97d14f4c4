"""The body of a request around frozen events, sent in pieces."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# Each piece costs three system calls, and each of them may wait for the interpreter lock.
_PIECE_BYTES = 1024 * 1024


@attrs.frozen
class RequestBody:
    """A request's body, whose events are never decoded and never joined as a whole.

    Iterating yields pieces of about a megabyte, the same bytes each time.

    Attributes:
        head: What comes before the events.
        events: The JSON of each event; commas are put in between.
        tail: What comes after them.
        size: Its length in bytes.
    """

    head: bytes
    events: Sequence[bytes]
    tail: bytes
    size: int = attrs.field(init=False)

    @size.default
    def _size(self) -> int:
        commas = max(len(self.events) - 1, 0)
        return len(self.head) + sum(map(len, self.events)) + commas + len(self.tail)

    def __iter__(self) -> Iterator[bytes]:
        count = len(self.events)
        step = max(_PIECE_BYTES * count // max(self.size, 1), 1)
        for start in range(0, max(count, 1), step):
            before = b"," if start else self.head
            after = self.tail if start + step >= count else b""
            yield b"".join((before, b",".join(self.events[start : start + step]), after))
