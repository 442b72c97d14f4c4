"""The batcher: every record goes into exactly one batch, and batches never change."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adcp_tracker.destinations.base import EventFailure
from adcp_tracker.journal.files import QueueDirectory
from adcp_tracker.journal.reader import SegmentStore
from adcp_tracker.journal.records import DROPPED, ENVELOPED, EVENT, with_envelope
from adcp_tracker.journal.writer import JournalWriter
from adcp_tracker.outbox.batcher import Batcher, BatchResult
from adcp_tracker.outbox.state import State
from tests.support.damages import damaged
from tests.support.destinations import MemoryOutbox, ScriptedDestination

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOW_MS = 1_767_225_600_123


class Desk:
    """A directory with a journal and a batcher over it."""

    def __init__(self, path: Path, segment_bytes: int = 1 << 20) -> None:
        self.directory = QueueDirectory(path / "queue")
        self.directory.prepare()
        self.journal = JournalWriter(self.directory, segment_bytes=segment_bytes)
        self.segments = SegmentStore(self.directory)
        self.state = State(MemoryOutbox(), ["scripted"])
        self.batcher = Batcher(self.segments, self.state)

    def seal(self, destination: ScriptedDestination | None = None) -> BatchResult:
        """Seal once."""
        return self.batcher.next_batches(
            destination or ScriptedDestination(), self.segments.sizes(), 1_767_225_601.0
        )

    def close(self) -> None:
        """Let go of the segment."""
        self.journal.roll()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """Return a journal and a batcher over the same directory."""
    with closing(Desk(tmp_path)) as made:
        yield made


def event(number: int, **more: object) -> bytes:
    """Return a small event, its id first."""
    return orjson.dumps({"event_id": f"A-{number}", "event_type": "purchase", **more})


def ids(sealed: BatchResult) -> list[list[str]]:
    """Return the event ids of each batch."""
    return [
        [orjson.loads(member.event)["event_id"] for member in members]
        for _, members in sealed.batches
    ]


def test_what_waits_goes_in_one_batch_of_one_span(desk: Desk) -> None:
    """Records that follow each other are remembered as one span."""
    for number in range(5):
        desk.journal.append(event(number), NOW_MS)
    sealed = desk.seal()
    assert ids(sealed) == [[f"A-{number}" for number in range(5)]]
    ((delivery, _),) = sealed.batches
    assert len(delivery.spans) == 1
    assert desk.state.destinations["scripted"].counts.accepted == 5
    assert ids(desk.seal()) == []


def test_a_batch_reads_back_as_it_was_frozen(desk: Desk) -> None:
    """The spans give the same bytes in the same order, later and after more was written."""
    for number in range(5):
        desk.journal.append(event(number), NOW_MS)
    ((delivery, members),) = desk.seal().batches
    desk.journal.append(event(9), NOW_MS)
    assert [each.event for each in desk.batcher.read(delivery)] == [each.event for each in members]


@pytest.mark.slow
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    max_examples=40,
)
@given(
    numbers=st.lists(st.integers(0, 3), min_size=1, max_size=6),
    max_events=st.integers(1, 8),
    data=st.data(),
)
def test_what_damage_leaves_reads_back_as_it_was_frozen(
    tmp_path_factory: pytest.TempPathFactory,
    numbers: list[int],
    max_events: int,
    data: st.DataObject,
) -> None:
    """Whatever bytes are lost or others, and whichever records that glues together."""
    desk = Desk(tmp_path_factory.mktemp("q"))
    for place, number in enumerate(numbers):
        body = with_envelope({"test": "T"}, event(number)) if place % 2 else event(number)
        desk.journal.append_record(body, NOW_MS, ENVELOPED if place % 2 else EVENT)
    desk.close()
    (segment,) = desk.directory.segments.iterdir()
    whole = segment.read_bytes()
    segment.write_bytes(data.draw(damaged(whole)))
    while (sealed := desk.seal(ScriptedDestination(max_events=max_events))).advanced:
        for delivery, members in sealed.batches:
            again = desk.batcher.read(delivery)
            assert list(again) == list(members)
            assert tuple(again.spans()) == delivery.spans
            assert desk.batcher.count(delivery) == delivery.count


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    max_examples=40,
)
@given(
    numbers=st.lists(st.integers(0, 6), max_size=40),
    max_events=st.integers(1, 8),
    max_bytes=st.integers(1, 300),
)
def test_every_event_goes_into_exactly_one_batch(
    tmp_path_factory: pytest.TempPathFactory,
    numbers: list[int],
    max_events: int,
    max_bytes: int,
) -> None:
    """Whatever the limits and the repeats: none lost, none twice, no id twice in a batch."""
    desk = Desk(tmp_path_factory.mktemp("q"), segment_bytes=200)
    for place, number in enumerate(numbers):
        desk.journal.append(event(number, place=place), NOW_MS)
    destination = ScriptedDestination(max_events=max_events, max_bytes=max_bytes)
    places: list[int] = []
    while (sealed := desk.seal(destination)).advanced:
        for batch in ids(sealed):
            assert len(set(batch)) == len(batch) <= max_events
        for _, members in sealed.batches:
            events = [member.event for member in members]
            assert sum(map(len, events)) + len(events) <= max_bytes or len(events) == 1
            places += [orjson.loads(each)["place"] for each in events]
    assert sorted(places) == list(range(len(numbers)))
    desk.close()


def test_test_events_never_share_a_batch_with_live_ones(desk: Desk) -> None:
    """One test code a batch, and none for live events."""
    for number, code in enumerate([None, "T1", None, "T2", "T1"]):
        if code is None:
            desk.journal.append(event(number), NOW_MS)
        else:
            body = with_envelope({"test": code}, event(number))
            desk.journal.append_record(body, NOW_MS, ENVELOPED)
    sealed = desk.seal()
    found = {
        delivery.test_event_code: batch
        for (delivery, _), batch in zip(sealed.batches, ids(sealed), strict=True)
    }
    assert found == {None: ["A-0", "A-2"], "T1": ["A-1", "A-4"], "T2": ["A-3"]}


def test_an_event_for_one_destination_is_nothing_to_the_others(desk: Desk) -> None:
    """A replayed event goes where it died, and is in nobody else's counts."""
    for only in ("scripted", "another"):
        desk.journal.append_record(with_envelope({"only": only}, event(1)), NOW_MS, ENVELOPED)
    assert ids(desk.seal()) == [["A-1"]]
    assert desk.state.destinations["scripted"].counts.accepted == 1


