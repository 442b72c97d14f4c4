"""Hold what the books say was delivered against what sellers say they received."""

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
"""How long after its end an hour may still be counted by a seller."""

_UNSUPPORTED: Final = CheckResult(
    "warning", "This kind of destination tells no counts.", "Compare with the seller's own reports."
)


@attrs.frozen
class HourRow:
    """One hour, or a span of hours where a seller counts no single ones.

    Attributes:
        hour: Its beginning, in hours since the epoch.
        hours: How long it is.
        delivered: Live events that the seller has by the books.
        received: Events that it says it received.
        is_final: Whether it is over long enough for the seller to have counted it.
    """

    hour: int
    hours: int
    delivered: int
    received: int
    is_final: bool

    @property
    def difference(self) -> int:
        """How many more the seller counts than the books do; below 0, how many fewer."""
        return self.received - self.delivered


@attrs.frozen
class Reconciliation:
    """One destination's comparison.

    Attributes:
        destination: Which.
        rows: Hours in which either side counts anything, the oldest first.
        note: What the seller's count covers, where that is not the same as the books'.
        problem: Why there is nothing to compare, if so.
    """

    destination: str
    rows: tuple[HourRow, ...] = ()
    note: str = ""
    problem: CheckResult | None = None

    @property
    def delivered(self) -> int:
        """What the books say, in all hours that are final."""
        return sum(row.delivered for row in self.rows if row.is_final)

    @property
    def received(self) -> int:
        """What the seller says, in all hours that are final."""
        return sum(row.received for row in self.rows if row.is_final)

    @property
    def difference(self) -> int:
        """How many more the seller counts in all; an hour's own may lie across its border."""
        return self.received - self.delivered

    @property
    def agrees(self) -> bool:
        """Whether both sides come to the same."""
        return self.problem is None and self.difference == 0


def reconcile(
    destination: Destination,
    books: DestinationStats,
    account: Account | None,
    hours: int,
    now: float,
) -> Reconciliation:
    """Compare the books of one destination with what its seller received.

    Args:
        destination: Whom to ask.
        books: Its books.
        account: Whose events, for agents.
        hours: How many hours to look back, besides the one that runs.
        now: Seconds since the epoch.
    """
    stop = int(now // HOUR_SECONDS) + 1
    start = stop - 1 - hours
    client = client_for(destination)
    if client is None:
        return Reconciliation(destination.name, problem=_UNSUPPORTED)
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
    """Compare the last 24 hours, of which the first is counted by its part.

    Books know whole hours. Of the hour in which the day began, they cannot tell what came
    before, so a seller that counts to the second may count that much less.
    """
    start = int(now // HOUR_SECONDS) - DAY_HOURS
    delivered = sum(count for hour, count in ours.items() if hour >= start)
    edge = ours.get(start, 0)
    least = delivered - edge
    # Anything within the day's first, broken hour is no difference that could be told.
    settled = min(max(last_day, least), delivered)
    return HourRow(start, DAY_HOURS, settled, last_day, is_final=True)
