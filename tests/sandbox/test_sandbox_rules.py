"""The local seller's own reading of the written rules."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import adcp_tracker.sandbox
from adcp_tracker.sandbox.schema import (
    ACTION_SOURCES,
    EVENT_TYPES,
    EVENT_TYPES_3_0,
    INTERCHANGE_ACTION_SOURCES,
    UID_TYPES,
    UID_TYPES_3_0,
    Dialect,
    check_event,
    check_request,
    is_real_time,
)
from tests.support.wire import HASH, make_event

if TYPE_CHECKING:
    from datetime import datetime

DIALECTS: tuple[Dialect, ...] = ("interchange", "3.0", "3.1", "3.2")
KEY = "0123456789abcdef"


def pointers(event: object, dialect: Dialect = "interchange") -> list[str]:
    """Return where `event` breaks a rule."""
    return [issue.pointer for issue in check_event(event, dialect)]


def with_match(**match: object) -> dict[str, Any]:
    """Return an event with these identifiers."""
    return make_event(user_match=match)


def with_data(**data: object) -> dict[str, Any]:
    """Return an event with this custom data."""
    return make_event(custom_data=data)


GOOD: dict[str, dict[str, Any]] = {
    "least": {"event_id": "1", "event_type": "lead", "event_time": "2026-01-02T03:04:05Z"},
    "longest id": make_event("x" * 256),
    "offset": make_event(event_time="2026-01-02T03:04:05.123456+05:45"),
    "far future": make_event(event_time="2099-01-01T00:00:00Z"),
    "leap second": make_event(event_time="2016-12-31T23:59:60Z"),
    "leap second elsewhere": make_event(event_time="2017-01-01T00:59:60+01:00"),
    "leap day": make_event(event_time="2024-02-29T00:00:00Z"),
    "uids": with_match(uids=[{"type": "maid", "value": "x" * 512, "more": 1}]),
    "phone": with_match(hashed_phone=HASH),
    "click": with_match(click_id="x" * 512, click_id_type="g" * 64),
    "address and agent": with_match(client_ip="192.0.2.1", client_user_agent="x" * 512),
    "whole float": with_data(num_items=2.0),
    "zero": with_data(value=0, num_items=0, progress_percent=0, progress_seconds=0),
    "percent": with_data(progress_percent=100),
    "contents": with_data(contents=[{"id": "a", "quantity": 1, "price": 0, "brand": "b"}]),
    "custom keys": with_data(colour="red", deep={"list": [1, {"a": "b"}]}),
    "website": make_event(action_source="website", event_source_url="https://shop.example/?a=%20"),
    "page at an address": make_event(event_source_url="http://[2001:db8::1]:8080/a?b#c"),
    "app url": make_event(event_source_url="shop.example.app://orders/1"),
    "custom": make_event(event_type="custom", custom_event_name="quiz_done"),
    "milestone": make_event(event_type="watch_milestone", custom_data={"progress_seconds": 3}),
    "surface": make_event(surface={"category": "owned_property", "property_id": "p"}),
    "extension": make_event(ext={"acme": {"a": 1}}),
    "unknown key": make_event(mood="good"),
}

BAD: dict[str, tuple[object, str]] = {
    "no object": ([], ""),
    "no id": ({"event_type": "lead", "event_time": "2026-01-02T03:04:05Z"}, "/event_id"),
    "no type": ({"event_id": "1", "event_time": "2026-01-02T03:04:05Z"}, "/event_type"),
    "no time": ({"event_id": "1", "event_type": "lead"}, "/event_time"),
    "empty id": (make_event(""), "/event_id"),
    "long id": (make_event("x" * 257), "/event_id"),
    "number as id": (make_event(event_id=7), "/event_id"),
    "unknown type": (make_event(event_type="buy"), "/event_type"),
    "type in capitals": (make_event(event_type="PURCHASE"), "/event_type"),
    "naive time": (make_event(event_time="2026-01-02T03:04:05"), "/event_time"),
    "time as number": (make_event(event_time=1767323045), "/event_time"),
    "date": (make_event(event_time="2026-01-02"), "/event_time"),
    "space": (make_event(event_time="2026-01-02 03:04:05Z"), "/event_time"),
    "no such day": (make_event(event_time="2026-02-29T00:00:00Z"), "/event_time"),
    "no such hour": (make_event(event_time="2026-01-02T24:00:00Z"), "/event_time"),
    "no such second": (make_event(event_time="2026-01-02T00:00:60Z"), "/event_time"),
    "no such offset": (make_event(event_time="2026-01-02T00:00:00+24:00"), "/event_time"),
    "short offset": (make_event(event_time="2026-01-02T00:00:00+0100"), "/event_time"),
    "other digits": (make_event(event_time="٢٠٢٦-01-02T00:00:00Z"), "/event_time"),
    "leap second at noon": (make_event(event_time="2016-12-31T12:59:60Z"), "/event_time"),
    "leap second before all time": (
        make_event(event_time="0001-01-01T00:00:60+01:00"),
        "/event_time",
    ),
    "line end": (make_event(event_time="2026-01-02T00:00:00Z\n"), "/event_time"),
    "null match": (make_event(user_match=None), "/user_match"),
    "empty match": (with_match(), "/user_match"),
    "address only": (with_match(client_ip="192.0.2.1"), "/user_match"),
    "agent only": (with_match(client_user_agent="x"), "/user_match"),
    "click type only": (with_match(click_id_type="gclid"), "/user_match"),
    "e-mail": (with_match(hashed_email="alice@example.com"), "/user_match/hashed_email"),
    "capital hash": (with_match(hashed_email=HASH.upper()), "/user_match/hashed_email"),
    "short hash": (with_match(hashed_phone=HASH[1:]), "/user_match/hashed_phone"),
    "hash and line end": (with_match(hashed_phone=HASH + "\n"), "/user_match/hashed_phone"),
    "no uids": (with_match(uids=[]), "/user_match/uids"),
    "uids no list": (with_match(uids={}), "/user_match/uids"),
    "uid type": (
        with_match(uids=[{"type": "maid", "value": "v"}, {"type": "crm", "value": "v"}]),
        "/user_match/uids/1/type",
    ),
    "no uid value": (with_match(uids=[{"type": "maid"}]), "/user_match/uids/0/value"),
    "long uid": (
        with_match(uids=[{"type": "maid", "value": "x" * 513}]),
        "/user_match/uids/0/value",
    ),
    "long click": (with_match(click_id="x" * 513), "/user_match/click_id"),
    "empty click": (with_match(click_id=""), "/user_match/click_id"),
    "long click type": (
        with_match(click_id="x", click_id_type="x" * 65),
        "/user_match/click_id_type",
    ),
    "long address": (
        with_match(client_ip="x" * 46, client_user_agent="x"),
        "/user_match/client_ip",
    ),
    "long agent": (
        with_match(client_ip="x", client_user_agent="x" * 513),
        "/user_match/client_user_agent",
    ),
    "negative": (with_data(value=-0.01), "/custom_data/value"),
    "text as value": (with_data(value="12.50"), "/custom_data/value"),
    "true as value": (with_data(value=True), "/custom_data/value"),
    "small letters": (with_data(currency="eur"), "/custom_data/currency"),
    "four letters": (with_data(currency="EURO"), "/custom_data/currency"),
    "long order": (with_data(order_id="x" * 257), "/custom_data/order_id"),
    "order number": (with_data(order_id=7), "/custom_data/order_id"),
    "content ids": (with_data(content_ids=["a", 2]), "/custom_data/content_ids/1"),
    "long content id": (with_data(content_ids=["x" * 257]), "/custom_data/content_ids/0"),
    "long content type": (with_data(content_type="x" * 129), "/custom_data/content_type"),
    "half an item": (with_data(num_items=1.5), "/custom_data/num_items"),
    "minus one item": (with_data(num_items=-1), "/custom_data/num_items"),
    "true items": (with_data(num_items=True), "/custom_data/num_items"),
    "percent": (with_data(progress_percent=100.1), "/custom_data/progress_percent"),
    "seconds": (with_data(progress_seconds=-1), "/custom_data/progress_seconds"),
    "no content id": (with_data(contents=[{"quantity": 1}]), "/custom_data/contents/0/id"),
    "quantity": (
        with_data(contents=[{"id": "a"}, {"id": "b", "quantity": 0}]),
        "/custom_data/contents/1/quantity",
    ),
    "price": (with_data(contents=[{"id": "a", "price": -1}]), "/custom_data/contents/0/price"),
    "long brand": (
        with_data(contents=[{"id": "a", "brand": "x" * 257}]),
        "/custom_data/contents/0/brand",
    ),
    "content no object": (with_data(contents=["a"]), "/custom_data/contents/0"),
    "null": (with_data(value=None), "/custom_data/value"),
    "null in a custom key": (with_data(colour=None), "/custom_data/colour"),
    "null deep down": (with_data(a={"b/c~": [1, {"d": None}]}), "/custom_data/a/b~1c~0/1/d"),
    "null in an extension": (make_event(ext={"acme": None}), "/ext/acme"),
    "null in an unknown key": (make_event(mood=None), "/mood"),
    "extension no object": (make_event(ext=[]), "/ext"),
    "action source": (make_event(action_source="web"), "/action_source"),
    "no page": (make_event(action_source="website"), "/event_source_url"),
    "relative page": (make_event(event_source_url="/thanks"), "/event_source_url"),
    "page with a space": (
        make_event(event_source_url="https://a.example/ b"),
        "/event_source_url",
    ),
    "page not ASCII": (make_event(event_source_url="https://a.example/é"), "/event_source_url"),
    "page with brackets": (
        make_event(event_source_url="https://a.example/?a[]=1"),
        "/event_source_url",
    ),
    "page of two fragments": (
        make_event(event_source_url="https://a.example/#a#b"),
        "/event_source_url",
    ),
    "page cut short": (make_event(event_source_url="https://a.example/%2"), "/event_source_url"),
    "empty custom name": (
        make_event(event_type="custom", custom_event_name=""),
        "/custom_event_name",
    ),
    "surface": (make_event(surface={"category": "shop"}), "/surface/category"),
    "surface without category": (make_event(surface={"namespace": "n"}), "/surface/category"),
    "milestone": (make_event(event_type="watch_milestone"), "/custom_data"),
}


@pytest.mark.parametrize("name", GOOD)
def test_good_events_pass(name: str) -> None:
    """What the rules allow passes, on Interchange and on the lines that know it."""
    assert pointers(GOOD[name]) == []
    assert pointers(GOOD[name], "3.1") == []
    assert pointers(GOOD[name], "3.2") == []


@pytest.mark.parametrize("name", BAD)
def test_bad_events_are_named(name: str) -> None:
    """What breaks one rule is named by one JSON pointer to the very place."""
    event, pointer = BAD[name]
    assert pointers(event, "3.1") == [pointer]
    assert pointers(event, "3.2") == [pointer]
    assert pointers(event) == [pointer]


def test_all_words_of_the_protocol_pass() -> None:
    """Every event type, action source and uid type is known to the line that has it."""
    assert (len(EVENT_TYPES), len(EVENT_TYPES_3_0), len(UID_TYPES)) == (31, 28, 11)
    data = {"progress_percent": 1}
    for kind in EVENT_TYPES:
        event = make_event(event_type=kind, custom_data=data, custom_event_name="n")
        assert pointers(event, "3.1") == []
    for source in ACTION_SOURCES:
        event = make_event(action_source=source, event_source_url="https://a.example/")
        assert pointers(event, "3.1") == []
        expected = [] if source in INTERCHANGE_ACTION_SOURCES else ["/action_source"]
        assert pointers(event) == expected
    for kind in UID_TYPES:
        assert pointers(with_match(uids=[{"type": kind, "value": "v"}]), "3.1") == []


def test_the_old_line_lacks_what_came_later() -> None:
    """Line 3.0 refuses newer words, and takes newer fields for keys it does not know."""
    for kind in EVENT_TYPES - EVENT_TYPES_3_0:
        assert pointers(make_event(event_type=kind), "3.0") == ["/event_type"]
    newer = with_match(uids=[{"type": next(iter(UID_TYPES - UID_TYPES_3_0)), "value": "v"}])
    assert pointers(newer, "3.0") == ["/user_match/uids/0/type"]
    assert pointers(make_event(surface={"category": "shop"}), "3.0") == []
    assert pointers(with_data(progress_percent=1000), "3.0") == []
    assert pointers(with_data(progress_percent=None), "3.0") == ["/custom_data/progress_percent"]


def test_only_interchange_requires_a_custom_name() -> None:
    """A custom event without a name is legal AdCP, and refused by Interchange."""
    event = make_event(event_type="custom")
    assert pointers(event) == ["/custom_event_name"]
    assert [pointers(event, line) for line in ("3.0", "3.1", "3.2")] == [[], [], []]


def test_every_fault_of_an_event_is_listed() -> None:
    """Three faults are three issues, in the order of the event's own keys."""
    event = {"event_time": "now", "event_id": "", "user_match": {}, "event_type": "x"}
    assert pointers(event) == ["/event_time", "/event_id", "/event_type", "/user_match"]


