"""The library's tracker, opened for both of its clients: an ``Order`` and a plain mapping.

Idle, it has no destination, so that nothing but the call itself runs.
Live, it has one Interchange destination and its uploader in this process, as by default.
"""

from __future__ import annotations

from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING

from adcp_tracker import Interchange, Tracker
from tests.bench.adapters import Session
from tests.bench.sales import PAGE, USER_AGENT, client_ip, email, order_id, phone

if TYPE_CHECKING:
    from pathlib import Path

MARKER = b'"event_type":"purchase"'
_FLUSH_S = 120.0


def idle(directory: Path) -> Session:
    """Open a tracker that keeps everything and sends nothing."""
    return _session(Tracker(destinations=[], directory=directory / "queue", uploader="external"))


def live(directory: Path, url: str) -> Session:
    """Open a tracker that delivers to `url`."""
    seller = Interchange(
        advertiser_id="bench", event_source_id="bench", api_key="bench", base_url=url
    )
    return _session(Tracker(destinations=[seller], directory=directory / "queue"))


def _session(tracker: Tracker) -> Session:
    track_purchase = tracker.track_purchase

    def track(order: object) -> None:
        track_purchase(order)

    return Session(track, partial(tracker.flush, timeout=_FLUSH_S))


def facts(number: int) -> dict[str, object]:
    """Give the order's own fields, and those of its request, without its items."""
    return {
        **_own(number),
        "client_ip": client_ip(number),
        "client_user_agent": USER_AGENT,
        "event_source_url": PAGE,
    }


def order_in_view(number: int) -> dict[str, object]:
    """Give the order as a view has it, which leaves it to the request who the shopper is."""
    return {**_own(number), "items": items()}


def _own(number: int) -> dict[str, object]:
    return {
        "order_id": order_id(number),
        "total": Decimal("129.90"),
        "currency": "EUR",
        "email": email(number),
        "phone": phone(number),
    }


def items() -> list[dict[str, object]]:
    """Give the order's two items."""
    return [
        {"id": "SKU-10023", "quantity": 1, "price": Decimal("49.90"), "brand": "Northwind"},
        {"id": "SKU-20417", "quantity": 2, "price": Decimal("40.00"), "brand": "Contoso"},
    ]
