"""What event sources accept: stored beside the queue and checked for each event.

Makes no request. Syncing or listing event sources stores what the sellers say; the tracker's
``event_sources`` setting declares the rest.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import attrs
import orjson

from adcp_tracker._logging import logger
from adcp_tracker.destinations.base import SupportsRules, event_failure
from adcp_tracker.exceptions import FieldError, InvalidEventError
from adcp_tracker.journal.files import open_secure, replace_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from adcp_tracker.destinations.base import Destination, EventFailure
    from adcp_tracker.event_sources.model import EventSource, SourceReport
    from adcp_tracker.events.event import Event
    from adcp_tracker.journal.files import QueueDirectory

_FILE: Final = "sources.json"
_LARGEST: Final = 1_000_000


@attrs.frozen
class SourceRule:
    """What one destination's event source accepts.

    Attributes:
        event_source_id: The event source.
        event_types: The event types it accepts; empty for all.
        value_currencies: The currencies it accepts; empty for any.
    """

    event_source_id: str
    event_types: frozenset[str] = frozenset()
    value_currencies: frozenset[str] = frozenset()

    def check(self, event: Mapping[str, object]) -> EventFailure | None:
        """Return why the event source doesn't accept a decoded `event`, if it doesn't."""
        data = event.get("custom_data")
        values = data if isinstance(data, dict) else {}
        kind, currency = event.get("event_type"), values.get("currency")
        broken = self._broken(kind, values.get("value"), currency)
        if broken is None:
            return None
        if broken == "event_types":
            return self._not_registered("EVENT_TYPE", repr(kind), kind, broken, event)
        if currency is not None:
            what = f"values in {currency}"
            return self._not_registered("CURRENCY", what, currency, broken, event)
        message = f"The event source {self.event_source_id!r} accepts values only with a currency."
        remedy = f"Pass the currency with the value, one of {self._accepted(broken)}."
        return event_failure("CURRENCY_REQUIRED", message, remedy, event)

    def _broken(self, kind: object, value: object, currency: object) -> str | None:
        """Return the setting that doesn't accept an event, if there is one."""
        if self.event_types and kind not in self.event_types:
            return "event_types"
        has_money = value is not None or currency is not None
        if self.value_currencies and has_money and currency not in self.value_currencies:
            return "value_currencies"
        return None

    def _accepted(self, setting: str) -> str:
        return ", ".join(sorted(getattr(self, setting)))

    def _not_registered(
        self, code: str, what: str, word: object, setting: str, event: Mapping[str, object]
    ) -> EventFailure:
        message = f"The event source {self.event_source_id!r} isn't registered for {what}."
        remedy = (
            f"Add {word} to its {setting} and sync it, then replay the dead letter; "
            f"it accepts {self._accepted(setting)}."
        )
        return event_failure(f"{code}_NOT_REGISTERED", message, remedy, event)

    def field_error(self, event: Event) -> FieldError | None:
        """Return the rule of the event source that `event` breaks, if any."""
        data = event.custom_data
        value, currency = (None, None) if data is None else (data.value, data.currency)
        broken = self._broken(event.event_type, value, currency)
        if broken is None:
            return None
        path, what, found = "$.custom_data.currency", "a currency", currency
        if broken == "event_types":
            path, what, found = "$.event_type", "an event type", event.event_type
        expected = f"{what} that {self.event_source_id!r} accepts: {self._accepted(broken)}"
        got = "nothing" if found is None else repr(str(getattr(found, "value", found)))
        return FieldError(path, expected, got)