def test_messages_hold_nothing_of_the_event() -> None:
    """An issue says what is asked for, and never repeats what may be personal."""
    issues = check_event(with_match(hashed_email="alice@example.com"), "3.1")
    assert "alice" not in str(issues)


REQUEST: dict[str, object] = {"event_source_id": "s", "events": [{}]}
BAD_REQUESTS: dict[str, tuple[dict[str, object], str, str]] = {
    "no source": ({"events": [{}]}, "/event_source_id", "required"),
    "long source": (REQUEST | {"event_source_id": "x" * 256}, "/event_source_id", "maxLength"),
    "no events": ({"event_source_id": "s"}, "/events", "required"),
    "empty events": (REQUEST | {"events": []}, "/events", "minItems"),
    "events no list": (REQUEST | {"events": {}}, "/events", "type"),
    "too many": (REQUEST | {"events": [{}] * 11}, "/events", "maxItems"),
    "null code": (REQUEST | {"test_event_code": None}, "/test_event_code", "type"),
    "empty code": (REQUEST | {"test_event_code": ""}, "/test_event_code", "minLength"),
    "null beside": (REQUEST | {"mood": None}, "/mood", "type"),
}


@pytest.mark.parametrize("name", BAD_REQUESTS)
def test_bad_requests_are_named(name: str) -> None:
    """What is wrong around the events is named on both wires."""
    request, pointer, keyword = BAD_REQUESTS[name]
    for dialect in DIALECTS:
        given_key = {} if dialect == "interchange" else {"idempotency_key": KEY}
        issues = check_request(request | given_key, dialect, 10)
        assert [(issue.pointer, issue.keyword) for issue in issues] == [(pointer, keyword)]


