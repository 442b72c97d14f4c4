"""What events need of the protocol line their destination speaks."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adcp_tracker.destinations.capabilities import (
    Capabilities,
    negotiate,
    parse_version,
    read_capabilities,
    unsupported_feature,
    without_uids,
)

if TYPE_CHECKING:
    from adcp_tracker.events.rules import AdcpVersion


@pytest.mark.parametrize("kind", ["follow", "content_view", "watch_milestone"])
@pytest.mark.parametrize(("line", "lacking"), [("3.0", True), ("3.1", False), ("3.2", False)])
def test_newer_event_types_need_a_newer_line(kind: str, line: str, *, lacking: bool) -> None:
    """A 3.0 seller refuses a request for one such event."""
    found = unsupported_feature({"event_type": kind}, line)
    assert (found is not None) is lacking
    if found:
        assert kind in found[0]
        assert found[1] == "3.1"


ID5, WORLD = {"type": "id5", "value": "a"}, {"type": "world_id_nullifier", "value": "b"}
BROWSER = {"client_ip": "192.0.2.1", "client_user_agent": "curl"}


@pytest.mark.parametrize(
    ("match", "taken", "version", "expected"),
    [
        ({"uids": [ID5, WORLD]}, set(), "3.0", ({"uids": [ID5]}, ["world_id_nullifier"])),
        ({"uids": [ID5, WORLD]}, set(), "3.1", ({"uids": [ID5, WORLD]}, [])),
        ({"uids": [ID5, WORLD]}, {"id5"}, "3.2", ({"uids": [ID5]}, ["world_id_nullifier"])),
        ({"uids": [ID5]}, {"maid"}, "3.1", (None, ["id5"])),
        ({"uids": [ID5], "client_ip": "192.0.2.1"}, {"maid"}, "3.1", (None, ["id5"])),
        ({"uids": [ID5], **BROWSER}, {"maid"}, "3.1", (BROWSER, ["id5"])),
        ({"click_id": "c", "uids": [ID5]}, {"maid"}, "3.1", ({"click_id": "c"}, ["id5"])),
        (BROWSER, {"maid"}, "3.1", (BROWSER, [])),
        (None, {"maid"}, "3.1", (None, [])),
    ],
)
@pytest.mark.parametrize("is_last", [True, False])
def test_universal_ids_that_a_seller_does_not_match_are_left_out(
    match: Any,  # noqa: ANN401 - JSON
    taken: set[str],
    version: str,
    expected: tuple[object, list[str]],
    *,
    is_last: bool,
) -> None:
    """The rest of the event stays digit for digit; nothing that identifies nobody stays."""
    value = b'{"value":59.900000000000000001,"note":"\\"user_match\\":{\\"uids\\":1}"}'
    parts = [b'"event_id":"e"', b'"custom_data":' + value]
    if match is not None:
        parts.insert(2 if is_last else 1, b'"user_match":' + orjson.dumps(match))
    event, kinds = without_uids(b"{" + b",".join(parts) + b"}", frozenset(taken), version)
    assert (json.loads(event).get("user_match"), kinds) == expected
    assert value in event


@pytest.mark.parametrize(
    "event",
    [
        {"event_type": "purchase", "surface": {"category": "owned_property"}},
        {"event_type": "view_content", "custom_data": {"progress_percent": 5}},
        {"event_type": ["follow"], "user_match": {"uids": [7, {"type": []}]}},
        {"user_match": {"uids": 5}},
        {},
    ],
)
def test_newer_fields_go_out_as_they_are(event: dict[str, object]) -> None:
    """They are legal extra keys on every line, and nothing is lost."""
    assert unsupported_feature(event, "3.0") is None


@pytest.mark.parametrize(
    ("own", "supported", "line"),
    [
        ("3.1", (), "3.1"),
        ("3.1", ("3.0", "3.1", "3.2"), "3.1"),
        ("3.1", ("3.0",), "3.0"),
        ("3.2", ("3.0", "3.1"), "3.1"),
        ("3.2", ("3.0", "3.1-rc.1"), "3.1-rc.1"),
        ("3.0", ("3.1", "3.2"), "3.0"),
        ("3.1", ("nonsense", "", "x.y", "9" * 5000 + ".1"), "3.1"),
    ],
)
def test_a_seller_reads_by_the_next_older_line_it_speaks(
    own: AdcpVersion, supported: tuple[str, ...], line: str
) -> None:
    """What a seller goes down to decides what events may hold."""
    assert negotiate(own, supported) == line


@given(st.text())
def test_any_word_is_a_release_or_none(word: str) -> None:
    """No version a seller names raises."""
    assert parse_version(word) >= (0, 0)


FULL = {
    "adcp": {
        "major_versions": [3],
        "supported_versions": ["3.0", "3.1", 7, "3.2\x1b"],
        "idempotency": {"supported": True, "replay_ttl_seconds": 86400},
    },
    "media_buy": {
        "conversion_tracking": {
            "supported_event_types": ["purchase", "lead"],
            "supported_uid_types": ["id5", "uid2"],
            "supported_action_sources": ["website"],
        }
    },
}


def test_capabilities_are_read() -> None:
    """Everything that decides is taken, cleaned."""
    assert read_capabilities(FULL) == Capabilities(
        versions=("3.0", "3.1", "3.2"),
        event_types=frozenset({"purchase", "lead"}),
        uid_types=frozenset({"id5", "uid2"}),
        action_sources=frozenset({"website"}),
        replay_ttl_seconds=86400,
        major_versions=frozenset({3}),
    )


@pytest.mark.slow
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "adcp",
                        "media_buy",
                        "conversion_tracking",
                        "idempotency",
                        "supported_versions",
                        "supported_event_types",
                        "replay_ttl_seconds",
                    ]
                ),
                inner,
                max_size=4,
            )
        ),
    )
)
def test_any_capabilities_are_accepted(payload: object) -> None:
    """A wrong type is as good as silence, and whatever is rejected has a code."""
    rejection = read_capabilities(payload).rejection({"event_type": "purchase"})
    assert rejection is None or rejection[0].isupper()


@pytest.mark.parametrize(
    ("event", "code"),
    [
        ({"event_type": "purchase", "action_source": "website"}, None),
        ({"event_type": "purchase"}, None),
        ({"event_type": "donate"}, "UNSUPPORTED_EVENT_TYPE"),
        ({"event_type": "lead", "action_source": "chat"}, "UNSUPPORTED_ACTION_SOURCE"),
        ({"user_match": {"uids": [{"type": "maid"}]}}, None),
        ({"user_match": {"uids": [{"type": "maid"}, {"type": "id5"}]}}, None),
        ({"user_match": {"uids": [{"type": "maid"}], "hashed_email": "x"}}, None),
        ({"user_match": {"hashed_email": "x"}}, None),
    ],
)
def test_only_what_the_seller_cannot_use_is_objected_to(
    event: dict[str, Any], code: str | None
) -> None:
    """An event that still identifies by something the seller takes is sent."""
    objection = read_capabilities(FULL).rejection(event)
    assert (objection[0] if objection else None) == code
    if objection:
        assert "Use one of" in objection[2]


def test_silence_objects_to_nothing() -> None:
    """A seller that tells no lists takes all."""
    assert (
        read_capabilities({}).rejection({"event_type": "donate", "action_source": "chat"}) is None
    )
