"""The library's validators beside the official schemas: neither takes what the other would not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from adcp_tracker.events.event import decode
from adcp_tracker.events.parsing import normalize_url
from adcp_tracker.exceptions import InvalidEventError
from tests.conformance.installed import needs_sdk, objections
from tests.conformance.reasons import REASONS, Reason, unexplained
from tests.conformance.spoiling import spoilt_events
from tests.conformance.trying import thoroughly
from tests.support.events import browsers_urls, events, mended_events, plain_events

if TYPE_CHECKING:
    from adcp_tracker.events.event import Event
    from adcp_tracker.exceptions import FieldError

pytestmark = needs_sdk

GOOD: dict[str, Any] = {
    "event_id": "o-1",
    "event_type": "purchase",
    "event_time": "2026-01-02T03:04:05Z",
}
MENDED = (
    {"user_match": {"hashed_email": "f" * 64, "uids": []}},
    {"event_source_url": "https://shop.example/search?filter[size]=m"},
    {"event_source_url": "https://shop.example/100%"},
    {"event_source_url": "https://shop.example/caf\u00e9"},
    {"custom_data": {"warehouse_id": 2**53}},
    {"custom_data": {"warehouse_id": [2**64 - 1]}},
    {"ext": {"warehouse": -(2**53)}},
)
"""What no strict seller takes as it is, and what has another form that means the same."""

UNSAFE = (
    {"custom_data": {"num_items": 2**53}},
    {"custom_data": {"value": 2**53}},
    {"custom_data": {"contents": [{"id": "a", "price": 2**53}]}},
    {"custom_data": {"contents": [{"id": "a", "quantity": 2**53}]}},
)
"""Integers that RFC 8785 cannot write, where the protocol asks for a number."""


def faults_of(wire: object) -> tuple[FieldError, ...]:
    """Return what the library has against an event's JSON."""
    try:
        decode(json.dumps(wire).encode())
    except InvalidEventError as error:
        return error.errors
    return ()


def written(wire: object) -> Any:  # noqa: ANN401 - JSON
    """Return an event's JSON as the library writes it."""
    return json.loads(decode(json.dumps(wire).encode()).json)


def official(wire: object, line: str = "3.2") -> list[str]:
    """Return what the schema has against an event, sent alone."""
    request = {"idempotency_key": "k" * 16, "event_source_id": "s", "events": [wire]}
    return objections("log_event", line, request)  # type: ignore[arg-type]  # a line


@thoroughly()
@given(event=events | plain_events | mended_events)
def test_the_schema_takes_every_event_that_the_library_made(event: Event) -> None:
    """Whatever the validators accept, the official schema of the newest line accepts."""
    assert official(json.loads(event.json)) == []


@thoroughly()
@given(wire=spoilt_events())
@example(wire=GOOD | {"surface": {"category": "owned_property", "namespace": "\x1b"}})
def test_spoilt_events_are_checked_alike_or_for_a_written_reason(wire: dict[str, Any]) -> None:
    """What the library lets through, the schema takes; what it alone refuses has a reason."""
    faults = faults_of(wire)
    if not faults:
        assert official(written(wire)) == []
    elif not official(wire):
        assert unexplained(faults) == []


addresses = st.one_of(
    st.text("htps:/.-_x1%4?#a[]@n\u00e9{", max_size=14).map("https://".__add__),
    st.text("a0:[].%@/", max_size=14).map("app://".__add__),
    browsers_urls,
    st.text(max_size=30),
)


@thoroughly()
@given(text=addresses)
def test_an_address_that_is_written_is_one_to_sellers(text: str) -> None:
    """Whatever was given as a page's address, sellers' own parsers take what is sent of it."""
    uri = normalize_url(text)
    if uri is not None:
        assert official(GOOD | {"event_source_url": uri}) == []


@pytest.mark.parametrize("field", MENDED, ids=str)
def test_what_sellers_take_in_one_form_only_is_sent_in_it(field: dict[str, object]) -> None:
    """No event is lost for a bracket in an address, an empty list or a large custom number."""
    wire = GOOD | field
    assert official(wire)
    assert official(written(wire)) == []


@pytest.mark.parametrize("field", UNSAFE, ids=str)
def test_integers_that_sellers_cannot_compare_are_refused(field: dict[str, object]) -> None:
    """An integer beyond 2^53 - 1 is found here, not at a seller that fails the whole request."""
    assert official(GOOD | field)
    assert faults_of(GOOD | field)


@pytest.mark.parametrize("reason", REASONS, ids=lambda reason: f"{reason.path} {reason.expected}")
def test_each_reason_is_needed(reason: Reason) -> None:
    """Each reason stands for an event that the schema takes and the library does not."""
    wire = GOOD | reason.example
    assert official(wire) == []
    assert any(reason.covers(fault) for fault in faults_of(wire))
    assert unexplained(faults_of(wire)) == []
