"""The body around frozen events: what is sent is what was given, in bounded pieces."""

from __future__ import annotations

import zlib

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adcp_tracker.destinations.base import RequestBody
from adcp_tracker.destinations.interchange import gzip

events = st.lists(st.dictionaries(st.text(max_size=5), st.integers(0, 99)).map(orjson.dumps))
MEBIBYTE = 1024 * 1024
LARGE = [orjson.dumps({"event_id": f"A-{number}", "filler": "x" * 600}) for number in range(3000)]


@given(events)
def test_a_body_holds_every_event_between_its_head_and_its_tail(given_events: list[bytes]) -> None:
    """It is JSON of the announced length, also without any event."""
    body = RequestBody(b'{"events":[', given_events, b"]}")
    assert orjson.loads(b"".join(body))["events"] == [orjson.loads(each) for each in given_events]
    assert body.size == len(b"".join(body))


@pytest.mark.parametrize("count", [1, 100, 3000, 12_000])
def test_a_large_body_comes_in_pieces_of_about_a_megabyte(count: int) -> None:
    """A second iteration gives the same bytes, as a request may be sent again."""
    given_events = (LARGE * 4)[:count]
    body = RequestBody(b"[", given_events, b"]")
    pieces = list(body)
    assert all(MEBIBYTE // 2 < len(piece) < 2 * MEBIBYTE for piece in pieces[:-1])
    assert len(pieces[-1]) < 2 * MEBIBYTE
    assert b"".join(pieces) == b"[" + b",".join(given_events) + b"]" == b"".join(body)


def test_a_body_is_compressed_piece_by_piece() -> None:
    """The pieces make one gzip, and the same one each time, since a batch is frozen."""
    body = RequestBody(b"[", LARGE, b"]")
    packed = gzip(body)
    assert zlib.decompress(packed, wbits=31) == b"".join(body)
    assert packed == gzip(body)