@pytest.mark.parametrize(
    "field",
    [
        {"idempotency_key": KEY},
        {"adcp_version": "3.1"},
        {"adcp_major_version": 3},
        {"context": {}},
        {"ext": {}},
    ],
    ids=lambda field: next(iter(field)),
)
def test_interchange_takes_no_fields_of_agents(field: dict[str, object]) -> None:
    """What only AdCP agents know is refused over REST."""
    assert len(check_request(REQUEST | field, "interchange", 10)) == 1
    assert check_request(REQUEST | {"idempotency_key": KEY} | field, "3.1", 10) == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("idempotency_key", "x" * 15),
        ("idempotency_key", "x" * 256),
        ("idempotency_key", "x" * 16 + "/"),
        ("idempotency_key", "x" * 16 + "\n"),
        ("adcp_version", "3.1.2"),
        ("adcp_version", 3.1),
        ("adcp_major_version", "3"),
        ("adcp_major_version", 0),
        ("context", []),
    ],
)
def test_agents_are_strict_about_the_envelope(field: str, value: object) -> None:
    """Keys, versions and context have their forms."""
    issues = check_request(REQUEST | {"idempotency_key": KEY} | {field: value}, "3.1", 10)
    assert [issue.pointer for issue in issues] == [f"/{field}"]


