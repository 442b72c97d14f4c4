"""The seller's event sources: registration and health."""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING

import attrs

from adcp_tracker.sandbox.schema import (
    ACTION_SOURCES,
    CURRENCY,
    EVENT_TYPES,
    SURFACE,
    check_choice,
    check_list,
    check_object,
    check_text,
    prefix_pointers,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from adcp_tracker.sandbox.config import SandboxConfig
    from adcp_tracker.sandbox.schema import Check, Issue

_CHECKED: dict[str, Check] = {
    "event_source_id": check_text(1, 255),
    "name": check_text(1),
    "event_types": check_list(check_choice(EVENT_TYPES), shortest=1),
    "allowed_domains": check_list(check_text(1), shortest=1),
    "action_source": check_choice(ACTION_SOURCES),
    "surface": SURFACE,
    "value_currencies": check_list(CURRENCY, shortest=1),
}
_check_source = check_object(_CHECKED, required=("event_source_id",))
_HOURS_OF_HEALTH = 24
_SHOWN = ("name", "event_types", "action_source", "allowed_domains", "surface", "value_currencies")


@attrs.frozen
class EventSource:
    """An event source of an account.

    Attributes:
        account: The account it belongs to.
        event_source_id: Its id.
        settings: The settings it was registered with.
    """

    account: str
    event_source_id: str
    settings: Mapping[str, object] = attrs.field(factory=dict)

    @property
    def name(self) -> str:
        """Its account and id, as shown on the page."""
        return f"{self.account}/{self.event_source_id}"

    @property
    def event_types(self) -> frozenset[str]:
        """The accepted event types; empty for all."""
        return self._setting("event_types")

    @property
    def value_currencies(self) -> frozenset[str]:
        """The accepted currencies; empty for all."""
        return self._setting("value_currencies")

    def _setting(self, name: str) -> frozenset[str]:
        words = self.settings.get(name)
        return frozenset(map(str, words)) if isinstance(words, list) else frozenset()

    def shown(self) -> dict[str, object]:
        """Return it as in a response."""
        settings = {name: self.settings[name] for name in _SHOWN if name in self.settings}
        return {"event_source_id": self.event_source_id, **settings, "managed_by": "buyer"}


class EventSources:
    """The event sources of all accounts."""

    def __init__(self, advertisers: Mapping[str, Iterable[str]], now: Callable[[], float]) -> None:
        self._lock = threading.RLock()
        self._now = now
        self._accounts: dict[str, dict[str, EventSource]] = {}
        self._hourly: Counter[tuple[str, str, str, int]] = Counter()
        self.add(advertisers)

    def add(self, advertisers: Mapping[str, Iterable[str]]) -> None:
        """Add event sources."""
        with self._lock:
            for account, source_ids in advertisers.items():
                known = self._accounts.setdefault(account, {})
                for source_id in source_ids:
                    known.setdefault(
                        source_id, EventSource(account, source_id, {"name": source_id})
                    )

    def knows(self, account: str) -> bool:
        """Return whether `account` is an advertiser of this seller."""
        with self._lock:
            return account in self._accounts

    def find(self, account: str | None, source_id: str) -> EventSource | None:
        """Return an event source of `account`, or of any account if it is ``None``."""
        with self._lock:
            if account is not None:
                return self._accounts.get(account, {}).get(source_id)
            found = (known.get(source_id) for known in self._accounts.values())
            return next((source for source in found if source is not None), None)

    def of(self, account: str) -> list[EventSource]:
        """Return all event sources of `account`."""
        with self._lock:
            return list(self._accounts.get(account, {}).values())

    def sync(
        self,
        account: str,
        items: Iterable[object],
        via: str,
        config: SandboxConfig,
        *,
        delete_missing: bool,
    ) -> list[dict[str, object]]:
        """Register event sources.

        Args:
            account: The account they belong to.
            items: The sources as decoded from JSON.
            via: ``REST`` or ``MCP``, whose events count for health.
            config: The seller's settings.
            delete_missing: Whether to delete other sources.

        Returns:
            The result for each source, deleted ones last.
        """
        with self._lock:
            known = self._accounts.setdefault(account, {})
            results = [self._register(item, account, via, config) for item in items]
            if delete_missing:
                named = {result["event_source_id"] for result in results}
                missing = [source_id for source_id in known if source_id not in named]
                results += [known.pop(each).shown() | {"action": "deleted"} for each in missing]
            return results

    def _register(
        self, item: object, account: str, via: str, config: SandboxConfig
    ) -> dict[str, object]:
        issues = list(_check_source(item))
        settings: dict[str, object] = item if isinstance(item, dict) else {}
        source_id = str(settings.get("event_source_id", ""))
        if issues or (config.needs_name and "name" not in settings):
            return _failed(source_id, issues)
        source, known = EventSource(account, source_id, settings), self._accounts[account]
        before = known.get(source_id)
        known[source_id] = source
        action = "updated" if before else "created"
        if before is not None and before.shown() == source.shown():
            action = "unchanged"
        setup = {"snippet_type": "server_only", "instructions": config.instructions}
        return source.shown() | {
            "action": action,
            "setup": setup,
            "health": self.health(source, via),
        }

    def count(self, source: EventSource, via: str, events: int) -> None:
        """Count events that arrived for `source` by REST or MCP in the current hour."""
        with self._lock:
            self._hourly[source.account, source.event_source_id, via, self._hour()] += events

    def _hour(self) -> int:
        return int(self._now() // 3600)

    def health(self, source: EventSource, via: str) -> dict[str, object]:
        """Return the health of `source`, from its events of the last 24 hours."""
        since = self._hour() - _HOURS_OF_HEALTH
        hours = self.hours(source.account, via, since, self._hour() + 1)
        events = sum(
            number for source_id, _, number in hours if source_id == source.event_source_id
        )
        if events:
            return {"status": "good", "events_received_24h": events, "issues": []}
        issue = {"severity": "warning", "message": "No events were received in the last 24 hours."}
        return {"status": "insufficient", "events_received_24h": 0, "issues": [issue]}

    def hours(self, account: str, via: str, start: int, stop: int) -> list[tuple[str, int, int]]:
        """Return source, hour since 1970 and number of events for `start` up to `stop`.

        REST and MCP are counted apart: each destination is compared with its own events.
        """
        with self._lock:
            counted = [
                (source_id, hour, number)
                for (owner, source_id, came_by, hour), number in self._hourly.items()
                if owner == account and came_by == via and start <= hour < stop
            ]
        return sorted(counted, key=lambda entry: (entry[1], entry[0]))


def _failed(source_id: str, issues: Sequence[Issue]) -> dict[str, object]:
    errors = [
        {"code": "VALIDATION_ERROR", "message": issue.message, "field": issue.pointer}
        for issue in issues
    ]
    nameless = {"code": "VALIDATION_ERROR", "message": "needs a name", "field": "/name"}
    return {
        "event_source_id": source_id,
        "action": "failed",
        "errors": errors or [nameless],
    }


def check_sources(items: object, most: int | None) -> list[Issue]:
    """Validate the list of event sources as a whole."""
    return prefix_pointers("/event_sources", check_list(check_object({}), 1, most)(items))
