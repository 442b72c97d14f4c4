"""Frozen events in blocks: what is joined and sent is what was given, in bounded pieces."""

from __future__ import annotations

import zlib

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adcp_tracker.destinations.interchange import gzip
from adcp_tracker.destinations.payload import Block, Body, JoinedEvents, body_around

events = st.lists(
    st.dictionaries(st.text(max_size=5), st.integers(0, 99)).map(orjson.dumps), min_size=1
)
MEBIBYTE = 1024 * 1024
LARGE = [orjson.dumps({"event_id": f"A-{number}", "filler": "x" * 600}) for number in range(3000)]


@given(st.lists(events, min_size=1, max_size=4))
def test_events_in_blocks_are_a_sequence_of_events(groups: list[list[bytes]]) -> None:
    """One by one, by place and by length they are what was given, and so is the body."""
    flat = [event for group in groups for event in group]
    joined = JoinedEvents([Block(group) for group in groups])
    assert list(joined) == flat
    assert len(joined) == len(flat)
    assert [joined[place] for place in range(-len(flat), len(flat))] == [*flat, *flat]
    assert list(joined[1:]) == flat[1:]
    with pytest.raises(IndexError):
        joined[len(flat)]
    assert joined == JoinedEvents([Block(flat)])
    body = body_around(joined, b'{"events":[', b"]}")
    assert b"".join(body) == b"".join(body_around(flat, b'{"events":[', b"]}"))
    assert orjson.loads(b"".join(body))["events"] == [orjson.loads(event) for event in flat]
    assert body.size == len(b"".join(body))


@pytest.mark.parametrize("events_a_block", [1, 100, 640, 3000])
def test_a_large_body_goes_in_few_pieces_of_a_bounded_size_as_often_as_asked(
    events_a_block: int,
) -> None:
    """It is never put together as a whole, and a second iteration gives the same bytes."""
    blocks = [
        Block(LARGE[first : first + events_a_block])
        for first in range(0, len(LARGE), events_a_block)
    ]
    body = body_around(JoinedEvents(blocks * 4), b"[", b"]")
    pieces = list(body)
    assert all(MEBIBYTE <= len(piece) < 2 * MEBIBYTE for piece in pieces[:-1])
    assert len(pieces[-1]) < 2 * MEBIBYTE
    assert b"".join(pieces) == b"[" + b",".join(LARGE * 4) + b"]" == b"".join(body)


def test_a_body_without_events_is_its_head_and_tail() -> None:
    """Nothing is lost of a request that carries no event."""
    assert b"".join(Body(b"{", (), b"}")) == b"{}"


def test_a_body_is_compressed_piece_by_piece() -> None:
    """The pieces make one gzip, and the same one each time, since a batch is frozen."""
    body = body_around(JoinedEvents([Block(LARGE)]), b"[", b"]")
    packed = gzip(body)
    assert zlib.decompress(packed, wbits=31) == b"".join(body)
    assert packed == gzip(body)
