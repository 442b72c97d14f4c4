"""Batches in the making: what may go together does, and memory serves one batch at a time."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adcp_tracker.destinations.payload import Block, Room
from adcp_tracker.journal.records import HEADER_BYTES, PlainRecords
from adcp_tracker.outbox.batch import BatchBuilder, BatchEvents, LocatedEvent, event_id

if TYPE_CHECKING:
    import mmap
    from collections.abc import Iterator

SEGMENT = "one"

# Ids that are short, that are alike for long, and that are neither; and events of other makers.
ids = st.sampled_from(["A", "B", "AB", "order-of-the-year-2026-1", "order-of-the-year-2026-2"])
ours = st.builds(
    lambda name, kind: orjson.dumps({"event_id": name, "event_type": kind}),
    ids | st.text(min_size=1, max_size=3),
    st.sampled_from(["purchase", "refund"]),
)
foreign = st.sampled_from([b"{}", b'{"event_type":"purchase","event_id":"A"}'])
pieces = st.lists(
    st.tuples(st.sampled_from([None, None, None, "TEST"]), st.lists(ours | foreign, max_size=6)),
    max_size=6,
)


def _plain(events: list[bytes], start: int) -> PlainRecords:
    size = sum(HEADER_BYTES + len(event) + 1 for event in events)
    return PlainRecords(start, start + size, events)


def _placed(plain: PlainRecords) -> Iterator[LocatedEvent]:
    start = plain.start
    for event in plain.events:
        stop = start + HEADER_BYTES + len(event) + 1
        yield LocatedEvent(SEGMENT, start, stop, event)
        start = stop


@pytest.mark.slow
@settings(max_examples=500)
@given(pieces)
def test_an_event_goes_into_the_first_batch_that_has_not_its_id(
    given_pieces: list[tuple[str | None, list[bytes]]],
) -> None:
    """Whether many come at once or one by one, and however alike their ids are."""
    groups, start = BatchBuilder(), 0
    expected: dict[tuple[str | None, int], list[LocatedEvent]] = {}
    for code, events in given_pieces:
        plain = _plain(events, start)
        if code is None:
            groups.add_plain(SEGMENT, plain)
        for placed in _placed(plain):
            if code is not None:
                groups.add(code, placed)
            layer = 0
            while any(
                event_id(each.event) == event_id(placed.event)
                for each in expected.get((code, layer), ())
            ):
                layer += 1
            expected.setdefault((code, layer), []).append(placed)
        start = plain.stop
    found = sorted((code or "", *members) for code, members in groups)
    assert found == sorted((code or "", *members) for (code, _), members in expected.items())


def _large(letter: str) -> list[bytes]:
    """Return events that are too many for the heap."""
    filler = letter * 600
    return [orjson.dumps({"event_id": f"{letter}-{n}", "note": filler}) for n in range(1000)]


@pytest.mark.slow
def test_memory_of_a_batch_serves_a_later_one_and_never_two_at_once() -> None:
    """It is handed on when the last part of its batch is gone, and no sooner."""
    spare: list[mmap.mmap] = []
    first, second = BatchEvents(spare), BatchEvents(spare)
    first.extend(SEGMENT, _plain(_large("a"), 0))
    second.extend(SEGMENT, _plain(_large("b"), 0))
    kept = first.payload
    del first
    gc.collect()
    assert spare == []
    assert (list(kept), list(second.payload)) == (_large("a"), _large("b"))
    del kept
    gc.collect()
    (memory,) = spare
    third = BatchEvents(spare)
    third.extend(SEGMENT, _plain(_large("c"), 0))
    third.extend(SEGMENT, _plain(_large("d"), 0))
    assert spare == []
    assert memory[: len(_large("c")[0])] == _large("c")[0]
    assert list(third.payload) == _large("c") + _large("d")
    assert list(second.payload) == _large("b")


@pytest.mark.slow
def test_what_is_larger_than_a_room_has_one_of_its_own() -> None:
    """It is not kept for later."""
    spare: list[mmap.mmap] = []
    room = Room(spare)
    giant = [b"x" * 9_000_000]
    blocks = [Block(_large("a"), room), Block(giant, room), Block(giant, Room(spare))]
    assert list(blocks[0].split()) == _large("a")
    assert list(blocks[1].split()) == list(blocks[2].split()) == giant
    del room, blocks
    gc.collect()
    assert spare == []


@pytest.mark.slow
def test_of_all_memory_that_is_free_one_batch_s_is_kept() -> None:
    """However many batches are gone, and however often a room was full."""
    spare: list[mmap.mmap] = []
    rooms = [Room(spare), Room(spare)]
    blocks = [Block(_large("b") * 6, room) for room in [*rooms, *rooms, *rooms]]
    assert all(list(block.split()) == _large("b") * 6 for block in blocks)
    del rooms, blocks
    gc.collect()
    assert len(spare) == 1
