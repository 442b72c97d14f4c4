"""``tracker.event_sources``: sync, list, and compare what sellers say they received."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import attrs

from adcp_tracker._logging import logger
from adcp_tracker.delivery.stats import DestinationStats
from adcp_tracker.destinations.base import CheckResult
from adcp_tracker.event_sources.clients import HOUR_SECONDS, Received, client_for
from adcp_tracker.event_sources.model import SourceReport, SourcesReport, unique_sources
from adcp_tracker.event_sources.rules import from_report

if TYPE_CHECKING:
    import builtins
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from adcp_tracker.delivery.stats import Stats
    from adcp_tracker.destinations.base import Destination
    from adcp_tracker.event_sources.clients import EventSourceClient
    from adcp_tracker.event_sources.model import Account, EventSource
    from adcp_tracker.event_sources.rules import EventRules, SourceRule


class EventSourceApi:
    """Register event sources with sellers, and compare counts. ``tracker.event_sources``.

    Args:
        destinations: The tracker's destinations.
        rules: Learns from each answer what the event sources accept.
        stats: Returns the tracker's stats.
    """

    def __init__(
        self,
        destinations: Sequence[Destination],
        rules: EventRules,
        stats: Callable[[], Stats],
    ) -> None:
        self._destinations = destinations
        self._rules = rules
        self._stats = stats

    def sync(
        self,
        sources: Iterable[EventSource],
        *,
        account: Account | None = None,
        delete_missing: bool = False,
        dry_run: bool = False,
    ) -> builtins.list[SourcesReport]:
        """Register event sources with the seller of every destination.

        What the sellers answer is kept beside the queue. From then on, events of a type or
        currency that a source doesn't accept become dead letters at once, with the remedy.

        Args:
            sources: What to register.
            account: Whose they are. Agents need it; the Interchange knows its advertiser.
            delete_missing: Whether to delete event sources that are not listed here.
            dry_run: Whether only to report what would change.

        Returns:
            One report per seller; a seller that did not answer is in it with the reason.

        Raises:
            ConfigurationError: If two sources have the same id.
        """
        wanted = tuple(sources)
        reports = sync_sources(
            self._destinations, wanted, account, delete_missing=delete_missing, dry_run=dry_run
        )
        if not dry_run:
            known = self._rules.stored()
            self._rules.learn(rules_from(reports, self._destinations, wanted, known))
        return reports

    def list(self, *, account: Account | None = None) -> builtins.list[SourcesReport]:
        """Ask the seller of every destination which event sources it has, and their health.

        Args:
            account: Whose. Agents need it; the Interchange knows its advertiser.
        """
        reports = list_sources(self._destinations, account)
        known = self._rules.stored()
        self._rules.learn(rules_from(reports, self._destinations, known=known))
        return reports

    def reconcile(
        self, *, hours: int = 24, account: Account | None = None
    ) -> builtins.list[Reconciliation]:
        """Compare what was delivered with what each seller says it received.

        Args:
            hours: How many hours to look back, besides the current one.
            account: Whose events. Agents need it; the Interchange knows its advertiser.
        """
        known = self._stats().destinations
        return [
            reconcile(each, known.get(each.name, DestinationStats()), account, hours, time.time())
            for each in self._destinations
        ]


_UNSUPPORTED: Final = CheckResult(
    "error", "This kind of destination doesn't manage event sources.", "Ask the seller."
)
_COMPARED_FIELDS: Final = ("name", "event_types", "value_currencies", "action_source")


def list_sources(
    destinations: Iterable[Destination], account: Account | None = None
) -> list[SourcesReport]:
    """Return which event sources each destination's seller knows."""
    return [_report(destination, _list(destination, account)) for destination in destinations]


def sync_sources(
    destinations: Iterable[Destination],
    sources: Iterable[EventSource],
    account: Account | None = None,
    *,
    delete_missing: bool = False,
    dry_run: bool = False,
) -> list[SourcesReport]:
    """Register event sources with each destination's seller.

    Args:
        destinations: The destinations.
        sources: The event sources to register.
        account: The account they belong to, for agents.
        delete_missing: Whether to delete the account's other event sources.
        dry_run: Whether to only return what would change.

    Raises:
        ConfigurationError: If two sources have the same id.
    """
    wanted = unique_sources(sources)
    reports = []
    for destination in destinations:
        found: tuple[SourceReport, ...] | CheckResult = _UNSUPPORTED
        client = client_for(destination)
        if client is not None:
            sync = _plan if dry_run else _sync
            found = sync(client, wanted, account, delete_missing=delete_missing)
        reports.append(_report(destination, found))
    return reports


