"""The record format: what is written is what is read, and damage stays where it is."""

from __future__ import annotations

from zlib import crc32

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adcp_tracker.journal.records import (
    ENVELOPED,
    ERASED,
    EVENT,
    HEADER_BYTES,
    accepted_ms,
    encode_event,
    encode_record,
    erase_record,
    parse,
    parse_plain,
    with_envelope,
)

NOW_MS = 1_767_225_600_123
bodies = st.dictionaries(st.text(max_size=8), st.text(max_size=20), max_size=4).map(orjson.dumps)
times = st.integers(10**12, 10**13 - 1)
odd_bytes = st.lists(
    st.binary(max_size=99) | st.builds(encode_event, bodies, times), max_size=4
).map(b"".join)
"""Any bytes, with sound records among them."""


@given(st.lists(st.tuples(bodies, times), max_size=20), st.integers(0, 2**40))
def test_records_are_read_as_written(events: list[tuple[bytes, int]], start: int) -> None:
    """Bodies, kinds and places come back, wherever in a segment the data stands."""
    data = b"".join(encode_event(body, when) for body, when in events)
    records, damages = parse(data, start)
    assert [record.body for record in records] == [body for body, _ in events]
    assert [record.kind for record in records] == [EVENT] * len(events)
    assert damages == []
    for record, (_, when) in zip(records, events, strict=True):
        assert accepted_ms(data[record.start - start : record.stop - start]) == when


@given(bodies, times, st.sampled_from([b"E", b"S", b"D", b"X"]))
def test_any_kind_is_framed_alike(body: bytes, when: int, kind: bytes) -> None:
    """The fast form for plain events is the general one."""
    assert encode_record(body, when, b"E") == encode_event(body, when)
    ((record,), _) = parse(encode_record(body, when, kind))
    assert (record.kind, record.body) == (kind, body)


def test_a_person_can_read_a_record() -> None:
    """A record is one line of text: checksum, time, kind, a tab and the event."""
    line = encode_event(b'{"event_id":"A-1"}', NOW_MS)
    seed = NOW_MS & 0xFFFFFFFF
    checksum = crc32(b'{"event_id":"A-1"}', seed)
    assert line == b"%08x 1767225600123 E\t" % checksum + b'{"event_id":"A-1"}\n'
    assert len(line) == HEADER_BYTES + 18 + 1


@given(
    st.lists(bodies, min_size=1, max_size=8),
    st.data(),
    st.integers(1, 255),
)
def test_a_flipped_byte_costs_at_most_its_own_records(
    events: list[bytes], data: st.DataObject, flip: int
) -> None:
    """Whatever byte is damaged, only the record it stands in can be lost, and never changed."""
    framed = [encode_event(body, NOW_MS) for body in events]
    whole = b"".join(framed)
    place = data.draw(st.integers(0, len(whole) - 1) | st.just(len(whole) - 1))
    broken = whole[:place] + bytes([whole[place] ^ flip]) + whole[place + 1 :]
    hit, passed = 0, 0
    for number, each in enumerate(framed):
        if passed <= place < passed + len(each):
            hit = number
        passed += len(each)
    records, damages = parse(broken + b"")
    found = [record.body for record in records]
    untouched = [body for number, body in enumerate(events) if number != hit]
    # The very last line feed is what makes the last record whole.
    if place == len(whole) - 1:
        assert found == events[:-1]
    else:
        assert found in (untouched, events)
        assert found == events or damages
    for record in records:
        assert (
            broken[record.start : record.stop].rstrip(b"\n")[HEADER_BYTES:].startswith(record.body)
        )


@given(st.lists(bodies, min_size=1, max_size=6), st.data())
def test_a_torn_tail_is_left_alone(events: list[bytes], data: st.DataObject) -> None:
    """A record that is still being written is neither a record nor damage."""
    whole = b"".join(encode_event(body, NOW_MS) for body in events)
    last = len(encode_event(events[-1], NOW_MS))
    cut = data.draw(st.integers(1, last - 1))
    records, damages = parse(whole[:-cut])
    assert [record.body for record in records] == events[:-1]
    assert damages == []


