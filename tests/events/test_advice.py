"""Advice at run time: what is probably wrong with the events that are sent."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from adcp_tracker import Tracker
from adcp_tracker.events.advice import Advisor
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
        "user_match": {**_ALICE, "client_ip": f"10.0.0.{number}", "client_user_agent": f"{number}"},
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
            value = "secret" if number % 2 else f"{turn}-{number}"
            batch.append(event(number, user_match={**_ALICE, field: value}))
        found = one.observe(batch, is_test=False)
    what = "IP address" if field == "client_ip" else "browser"
    assert [text.partition(".")[0] for text in found] == [f"Half of the events have one {what}"]
    assert "secret" not in caplog.text + "".join(found)


def test_an_address_without_a_browser_identifies_nobody() -> None:
    """Sellers match by both of them, or by what is the shopper's own."""
    one = advisor()
    alone = [event(n, user_match={"client_ip": f"10.0.0.{n}"}) for n in range(20)]
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