class EventRules:
    """What the event sources of a tracker's destinations accept.

    Args:
        directory: The queue directory, where answers of sellers are kept. Without one, only
            `declared` event sources are known.
        destinations: The tracker's destinations.
        declared: Event sources that the caller described; they win over answers.

    Attributes:
        known: The rule of each destination, or ``None`` if none is known at all.
    """

    def __init__(
        self,
        directory: QueueDirectory | None,
        destinations: Sequence[Destination],
        declared: Iterable[EventSource],
    ) -> None:
        self._directory = directory
        self._destinations = destinations
        self._declared = {source.event_source_id: source for source in declared}
        self._written_at = 0
        self.known: tuple[SourceRule | None, ...] | None = None
        self.refresh(force=bool(self._declared))

    def refresh(self, *, force: bool = False) -> None:
        """Read the rules again if another process has learned something."""
        written_at = _written_at(self._directory)
        if written_at == self._written_at and not force:
            return
        self._written_at = written_at
        known = self.stored() | declared(self._declared, self._destinations)
        found = tuple(rule_for(each, known) for each in self._destinations)
        for destination, rule in zip(self._destinations, found, strict=True):
            if isinstance(destination, SupportsRules):
                destination.source_rule = rule
        self.known = found if any(found) else None

    def stored(self) -> dict[str, SourceRule]:
        """Return what sellers have answered so far, by destination."""
        return {} if self._directory is None else load(self._directory)

    def learn(self, found: Mapping[str, SourceRule | None]) -> None:
        """Keep what sellers answered, for every process of this directory."""
        if not found or self._directory is None:
            return
        try:
            save(self._directory, found)
        except OSError as error:
            logger.warning("sources.not_kept", error=type(error).__name__)
        self.refresh(force=True)

    def rejects(self, event: Event, *, strict: bool) -> bool:
        """Return whether an event source is known not to accept `event`.

        Raises:
            InvalidEventError: If no event source accepts it, and the tracker is strict.
        """
        found = [None if rule is None else rule.field_error(event) for rule in self.known or ()]
        broken = [fault for fault in found if fault is not None]
        if not broken:
            return False
        logger.warning("event.not_accepted", errors=[str(each) for each in broken])
        if strict and len(broken) == len(found):
            raise InvalidEventError(broken)
        return True


def _written_at(directory: QueueDirectory | None) -> int:
    """Return when the rules were last written, in nanoseconds; 0 if never."""
    if directory is None:
        return 0
    try:
        return (directory.path / _FILE).stat().st_mtime_ns
    except OSError:
        return 0


def from_source(source: EventSource) -> SourceRule:
    """Return the rule of an event source as it is declared."""
    types, currencies = frozenset(source.event_types), frozenset(source.value_currencies)
    return SourceRule(source.event_source_id, types, currencies)


def from_report(
    report: SourceReport, wanted: EventSource | None, known: SourceRule | None = None
) -> SourceRule:
    """Return the rule of an event source by a seller's report.

    What the report doesn't say is as it was registered, or as it was known before.
    """
    wish = SourceRule(report.event_source_id) if wanted is None else from_source(wanted)
    if wanted is None and known is not None and known.event_source_id == report.event_source_id:
        wish = known
    types, currencies = report.event_types, report.value_currencies
    return SourceRule(
        report.event_source_id,
        wish.event_types if types is None else frozenset(types),
        wish.value_currencies if currencies is None else frozenset(currencies),
    )


def save(directory: QueueDirectory, rules: Mapping[str, SourceRule | None]) -> None:
    """Store the rules of some destinations; ``None`` removes one.

    Raises:
        OSError: If it cannot be written.
    """
    known = {**load(directory), **rules}
    directory.prepare()
    replace_file(
        directory.path / _FILE,
        orjson.dumps(
            {
                name: {
                    "event_source_id": rule.event_source_id,
                    "event_types": sorted(rule.event_types),
                    "value_currencies": sorted(rule.value_currencies),
                }
                for name, rule in sorted(known.items())
                if rule is not None
            }
        ),
    )


def load(directory: QueueDirectory) -> dict[str, SourceRule]:
    """Return the stored rules by destination; none if they can't be read."""
    with suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
        descriptor = open_secure(directory.path / _FILE, os.O_RDONLY)
        with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor
            document = orjson.loads(file.read(_LARGEST))
        return {
            name: SourceRule(
                entry["event_source_id"],
                frozenset(entry["event_types"]),
                frozenset(entry["value_currencies"]),
            )
            for name, entry in document.items()
        }
    return {}


def declared(
    sources: Mapping[str, EventSource], destinations: Iterable[Destination]
) -> dict[str, SourceRule]:
    """Return the rules of declared event sources by destination."""
    own = {each.name: sources.get(getattr(each, "event_source_id", "")) for each in destinations}
    return {name: from_source(source) for name, source in own.items() if source is not None}


def rule_for(destination: Destination, known: Mapping[str, SourceRule]) -> SourceRule | None:
    """Return the rule of a destination's own event source, if it is known."""
    rule = known.get(destination.name)
    same = rule is not None and rule.event_source_id == getattr(destination, "event_source_id", "")
    return rule if same else None
