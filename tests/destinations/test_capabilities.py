"""What events need of the protocol line their destination speaks."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adcp_tracker.destinations.capabilities import (
    AdcpVersion,
    Capabilities,
    negotiate,
    parse_version,
    read_capabilities,
    unsupported_feature,
)


@pytest.mark.parametrize("kind", ["follow", "content_view", "watch_milestone"])
@pytest.mark.parametrize(("line", "lacking"), [("3.0", True), ("3.1", False), ("3.2", False)])
def test_newer_event_types_need_a_newer_line(kind: str, line: str, *, lacking: bool) -> None:
    """A 3.0 seller refuses a request for one such event."""
    found = unsupported_feature({"event_type": kind}, line)
    assert (found is not None) is lacking
    if found:
        assert kind in found[0]
        assert found[1] == "3.1"


def test_a_newer_universal_id_needs_a_newer_line() -> None:
    """The list of types is closed, too."""
    event = {"user_match": {"uids": [{"type": "id5"}, {"type": "world_id_nullifier"}]}}
    assert unsupported_feature(event, "3.0") == ("universal id type 'world_id_nullifier'", "3.1")
    assert unsupported_feature(event, "3.1") is None


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
def test_any_capabilities_are_borne(payload: object) -> None:
    """A wrong type is as good as silence."""
    capabilities = read_capabilities(payload)
    capabilities.rejection({"event_type": "purchase"})


@pytest.mark.parametrize(
    ("event", "code"),
    [
        ({"event_type": "purchase", "action_source": "website"}, None),
        ({"event_type": "purchase"}, None),
        ({"event_type": "donate"}, "UNSUPPORTED_EVENT_TYPE"),
        ({"event_type": "lead", "action_source": "chat"}, "UNSUPPORTED_ACTION_SOURCE"),
        ({"user_match": {"uids": [{"type": "maid"}]}}, "UNSUPPORTED_UNIVERSAL_ID_TYPE"),
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
