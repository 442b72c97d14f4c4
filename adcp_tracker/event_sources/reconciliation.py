"""Compare what was delivered with what sellers say they received."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from adcp_tracker.destinations.base import CheckResult
from adcp_tracker.event_sources.clients import Received, client_for

if TYPE_CHECKING:
    from collections.abc import Mapping

    from adcp_tracker.delivery.stats import DestinationStats
    from adcp_tracker.destinations.base import Destination
    from adcp_tracker.event_sources.model import Account

HOUR_SECONDS: Final = 3600
DAY_HOURS: Final = 24
LATE_HOURS: Final = 1
"""How many hours late a seller may still count events."""

_NO_COUNTS: Final = CheckResult(
    "warning", "This kind of destination has no counts.", "Compare with the seller's own reports."
)


@attrs.frozen
class HourRow:
    """One hour, or several if a seller doesn't count by hour.

    Attributes:
        hour: The beginning, in hours since the epoch.
        hours: The number of hours.
        delivered: Live events that were delivered.
        received: Events that the seller says it received.
        is_final: Whether the seller has certainly counted it by now.
    """

    hour: int
    hours: int
    delivered: int
    received: int
    is_final: bool

    @property
    def difference(self) -> int:
        """How many more events the seller counts; negative if fewer."""
        return self.received - self.delivered


@attrs.frozen
class Reconciliation:
    """The comparison for one destination.

    Attributes:
        destination: The destination's name.
        rows: Hours with events on either side, the oldest first.
        note: What the seller's counts cover, if that differs.
        problem: Why there is nothing to compare, if so.
    """

    destination: str
    rows: tuple[HourRow, ...] = ()
    note: str = ""
    problem: CheckResult | None = None

    @property
    def delivered(self) -> int:
        """Events delivered in all final hours."""
        return sum(row.delivered for row in self.rows if row.is_final)

    @property
    def received(self) -> int:
        """Events that the seller received in all final hours."""
        return sum(row.received for row in self.rows if row.is_final)

    @property
    def difference(self) -> int:
        """How many more events the seller counts in total; single hours may differ."""
        return self.received - self.delivered

    @property
    def agrees(self) -> bool:
        """Whether both totals are equal."""
        return self.problem is None and self.difference == 0


def reconcile(
    destination: Destination,
    books: DestinationStats,
    account: Account | None,
    hours: int,
    now: float,
) -> Reconciliation:
    """Compare the counts of one destination with those of its seller.

    Args:
        destination: The destination.
        books: Its counts.
        account: The account, for agents.
        hours: How many hours to look back, besides the current one.
        now: Seconds since the epoch.
    """
    stop = int(now // HOUR_SECONDS) + 1
    start = stop - 1 - hours
    client = client_for(destination)
    if client is None:
        return Reconciliation(destination.name, problem=_NO_COUNTS)
    answer = client.count_received(account, start, stop)
    if isinstance(answer, CheckResult):
        return Reconciliation(destination.name, problem=answer)
    ours = {int(hour): count for hour, count in books.hourly.items()}
    rows = _by_hour(ours, answer, start, stop) if answer.hourly is not None else []
    if answer.last_day is not None:
        rows = [_of_day(ours, answer.last_day, now)]
    return Reconciliation(destination.name, tuple(rows), answer.note)


def _by_hour(ours: Mapping[int, int], answer: Received, start: int, stop: int) -> list[HourRow]:
    theirs = answer.hourly or {}
    counted = sorted(hour for hour in {*ours, *theirs} if start <= hour < stop)
    final = stop - 1 - LATE_HOURS
    return [
        HourRow(hour, 1, ours.get(hour, 0), theirs.get(hour, 0), hour < final) for hour in counted
    ]


def _of_day(ours: Mapping[int, int], last_day: int, now: float) -> HourRow:
    """Compare the last 24 hours, of which the first is only partly included.

    Our counts are by whole hours, so a seller that counts to the second may have fewer
    events by up to those of the first hour.
    """
    start = int(now // HOUR_SECONDS) - DAY_HOURS
    delivered = sum(count for hour, count in ours.items() if hour >= start)
    edge = ours.get(start, 0)
    least = delivered - edge
    # A difference within the first hour can't be told from none.
    settled = min(max(last_day, least), delivered)
    return HourRow(start, DAY_HOURS, settled, last_day, is_final=True)
