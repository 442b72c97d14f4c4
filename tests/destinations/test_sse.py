"""One answer out of a stream of events."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adcp_tracker.destinations.mcp import EventStream

ANSWER = {"id": 1, "result": {"text": "Ä\n"}}


def is_wanted(message: object) -> bool:
    """Return whether a message answers request 1."""
    return isinstance(message, dict) and message.get("id") == 1


def event(message: object, end: str = "\n") -> str:
    """Return a message as an event."""
    return f"event: message{end}data: {json.dumps(message)}{end}{end}"


@pytest.mark.parametrize(
    "stream",
    [
        event(ANSWER),
        event(ANSWER, "\r\n"),
        event(ANSWER, "\r"),
        "\ufeff" + event(ANSWER),
        ": a comment\n\nretry: 10\n\n" + event(ANSWER),
        event({"method": "notifications/progress"}) + event({"id": 2}) + event(ANSWER),
        'data: {"id": 1,\ndata: "result": {"text": "Ä\\n"}}\n\n',
        "data: no json\n\n" + event(ANSWER),
        "data\n\n" + event(ANSWER),
        "id: 7\ndata:" + json.dumps(ANSWER) + "\n\n",
        "data: " + json.dumps(ANSWER),
        event(ANSWER) + event({"id": 1, "result": {"text": "too late"}}),
    ],
)
@pytest.mark.parametrize("size", [1, 2, 7, 10_000])
def test_the_answer_is_found_in_any_stream(stream: str, size: int) -> None:
    """Whatever stands around it and wherever pieces end, the first answer is found."""
    reader = EventStream(is_wanted)
    raw = stream.encode()
    for start in range(0, len(raw), size):
        reader.feed(raw[start : start + size])
    assert reader.finish() == ANSWER


def test_the_reader_says_at_once_that_it_has_enough() -> None:
    """A stream that stays open need not be waited for."""
    reader = EventStream(is_wanted)
    assert not reader.feed(event({"id": 2}).encode())
    assert reader.feed(event(ANSWER).encode())


@pytest.mark.parametrize("stream", ["", "data: {", json.dumps(ANSWER), "\n\n\n", "event: x\n\n"])
def test_a_stream_without_an_answer_has_none(stream: str) -> None:
    """Nothing is made up."""
    reader = EventStream(is_wanted)
    assert not reader.feed(stream.encode())
    assert reader.finish() is None


@given(st.lists(st.binary() | st.sampled_from([b"data:", b"\n", b"\r", b"\r\n", b"{}"])))
def test_any_bytes_are_accepted(pieces: list[bytes]) -> None:
    """No stream raises, and where it is cut makes no difference."""
    cut, whole = EventStream(is_wanted), EventStream(is_wanted)
    for piece in pieces:
        cut.feed(piece)
    whole.feed(b"".join(pieces))
    assert cut.finish() == whole.finish()
