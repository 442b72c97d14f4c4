"""The closer look: every rule, with its path, and what was found described without being shown."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from adcp_tracker.events.event import Event
from adcp_tracker.events.model import (
    Content,
    CustomData,
    EventType,
    Surface,
    SurfaceCategory,
    UidType,
    UniversalId,
    UserMatch,
)
from adcp_tracker.exceptions import InvalidEventError
from tests.support.events import NOW

DIGEST = "f" * 64


def faults(**fields: Any) -> list[str]:  # noqa: ANN401 - also wrong ones
    """List the faults of an event that has `fields`."""
    whole = {"event_id": "1", "event_type": EventType.LEAD, "event_time": NOW, **fields}
    with pytest.raises(InvalidEventError) as caught:
        Event(**whole)
    return [str(fault) for fault in caught.value.errors]


def match(**fields: Any) -> UserMatch:  # noqa: ANN401 - also wrong ones
    """Make a match with an identifier besides `fields`."""
    return UserMatch(**{"hashed_email": DIGEST, **fields})


def data(**fields: Any) -> CustomData:  # noqa: ANN401 - also wrong ones
    """Make custom data of `fields`."""
    return CustomData(**fields)


def line(**fields: Any) -> CustomData:  # noqa: ANN401 - also wrong ones
    """Make custom data whose third line has `fields`."""
    good = Content("a", 1, 1)
    return CustomData(contents=(good, good, Content(**{"id": "a", **fields})))


TOKEN = "$.event_id: expected a string of 1–256 characters, got "
IDENTIFIER = (
    "$.user_match: expected an identifier: uids, hashed_email, hashed_phone, click_id, "
    "or client_ip together with client_user_agent, got none"
)
CLEAN = "expected a string without control characters, got a string of"
NAIVE = datetime(2026, 1, 1)  # noqa: DTZ001 - naive on purpose
ODD_ZONE = timezone(timedelta(seconds=90))
NO_DIGEST = "expected a SHA-256 of 64 lower-case hex digits, got a string of 17 characters"
TOO_LONG = "expected a string of at most 512 characters, got a string of 513 characters"
deep: list[Any] = []
for _ in range(20):
    deep = [deep]

CASES: list[tuple[dict[str, Any], str]] = [
    ({"event_id": ""}, TOKEN + "an empty string"),
    ({"event_id": "x" * 257}, TOKEN + "a string of 257 characters"),
    ({"event_id": 5}, TOKEN + "an integer"),
    ({"event_id": None}, TOKEN + "nothing"),
    ({"event_id": b"1"}, TOKEN + "bytes"),
    ({"event_id": ["1"]}, TOKEN + "a list"),
    ({"event_id": "a\r\nb"}, f"$.event_id: {CLEAN} 4 characters with some"),
    ({"event_id": "a\x85b"}, f"$.event_id: {CLEAN} 3 characters with some"),
    ({"event_id": "\ud800"}, "$.event_id: expected a string of whole characters, got half of"),
    ({"event_type": "purchse"}, "$.event_type: expected one of page_view, view_content, "),
    ({"event_type": None}, "custom, got nothing"),
    ({"event_time": NAIVE}, "$.event_time: expected a datetime with its UTC offset, got a naive"),
    ({"event_time": "2026"}, "$.event_time: expected a datetime with its UTC offset, got a string"),
    ({"event_time": NOW.astimezone(ODD_ZONE)}, "$.event_time: expected a UTC offset of whole min"),
    ({"user_match": UserMatch()}, IDENTIFIER),
    ({"user_match": UserMatch(client_ip="203.0.113.7")}, IDENTIFIER),
    ({"user_match": UserMatch(client_user_agent="Firefox")}, IDENTIFIER),
    ({"user_match": UserMatch(uids=())}, IDENTIFIER),
    ({"user_match": UserMatch(click_id_type="gclid")}, IDENTIFIER),
    ({"user_match": "x"}, "$.user_match: expected a UserMatch, got a string of 1 characters"),
    ({"event_id": "\x1b"}, "of 1–256 characters, got a string of 1 characters, none of them vis"),
    (
        {"user_match": match(hashed_email="alice@example.com")},
        f"$.user_match.hashed_email: {NO_DIGEST}",
    ),
    ({"user_match": match(hashed_phone="F" * 64)}, "$.user_match.hashed_phone: expected a SHA-256"),
    ({"user_match": match(hashed_phone=12065551234)}, "lower-case hex digits, got an integer"),
    ({"user_match": match(click_id=5)}, "$.user_match.click_id: expected a string of 1–512 char"),
    ({"user_match": match(click_id="a\nb")}, f"$.user_match.click_id: {CLEAN} 3 characters"),
    ({"user_match": match(click_id="x" * 513)}, "1–512 characters, got a string of 513 characters"),
    (
        {"user_match": match(click_id_type="x" * 65)},
        "$.user_match.click_id_type: expected a string",
    ),
    ({"user_match": match(client_ip="1.2.3")}, "$.user_match.client_ip: expected an IPv4 or IPv6"),
    ({"user_match": match(client_ip="<script>")}, "IPv6 address, got a string of 8 characters"),
    ({"user_match": match(client_ip="fe80::1%eth0")}, "$.user_match.client_ip: expected an IPv4"),
    ({"user_match": match(client_ip="01.2.3.4")}, "$.user_match.client_ip: expected an IPv4"),
    (
        {"user_match": match(client_user_agent="x" * 513)},
        f"$.user_match.client_user_agent: {TOO_LONG}",
    ),
    ({"user_match": match(uids="x")}, "$.user_match.uids: expected a tuple or list, got a string"),
    ({"user_match": match(uids=["x"])}, "$.user_match.uids[0]: expected a UniversalId, got a str"),
    (
        {"user_match": match(uids=[UniversalId("crm", "x")])},  # type: ignore[arg-type]  # on purpose
        "$.user_match.uids[0].type: expected one of rampid, ",
    ),
    (
        {"user_match": match(uids=[UniversalId(UidType.ID5, "")])},
        "$.user_match.uids[0].value: expected a string of 1–512 characters, got an empty string",
    ),
    ({"user_match": match(extra={"email": "a@b"})}, "$.user_match.email: expected hashed_email"),
    ({"user_match": match(extra={"phone": "+1"})}, "$.user_match.phone: expected hashed_phone"),
    ({"user_match": match(extra={"ext": 1})}, "$.user_match.ext: expected a mapping, got an int"),
    ({"custom_data": 5}, "$.custom_data: expected a CustomData, got an integer"),
    ({"custom_data": data(value=-1)}, "$.custom_data.value: expected a number ≥ 0, got -1"),
    ({"custom_data": data(value=Decimal("-0.01"))}, "a number ≥ 0, got -0.01"),
    ({"custom_data": data(value=True)}, "a number ≥ 0, got a boolean"),
    ({"custom_data": data(value="5")}, "a number ≥ 0, got a string of 1 characters"),
    ({"custom_data": data(value=-9.5)}, "a number ≥ 0, got -9.5"),
    ({"custom_data": data(value=Decimal("Infinity"))}, "a number ≥ 0, got Infinity"),
    ({"custom_data": data(value=10**30)}, "an integer too large to show"),
    ({"custom_data": data(value=Decimal("1E+18"))}, "$.custom_data.value: expected a number below"),
    (
        {"custom_data": data(value=2**53)},
        "$.custom_data.value: expected a number below 2^53, got 9",
    ),
    (
        {"custom_data": data(value=Decimal(2**53))},
        "expected a number below 2^53, got 90071992547409",
    ),
    (
        {"custom_data": data(num_items=2**53)},
        "$.custom_data.num_items: expected an integer below 2",
    ),
    ({"custom_data": line(quantity=2**53)}, "contents[2].quantity: expected an integer below 2^53"),
    ({"custom_data": data(value=Decimal("1E-999999"))}, "got a Decimal finer than that"),
    (
        {"custom_data": data(currency="eur")},
        "$.custom_data.currency: expected three capital letters, such as USD, got 'eur'",
    ),
    ({"custom_data": data(currency="EURO")}, "such as USD, got 'EURO'"),
    ({"custom_data": data(currency="€")}, "such as USD, got a string of 1 characters"),
    ({"custom_data": data(order_id="x" * 257)}, "$.custom_data.order_id: expected a string of 1–"),
    ({"custom_data": data(order_id=5)}, "256 characters, got an integer"),
    ({"custom_data": data(contents={})}, "$.custom_data.contents: expected a tuple or list, got a"),
    (
        {"custom_data": data(contents=["a"])},
        "$.custom_data.contents[0]: expected a Content",
    ),
    (
        {"custom_data": line(quantity=0)},
        "$.custom_data.contents[2].quantity: expected an integer ≥ 1, got 0",
    ),
    ({"custom_data": line(quantity=True)}, "an integer ≥ 1, got a boolean"),
    ({"custom_data": line(quantity=1.0)}, "an integer ≥ 1, got the float 1.0"),
    ({"custom_data": line(quantity="2")}, "an integer ≥ 1, got a string of 1 characters"),
    ({"custom_data": line(price=-1)}, "$.custom_data.contents[2].price: expected a number ≥ 0"),
    ({"custom_data": line(id="")}, "$.custom_data.contents[2].id: expected a string of 1–256"),
    ({"custom_data": line(brand="x" * 257)}, "$.custom_data.contents[2].brand: expected a string"),
    ({"custom_data": line(extra={"id": 1})}, "$.custom_data.contents[2].id: expected an unknown"),
    ({"custom_data": data(content_ids="abc")}, "$.custom_data.content_ids: expected a tuple or li"),
    ({"custom_data": data(content_ids=["a", 5])}, "$.custom_data.content_ids[1]: expected a str"),
    ({"custom_data": data(num_items=-1)}, "$.custom_data.num_items: expected an integer ≥ 0, got"),
    ({"custom_data": data(content_type="x" * 129)}, "$.custom_data.content_type: expected a str"),
    ({"custom_data": data(content_name=5)}, "$.custom_data.content_name: expected a string, got"),
    ({"custom_data": data(content_category="\udfff")}, "$.custom_data.content_category: expected"),
    ({"custom_data": data(search_string=b"x")}, "$.custom_data.search_string: expected a string"),
    (
        {"custom_data": data(progress_percent=101)},
        "$.custom_data.progress_percent: expected a number from 0 to 100, got 101",
    ),
    ({"custom_data": data(progress_percent=-1)}, "expected a number from 0 to 100, got -1"),
    ({"custom_data": data(progress_seconds=-1)}, "$.custom_data.progress_seconds: expected a num"),
    ({"custom_data": data(extra={"value": 5})}, "$.custom_data.value: expected an unknown key in"),
    ({"custom_data": data(extra={"a": float("inf")})}, "$.custom_data.a: expected a string, a fin"),
    ({"custom_data": data(extra={"a": NOW})}, "got an object of type datetime"),
    ({"custom_data": data(extra={"a": 2**64})}, "true, false, a list or a mapping, got an integer"),
    ({"custom_data": data(extra={"a": {"b": [1, {2}]}})}, "$.custom_data.a.b[1]: expected a str"),
    (
        {"custom_data": data(extra={5: 1})},
        "$.custom_data: expected keys that are strings, got an i",
    ),
    (
        {"custom_data": data(extra={"a@b.c": object()})},
        "$.custom_data[…]: expected a string, a finite",
    ),
    ({"custom_data": data(extra={"a": deep})}, "expected at most 16 levels of nesting, got more"),
    (
        {"custom_data": data(extra=[("a", 1)])},
        "$.custom_data.extra: expected a mapping, got a list",
    ),
    (
        {"action_source": "web"},
        "$.action_source: expected one of website, app, offline, phone_call",
    ),
    ({"action_source": "website"}, "$.event_source_url: expected the page's URL, as action_source"),
    ({"event_source_url": "/thanks"}, "$.event_source_url: expected an absolute URI, percent-enc"),
    ({"event_source_url": "https://a.b/\r\nx"}, "percent-encoded, got a string of 15 characters"),
    ({"event_source_url": "https://a.b/ b"}, "$.event_source_url: expected an absolute URI"),
    ({"event_source_url": "https://ä.b/"}, "$.event_source_url: expected an absolute URI"),
    ({"event_source_url": 5}, "$.event_source_url: expected an absolute URI, percent-encoded, got"),
    ({"event_type": EventType.CUSTOM}, "$.custom_event_name: expected a name, as event_type is"),
    ({"custom_event_name": 5}, "$.custom_event_name: expected a string of 1–256 characters, got"),
    ({"event_type": EventType.WATCH_MILESTONE}, "$.custom_data.progress_percent: expected this or"),
    ({"event_type": EventType.WATCH_MILESTONE, "custom_data": data(value=1)}, "as event_type is"),
    ({"surface": "app"}, "$.surface: expected a Surface, got a string of 3 characters"),
    (
        {"surface": Surface("shop")},  # type: ignore[arg-type]  # on purpose
        "$.surface.category: expected one of owned_property, website",
    ),
    (
        {"surface": Surface(SurfaceCategory.APP, "x\ny", "x" * 129, "x" * 257)},
        "$.surface.property_type: expected a string without control characters, got a string of 3",
    ),
    ({"ext": []}, "$.ext: expected a mapping, got a list"),
    ({"ext": {"a": {"b": None}}}, "$.ext.a.b: expected a string, a finite number, true, false, a"),
    ({"extra": {"event_id": "2"}}, "$.event_id: expected an unknown key in extra, got a field's"),
    ({"extra": {"a": object()}}, "$.a: expected a string, a finite number, true, false, a list"),
]


@pytest.mark.parametrize(("fields", "told"), CASES, ids=[case[1][:60] for case in CASES])
def test_a_broken_rule_is_named_with_its_path(fields: dict[str, Any], told: str) -> None:
    """Every rule has a message that says where, what was expected and what kind was found."""
    found = faults(**fields)
    assert any(told in fault for fault in found), found


def test_every_fault_is_listed_in_the_order_of_the_fields() -> None:
    """Whoever mends an event need not try again to find the next fault."""
    found = faults(
        event_id="",
        event_type="x",
        event_time=NAIVE,
        user_match=UserMatch(client_ip="x"),
        custom_data=CustomData(-1, "x", contents=[Content("", 0, -1)]),
        action_source="x",
        event_source_url="x",
        custom_event_name="a\nb",
        surface=Surface(SurfaceCategory.APP, "!\n!"),
        ext=5,
    )
    assert [fault.partition(":")[0] for fault in found] == [
        "$.event_id",
        "$.event_type",
        "$.event_time",
        "$.user_match.client_ip",
        "$.user_match",
        "$.custom_data.value",
        "$.custom_data.currency",
        "$.custom_data.contents[0].id",
        "$.custom_data.contents[0].quantity",
        "$.custom_data.contents[0].price",
        "$.action_source",
        "$.event_source_url",
        "$.custom_event_name",
        "$.surface.property_type",
        "$.ext",
    ]


@pytest.mark.parametrize("place", ["custom_data", "user_match", "ext"])
@pytest.mark.parametrize("key", ["447911123456", "tel447911123456", "a" * 33])
def test_a_key_that_may_be_somebodys_is_in_no_path(place: str, key: str) -> None:
    """A number under which somebody counts is no name of a field."""
    wrong = {key: object()}
    parts = {"custom_data": data(extra=wrong), "user_match": match(extra=wrong), "ext": wrong}
    (fault,) = faults(**{place: parts[place]})
    assert fault.startswith(f"$.{place}[…]: expected a string, a finite number")
    assert key not in fault


@pytest.mark.parametrize("value", ["447911123456", "Margaret", "alice.private", "s3cr3tPassw0rd"])
def test_what_stands_for_a_word_is_shown_only_if_it_is_one_misspelt(value: str) -> None:
    """Names and numbers are harmless letters and digits, too."""
    found = faults(
        event_type=value,
        user_match=match(uids=[UniversalId(value, "x")]),  # type: ignore[arg-type]  # on purpose
        custom_data=data(currency=value),
        action_source=value,
        surface=Surface(value),  # type: ignore[arg-type]  # on purpose
    )
    assert len(found) == 5
    assert all(fault.endswith(f"got a string of {len(value)} characters") for fault in found)
    assert faults(action_source="web-site")[0].endswith("got 'web-site'")


SECRET = "alice@example.com"
IN_THE_WRONG_PLACE: list[dict[str, Any]] = [
    {"event_id": [SECRET]},
    {"event_type": SECRET},
    {"event_time": SECRET},
    {"user_match": SECRET},
    {"user_match": match(hashed_email=SECRET)},
    {"user_match": match(hashed_phone=SECRET)},
    {"user_match": match(client_ip=SECRET)},
    {"user_match": match(click_id=SECRET + "\n!")},
    {"user_match": match(uids=[SECRET])},
    {"user_match": match(uids=[UniversalId(SECRET, SECRET)])},  # type: ignore[arg-type]  # on purpose
    {"user_match": match(extra={SECRET: object()})},
    {"user_match": match(extra={"email": SECRET})},
    {"custom_data": SECRET},
    {"custom_data": data(value=SECRET, currency=SECRET, num_items=SECRET)},
    {"custom_data": line(id=[SECRET], quantity=SECRET, price=SECRET)},
    {"custom_data": data(extra={SECRET: {SECRET: None}})},
    {"action_source": SECRET},
    {"event_source_url": f"{SECRET} at home"},
    {"surface": Surface(SECRET)},  # type: ignore[arg-type]  # on purpose
    {"ext": {SECRET: {1: SECRET}}},
]


@pytest.mark.parametrize("fields", IN_THE_WRONG_PLACE, ids=lambda fields: next(iter(fields)))
def test_no_fault_shows_personal_data(fields: dict[str, Any]) -> None:
    """Wherever an address ends up by mistake, the error does not repeat it."""
    assert "alice" not in " ".join(faults(**fields))


@pytest.mark.parametrize("absent", [None, "", " \t", float("nan"), Decimal("NaN")])
def test_what_stands_for_no_value_is_left_out(absent: object) -> None:
    """A blank text or a number that is none is as good as nothing, wherever it is optional."""
    gaps: Any = absent
    event = Event(
        "1",
        EventType.LEAD,
        NOW,
        UserMatch(gaps, gaps, None, "click", gaps, gaps, gaps),
        CustomData(gaps, gaps, gaps, [Content("a", gaps, gaps, gaps)], None, gaps, gaps, gaps),
        custom_event_name=gaps,
        event_source_url=gaps,
        surface=Surface(SurfaceCategory.APP, gaps, gaps, gaps),
        ext=gaps,
    )
    assert event.user_match == UserMatch(click_id="click")
    assert event.custom_data == CustomData(contents=(Content("a"),))
    assert event.surface == Surface(SurfaceCategory.APP)
    assert [event.event_source_url, event.ext, event.custom_event_name] == [None, None, None]
