"""Frozen events as a request carries them: joined, in a few large blocks.

Tens of thousands of small objects would be made and thrown away for each request otherwise,
which takes longer than all else a request does, and leaves the heap in holes.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple, overload

if TYPE_CHECKING:
    from collections.abc import Iterator


class Block(NamedTuple):
    """Some events that follow each other.

    Attributes:
        joined: Their JSON, with commas in between.
        lengths: How many bytes each one is.
    """

    joined: bytes
    lengths: Sequence[int]

    def split(self) -> Iterator[bytes]:
        """Return the events one by one."""
        start = 0
        for length in self.lengths:
            yield self.joined[start : start + length]
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
        return tuple(self)[place]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, JoinedEvents) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(tuple(self))


def with_commas(events: Sequence[bytes]) -> Iterator[bytes]:
    """Return the JSON of `events` with commas in between, in pieces to be put together."""
    if not isinstance(events, JoinedEvents):
        yield b",".join(events)
        return
    for number, block in enumerate(events.blocks):
        if number:
            yield b","
        yield block.joined
