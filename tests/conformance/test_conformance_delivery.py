"""Events through the real tracker to a seller that nobody here wrote, in strict mode."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from adcp_tracker import Agent, Tracker
from adcp_tracker.event_sources.model import Account, EventSource
from tests.conformance import trying
from tests.conformance.installed import needs_sdk
from tests.conformance.selling import SOURCE, TOKEN
from tests.conformance.trying import EXAMPLES, thoroughly
from tests.support.events import events, mended_events, plain_events

if TYPE_CHECKING:
    from pathlib import Path

    from adcp_tracker.events.event import Event
    from tests.conformance.selling import SdkSeller

pytestmark = needs_sdk

ANSWER_S = 100.0
"""How long everything may take to be delivered, for each two thousand events."""


def sdk_agent(seller: SdkSeller, **more: Any) -> Agent:  # noqa: ANN401 - settings differ
    """Return a destination that the SDK's seller knows."""
    known: dict[str, Any] = {"url": seller.url, "event_source_id": SOURCE, "token": TOKEN}
    return Agent(**(known | more))


def track(tracker: Tracker, event: Event, event_id: str) -> None:
    """Track a generated event under an id of its own, by the arguments a shop would give."""
    names = ("user_match", "custom_data", "action_source", "custom_event_name", "surface", "ext")
    details: dict[str, Any] = {name: getattr(event, name) for name in names}
    tracker.track(
        event.event_type,
        event_id=event_id,
        event_time=event.event_time,
        event_source_url=event.event_source_url,
        **details,
    )


def test_no_event_is_refused_that_the_validators_accepted(
    sdk_seller: SdkSeller, tmp_path: Path
) -> None:
    """Thousands of generated events of every kind arrive, each once, and none is refused."""
    tracked: list[str] = []
    tracker = Tracker([sdk_agent(sdk_seller)], directory=tmp_path, strict=True, flush_interval=0.2)

    @settings(thoroughly(25), database=None, phases=[Phase.generate])
    @given(drawn=st.lists(events | plain_events | mended_events, min_size=25, max_size=40))
    def shop(drawn: list[Event]) -> None:
        for event in drawn:
            tracked.append(f"{len(tracked)}-{event.event_id}"[:256])
            track(tracker, event, tracked[-1])

    with tracker:
        shop()
        counts = tracker.flush(ANSWER_S * max(trying.examples / EXAMPLES, 1)).total()
        letters = [(letter.code, letter.message) for letter in tracker.dead_letters.list()]
    assert (letters, counts.pending, counts.dropped) == ([], 0, {})
    assert counts.delivered == len(tracked) >= trying.examples
    assert sorted(sdk_seller.taken_ids()) == sorted(tracked)
    keys = [call["key"] for call in sdk_seller.taken()]
    assert len(set(keys)) == len(keys)
    print(f"{len(tracked):,} events in {len(keys):,} requests")  # noqa: T201 - shown by -s


def test_ten_thousand_nodes_are_learned_and_remembered(
    sdk_seller: SdkSeller, tmp_path: Path
) -> None:
    """A seller that counts JSON values is served without help, after a restart at once."""
    orders = iter(range(6_000))

    def sell(count: int) -> int:
        with Tracker([sdk_agent(sdk_seller)], directory=tmp_path, uploader="external") as shop:
            for number in [next(orders) for _ in range(count)]:
                shop.track_purchase(order(number))
        with Tracker([sdk_agent(sdk_seller)], directory=tmp_path) as tracker:
            return tracker.flush(100.0).total().delivered

    assert sell(3_000) == 3_000
    asked = sdk_seller.calls()
    assert len(asked[0]["ids"]) == 3_000
    assert len(asked) > len(sdk_seller.taken())
    sdk_seller.forget()
    assert sell(2_000) == 5_000
    assert len(sdk_seller.calls()) == len(sdk_seller.taken())


def order(number: int) -> dict[str, object]:
    """Return an order, the same each time."""
    return {
        "id": f"order-{number}",
        "total": f"{number}.50",
        "currency": "EUR",
        "email": f"shopper{number}@shop.example",
        "items": [{"id": f"sku-{number % 7}", "quantity": 1 + number % 3, "price": "0.50"}],
    }


def test_test_events_and_every_line_are_taken(sdk_seller: SdkSeller, tmp_path: Path) -> None:
    """Requests of lines 3.0, 3.1 and 3.2 and of test events pass the seller's checks."""
    for line in ("3.0", "3.1", "3.2"):
        agent = sdk_agent(sdk_seller, adcp_version=line, name=line)
        with Tracker([agent], directory=tmp_path / line) as tracker:
            tracker.track_purchase(order(1))
            tracker.track_purchase(order(2), test_event_code="T-1")
            counts = tracker.flush(20.0).total()
            assert (counts.delivered, counts.dead) == (2, 0), line
    versions = {call["version"] for call in sdk_seller.calls()}
    assert versions == {None, "3.1", "3.2"}
    assert json.dumps(sdk_seller.taken_ids()).count("order-1") == 3


def test_event_sources_are_registered_and_then_known(sdk_seller: SdkSeller, tmp_path: Path) -> None:
    """The SDK's own answers about event sources are understood, and events are held to them."""
    wanted = EventSource(event_source_id=SOURCE, name="Website", event_types=["purchase"])
    till = EventSource(event_source_id="till", value_currencies=["EUR"])
    account = Account(brand="shop.example", operator="shop.example")
    with Tracker([sdk_agent(sdk_seller, adcp_version="3.2")], directory=tmp_path) as tracker:
        (first,) = tracker.event_sources.sync([wanted, till], account=account)
        assert [each.action for each in first.sources] == ["created", "created"]
        (second,) = tracker.event_sources.sync([wanted], account=account, delete_missing=True)
        assert [each.action for each in second.sources] == ["unchanged", "deleted"]
        (listed,) = tracker.event_sources.list(account=account)
        assert [each.event_source_id for each in listed.sources] == [SOURCE]
        tracker.track_purchase(order(1))
        tracker.track_lead("L-1")
        counts = tracker.flush(20.0).total()
    assert (counts.delivered, counts.dead) == (1, 1)
    assert sdk_seller.taken_ids() == ["order-1"]
