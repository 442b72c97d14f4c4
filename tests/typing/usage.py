"""Uses of the public API that mypy and pyright must accept, with the types they must find.

Nothing here runs: `nox -s types` checks this folder with both.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from typing_extensions import assert_type

from adcp_tracker import (
    Agent,
    DeadLetter,
    Event,
    Interchange,
    Order,
    OrderItem,
    RejectedEvent,
    RequestContext,
    Stats,
    Tracker,
    bind_context,
)
from adcp_tracker.testing import RecordingTracker

if TYPE_CHECKING:
    from collections.abc import Sequence


def make() -> Tracker:
    """Build a tracker from its usual parts."""
    tracker = Tracker(
        [
            Interchange(advertiser_id="1", event_source_id="website", api_key="key"),
            Agent(url="https://seller.example/mcp", event_source_id="website", token="token"),
        ],
        directory="queue",
        durability="power",
        when_full="raise",
    )
    assert_type(Tracker.from_env(), Tracker)
    return tracker


def track(tracker: Tracker, order: Order, row: dict[str, object]) -> None:
    """Track orders of several kinds, and other events."""
    assert_type(tracker.track_purchase(order), Event | RejectedEvent)
    assert_type(tracker.track_purchase(row, click_id="abc"), Event | RejectedEvent)
    assert_type(tracker.track_refund(order, amount=Decimal(5)), Event | RejectedEvent)
    assert_type(tracker.track_lead("L-1", email="a@example.com"), Event | RejectedEvent)
    assert_type(tracker.track("purchase", event_id="1"), Event | RejectedEvent)
    with bind_context(RequestContext(client_ip="192.0.2.1")):
        tracker.track_page_view()


def operate(tracker: Tracker) -> Sequence[DeadLetter]:
    """Read the numbers, and work with dead letters."""
    assert_type(tracker.flush(timeout=5), Stats)
    assert_type(tracker.stats(), Stats)
    letters = tracker.dead_letters.list()
    tracker.dead_letters.replay(letters[0].id)
    tracker.privacy.erase(email="a@example.com")
    tracker.close(timeout=2)
    return letters


def record() -> None:
    """Record events in a test."""
    with RecordingTracker() as tracker:
        tracker.track_purchase(
            Order(
                order_id="1",
                total=Decimal("5.00"),
                currency="EUR",
                items=[OrderItem("A")],
            )
        )
        assert_type(tracker.events, list[Event])
