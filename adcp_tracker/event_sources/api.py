"""``tracker.event_sources``: sync, list and reconcile."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import builtins
    from collections.abc import Callable, Iterable, Sequence

    from adcp_tracker.delivery.stats import Stats
    from adcp_tracker.destinations.base import Destination
    from adcp_tracker.event_sources.model import Account, EventSource, SourcesReport
    from adcp_tracker.event_sources.reconciliation import Reconciliation
    from adcp_tracker.event_sources.rules import EventRules


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
        from adcp_tracker.event_sources import sync  # noqa: PLC0415 - rarely used

        wanted = tuple(sources)
        reports = sync.sync_sources(
            self._destinations, wanted, account, delete_missing=delete_missing, dry_run=dry_run
        )
        if not dry_run:
            known = self._rules.stored()
            self._rules.learn(sync.rules_from(reports, self._destinations, wanted, known))
        return reports

    def list(self, *, account: Account | None = None) -> builtins.list[SourcesReport]:
        """Ask the seller of every destination which event sources it has, and their health.

        Args:
            account: Whose. Agents need it; the Interchange knows its advertiser.
        """
        from adcp_tracker.event_sources import sync  # noqa: PLC0415 - rarely used

        reports = sync.list_sources(self._destinations, account)
        known = self._rules.stored()
        self._rules.learn(sync.rules_from(reports, self._destinations, known=known))
        return reports

    def reconcile(
        self, *, hours: int = 24, account: Account | None = None
    ) -> builtins.list[Reconciliation]:
        """Compare what was delivered with what each seller says it received.

        Args:
            hours: How many hours to look back, besides the current one.
            account: Whose events. Agents need it; the Interchange knows its advertiser.
        """
        from adcp_tracker.delivery.stats import DestinationStats  # noqa: PLC0415 - rarely used
        from adcp_tracker.event_sources import reconciliation  # noqa: PLC0415 - likewise

        known = self._stats().destinations
        return [
            reconciliation.reconcile(
                each, known.get(each.name, DestinationStats()), account, hours, time.time()
            )
            for each in self._destinations
        ]