def test_agents_require_a_key() -> None:
    """Without an idempotency key a request to an agent is refused."""
    issues = check_request(REQUEST, "3.1", 10)
    assert [issue.pointer for issue in issues] == ["/idempotency_key"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=12,
)


def holds_null(value: object) -> bool:
    """Say whether there is a null anywhere in `value`."""
    if isinstance(value, dict):
        return any(map(holds_null, value.values()))
    return any(map(holds_null, value)) if isinstance(value, list) else value is None


@given(json_values)
def test_anything_but_null_may_stand_in_unknown_keys(value: object) -> None:
    """Unknown keys are legal at every level with any value, so long as none is null."""
    event = make_event(unknown=value, ext={"a": value}, custom_data={"own": value})
    assert bool(pointers(event)) is holds_null(value)


@given(st.sampled_from(sorted(GOOD["contents"])), json_values, st.sampled_from(DIALECTS))
def test_any_value_is_checked_without_an_exception(
    key: str, value: object, dialect: Dialect
) -> None:
    """Whatever JSON stands in a field, it is judged; its pointer begins there or at a condition."""
    found = pointers(make_event(**{key: value}), dialect)
    conditions = {"/event_source_url", "/custom_event_name", "/custom_data", "/user_match"}
    assert all(pointer.startswith(f"/{key}") or pointer in conditions for pointer in found)


@given(st.datetimes(), st.integers(-1439, 1439))
def test_every_moment_of_the_calendar_is_known(moment: datetime, minutes: int) -> None:
    """A time as Python writes it, with any offset, is a moment; without one it is none."""
    sign = "-" if minutes < 0 else "+"
    offset = f"{sign}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"
    assert is_real_time(moment.isoformat() + offset)
    assert not is_real_time(moment.isoformat())


@given(st.text("0123456789-T:.Z+ ", max_size=26))
def test_any_text_is_a_moment_or_not(text: str) -> None:
    """No text makes the check fail."""
    assert is_real_time(text) in {True, False}


def test_the_rules_are_independent_of_the_library() -> None:
    """No module of the local seller imports what it is to check."""
    checked = {"events", "wire", "validation", "faults", "vocabulary", "reading", "parts", "orders"}
    folder = Path(adcp_tracker.sandbox.__file__).parent
    for module in folder.glob("*.py"):
        for node in ast.walk(ast.parse(module.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                top, _, rest = name.partition(".")
                assert top != "adcp_tracker" or rest.split(".")[0] not in checked, module
