"""Counts held against sellers' counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import pytest

from adcp_tracker import Tracker
from adcp_tracker.delivery.stats import DestinationStats
from adcp_tracker.destinations.base import CheckResult
from adcp_tracker.event_sources.api import HourRow, Reconciliation, reconcile
from adcp_tracker.event_sources.clients import EventSourceClient, Received
from adcp_tracker.sandbox import Sandbox
from tests.event_sources.asking import ACCOUNT, agent, interchange
from tests.support.destinations import HandClock, ScriptedDestination
from tests.support.seller import SOURCE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from adcp_tracker.destinations.base import Destination
    from adcp_tracker.event_sources.model import Account, EventSource, SourceReport

HOUR = 3600.0
START = 495_000
NOW = START * HOUR + 600


@attrs.frozen
class Teller:
    """A seller that counts what a test has it count."""

    answer: Received | CheckResult
    hindrance: CheckResult | None = None

    def list(self, account: Account | None) -> tuple[SourceReport, ...] | CheckResult:
        """List nothing."""
        del account
        return ()

    def sync(
        self, sources: Sequence[EventSource], account: Account | None, *, delete_missing: bool
    ) -> tuple[SourceReport, ...] | CheckResult:
        """Register nothing."""
        del sources, account, delete_missing
        return ()

    def validate(
        self, sources: Sequence[EventSource], *, delete_missing: bool
    ) -> CheckResult | None:
        """Mind nothing."""
        del sources, delete_missing
        return self.hindrance

    def count_received(
        self, account: Account | None, start: int, stop: int
    ) -> Received | CheckResult:
        """Say what it was told to."""
        del account, start, stop
        return self.answer


class Counted(ScriptedDestination):
    """A destination whose seller tells its counts."""

    def __init__(self, answer: Received | CheckResult) -> None:
        super().__init__("counted")
        self.event_source_id = SOURCE
        self._answer = answer

    def event_source_client(self) -> EventSourceClient:
        """Return the seller."""
        return Teller(self._answer)


def compare(
    answer: Received | CheckResult, hourly: Mapping[int, int], hours: int = 24
) -> Reconciliation:
    """Compare made-up counts with a made-up answer."""
    counts = DestinationStats(hourly={str(hour): count for hour, count in hourly.items()})
    return reconcile(Counted(answer), counts, None, hours, NOW)


def test_hours_are_held_side_by_side() -> None:
    """Each hour that either counts, the difference, and the totals of those that are final."""
    answer = Received({START - 5: 7, START - 3: 2, START - 1: 1, START: 1})
    found = compare(answer, {START - 5: 7, START - 4: 4, START - 3: 2, START: 9, START - 99: 5})
    assert found.rows == (
        HourRow(START - 5, 1, 7, 7, is_final=True),
        HourRow(START - 4, 1, 4, 0, is_final=True),
        HourRow(START - 3, 1, 2, 2, is_final=True),
        HourRow(START - 1, 1, 0, 1, is_final=False),
        HourRow(START, 1, 9, 1, is_final=False),
    )
    assert [row.difference for row in found.rows] == [0, -4, 0, 1, -8]
    assert (found.delivered, found.received, found.difference) == (13, 9, -4)
    assert not found.agrees


def test_a_batch_across_the_hour_is_no_difference() -> None:
    """What one side counts before the full hour and the other after it cancels out."""
    found = compare(Received({START - 5: 7, START - 4: 5}), {START - 5: 8, START - 4: 4})
    assert [row.difference for row in found.rows] == [-1, 1]
    assert found.agrees


@pytest.mark.parametrize(("said", "difference"), [(9, -1), (10, 0), (12, 0), (13, 0), (14, 1)])
def test_a_day_is_compared_as_closely_as_the_stats_allow(said: int, difference: int) -> None:
    """Of the hour in which the last 24 began, nobody can tell which part is counted."""
    found = compare(Received(last_day=said), {START - 24: 3, START - 4: 10, START - 25: 50})
    assert found.difference == difference
    assert found.agrees is (difference == 0)


def test_trouble_is_no_agreement() -> None:
    """A seller that does not answer, and one that cannot be asked, agree to nothing."""
    finding = CheckResult("error", "No.", "Wait.")
    assert compare(finding, {}).problem == finding
    assert not compare(finding, {}).agrees
    unable = reconcile(ScriptedDestination(), DestinationStats(), None, 24, NOW)
    assert unable.problem is not None
    assert not unable.agrees


@pytest.mark.parametrize("make", [interchange, agent])
def test_real_stats_agree_with_a_real_seller(
    make: Callable[[Sandbox], Destination], tmp_path: Path
) -> None:
    """Live events agree; tests are counted by nobody; what was lost is told to the event."""
    clock = HandClock(NOW)
    with Sandbox(now=clock.now) as seller:
        destination = make(seller)

        def sell(*event_ids: str, code: str | None = None) -> None:
            with Tracker([destination], directory=tmp_path, _clock=clock) as tracker:
                for event_id in event_ids:
                    tracker.track_lead(event_id=event_id, test_event_code=code)
                assert tracker.flush(10.0).pending == 0

        def check() -> Reconciliation:
            with Tracker([destination], directory=tmp_path, _clock=clock) as tracker:
                counts = tracker.stats().destinations[destination.name]
            return reconcile(destination, counts, ACCOUNT, 24, clock.now() + 3 * HOUR)

        sell("a", "b", "c")
        sell("t", code="T")
        clock.time += HOUR
        sell("d")
        found = check()
        assert (found.delivered, found.received, found.agrees) == (4, 4, True)
        seller.fail(lose=1)
        sell("e", "f")
        assert check().agrees is False
        assert check().difference == -1
