"""What a tracker does with event sources: register them, list them, and hold events to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adcp_tracker._logging import logger
from adcp_tracker.deliverymethods import DeliveryMethods
from adcp_tracker.destinations.base import SupportsRules
from adcp_tracker.exceptions import FieldError, InvalidEventError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from adcp_tracker.event_sources.model import Account, EventSource
    from adcp_tracker.event_sources.reports import SourcesReport
    from adcp_tracker.event_sources.rules import SourceRule
    from adcp_tracker.events.event import Event
    from adcp_tracker.journal.files import QueueDirectory


class SourceMethods(DeliveryMethods):
    """Registers a tracker's event sources, and knows what they take."""

    _said: dict[str, EventSource]
    _rules: tuple[SourceRule | None, ...] | None
    _rules_written_at: int

    def sync_event_sources(
        self,
        sources: Iterable[EventSource],
        *,
        account: Account | None = None,
        delete_missing: bool = False,
        dry_run: bool = False,
    ) -> list[SourcesReport]:
        """Register event sources with every destination's seller.

        What the sellers then say they take is kept beside the queue, and from then on events
        of another type or currency become dead letters at once, with the remedy.

        Args:
            sources: What to register.
            account: Whose they are: agents need it, the Interchange knows its advertiser.
            delete_missing: Whether event sources that are not named are to go.
            dry_run: Whether only to say what would change.

        Returns:
            What became of each source at each seller; a seller that did not answer is in it
            with the reason, and holds up no other.

        Raises:
            ConfigurationError: If two sources have the same id.
        """
        from adcp_tracker.event_sources import sync  # noqa: PLC0415 - rarely used

        wanted = tuple(sources)
        reports = sync.sync_sources(
            self.destinations, wanted, account, delete_missing=delete_missing, dry_run=dry_run
        )
        if not dry_run:
            self._learn(sync.rules_from(reports, self.destinations, wanted))
        return reports

    def list_event_sources(self, *, account: Account | None = None) -> list[SourcesReport]:
        """Ask every destination's seller which event sources it knows, and how they do.

        Args:
            account: Whose: agents need it, the Interchange knows its advertiser.
        """
        from adcp_tracker.event_sources import sync  # noqa: PLC0415 - rarely used

        reports = sync.list_sources(self.destinations, account)
        self._learn(sync.rules_from(reports, self.destinations))
        return reports

    def _know_sources(self, sources: Iterable[EventSource]) -> None:
        """Make ready to hold events to what is known of their event sources."""
        self._said = {source.event_source_id: source for source in sources}
        self._rules = None
        self._rules_written_at = 0
        self._refresh_sources(anew=bool(self._said))

    def _refresh_sources(self, *, anew: bool = False) -> None:
        """Read what is known anew, if another process has learned something."""
        written_at = _written_at(self._directory)
        if written_at == self._rules_written_at and not anew:
            return
        from adcp_tracker.event_sources import (  # noqa: PLC0415 - of no use where nothing is known
            rules,
        )

        self._rules_written_at = written_at
        kept = rules.load(self._directory) | rules.declared(self._said, self.destinations)
        found = tuple(rules.rule_for(each, kept) for each in self.destinations)
        for destination, rule in zip(self.destinations, found, strict=True):
            if isinstance(destination, SupportsRules):
                destination.source_rule = rule
        self._rules = found if any(found) else None

    def _keep_house(self) -> None:
        super()._keep_house()
        self._refresh_sources()

    def _learn(self, found: dict[str, SourceRule | None]) -> None:
        from adcp_tracker.event_sources import rules  # noqa: PLC0415 - rarely used

        if not found:
            return
        try:
            rules.save(self._directory, found)
        except OSError as error:
            logger.warning("sources.not_kept", error=type(error).__name__)
        self._refresh_sources(anew=True)

    def _is_unsuited(self, event: Event, *, strict: bool) -> bool:
        """Tell whether some event source is known not to take `event`.

        Raises:
            InvalidEventError: If none takes it, and the tracker is strict.
        """
        faults: list[FieldError | None] = [
            rule.field_error(event) if rule is not None else None for rule in self._rules or ()
        ]
        broken = [fault for fault in faults if fault is not None]
        if not broken:
            return False
        logger.warning("event.unsuited", faults=[str(fault) for fault in broken])
        if strict and len(broken) == len(faults):
            raise InvalidEventError(broken)
        return True


def _written_at(directory: QueueDirectory) -> int:
    """Return when rules were last written down, in nanoseconds; 0 if never."""
    try:
        return (directory.path / "sources.json").stat().st_mtime_ns
    except OSError:
        return 0