@given(odd_bytes)
def test_nothing_makes_the_reader_fail(data: bytes) -> None:
    """Any bytes are records, damage or an unfinished tail, and every byte is accounted for."""
    records, damages = parse(data)
    whole = data[: data.rfind(b"\n") + 1]
    for record in records:
        assert encode_record(record.body, accepted_ms(data[record.start :]), record.kind)
    if whole.strip(b"\n"):
        assert records or damages


def test_an_envelope_comes_off_as_it_was_put_on() -> None:
    """The envelope tells how to treat the event, and the event's bytes are not touched."""
    body = with_envelope({"test": "T1", "look": 1}, b'{"event_id":"A\\tB"}')
    ((record,), _) = parse(encode_record(body, NOW_MS, ENVELOPED))
    assert record.unpack() == ({"test": "T1", "look": 1}, b'{"event_id":"A\\tB"}')


@given(bodies)
def test_an_erased_record_keeps_its_place_and_nothing_else(body: bytes) -> None:
    """A tombstone is as long as the record, keeps its time and is a record itself."""
    record = encode_event(body, NOW_MS)
    stone = erase_record(record)
    assert len(stone) == len(record)
    assert accepted_ms(stone) == NOW_MS
    ((read,), damages) = parse(stone)
    assert (read.kind, read.body.strip()) == (ERASED, b"")
    assert damages == []


@given(bodies, st.text(max_size=9))
def test_an_erased_record_says_whom_alone_it_was_for(body: bytes, only: str) -> None:
    """Whoever reads it later counts it for that destination, and there is nothing else in it."""
    envelope = {"only": only, "test": "T"}
    record = encode_record(with_envelope(envelope, body), NOW_MS, ENVELOPED)
    stone = erase_record(record, only)
    assert len(stone) == len(record)
    ((read,), damages) = parse(stone)
    assert (read.kind, read.unpack(), damages) == (ERASED, ({"only": only}, b""), [])


@given(st.lists(st.tuples(bodies, times), max_size=20), st.integers(0, 2**40), st.integers(0, 25))
def test_plain_records_are_read_at_once_as_one_by_one(
    events: list[tuple[bytes, int]], start: int, most: int
) -> None:
    """The quick reader gives what the other gives, up to as many as are asked for."""
    data = b"".join(encode_event(body, when) for body, when in events)
    plain = parse_plain(data + b"torn", start, most)
    records = parse(data, start)[0][:most]
    assert plain is not None
    assert plain.events == [record.body for record in records]
    assert (plain.start, plain.stop) == (start, records[-1].stop if records else start)


@given(st.lists(bodies, min_size=1, max_size=6), st.data())
def test_the_quick_reader_takes_nothing_that_is_not_sound(
    events: list[bytes], data: st.DataObject
) -> None:
    """Whatever byte is damaged, it gives the piece up, or what it gives is sound by the other."""
    whole = b"".join(encode_event(body, NOW_MS) for body in events)
    place = data.draw(st.integers(0, len(whole) - 1) | st.just(len(whole) - 1))
    broken = whole[:place] + data.draw(st.binary(max_size=3)) + whole[place + 1 :]
    plain = parse_plain(broken)
    records, damages = parse(broken)
    if plain is not None:
        assert damages == []
        assert [(EVENT, event) for event in plain.events] == [
            (record.kind, record.body) for record in records
        ]


@pytest.mark.parametrize(
    "time",
    [b"176722560,123", b"1767225600.12", b"-767225600123", b"[767225600,1]", b'"76722560012"'],
)
def test_a_time_that_only_json_would_take_is_not_sound(time: bytes) -> None:
    """What is no number of thirteen digits is left to the other reader, wherever it stands."""
    sound = encode_event(b"{}", NOW_MS)
    broken = sound[:9] + time + sound[22:]
    assert len(broken) == len(sound)
    for data in (broken, sound + broken, broken + sound):
        assert parse_plain(data) is None
        assert [each.body for each in parse(data)[0]] == [b"{}"] * (len(data) // len(sound) - 1)


@given(odd_bytes)
def test_nothing_makes_the_quick_reader_fail(data: bytes) -> None:
    """Any bytes are read, or left to the other."""
    plain = parse_plain(data)
    assert plain is None or len(plain.events) == data.count(b"\n")
