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
_ROOM_BYTES = 8 * 1024 * 1024
# Each piece costs three system calls, and after each of them a wait for the interpreter's lock.
_PIECE_BYTES = 1024 * 1024


class Room:
    """Memory beside the heap, for the blocks of one batch.

    What is large and short-lived leaves the heap in holes that the C library keeps, and a
    process with a backlog would stay larger than one without.

    Args:
        spare: Memory of earlier batches, and where this is put when nobody needs it any more:
            the kernel takes twice as long to hand out new memory as it takes to fill it.
    """

    def __init__(self, spare: list[mmap.mmap] | None = None) -> None:
        self._spare = [] if spare is None else spare
        self._memory: mmap.mmap | None = None

    def keep(self, data: bytes) -> tuple[mmap.mmap, int]:
        """Return where `data` is kept for as long as this is, and at which place there."""
        memory = self._memory
        if memory is None or len(memory) - memory.tell() < len(data):
            memory = self._memory = self._new(len(data))
        place = memory.tell()
        memory.write(data)
        return memory, place

    def _new(self, size: int) -> mmap.mmap:
        if size <= _ROOM_BYTES and self._memory is None and self._spare:
            memory = self._spare.pop()
            memory.seek(0)
            return memory
        size = max(size, _ROOM_BYTES)
        return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)

    def __del__(self) -> None:
        if self._memory is not None and len(self._memory) == _ROOM_BYTES and not self._spare:
            self._spare.append(self._memory)


class Block:
    """Some events that follow each other, joined by commas.

    Args:
        events: The events' JSON.
        room: Where to keep them, if there are more blocks of their batch.

    Attributes:
        lengths: How many bytes each one is.
        size: How many bytes they are, with the commas in between.
    """

    def __init__(self, events: Sequence[bytes], room: Room | None = None) -> None:
        self.lengths = array("I", map(len, events))
        self._starts: Sequence[int] = ()
        joined = b",".join(events)
        self.size = len(joined)
        self._kept: bytes | mmap.mmap = joined
        self._place = 0
        if self.size > _APART_BYTES:
            self._room = room or Room()  # kept as long as this is, or another would write there
            self._kept, self._place = self._room.keep(joined)

    def pieces(self) -> Iterator[memoryview]:
        """Return the events, joined by commas, in pieces of a bounded size, without a copy."""
        whole = memoryview(self._kept)[self._place : self._place + self.size]
        for start in range(0, self.size, _PIECE_BYTES):
            yield whole[start : start + _PIECE_BYTES]

    def __getitem__(self, place: int) -> bytes:
        if not self._starts:
            sizes = (each + 1 for each in self.lengths)
            self._starts = array("Q", accumulate(sizes, initial=self._place))
        start = self._starts[place]
        return self._kept[start : start + self.lengths[place]]

    def split(self) -> Iterator[bytes]:
        """Return the events one by one."""
        start = self._place
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
        parts: list[bytes | memoryview] = [self.head]
        size = len(self.head)
        for number, block in enumerate(self.blocks):
            if number:
                parts.append(b",")
            for piece in block.pieces():
                parts.append(piece)
                size += len(piece)
                if size >= _PIECE_BYTES:
                    yield b"".join(parts)
                    parts, size = [], 0
        parts.append(self.tail)
        yield b"".join(parts)


def body_around(events: Sequence[bytes], head: bytes, tail: bytes) -> Body:
    """Return the body of a request with `events`, without ever decoding one."""
    blocks = events.blocks if isinstance(events, JoinedEvents) else (Block(events),)
    return Body(head, blocks, tail)
