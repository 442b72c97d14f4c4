"""What is kept of an event that was refused has its bounds."""

from __future__ import annotations

import orjson
from hypothesis import given
from hypothesis import strategies as st

from adcp_tracker.events.event import encode_within

_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=400)
_PARTS = st.dictionaries(st.sampled_from("abcdefgh"), st.lists(_TEXTS, max_size=20) | _TEXTS)


@given(_TEXTS, _TEXTS, _PARTS, st.integers(3_000, 20_000))
def test_what_is_kept_is_never_longer_than_it_may_be(
    event_id: str, event_type: str, parts: dict[str, object], most_bytes: int
) -> None:
    """Whatever is in it, and whatever it is known by is among what is left."""
    kept = {"event_id": event_id, "event_type": event_type, "custom_data": parts}
    line = encode_within(kept, most_bytes)
    assert len(line) <= most_bytes
    assert orjson.loads(line).keys() >= {"event_id", "event_type"}


def test_the_largest_part_is_left_out_first() -> None:
    """A person sees all that there is room for, and what kind of thing is missing."""
    parts = {"value": "1.00", "contents": ["x"] * 500, "content_ids": ["x"] * 100}
    kept = {"event_id": "A-1", "custom_data": parts}
    left = orjson.loads(encode_within(kept, 1_000))
    assert left == {"event_id": "A-1", "custom_data": {**parts, "contents": "a list"}}


def test_what_fits_is_kept_as_it_is() -> None:
    """Nothing is left out without need."""
    kept = {"event_id": "A-1", "event_type": "x" * 300, "custom_data": {"value": "1.00"}}
    assert orjson.loads(encode_within(kept, 1_000)) == kept
