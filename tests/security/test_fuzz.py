"""Readers of bytes that others wrote: nothing makes them raise.

The parsers of headers, tokens, consent and answers are fed text and JSON in their own tests;
here each gets bytes, and those that no other test feeds get what is nearly right.
"""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.faults.share import share
from tests.security.targets import TARGETS, feed_records, feed_state

_SEEDS = {
    "records": b"8d3f0c1a 1767225600123 E\t{}\n",
    "framed": b"8d3f0c1a 1767225600123 E|{}",
    "mcp": b'{"jsonrpc":"2.0","id":1,"result":{"structuredContent":{"adcp_error":{"code":"A"}}}}',
    "wait": b'120|"default";r=0;t=30|0|1767225600',
    "proxy": b"1.2.3.4, 10.0.0.2|https|shop.example:443",
    "page": b"shop.example|/thanks/a@b.example?utm_source=x&sku=1&token=2",
    "forwarded": b'for="[2001:db8::1]:80";proto=https, for=1.2.3.4',
    "consent": b"CPXxRfAPXxRfAAfKABENB-CgAAAAAAAAAAYgAAAAAAAA",
    "answer": b'{"data":{"events_received":3,"partial_failures":[{"event_id":"A"}]}}',
    "cookie": b"a=b; adcp_click=1.gclid.abc; c=d",
    "token": b"c1.AAAA.BBBB",
    "state": b'{"cursors":{"a":1},"counts":{"accepted":1}}',
}
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
    seed = _SEEDS[name]
    place = data.draw(st.integers(0, len(seed)))
    patch = data.draw(st.binary(max_size=8))
    TARGETS[name](seed[:place] + patch + seed[place + len(patch) :])
    TARGETS[name](seed[:place] + patch + seed[place:] * data.draw(st.integers(0, 3)))
    TARGETS[name](data.draw(st.binary(max_size=200)))


@share
@given(_json)
def test_any_json_in_the_outbox_is_a_state_or_damage(value: object) -> None:
    """A row whose checksum is right and whose content is not is set aside, never a crash."""
    feed_state(orjson.dumps(value))


@share
@given(st.lists(st.sampled_from([_SEEDS["records"], b"\n", b"\t", b" E\t", b"00000000 "])))
def test_pieces_of_records_are_read(pieces: list[bytes]) -> None:
    """Whatever was glued together, no byte is read twice."""
    feed_records(b"".join(pieces))
