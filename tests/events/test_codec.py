"""Events to JSON and back."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from freezegun import freeze_time
from hypothesis import given, settings
from hypothesis import strategies as st

from adcp_tracker.events.event import Event, converter, decode
from adcp_tracker.events.model import (
    CustomData,
    EventType,
    Surface,
    UniversalId,
    UserMatch,
)
from adcp_tracker.events.parsing import is_uri
from adcp_tracker.exceptions import InvalidEventError
from adcp_tracker.sandbox.schema import check_event
from tests.support.events import NOW, events, mended_events, plain_events

any_events = st.one_of(plain_events, events)


def exact(text: bytes | str) -> dict[str, Any]:
    """Read JSON with the digits of its numbers."""
    read: dict[str, Any] = json.loads(text, parse_float=str, parse_int=str)
    return read


@pytest.mark.slow
@given(any_events)
def test_an_event_comes_back_from_its_json(event: Event) -> None:
    """Event to wire to event is identity, and what was written is written again."""
    line = event.json
    assert decode(line) == event
    assert decode(line).json == line


@pytest.mark.slow
@given(any_events)
def test_the_json_obeys_the_rules_as_another_reads_them(event: Event) -> None:
    """A strict seller, who knows nothing of this library's checks, finds no fault."""
    assert check_event(json.loads(event.json), "3.1") == []


@pytest.mark.slow
@given(any_events)
def test_the_json_is_one_clean_line(event: Event) -> None:
    """It begins with the event's id and has no line break, tab or other control byte."""
    line = event.json
    assert line.startswith(b'{"event_id":"')
    assert min(line) >= ord(" ")
    assert json.loads(line)["event_id"] == event.event_id


START = '{"event_id":"1","event_type":"lead","event_time":'
WIRES = [
    START + '"2026-01-02T03:04:05Z"}',
    START + '"2026-01-02T03:04:05.120Z"}',
    START + '"2026-01-02T03:04:05.123456Z"}',
    START + '"2026-01-02T03:04:05+05:30"}',
    START + '"2099-01-02T03:04:05Z","user_match":{"click_id":"x","ext":{"a":{"b":[1,2.50]}}}}',
    START + '"2026-01-02T03:04:05Z","user_match":{"uids":[{"type":"id5","value":"x","atype":1}]}}',
    START
    + '"2026-01-02T03:04:05Z","custom_data":{"value":10.00,"contents":[{"id":"a","l":0.10}]}}',
    START
    + '"2026-01-02T03:04:05Z","custom_data":{"plan":"gold","score":0.10,"tags":[{"y":true}]}}',
    START + '"2026-01-02T03:04:05Z","surface":{"category":"app","z":"x"},"ext":{"v":{"n":1.0}}}',
    START + '"2026-01-02T03:04:05Z","unknown":{"deep":[[]]},"extra":{"line":"x"},"line":1}',
]


@pytest.mark.parametrize("wire", WIRES)
def test_json_comes_back_from_its_event(wire: str) -> None:
    """Wire to event to wire is identity, digit for digit, with unknown keys at every level."""
    assert exact(decode(wire).json) == exact(wire)


@given(st.decimals(0, 10**15, allow_nan=False, allow_infinity=False))
def test_money_keeps_its_digits(value: Decimal) -> None:
    """What was paid is neither rounded nor cut, and never in powers of ten."""
    if value.adjusted() < -19:
        return
    event = Event("1", EventType.PURCHASE, NOW, custom_data=CustomData(value))
    assert exact(event.json)["custom_data"]["value"] == format(value, "f")


@pytest.mark.parametrize(
    "offset", [timedelta(0), timedelta(hours=-11), timedelta(hours=5, minutes=45)]
)
def test_the_instant_survives(offset: timedelta) -> None:
    """A time written in another zone is the same time."""
    time = NOW.astimezone(timezone(offset))
    assert decode(Event("1", EventType.LEAD, time).json).event_time == NOW


def test_a_frozen_clock_can_be_written() -> None:
    """Tests of the host's own may freeze time, which makes datetimes of another class."""
    with freeze_time("2026-05-06T07:08:09Z"):
        event = Event("1", EventType.LEAD, datetime.now(timezone.utc))
    assert json.loads(event.json)["event_time"] == "2026-05-06T07:08:09Z"


def test_a_null_is_as_good_as_no_key() -> None:
    """Other writers' nulls are read as nothing, and not written again."""
    wire = (
        '{"event_id":"1","event_type":"lead","event_time":"2026-01-02T03:04:05Z",'
        '"custom_data":{"value":null,"plan":null},"user_match":null}'
    )
    assert b"null" not in decode(wire).json


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "1", "null", '"x"', "[" * 100_000, b"\xff", '{"event_id": NaN'],
    ids=["empty", "torn", "list", "number", "null", "string", "deep", "not-utf8", "nan"],
)
def test_what_is_no_event_is_refused(text: str | bytes) -> None:
    """Text that is no JSON object has one fault, at the root."""
    with pytest.raises(InvalidEventError) as caught:
        decode(text)
    assert [fault.path for fault in caught.value.errors] == ["$"]
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_numbers_that_are_none_are_refused(number: str) -> None:
    """Python reads NaN and Infinity in JSON; the protocol does not."""
    wire = (
        '{"event_id":"1","event_type":"lead","event_time":"2026-01-02T03:04:05Z",'
        f'"custom_data":{{"value":{number},"custom":{number}}}}}'
    )
    with pytest.raises(InvalidEventError) as caught:
        decode(wire)
    assert [str(error) for error in caught.value.errors] == [
        "$: expected a JSON object, got text that is no JSON"
    ]


@settings(max_examples=25)
@given(events)
def test_the_converter_knows_events_and_their_parts(event: Event) -> None:
    """Whoever uses cattrs gets the same event through the one converter."""
    assert converter.loads(converter.dumps(event), Event).event_id == event.event_id
    for part in (event.user_match, event.custom_data, event.surface):
        if part is not None:
            wire = json.loads(converter.dumps(part), parse_float=Decimal)
            assert None not in wire.values()
            assert converter.structure(wire, type(part)) == part


def test_parts_of_parts_go_through_the_converter() -> None:
    """Universal ids and lines can be converted alone."""
    made = converter.structure({"type": "id5", "value": "x"}, UniversalId)
    assert converter.unstructure(made) == {"type": "id5", "value": "x"}
    assert converter.structure({"category": "app"}, Surface).category == "app"
    assert converter.structure({"click_id": "x"}, UserMatch) == UserMatch(click_id="x")


@given(mended_events)
def test_what_sellers_take_in_one_form_is_written_in_it(event: Event) -> None:
    """Addresses are escaped, lists without ids left out, and large integers put in strings."""
    wire = json.loads(event.json)
    assert "uids" not in wire["user_match"]
    assert is_uri(wire["event_source_url"])
    assert decode(event.json).json == event.json
    extra = event.custom_data.extra if event.custom_data else {}
    for key, number in extra.items():
        written = wire["custom_data"][key]
        is_safe = -(2**53) < int(written) < 2**53
        assert isinstance(written, int if is_safe else str)
        assert number == written


def test_integers_of_more_than_64_bits_are_refused() -> None:
    """They are nobody's id, and a slip in somebody's arithmetic."""
    for number in (2**64, -(2**64)):
        with pytest.raises(InvalidEventError):
            Event("1", EventType.LEAD, NOW, ext={"a": [number]})