def test_an_event_a_destination_cannot_take_is_a_dead_letter(desk: Desk) -> None:
    """What a kind of seller refuses is set aside before it is sent, with the remedy."""
    destination = ScriptedDestination()
    destination.refused = {"purchase": EventFailure("NO", "not here", remedy="Elsewhere.")}
    desk.journal.append_record(with_envelope({"look": 1}, event(1)), NOW_MS, ENVELOPED)
    sealed = desk.seal(destination)
    assert sealed.batches == []
    ((letter,)) = sealed.dead_letters
    assert (letter.code, letter.remedy, letter.event) == ("NO", "Elsewhere.", event(1))
    counts = desk.state.destinations["scripted"].counts
    assert (counts.accepted, counts.dead) == (1, 1)


def test_an_invalid_event_is_a_dead_letter_that_cannot_be_replayed(desk: Desk) -> None:
    """What never was an event is kept with its faults."""
    envelope = {"code": "INVALID_EVENT", "message": "$.x: bad", "remedy": "Mend it."}
    desk.journal.append_record(with_envelope(envelope, b'{"event_type":"lead"}'), NOW_MS, ENVELOPED)
    (letter,) = desk.seal().dead_letters
    assert (letter.code, letter.message, letter.replayable) == ("INVALID_EVENT", "$.x: bad", False)


