"""Advice at run time: what is probably wrong with the events that are sent."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import attrs
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adcp_tracker import Tracker
from adcp_tracker._advice import (
    IDENTIFIERS,
    Advisor,
    EventSample,
    find_suspicions,
    identifier_shares,
    missing_identifiers,
)
from adcp_tracker.events.model import UserMatch
from tests.support.destinations import HandClock, ScriptedDestination

if TYPE_CHECKING:
    from pathlib import Path

_NOW = 1_767_225_600.0
_RECENT = "2025-12-31T23:00:00Z"
_OLD = "2025-12-01T00:00:00Z"
_ALICE = {"hashed_email": "a" * 64}
_DATA = {"value": 5, "currency": "EUR"}


def event(number: int = 0, **fields: Any) -> bytes:  # noqa: ANN401 - any field
    """Return a purchase with nothing wrong, but for the fields given."""
    whole = {
        "event_id": f"A-{number}",
        "event_type": "purchase",
        "event_time": _RECENT,
        "user_match": {**_ALICE, "client_ip": f"8.8.4.{number}", "client_user_agent": f"{number}"},
        "custom_data": _DATA,
    }
    return orjson.dumps({name: value for name, value in {**whole, **fields}.items() if value})


def advisor() -> Advisor:
    """Return an advisor whose clock stands still."""
    clock = HandClock()
    clock.time = _NOW
    return Advisor("seller", clock)


def test_sound_events_get_no_advice() -> None:
    """Neither a few nor many of them."""
    one = advisor()
    for _ in range(100):
        assert one.observe([event(number) for number in range(20)], is_test=False) == []


PROBLEMS: dict[str, tuple[dict[str, object], str]] = {
    "nothing of the shopper": ({"user_match": None}, "have nothing to match them by"),
    "no value": ({"custom_data": {"currency": "EUR"}}, "have no value or currency"),
    "no currency": ({"custom_data": {"value": 5}}, "have no value or currency"),
    "weeks late": ({"event_time": _OLD}, "are more than 7 days old"),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_a_problem_of_many_events_is_advised_once_an_hour(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """With what to do; a few in a thousand are no one's fault."""
    fields, text = PROBLEMS[name]
    one = advisor()
    for _ in range(3):
        batch = [event(number, **(fields if number % 2 else {})) for number in range(20)]
        (advice,) = one.observe(batch, is_test=False)
    assert text in advice
    entries = [record for record in caplog.records if vars(record)["event"] == "events.advice"]
    assert len(entries) == 1
    few = advisor()
    for _ in range(50):
        batch = [event(number, **(fields if number == 7 else {})) for number in range(20)]
        assert few.observe(batch, is_test=False) == []


