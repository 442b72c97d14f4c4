"""The pytest plugin and capture_events(), as a shop's own tests use them."""

from __future__ import annotations

import unittest
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from adcp_tracker import InvalidEventError, Tracker
from adcp_tracker.testing import RecordingDestination, capture_events

if TYPE_CHECKING:
    from collections.abc import Iterator

pytest_plugins = ["pytester"]

ORDER = {"id": "A-1", "total": "59.90", "currency": "EUR", "email": "alice@example.com"}


@pytest.fixture
def tracker(tmp_path: Path) -> Iterator[Tracker]:
    """A tracker of an application, made before anything is captured."""
    with Tracker([RecordingDestination()], directory=tmp_path / "queue") as tracker:
        yield tracker


def test_captured_events_are_neither_written_nor_sent(tracker: Tracker, tmp_path: Path) -> None:
    """An event is there at once, and the queue's directory isn't even made."""
    with capture_events() as events:
        event = tracker.track_purchase(ORDER)
        tracker.flush(1)

    assert events == [event]
    assert not (tmp_path / "queue").exists()


def test_nothing_is_captured_after_the_block(tracker: Tracker) -> None:
    """Afterwards events are recorded as usual."""
    with capture_events() as events:
        pass
    tracker.track_purchase(ORDER)

    assert events == []
    assert tracker.flush(10).total().delivered == 1


def test_while_capturing_a_broken_rule_raises(tracker: Tracker) -> None:
    """A tracker that isn't strict is strict meanwhile."""
    with capture_events(), pytest.raises(InvalidEventError):
        tracker.track("purchse")


def test_an_assertion_returns_the_event_it_found(tracker: Tracker) -> None:
    """Fields of the event, its data and its shopper are compared by their names."""
    with capture_events() as events:
        tracker.track_purchase(ORDER, custom_data={"coupon": "SPRING"})
        tracker.track_page_view(event_id="page")

    event = events.assert_tracked(
        "purchase",
        order_id="A-1",
        value=59.9,
        currency="EUR",
        email="Alice@Example.com",
        coupon="SPRING",
    )
    assert event is events[0]
    assert events.of_type("page_view") == [events[1]]
    events.assert_not_tracked("refund")


def test_a_failed_assertion_shows_what_was_tracked(tracker: Tracker) -> None:
    """It names the fields that differ, and shows no address."""
    with capture_events() as events:
        tracker.track_purchase(ORDER)
        tracker.track_page_view(event_id="page")

    with pytest.raises(AssertionError) as caught:
        events.assert_tracked(
            "purchase", order_id="A-2", value=Decimal(5), email="bob@example.com", colour="red"
        )

    assert str(caught.value).splitlines() == [
        (
            "expected 1 purchase(order_id='A-2', value=Decimal('5'), email=(hidden), "
            "colour='red'), got 0. Tracked: 2"
        ),
        "  purchase 'A-1'",
        "    order_id: expected 'A-2', got 'A-1'",
        "    value: expected Decimal('5'), got Decimal('59.90')",
        "    email: expected (hidden), got (hidden)",
        "    colour: expected 'red', got no such field",
        "  page_view 'page'",
    ]


def test_two_events_alike_are_one_too_many(tracker: Tracker) -> None:
    """Tracking the same order twice is what such a test is to find."""
    with capture_events() as events:
        tracker.track_purchase(ORDER)
        tracker.track_purchase(ORDER)

    with pytest.raises(AssertionError, match="got 2"):
        events.assert_tracked("purchase", order_id="A-1")
    with pytest.raises(AssertionError, match="got 2"):
        events.assert_not_tracked("purchase")


class UnittestTest(unittest.TestCase):
    """The same with the standard library's own tests."""

    def test_events_are_captured(self) -> None:
        """capture_events() is an ordinary context manager."""
        with capture_events() as events, Tracker(directory="never-made") as tracker:
            tracker.track_purchase(ORDER)
        events.assert_tracked("purchase", order_id="A-1")


SHOP = """
    from adcp_tracker import Interchange, Tracker

    def make(directory, **options):
        remote = Interchange(advertiser_id="1", event_source_id="s", api_key="k", **options)
        return Tracker([remote], directory=directory)
"""


