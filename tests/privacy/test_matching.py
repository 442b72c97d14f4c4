"""Whose an event is: found by whatever is known of a person, and never taken from another."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adcp_tracker.events.model import UidType, UniversalId
from adcp_tracker.exceptions import InvalidEventError
from adcp_tracker.privacy.matching import PersonMatcher, orders_of, person
from tests.support.events import events, json_values, tokens

if TYPE_CHECKING:
    from adcp_tracker.events.event import Event

ALICE = sha256(b"alice@example.com").hexdigest()
BOB = sha256(b"bob@example.com").hexdigest()
PHONE = sha256(b"+12065551234").hexdigest()


def lead(event_id: str = "e-1", **parts: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    """Return an event's JSON of the given parts."""
    match = {key: parts.pop(key) for key in list(parts) if key in MATCH}
    return {"event_id": event_id, "event_type": "lead", "user_match": match, **parts}


MATCH = ("hashed_email", "hashed_phone", "uids", "click_id")


@pytest.mark.parametrize(
    "known",
    [
        {"email": " Alice@Example.COM "},
        {"email": ["nobody@example.com", ALICE.upper()]},
        {"phone": "+12065551234"},
        {"phone": "(206) 555-1234", "default_region": "US"},
        {"uid": "crm-1"},
        {"uid": UniversalId(UidType.OTHER, "crm-1")},
        {"uid": [{"type": "other", "value": "crm-1"}]},
        {"click_id": "click-1"},
        {"order_id": "A-1"},
        {"event_id": "e-1"},
    ],
)
def test_each_identifier_finds_the_event(known: dict[str, Any]) -> None:
    """Any one of them is enough, in the form the site knows it."""
    event = lead(
        hashed_email=ALICE,
        hashed_phone=PHONE,
        uids=[{"type": "other", "value": "crm-1"}],
        click_id="click-1",
        custom_data={"order_id": "A-1"},
    )
    assert person(**known).owns(event)
    assert not person(**known).owns(lead("e-2", hashed_email=BOB))


def test_a_uid_of_another_type_is_another() -> None:
    """Where a type is given, the value alone is not enough."""
    event = lead(uids=[{"type": "maid", "value": "crm-1"}])
    assert not person(uid=UniversalId(UidType.OTHER, "crm-1")).owns(event)


@pytest.mark.parametrize(
    "parts",
    [
        {"custom_data": {"contact": {"mail": ["ALICE@example.com"]}}},
        {"uids": [{"type": "hashed_email", "value": ALICE.upper()}]},
        {"ext": {"crm": {"hash": ALICE}}},
    ],
)
def test_an_address_is_found_wherever_it_stands(parts: dict[str, Any]) -> None:
    """A site may have sent it along under a name of its own."""
    assert person(email="alice@example.com").owns(lead(**parts))


def test_an_address_within_another_is_not_found() -> None:
    """Part of a text is somebody else."""
    event = lead(custom_data={"mail": "malice@example.com", "note": "x alice@example.com"})
    assert not person(email="alice@example.com").owns(event)


def test_a_click_is_found_in_the_address_of_the_page() -> None:
    """Under the names that click ids have there, decoded, and under no other."""
    somebody = person(click_id="a/b")
    url = "https://shop.example/?GCLID=a%2Fb"
    assert somebody.owns(lead(event_source_url=url))
    assert not somebody.owns(lead(event_source_url="https://shop.example/?utm_term=a%2Fb"))
    assert not somebody.owns(lead(event_source_url="https://[broken/?gclid=a%2Fb"))


def test_an_order_is_found_by_the_ids_of_its_events() -> None:
    """Also where an event was refused, and kept little more than its id."""
    known = person(order_id="A-1")
    for kind, event_id in [("purchase", "A-1"), ("refund", "A-1:refund:R-2")]:
        assert known.owns({"event_type": kind, "event_id": event_id})
    assert not known.owns({"event_type": "lead", "event_id": "A-1"})