@pytest.mark.parametrize("field", ["client_ip", "client_user_agent"])
def test_one_address_or_browser_of_half_the_events_is_found_and_not_shown(
    field: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is probably the proxy's or the server's own; others come and go meanwhile."""
    one, found = advisor(), [""]
    for turn in range(30):
        batch = []
        for number in range(20):
            value = "9.9.9.9" if number % 2 else f"8.{turn}.8.{number}"
            batch.append(event(number, user_match={**_ALICE, field: value}))
        found = one.observe(batch, is_test=False)
    what = "IP address" if field == "client_ip" else "browser"
    assert [text.partition(".")[0] for text in found] == [
        f"At least half of the events have the same {what}"
    ]
    assert "9.9.9.9" not in caplog.text + "".join(found)


def test_an_address_without_a_browser_identifies_nobody() -> None:
    """Sellers match by both of them, or by what is the shopper's own."""
    one = advisor()
    alone = [event(n, user_match={"client_ip": f"8.8.4.{n}"}) for n in range(20)]
    (advice,) = one.observe(alone, is_test=False)
    assert "100% of the events have nothing to match them by" in advice


def test_a_test_code_left_on_is_said() -> None:
    """None of those events counts as a conversion."""
    one = advisor()
    (advice,) = one.observe([event(number) for number in range(20)], is_test=True)
    assert "100% of the events are marked as tests" in advice


def test_erased_events_and_odd_times_are_passed_over() -> None:
    """Whatever a person's erasure left, and whatever a clock wrote."""
    assert advisor().observe([b"{}"] * 50, is_test=False) == []
    assert advisor().observe([event(event_time="soon")] * 9, is_test=False) == []


def test_advice_stands_in_the_stats_until_it_is_followed(tmp_path: Path) -> None:
    """Of the destination whose events it is about."""
    with Tracker([ScriptedDestination()], directory=tmp_path, handle_sigterm=False) as tracker:
        for number in range(20):
            tracker.track_purchase({"id": str(number), "total": "1.00", "currency": "EUR"})
        (advice,) = tracker.flush(10.0).destinations["scripted"].advice
    assert "nothing to match them by" in advice


def test_random_ids_of_conversions_are_said_once_an_hour(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Page views have no better; a lead without an id would count twice."""
    caplog.set_level(logging.WARNING, "adcp_tracker")
    with Tracker(directory=tmp_path, handle_sigterm=False) as tracker:
        tracker.track_page_view(email="a@example.com")
        assert "event.random_id" not in caplog.text
        for _ in range(3):
            tracker.track_lead(email="a@example.com")
        tracker.track_lead("L-1", email="a@example.com")
    assert caplog.text.count("event.random_id") == 1


def codes(*events: bytes, currencies: frozenset[str] = frozenset()) -> list[str]:
    """Return the codes of what is suspicious about events."""
    sample = EventSample()
    for each in events:
        sample.add(orjson.loads(each), _NOW, is_test=False, currencies=currencies)
    return [each.code for each in find_suspicions(sample.counts())]


@pytest.mark.parametrize(
    ("name", "event_id", "found"),
    [
        ("lead", "0123456789abcdef0123456789abcdef", ["random_id"]),
        ("lead", "lead:0123456789abcdef0123456789abcdef", []),
        ("lead", "L-17", []),
        ("page_view", "0123456789abcdef0123456789abcdef", []),
        ("purchase", "0123456789abcdef0123456789abcdef", []),
    ],
)
def test_random_ids_are_advised_against(name: str, event_id: str, found: list[str]) -> None:
    """Where a repeated call would count twice, and a better id exists."""
    assert codes(*(event(n, event_type=name, event_id=event_id) for n in range(20))) == found


def priced(*values: object, currency: str = "EUR") -> list[bytes]:
    """Return purchases with these values."""
    return [event(n, custom_data={"value": v, "currency": currency}) for n, v in enumerate(values)]


CENTS = [5990, 12345, 999, 2450, 10000, 4999, 1850, 7995, 899, 15990]
AMOUNTS: dict[str, tuple[list[bytes], list[str]]] = {
    "cents": (priced(*CENTS), ["cents"]),
    "euros": (priced(*(each / 100 for each in CENTS)), []),
    "whole and small": (priced(*(each // 100 for each in CENTS)), []),
    "one with decimals in ten": (priced(*CENTS[:9], 59.90), []),
    "fewer than ten": (priced(*CENTS[:9]), []),
    "yen, which have no cents": (priced(*CENTS, currency="JPY"), []),
    "mostly small": (priced(*[450] * 6, *[5990] * 4), []),
    "half of them large": (priced(*[450] * 5, *[5990] * 5), ["cents"]),
    "free orders": (priced(*[0] * 20), []),
}


@pytest.mark.parametrize("name", AMOUNTS)
def test_amounts_that_look_like_cents_are_suspected(name: str) -> None:
    """Nearly all are whole and at least half are large; a shop with round prices is not."""
    events, expected = AMOUNTS[name]
    assert codes(*events) == expected


@pytest.mark.parametrize("field", ["client_ip", "client_user_agent"])
def test_a_value_that_a_third_of_the_events_have_is_not_suspected(field: str) -> None:
    """A large customer's office, or the browser of the year; half is too many."""
    usual = [event(number) for number in range(20)]
    assert codes(*usual, *[event(40, user_match={**_ALICE, field: "8.8.8.8"})] * 10) == []
    found = codes(*usual, *[event(40, user_match={**_ALICE, field: "8.8.8.8"})] * 20)
    assert found == ["one_address" if field == "client_ip" else "one_browser"]


@pytest.mark.parametrize(
    ("event_time", "expected"),
    [("2025-12-25T23:00:00Z", []), ("2025-12-24T23:00:00Z", ["too_old"])],
)
def test_events_older_than_a_week_are_late(event_time: str, expected: list[str]) -> None:
    """A day less is fine."""
    assert codes(*[event(number, event_time=event_time) for number in range(10)]) == expected


def at(address: str, count: int) -> list[bytes]:
    """Return events from an address, each with a browser of its own."""
    return [
        event(n, user_match={**_ALICE, "client_ip": address, "client_user_agent": str(n)})
        for n in range(count)
    ]


@pytest.mark.parametrize(
    "address", ["10.1.2.3", "172.16.0.9", "192.168.1.1", "127.0.0.1", "fd00::1", "169.254.1.1"]
)
def test_private_addresses_are_suspected(address: str) -> None:
    """From a tenth of the events with an address; public ones are fine."""
    public = [event(number) for number in range(18)]
    assert codes(*public, *at(address, 2)) == ["private_address"]
    assert codes(*public, *at(address, 1)) == []
    assert codes(*public, *at("8.8.8.8", 2)) == []
    assert codes(*public, *at("2a00:1450::1", 2)) == []


def test_an_address_that_is_none_is_not_private() -> None:
    """Validation has a word for it; it says nothing of proxies."""
    assert codes(*[event(number) for number in range(9)], *at("here", 5)) == []


def test_values_in_a_currency_that_the_event_source_does_not_accept_are_suspected() -> None:
    """One is enough, as it is certain; without a list every currency is accepted."""
    events = [*priced(*[5] * 9), *priced(5, currency="CHF")]
    assert codes(*events, currencies=frozenset({"EUR"})) == ["other_currency"]
    assert codes(*events, currencies=frozenset({"EUR", "CHF"})) == []
    assert codes(*events) == []


def test_the_share_of_events_with_each_identifier_is_counted() -> None:
    """And what is missing, with what usually can be there."""
    sample = EventSample()
    for number in range(20):
        match = {"click_id": "c"} if number < 5 else _ALICE
        sample.add({"event_type": "lead", "user_match": match}, _NOW, is_test=False)
    counts = sample.counts()
    assert identifier_shares(counts) == {
        "hashed_email": 0.75,
        "hashed_phone": 0.0,
        "uids": 0.0,
        "click_id": 0.25,
        "client_ip": 0.0,
        "client_user_agent": 0.0,
    }
    assert list(missing_identifiers(counts)) == [
        "hashed_phone",
        "uids",
        "client_ip",
        "client_user_agent",
    ]
    assert identifier_shares({}) == missing_identifiers({"events": 9}) == {}


def test_every_identifier_of_the_protocol_is_known() -> None:
    """A new one needs its worth and the line that adds it."""
    fields = {field.name for field in attrs.fields(UserMatch)} - {"click_id_type", "extra"}
    assert fields == IDENTIFIERS.keys()


def test_a_sample_follows_the_latest_events_and_goes_on_after_a_restart() -> None:
    """Halved at a thousand; the counts alone are kept."""
    sample = EventSample()
    for _ in range(1000):
        sample.add(orjson.loads(event(user_match=None)), _NOW, is_test=False)
    assert sample.counts()["events"] == 500
    again = EventSample(sample.counts())
    for _ in range(499):
        again.add(orjson.loads(event()), _NOW, is_test=False)
    assert again.counts()["events"] == 999
    assert again.counts()["hashed_email"] == 499
    assert again.counts()["unidentified"] == 500


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
)
_PARTS = st.dictionaries(
    st.sampled_from(["client_ip", "client_user_agent", "uids", "value", "currency"]), _JSON
)


@given(
    st.dictionaries(st.sampled_from(["event_type", "event_time"]), _JSON),
    _PARTS | _JSON,
    _PARTS | _JSON,
)
def test_any_event_can_be_looked_at(event: dict[str, Any], match: object, data: object) -> None:
    """The local seller gets events from everybody, and shows what it got."""
    sample = EventSample()
    whole = event | {"user_match": match, "custom_data": data}
    for _ in range(20):
        sample.add(whole, _NOW, is_test=False, currencies={"EUR"})
    assert sample.counts()["events"] == 20
    assert all(str(each) for each in find_suspicions(sample.counts()))


def test_counts_hold_nothing_of_an_event() -> None:
    """They are published and kept on disk."""
    sample = EventSample()
    sample.add(orjson.loads(event()), _NOW, is_test=True, currencies={"EUR"})
    text = orjson.dumps(sample.counts()).decode()
    assert all(type(each) is int for each in sample.counts().values())
    assert not [part for part in ("8.8", "aaa", "EUR", "A-0") if part in text]
