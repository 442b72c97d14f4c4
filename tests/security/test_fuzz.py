"""Readers of bytes that others wrote: nothing makes them raise.

The parsers of headers, tokens, consent and answers are fed text and JSON in their own tests;
here each gets bytes, and those that no other test feeds get what is nearly right.
"""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adcp_tracker.journal.records import parse
from adcp_tracker.outbox.state import State
from adcp_tracker.web.click_ids import ClickNames, read_cookie
from adcp_tracker.web.consent import read_tc_string
from tests.faults.share import share
from tests.security import targets
from tests.security.targets import SEEDS, TARGETS, feed_records, feed_state
from tests.support.destinations import MemoryOutbox

_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**40), 2**40)
    | st.floats(0, 1)
    | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["cursors", "counts", "pause", "spans", "number", "count", "dropped"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@pytest.mark.parametrize("name", TARGETS)
@share
@given(data=st.data())
def test_bytes_that_are_nearly_right_make_nothing_raise(name: str, data: st.DataObject) -> None:
    """A sound input with a few bytes changed, cut or doubled, and any bytes at all."""
    seed = SEEDS[name]
    place = data.draw(st.integers(0, len(seed)))
    patch = data.draw(st.binary(max_size=8))
    TARGETS[name](seed[:place] + patch + seed[place + len(patch) :])
    TARGETS[name](seed[:place] + patch + seed[place:] * data.draw(st.integers(0, 3)))
    TARGETS[name](data.draw(st.binary(max_size=200)))


def test_what_the_readers_are_fed_begins_with_what_is_sound() -> None:
    """Else they would be shown to survive nothing but what they refuse at the first byte."""
    assert set(SEEDS) == set(TARGETS)
    assert len(parse(SEEDS["records"])[0]) == 2
    assert [each.body for each in targets.ENCRYPTION.parse(SEEDS["sealed"])[0]] == [
        targets.BODY
    ] * 2
    outbox = MemoryOutbox()
    destination, delivery = SEEDS["state"].split(b"\n")
    outbox.values = {"destination:a": destination, "delivery:a:0": delivery}
    assert State(outbox, []).batches["a"][0].count == 1
    assert targets.TOKENS.read(SEEDS["token"].decode()).context is not None
    consent = read_tc_string(SEEDS["consent"].decode())
    assert consent is not None
    assert consent.vendors
    cookie = read_cookie([SEEDS["cookie"].decode()], "adcp_click")
    assert ClickNames().in_cookie(cookie or "") is not None


@share
@given(_json)
def test_any_json_in_the_outbox_is_a_state_or_damage(value: object) -> None:
    """A row whose checksum is right and whose content is not is set aside, never a crash."""
    row = orjson.dumps(value)
    feed_state(row + b"\n" + row)


@share
@given(st.lists(st.sampled_from([SEEDS["records"], b"\n", b"\t", b" E\t", b"00000000 "])))
def test_pieces_of_records_are_read(pieces: list[bytes]) -> None:
    """Whatever was glued together, no byte is read twice."""
    feed_records(b"".join(pieces))
