"""The Interchange side of the local seller."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from tests.support.seller import ADVERTISER, SOURCE, TOKEN

if TYPE_CHECKING:
    from adcp_tracker.sandbox import Sandbox
    from tests.support.seller import SellerProcess

HASH = "ff8d9819fc0e12bf0d24892e45987e249a28dce836a85cad60e28eaaa8c6d976"


def make_event(event_id: str = "o-1", **more: object) -> dict[str, object]:
    """Return a good event."""
    return {
        "event_id": event_id,
        "event_type": "purchase",
        "event_time": "2026-01-02T03:04:05Z",
        "user_match": {"hashed_email": HASH},
        "custom_data": {"value": 12.5, "currency": "EUR"},
        **more,
    }


def send(
    seller: Sandbox | SellerProcess, *events: object, path: str = "", **more: object
) -> httpx.Response:
    """Send `events` in one request."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    body = {"event_source_id": SOURCE, "events": list(events), **more}
    url = path or f"{seller.url}/advertisers/{ADVERTISER}/log-event"
    return httpx.post(url, json=body, headers=headers)


def test_good_events_are_taken(seller: Sandbox) -> None:
    """A good request gets a wrapped answer that counts its events."""
    answer = send(seller, make_event("a"), make_event("b"))
    assert answer.status_code == 200
    assert answer.json() == {
        "data": {"events_received": 2, "events_processed": 2, "match_quality": 1.0},
        "error": None,
    }
    assert [event["event_id"] for event in seller.events] == ["a", "b"]
    assert seller.events[0] == make_event("a")


def test_process_seller_works_alike(seller_process: SellerProcess) -> None:
    """A seller in its own process takes events, counts them and comes back after a kill."""
    assert send(seller_process, make_event("a")).status_code == 200
    seller_process.wait_for(1)
    assert seller_process.event_ids == ["a"]
    seller_process.fail(status=503, times=1)
    assert send(seller_process, make_event("b")).status_code == 503
    seller_process.kill()
    with pytest.raises(httpx.TransportError):
        send(seller_process, make_event("b"))
    seller_process.start()
    assert send(seller_process, make_event("b")).status_code == 200
    assert seller_process.counts["good"] == 1
