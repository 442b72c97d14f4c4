"""Frozen events as a request carries them: joined, in a few large blocks.

Tens of thousands of small objects would be made and thrown away for each request otherwise,
which takes longer than all else a request does, and leaves the heap in holes.
"""

from __future__ import annotations

import mmap
from array import array
from collections.abc import Sequence
from itertools import accumulate, chain
from typing import TYPE_CHECKING, overload

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterator

_APART_BYTES = 256 * 1024


class Block:
    """Some events that follow each other, in memory of their own.

    What is large and short-lived leaves the heap in holes that the C library keeps, and a
    process with a backlog would stay larger than one without.

    Args:
        events: The events' JSON.

    Attributes:
        lengths: How many bytes each one is.
        size: How many bytes they are, with the commas in between.
    """

    def __init__(self, events: Sequence[bytes]) -> None:
        self.lengths = array("I", map(len, events))
        self._starts: Sequence[int] = ()
        joined = b",".join(events)
        self.size = len(joined)
        self._kept: bytes | mmap.mmap = joined
        if self.size > _APART_BYTES:
            memory = mmap.mmap(-1, self.size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            memory.write(joined)
            self._kept = memory

    def pieces(self) -> Iterator[bytes]:
        """Return the events, joined by commas, in pieces of a bounded size."""
        for start in range(0, self.size, _APART_BYTES):
            yield self._kept[start : start + _APART_BYTES]

    def __getitem__(self, place: int) -> bytes:
        if not self._starts:
            self._starts = array("Q", accumulate((each + 1 for each in self.lengths), initial=0))
        start = self._starts[place]
        return self._kept[start : start + self.lengths[place]]

    def split(self) -> Iterator[bytes]:
        """Return the events one by one."""
        start = 0
        for length in self.lengths:
            yield self._kept[start : start + length]
            start += length + 1


class JoinedEvents(Sequence[bytes]):
    """The JSON of events, one by one as any sequence, or in blocks.

    Args:
        blocks: The events, none of the blocks empty.

    Attributes:
        blocks: Likewise.
    """

    def __init__(self, blocks: Sequence[Block]) -> None:
        self.blocks = tuple(blocks)
        self._count = sum(len(block.lengths) for block in self.blocks)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[bytes]:
        return chain.from_iterable(block.split() for block in self.blocks)

    @overload
    def __getitem__(self, place: int) -> bytes: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[bytes]: ...

    def __getitem__(self, place: int | slice) -> bytes | Sequence[bytes]:
        if isinstance(place, slice):
            return tuple(self)[place]
        left = range(len(self))[place]
        for block in self.blocks:
            if left < len(block.lengths):
                return block[left]
            left -= len(block.lengths)
        raise AssertionError("unreachable")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, JoinedEvents) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(tuple(self))


@attrs.frozen
class Body:
    """A request's body around frozen events, which is never put together in memory.

    Iterated over, it gives pieces that are worth a system call each; as often as is asked,
    since a request may go again.

    Attributes:
        head: What comes before the events.
        blocks: The events; those of two blocks are divided by a comma too.
        tail: What comes after them.
    """

    head: bytes
    blocks: Sequence[Block]
    tail: bytes

    @property
    def size(self) -> int:
        """How many bytes it is."""
        commas = max(len(self.blocks) - 1, 0)
        inner = sum(block.size for block in self.blocks) + commas
        return len(self.head) + inner + len(self.tail)

    def __iter__(self) -> Iterator[bytes]:
        waiting = self.head
        for number, block in enumerate(self.blocks):
            waiting += b"," if number else b""
            for piece in block.pieces():
                yield waiting + piece
                waiting = b""
        yield waiting + self.tail


def body_around(events: Sequence[bytes], head: bytes, tail: bytes) -> Body:
    """Return the body of a request with `events`, without ever decoding one."""
    blocks = events.blocks if isinstance(events, JoinedEvents) else (Block(events),)
    return Body(head, blocks, tail)