@pytest.mark.parametrize(
    ("named", "orders"),
    [
        ({"event_type": "purchase", "event_id": "A-1"}, {"A-1"}),
        ({"event_type": "refund", "event_id": "A-1:refund:R-2"}, {"A-1"}),
        ({"event_type": "refund", "event_id": "x", "custom_data": {"order_id": "A-2"}}, {"A-2"}),
        ({"event_type": "lead", "event_id": "A-1"}, set()),
        ("no event", set()),
    ],
)
def test_an_event_names_its_order(named: object, orders: set[str]) -> None:
    """Only what belongs to the same order is followed from one event to another."""
    assert orders_of(named) == orders


@pytest.mark.parametrize("known", [{}, {"email": ""}, {"uid": ""}, {"order_id": []}])
def test_nothing_is_nobody(known: dict[str, Any]) -> None:
    """An empty text never stands for everybody without one."""
    with pytest.raises(TypeError, match="at least one of"):
        person(**known)


def test_what_is_no_address_is_said() -> None:
    """A typing error must not look like a person without events; it is not repeated."""
    with pytest.raises(InvalidEventError, match=r"^email: ") as raised:
        person(email="alice at example")
    assert "alice" not in str(raised.value)
    with pytest.raises(InvalidEventError, match=r"^phone: "):
        person(phone="555 1234")


def test_what_is_no_event_is_found_by_what_gives_the_person_away() -> None:
    """A newer version's record, or a planted one, need not be JSON at all."""
    matcher = PersonMatcher(person(email="alice@example.com"))
    assert matcher.owns(b"~~" + ALICE.encode() + b"~~")
    assert not matcher.owns(b"~~" + BOB.encode() + b"~~")
    assert not matcher.owns(b'["' + BOB.encode() + b'"]')


def _known_of(event: Event) -> dict[str, Any]:
    match, data = event.user_match, event.custom_data
    return {
        "email": match and match.hashed_email,
        "phone": match and match.hashed_phone,
        "uid": match and match.uids,
        "click_id": match and match.click_id,
        "order_id": data and data.order_id,
        "event_id": event.event_id,
    }


@pytest.mark.slow
@given(
    events, events, st.sampled_from(["email", "phone", "uid", "click_id", "order_id", "event_id"])
)
def test_looking_at_the_bytes_finds_what_reading_finds(
    event: Event, other: Event, name: str
) -> None:
    """The quick look never misses an event, and never takes one more."""
    known = _known_of(event)[name] or None
    somebody = person(**{name: known}) if known else person(event_id=event.event_id)
    matcher = PersonMatcher(somebody)
    assert matcher.owns(event.json)
    read = orjson.loads(other.json)
    assert matcher.owns(other.json) == somebody.owns(read)


@given(tokens(256), tokens(256))
def test_ids_are_compared_as_they_are(wanted: str, other: str) -> None:
    """Case, accents and quotes in an id tell two apart."""
    matcher = PersonMatcher(person(order_id=wanted))
    event = orjson.dumps({"event_id": "x", "custom_data": {"order_id": other}})
    assert matcher.owns(event) == (wanted == other)


@settings(max_examples=40, deadline=None)
@given(json_values)
def test_any_json_can_be_read(value: object) -> None:
    """What stands in an event's place never breaks the search."""
    parts = ("user_match", "custom_data", "event_source_url", "uids", "event_id")
    for event in (value, dict.fromkeys(parts, value), {"user_match": {"uids": value}}):
        assert isinstance(orders_of(event), frozenset)
        assert isinstance(person(event_id="no-such-id").owns(event), bool)


def test_a_person_is_not_shown() -> None:
    """No representation contains an identifier, as it could end up in a log."""
    alice = person(email="alice@example.com", uid="crm-1", click_id="c-1")
    assert not any(each in repr(alice) for each in ("alice", ALICE, "crm-1", "c-1"))
