"""A machine's clock may be set while the library runs, or may never have been."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from freezegun import freeze_time

from adcp_tracker.destinations.base import Paused, Retry
from tests.support.booked import balanced, track, track_before
from tests.support.destinations import HandClock, ScriptedDestination, wait_until

if TYPE_CHECKING:
    from adcp_tracker.destinations.base import Outcome
    from tests.faults.conftest import Make

DAY = 86_400.0


class SettableClock(HandClock):
    """A clock whose time of day can be set; its monotonic time is the machine's business."""

    def __init__(self) -> None:
        super().__init__()
        self.steady = 0.0

    def monotonic(self) -> float:
        """Return what nobody sets."""
        return self.steady

    def pass_by(self, seconds: float) -> None:
        """Let time pass, as both see it."""
        self.time += seconds
        self.steady += seconds


@pytest.mark.parametrize("moment", ["1970-01-01 00:00:05", "2001-01-01", "2099-01-01"])
def test_events_of_a_wrong_clock_are_kept(make: Make, moment: str) -> None:
    """A board without a battery starts in 1970; its events are read back like all others."""
    seller = ScriptedDestination()
    tracker = make(uploader="external")
    with freeze_time(moment, real_asyncio=True):
        ids = track(tracker, 3)
    tracker.close()
    tracker = make(seller)
    tracker.flush(10.0)
    assert seller.ids == ids
    assert balanced(tracker).delivered == 3


@pytest.mark.parametrize(
    "outcome",
    [Retry("http_503", "busy"), Retry("RATE_LIMITED", "slow down", 3600.0), Paused("a", "b", "c")],
    ids=["backoff", "asked to wait", "paused"],
)
def test_a_clock_set_back_stalls_nothing_for_longer_than_a_wait(
    make: Make, outcome: Outcome
) -> None:
    """What was to be tried again in a minute is not tried again in a year and a minute."""
    clock = SettableClock()
    seller = ScriptedDestination(outcomes=[outcome])
    tracker = make(seller, _clock=clock)
    ids = track(tracker, 5)
    wait_until(lambda: balanced(tracker).paused or balanced(tracker).retrying)
    clock.time -= 365 * DAY
    tracker.flush(0.1)
    for _ in range(2):  # the second is answered after a whole round at the new time
        tracker.stats()
    clock.pass_by(4000.0)
    wait_until(lambda: balanced(tracker).delivered == 5)
    assert seller.ids == ids


def test_a_clock_set_forward_hurries_and_loses_nothing(make: Make) -> None:
    """Waits end early; the same batch goes again under the same identity."""
    clock = SettableClock()
    seller = ScriptedDestination(outcomes=[Retry("RATE_LIMITED", "slow down", 3600.0)])
    ids = track_before(make, 5, _clock=clock)
    tracker = make(seller, _clock=clock)
    tracker.start()
    wait_until(lambda: balanced(tracker).retrying)
    clock.time += 365 * DAY
    tracker.flush(0.1)
    wait_until(lambda: seller.ids == ids)
    first, second = seller.batches
    assert first == second


def test_segments_named_out_of_order_are_all_delivered(make: Make) -> None:
    """A segment begun after the clock was set back is named before the older ones."""
    clock = SettableClock()
    seller = ScriptedDestination()
    tracker = make(uploader="external", _clock=clock)
    ids = []
    for number, jump in enumerate([0.0, -DAY, 3 * DAY, -DAY]):
        clock.time += jump
        ids += track(tracker, 2, first=2 * number)
        tracker.stop()
    tracker = make(seller, _clock=clock)
    tracker.flush(10.0)
    assert sorted(seller.ids) == sorted(ids)
    assert balanced(tracker).delivered == 8
