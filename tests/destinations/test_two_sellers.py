"""Two sellers at once, one of them away: neither waits for the other, and nothing doubles."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from adcp_tracker import Agent, Interchange, Tracker
from adcp_tracker.delivery.outcomes import RetryPolicy
from adcp_tracker.sandbox import Sandbox
from tests.support.booked import balanced, track
from tests.support.destinations import HandClock, wait_until
from tests.support.seller import ADVERTISER, SOURCE, TOKEN

if TYPE_CHECKING:
    from pathlib import Path

MINUTES = 60
PER_MINUTE = 3


@pytest.mark.slow
@pytest.mark.parametrize("away", ["interchange", "agent"])
def test_an_hour_without_one_seller(away: str, tmp_path: Path) -> None:
    """The other gets each event in the minute it was tracked; the first catches up, once each."""
    clock = HandClock()
    with Sandbox(now=clock.now) as one, Sandbox(now=clock.now) as other:
        here = Interchange(
            advertiser_id=ADVERTISER, event_source_id=SOURCE, api_key=TOKEN, base_url=one.url
        )
        there = Agent(url=other.mcp_url, event_source_id=SOURCE, token=TOKEN)
        sellers = {"interchange": one, "agent": other}
        names = {"interchange": here.name, "agent": there.name}
        down = sellers.pop(away)
        (well,) = sellers.values()
        down.stop()
        tracker = Tracker(
            [here, there],
            directory=tmp_path,
            _clock=clock,
            _policy=RetryPolicy(lambda: 0.5),
            flush_interval=0.02,
            handle_sigterm=False,
        )
        ids: list[str] = []
        for minute in range(MINUTES):
            ids += track(tracker, PER_MINUTE, first=minute * PER_MINUTE)
            # Time stands until the events are there, so not one of them is a second late.
            wait_until(lambda: well.counts["good"] == len(ids))  # noqa: B023 - waited for at once
            clock.time += 60.0
        totals = balanced(tracker, names[away])
        assert (totals.delivered, totals.pending, totals.dead) == (0, len(ids), 0)
        assert totals.retrying == "refused"
        down.start()

        def has_caught_up() -> bool:
            clock.time += 1.0
            return down.counts["good"] == len(ids)

        wait_until(has_caught_up)
        for seller, name in ((one, here.name), (other, there.name)):
            wait_until(lambda: balanced(tracker, name).pending == 0)  # noqa: B023 - as above
            assert sorted(event["event_id"] for event in seller.events) == sorted(ids)
            assert (seller.counts["duplicates"], seller.counts["bad"]) == (0, 0)
            assert balanced(tracker, name).delivered == len(ids)
        assert tracker.close(20.0).total().pending == 0