def test_counts_of_dropped_events_reach_the_stats(desk: Desk) -> None:
    """What was let go before it became a record is accepted and dropped, by reason."""
    desk.journal.append_record(b'{"full":3,"consent":2}', NOW_MS, DROPPED)
    desk.seal()
    counts = desk.state.destinations["scripted"].counts
    assert (counts.accepted, counts.dropped) == (5, {"full": 3, "consent": 2})


def test_damage_is_skipped_counted_and_kept(desk: Desk) -> None:
    """A bad record costs itself only, and its bytes are kept as evidence."""
    for number in range(3):
        desk.journal.append(event(number), NOW_MS)
    path = desk.journal.path
    assert path is not None
    whole = bytearray(path.read_bytes())
    whole[whole.index(b"A-1")] ^= 1
    desk.journal.roll()
    path.write_bytes(whole)
    sealed = desk.seal()
    assert ids(sealed) == [["A-0", "A-2"]]
    ((name, data),) = sealed.corrupt_spans
    assert name == path.name
    assert b"-1" in data
    counts = desk.state.destinations["scripted"].counts
    assert (counts.accepted, counts.dropped) == (3, {"damaged": 1})


def test_an_unfinished_record_is_waited_for_while_its_writer_lives(desk: Desk) -> None:
    """Half a record of a live writer is neither lost nor damage: it is not there yet."""
    desk.journal.append(event(1), NOW_MS)
    path = desk.journal.path
    assert path is not None
    with path.open("ab") as file:
        file.write(b"12345678 1767225600123 E\t{half")
    assert ids(desk.seal()) == [["A-1"]]
    assert not desk.seal().advanced
    desk.journal.roll()
    assert desk.seal().advanced
    state = desk.state.destinations["scripted"]
    assert state.cursors[path.name] == path.stat().st_size
    assert state.counts.accepted == 1


def test_a_large_event_is_read_whole_under_a_small_limit(desk: Desk) -> None:
    """A seller's small limit never makes a large record look torn."""
    desk.journal.append(event(1, filler="x" * 200_000), NOW_MS)
    desk.journal.append(event(2), NOW_MS)
    desk.journal.roll()
    destination = ScriptedDestination(max_bytes=1000)
    assert ids(desk.seal(destination)) == [["A-1"]]
    assert ids(desk.seal(destination)) == [["A-2"]]


def test_segments_are_deleted_only_when_finished_and_unchanged(desk: Desk) -> None:
    """A live writer's segment stays, and so does one that has grown since it was read."""
    desk.journal.append(event(1), NOW_MS)
    ((name, size),) = desk.segments.sizes().items()
    assert not desk.segments.delete(name, size)
    desk.journal.roll()
    assert not desk.segments.delete(name, size - 1)
    assert desk.segments.delete(name, size)
    assert desk.segments.delete(name, size)
    assert desk.segments.sizes() == {}


def test_an_abandoned_beginning_is_swept_away(desk: Desk) -> None:
    """A process that died while it began a segment leaves nothing for good."""
    left = desk.directory.segments / "0-1-x.new"
    left.touch(mode=0o600)
    desk.segments.remove_stale()
    assert not left.exists()


def test_what_was_left_out_of_events_is_counted_by_field_and_reason(desk: Desk) -> None:
    """The envelope says it; whatever else stands there is passed over."""
    phone, name = "user_match.hashed_phone unreadable", "custom_data.contents[].name too_long"
    for number, omitted in enumerate([[phone], [phone, name], "no list", [5], None]):
        body = with_envelope({"omitted": omitted}, event(number))
        desk.journal.append_record(body, NOW_MS, ENVELOPED)
    assert len(desk.seal().batches) == 1
    counts = desk.state.destinations["scripted"].counts
    assert (counts.accepted, dict(counts.omitted)) == (5, {phone: 2, name: 1})