def rules_from(
    reports: Iterable[SourcesReport],
    destinations: Iterable[Destination],
    wanted: Iterable[EventSource] = (),
    known: Mapping[str, SourceRule] | None = None,
) -> dict[str, SourceRule | None]:
    """Return the rule of each destination's own event source by the reports.

    A deleted event source is ``None``; one without a response is missing.

    Args:
        reports: What the sellers say.
        destinations: The destinations.
        wanted: The event sources as they were registered, if they were.
        known: The rules that were known before, for what a seller doesn't say.
    """
    before = known or {}
    own = {each.name: getattr(each, "event_source_id", None) for each in destinations}
    wishes = {source.event_source_id: source for source in wanted}
    rules: dict[str, SourceRule | None] = {}
    for report in reports:
        for each in report.sources:
            if each.event_source_id == own.get(report.destination) and not each.has_failed:
                is_gone = each.action == "deleted"
                wish = wishes.get(each.event_source_id)
                rules[report.destination] = (
                    None if is_gone else from_report(each, wish, before.get(report.destination))
                )
    return rules


def _list(
    destination: Destination, account: Account | None
) -> tuple[SourceReport, ...] | CheckResult:
    client = client_for(destination)
    return _UNSUPPORTED if client is None else client.list(account)


def _report(
    destination: Destination, found: tuple[SourceReport, ...] | CheckResult
) -> SourcesReport:
    if not isinstance(found, CheckResult):
        return SourcesReport(destination.name, found)
    logger.error(
        "sources.no_answer",
        destination=destination.name,
        reason=found.message,
        remedy=found.remedy,
    )
    return SourcesReport(destination.name, problem=found)


def _sync(
    client: EventSourceClient,
    wanted: Sequence[EventSource],
    account: Account | None,
    *,
    delete_missing: bool,
) -> tuple[SourceReport, ...] | CheckResult:
    found = client.sync(wanted, account, delete_missing=delete_missing)
    if isinstance(found, CheckResult):
        return found
    named = {report.event_source_id for report in found}
    missing = (each for each in wanted if each.event_source_id not in named)
    return (*found, *(_unconfirmed(each) for each in missing))


def _unconfirmed(source: EventSource) -> SourceReport:
    words = "The seller's response doesn't mention this event source. Sync it again, or ask."
    return SourceReport(source.event_source_id, source.name, "unconfirmed", errors=(words,))


def _plan(
    client: EventSourceClient,
    wanted: Sequence[EventSource],
    account: Account | None,
    *,
    delete_missing: bool,
) -> tuple[SourceReport, ...] | CheckResult:
    """Return what a sync would do, as far as the seller's list shows."""
    known = client.validate(wanted, delete_missing=delete_missing) or client.list(account)
    if isinstance(known, CheckResult):
        return known
    by_id = {report.event_source_id: report for report in known}
    found = [_planned_action(source, by_id) for source in wanted]
    if delete_missing:
        named = {source.event_source_id for source in wanted}
        missing = (each for each in known if each.event_source_id not in named)
        found += [
            SourceReport(each.event_source_id, each.name, "deleted", each.managed_by)
            for each in missing
            if each.managed_by != "seller"
        ]
    return tuple(found)


def _planned_action(source: EventSource, known: Mapping[str, SourceReport]) -> SourceReport:
    before = known.get(source.event_source_id)
    action = "created"
    if before is not None:
        is_other = any(_differs(source, before, name) for name in _COMPARED_FIELDS)
        action = "updated" if is_other else "unchanged"
    types, currencies = source.event_types or None, source.value_currencies or None
    return SourceReport(
        source.event_source_id,
        source.name,
        action,
        event_types=types,
        value_currencies=currencies,
        action_source=source.action_source or "",
    )


def _differs(source: EventSource, before: SourceReport, name: str) -> bool:
    wish, shown = getattr(source, name), getattr(before, name)
    if isinstance(shown, tuple):
        return set(wish) != set(shown)
    # A seller may know more than it shows.
    return bool(shown or name == "name") and (wish or "") != shown


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
    counts: DestinationStats,
    account: Account | None,
    hours: int,
    now: float,
) -> Reconciliation:
    """Compare the counts of one destination with those of its seller.

    Args:
        destination: The destination.
        counts: What was delivered to it.
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
    ours = {int(hour): count for hour, count in counts.hourly.items()}
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
