"""Events of what a caller knows and what the request tells."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from adcp_tracker.context import RequestContext
from adcp_tracker.events.builder import build_event
from adcp_tracker.events.hashing import hash_email, hash_phone
from adcp_tracker.events.model import (
    ActionSource,
    Content,
    CustomData,
    EventType,
    Surface,
    SurfaceCategory,
    UserMatch,
)
from adcp_tracker.exceptions import InvalidEventError
from tests.support.events import NOW

CONTEXT = RequestContext(
    client_ip="203.0.113.9",
    client_user_agent="Firefox",
    event_source_url="https://shop.example/thanks",
)


def build(event_type: str = "lead", **details: Any) -> Any:  # noqa: ANN401 - also wrong ones
    """Build an event with what a test says of it."""
    return build_event(event_type, **{"now": NOW, "event_id": "1", **details})


def test_mappings_become_parts() -> None:
    """A caller need not import the classes."""
    event = build(
        "watch_milestone",
        user_match={"uids": [{"type": "id5", "value": "x"}], "click_id": "c"},
        custom_data={
            "progress_percent": 75.5,
            "contents": [{"id": "a", "price": 1.1, "size": "L"}],
            "coupon": None,
        },
        surface={"category": "owned_property", "property_type": "channel"},
        action_source="app",
    )
    assert event.custom_data == CustomData(
        progress_percent=Decimal("75.5"),
        contents=(Content("a", price=Decimal("1.1"), extra={"size": "L"}),),
    )
    assert event.surface == Surface(SurfaceCategory.OWNED_PROPERTY, "channel")
    assert event.action_source is ActionSource.APP
    assert event.user_match.uids[0].value == "x"
    assert event.event_type is EventType.WATCH_MILESTONE


def test_parts_are_taken_as_they_are() -> None:
    """Nothing is added to a user match that was made elsewhere."""
    match, data = UserMatch(click_id="c"), CustomData(1)
    event = build(user_match=match, custom_data=data, context=CONTEXT)
    assert event.user_match == match
    assert event.custom_data == data


def test_raw_addresses_in_a_mapping_are_hashed() -> None:
    """Whoever writes them under user_match means the same as beside it."""
    event = build(user_match={"email": "alice@example.com", "phone": "+12065551234", "crm": "7"})
    assert event.user_match.hashed_email == hash_email("alice@example.com")
    assert event.user_match.hashed_phone == hash_phone("+12065551234")
    assert event.user_match.extra == {"crm": "7"}
    assert b"alice" not in event.json
    hashed = build(user_match={"hashed_email": "alice@example.com"})
    assert hashed.user_match.hashed_email == hash_email("alice@example.com")


def test_a_mapping_is_completed_by_the_request() -> None:
    """As single identifiers are."""
    event = build(user_match={"email": "alice@example.com"}, context=CONTEXT)
    assert event.user_match.client_ip == "203.0.113.9"


@pytest.mark.parametrize("match", [{}, {"client_ip": "203.0.113.9"}, {"crm": "7"}])
def test_a_mapping_that_identifies_nobody_is_refused(match: dict[str, str]) -> None:
    """Whoever gives one means it, so it is not left out silently."""
    with pytest.raises(InvalidEventError, match=r"\$\.user_match: expected an identifier"):
        build(user_match=match)


def test_times_are_told_in_utc() -> None:
    """Sellers prefer it, and it is the same instant."""
    time = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=2)))
    assert build(event_time=time).json == build(event_time="2026-01-02T03:04:05+02:00").json
    assert b'"2026-01-02T01:04:05Z"' in build(event_time=time).json
    assert build().event_time == NOW


@pytest.mark.parametrize("time", ["2026-01-02T03:04:05", "yesterday", 0, datetime(2026, 1, 1)])  # noqa: DTZ001 - naive on purpose
def test_a_time_that_is_no_instant_is_refused(time: object) -> None:
    """The zone of a naive time is nobody's to guess."""
    with pytest.raises(InvalidEventError, match=r"\$\.event_time: expected a datetime with its"):
        build(event_time=time)


def test_an_event_without_an_id_gets_a_random_one() -> None:
    """It counts each time it is told."""
    assert build(event_id=None).event_id != build(event_id=None).event_id


def test_the_requests_page_belongs_to_the_website_only() -> None:
    """A call to the shop that is tracked in a request did not happen on its page."""
    assert build(context=CONTEXT).action_source is ActionSource.WEBSITE
    assert build(context=CONTEXT, action_source="website").event_source_url is not None
    assert build(context=CONTEXT, action_source="phone_call").event_source_url is None
    own = build(action_source="app", event_source_url="app://open/1")
    assert (own.action_source, own.event_source_url) == (ActionSource.APP, "app://open/1")


@pytest.mark.parametrize("zulu", ["Z", "z", "+00:00", "-00:00"])
def test_utc_may_be_written_in_any_way(zulu: str) -> None:
    """RFC 3339 has several."""
    assert b'"2026-01-02T03:04:05.250Z"' in build(event_time=f"2026-01-02 03:04:05.25{zulu}").json


def test_what_may_be_kept_is_kept_and_the_rest_is_masked() -> None:
    """A refused event's remains hold no shopper, no search, no custom key."""
    with pytest.raises(InvalidEventError) as caught:
        build(
            "purchse",
            event_id="x" * 300,
            email="alice@example.com",
            custom_data={
                "value": -1,
                "search_string": "my secret",
                "note": "a secret",
                "content_name": "y" * 300,
                "num_items": True,
                "content_ids": ["a", 5],
            },
        )
    assert caught.value.event == {
        "event_id": "a string of 300 characters",
        "event_type": "a string of 7 characters",
        "event_time": NOW.isoformat(),
        "custom_data": {
            "value": "an integer",
            "content_ids": ["a", "an integer"],
            "num_items": "a boolean",
            "content_name": "a string of 300 characters",
        },
    }


def test_custom_data_that_are_no_mapping_are_refused() -> None:
    """And nothing is kept of them."""
    with pytest.raises(InvalidEventError) as caught:
        build(custom_data="alice@example.com", user_match=5, surface=[], ext="x")
    assert [str(fault) for fault in caught.value.errors] == [
        "$.user_match: expected a UserMatch, got an integer",
        "$.custom_data: expected a CustomData, got a string of 17 characters",
        "$.surface: expected a Surface, got a list",
        "$.ext: expected a mapping, got a string of 1 characters",
    ]
    assert "custom_data" not in caught.value.event
