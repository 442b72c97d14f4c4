"""Batches in the making: which events may go together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adcp_tracker.journal.records import HEADER_BYTES, PlainRecords
from adcp_tracker.outbox.batch import BatchBuilder, BatchEvents, LocatedEvent, event_id

if TYPE_CHECKING:
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
    return PlainRecords(
        start, start + size, events, [start + place for place in range(len(events))]
    )


def _placed(plain: PlainRecords) -> Iterator[LocatedEvent]:
    start = plain.start
    for event, accepted_ms in zip(plain.events, plain.times, strict=True):
        stop = start + HEADER_BYTES + len(event) + 1
        yield LocatedEvent(SEGMENT, start, stop, event, accepted_ms)
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


def test_erasing_events_leaves_the_payload_of_a_request_in_flight_alone() -> None:
    """A request goes on with the bytes whose length it announced; the batch has blanks."""
    batch = BatchEvents()
    batch.extend(SEGMENT, _plain([b'{"a":1}', b'{"b":2}'], 0))
    in_flight = batch.payload
    assert batch.erase(lambda event: event == b'{"a":1}') == 1
    assert in_flight == [b'{"a":1}', b'{"b":2}']
    assert [each.event for each in batch] == [b"{}", b'{"b":2}']
    assert len(batch.spans()) == 1
