"""Sellers that take only small requests are served without help, and what they take is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from adcp_tracker import Agent, Interchange, Tracker
from tests.support.seller import ADVERTISER, SOURCE, TOKEN, run_seller

if TYPE_CHECKING:
    from pathlib import Path

    from adcp_tracker.destinations.base import Destination
    from adcp_tracker.sandbox import Sandbox

LIMITS = {"100 kB": (100_000, 300), "10 MB": (10_000_000, 9_000)}
"""How large a request the seller takes, and how many events are sent to it."""


def destination(kind: str, seller: Sandbox) -> Destination:
    """Return a destination that is itself bounded by nothing."""
    more: dict[str, Any] = {"event_source_id": SOURCE, "max_bytes": 10**9}
    if kind == "agent":
        return Agent(url=seller.mcp_url, token=TOKEN, **more)
    return Interchange(advertiser_id=ADVERTISER, api_key=TOKEN, base_url=seller.url, **more)


def sell(kind: str, seller: Sandbox, directory: Path, numbers: range) -> list[int]:
    """Track large events first, then deliver them, and return the requests' statuses."""
    with Tracker(directory=directory) as shop:
        for number in numbers:
            shop.track("search", event_id=f"s-{number}", custom_data={"x_note": "y" * 1_200})
    before = len(seller.requests)
    with Tracker([destination(kind, seller)], directory=directory) as tracker:
        totals = tracker.flush(60.0).total()
        assert (totals.pending, totals.dead) == (0, 0)
    return [each.status for each in seller.requests[before:]]


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("kind", ["interchange", "agent"])
def test_a_limit_is_learned_and_survives_a_restart(kind: str, limit: str, tmp_path: Path) -> None:
    """The first requests are too large; after a restart none is, and every event is there."""
    most, count = LIMITS[limit]
    with run_seller(max_bytes=most, ids_only=True) as seller:
        assert 413 in sell(kind, seller, tmp_path, range(count))
        again = sell(kind, seller, tmp_path, range(count, 2 * count))
        assert again
        assert 413 not in again
        assert seller.counts["good"] == 2 * count
        assert seller.counts["duplicates"] == 0