def _run(pytester: pytest.Pytester, test: str, *args: str) -> pytest.RunResult:
    pytester.makepyfile(shop=SHOP, test_shop=test)
    return pytester.runpytest_subprocess("-p", "no:cacheprovider", *args)


@pytest.mark.slow
def test_the_fixture_captures_in_each_test_alone(pytester: pytest.Pytester) -> None:
    """Nothing survives a test, in one process and in several."""
    test = """
        import pytest
        from shop import make

        tracker = make("queue")

        @pytest.mark.parametrize("number", range(6))
        def test_one(adcp_events, number):
            tracker.track_purchase({"id": str(number), "total": "1.00", "currency": "EUR"})
            adcp_events.assert_tracked("purchase", order_id=str(number))
            assert len(adcp_events) == 1
    """
    _run(pytester, test).assert_outcomes(passed=6)
    _run(pytester, test, "-n", "2").assert_outcomes(passed=6)
    assert not (pytester.path / "queue").exists()


@pytest.mark.slow
def test_no_test_sends_beyond_this_machine_by_accident(pytester: pytest.Pytester) -> None:
    """Without a fixture, what a remote seller would get is dropped, a broken event too."""
    test = """
        from shop import make

        def test_quiet():
            with make("queue") as tracker:
                tracker.track_purchase({"id": "1", "total": "1.00", "currency": "EUR"})
                tracker.track("purchse")
                assert tracker.flush(20).pending == 0
    """
    _run(pytester, test).assert_outcomes(passed=1)
    assert not (pytester.path / "queue").exists()


@pytest.mark.slow
def test_a_marked_test_may_send(pytester: pytest.Pytester) -> None:
    """`adcp_send` lets events be recorded, to be delivered."""
    test = """
        import pytest
        from shop import make

        @pytest.mark.adcp_send
        def test_live(tmp_path):
            tracker = make(tmp_path / "queue", base_url="https://127.0.0.2:1")
            tracker.track_purchase({"id": "1", "total": "1.00", "currency": "EUR"})
            assert list(tmp_path.rglob("*")) != []
            tracker.close(0)
    """
    _run(pytester, test).assert_outcomes(passed=1)


@pytest.mark.slow
def test_the_seller_of_the_fixture_gets_what_is_tracked(pytester: pytest.Pytester) -> None:
    """The variables lead to a real seller on this machine."""
    test = """
        from adcp_tracker import Tracker

        def test_delivery(adcp_seller):
            with Tracker.from_env() as tracker:
                tracker.track_purchase({"id": "1", "total": "1.00", "currency": "EUR"})
                adcp_seller.wait_for(1, timeout=20)
            assert [event["event_id"] for event in adcp_seller.events] == ["1"]
    """
    _run(pytester, test).assert_outcomes(passed=1)


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["0", "2"])
def test_an_application_without_settings_can_be_tested(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, workers: str
) -> None:
    """It is made where it is imported; a directory of the run stands in for the missing one."""
    monkeypatch.delenv("ADCP_DIRECTORY", raising=False)
    test = """
        import os
        import pytest
        from flask import Flask
        from adcp_tracker_flask import AdcpTracker, get_tracker

        app = Flask(__name__)
        AdcpTracker(app)

        @app.get("/")
        def page():
            get_tracker().track_lead("1")
            return os.environ["ADCP_DIRECTORY"]

        @pytest.mark.parametrize("number", range(4))
        def test_page(number, adcp_events):
            directory = app.test_client().get("/").text
            adcp_events.assert_tracked("lead", event_id="1")
            assert len(adcp_events) == 1
            assert os.listdir(directory) == []
            with open(os.environ["SEEN"], "a") as seen:
                print(directory, file=seen)
    """
    seen = pytester.path / "seen"
    monkeypatch.setenv("SEEN", str(seen))
    _run(pytester, test, "-n", workers).assert_outcomes(passed=4)
    directories = set(seen.read_text().split())
    assert len(directories) == max(1, int(workers))
    assert not any(Path(directory).exists() for directory in directories)
