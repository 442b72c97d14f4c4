"""Clients that manage event sources and read counts, one for each kind of seller."""

from __future__ import annotations

import secrets
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable
from urllib.parse import urlencode

import attrs

from adcp_tracker.destinations.agent import Agent
from adcp_tracker.destinations.base import CheckResult
from adcp_tracker.destinations.capabilities import parse_version
from adcp_tracker.destinations.interchange import Interchange, list_event_sources
from adcp_tracker.event_sources.model import is_count, parse_reports
from adcp_tracker.events.model import NEWER_EVENT_TYPES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from adcp_tracker.destinations.base import Destination
    from adcp_tracker.event_sources.model import Account, EventSource, SourceReport
    from adcp_tracker.events.rules import AdcpVersion

    Answer = dict[str, object] | CheckResult

_SOURCES_PER_CALL: Final = 50
HOUR_SECONDS: Final = 3600
_UTC: Final = timezone.utc


@attrs.frozen
class Received:
    """How many events a seller says it received.

    Attributes:
        hourly: Counts by hour since the epoch; ``None`` if it doesn't count by hour.
        last_day: The count of the last 24 hours, if that is all it says.
        note: What the counts cover, if that is more than this event source.
    """

    hourly: Mapping[int, int] | None = None
    last_day: int | None = None
    note: str = ""


class EventSourceClient(Protocol):
    """Manages event sources at one seller and reads its counts."""

    def list(self, account: Account | None) -> tuple[SourceReport, ...] | CheckResult:
        """Return all event sources that the seller knows."""

    def sync(
        self, sources: Sequence[EventSource], account: Account | None, *, delete_missing: bool
    ) -> tuple[SourceReport, ...] | CheckResult:
        """Register event sources; return what the seller did with each."""

    def validate(
        self, sources: Sequence[EventSource], *, delete_missing: bool
    ) -> CheckResult | None:
        """Return why this kind of seller can't register these event sources, if so."""

    def count_received(
        self, account: Account | None, start: int, stop: int
    ) -> Received | CheckResult:
        """Return what the seller received from one hour since the epoch to another."""


@runtime_checkable
class SupportsEventSources(Protocol):
    """A destination of your own whose seller manages event sources."""

    def event_source_client(self) -> EventSourceClient:
        """Return a client with a connection of its own."""


@attrs.frozen
class InterchangeClient:
    """Event sources of one advertiser at the Interchange.

    Attributes:
        advertiser_id: The advertiser, which is also the account.
        event_source_id: The event source whose events are counted.
        ask: Makes a call: method, path and body.
    """

    advertiser_id: str
    event_source_id: str
    ask: Callable[[str, str, object], Answer]

    def list(self, account: Account | None) -> tuple[SourceReport, ...] | CheckResult:
        """Return all event sources of the advertiser, page by page."""
        del account  # the path names the advertiser
        items = list_event_sources(self.ask)
        if isinstance(items, CheckResult):
            return items
        reports = parse_reports({"event_sources": items})
        return tuple(attrs.evolve(report, action="") for report in reports)

    def sync(
        self, sources: Sequence[EventSource], account: Account | None, *, delete_missing: bool
    ) -> tuple[SourceReport, ...] | CheckResult:
        """Register event sources, 50 a call."""
        del account
        obstacle = self.validate(sources, delete_missing=delete_missing)
        if obstacle is not None:
            return obstacle
        account_id = {"account_id": self.advertiser_id}

        def sync(items: list[dict[str, object]]) -> Answer:
            body = {"account": account_id, "event_sources": items, "delete_missing": delete_missing}
            return self.ask("POST", "event-sources/sync", body)

        return _in_parts([source.for_interchange() for source in sources], sync)

    def validate(
        self, sources: Sequence[EventSource], *, delete_missing: bool
    ) -> CheckResult | None:
        """Return an error if there are none, or too many with ``delete_missing``."""
        return _check_count(sources, delete_missing=delete_missing)

    def count_received(
        self, account: Account | None, start: int, stop: int
    ) -> Received | CheckResult:
        """Return the advertiser's conversions by the hour."""
        del account
        hours = {"startHour": _format_hour(start), "endHour": _format_hour(stop)}
        query = urlencode({"eventType": "conversion", **hours})
        answer = self.ask("GET", f"events/summary?{query}", None)
        if isinstance(answer, CheckResult):
            return answer
        return self._by_hour(answer)

    def _by_hour(self, answer: Mapping[str, object]) -> Received | CheckResult:
        hourly: dict[int, int] = {}
        listed = answer.get("entries", answer.get("hours"))
        if not isinstance(listed, list):
            return CheckResult("error", "The summary doesn't list any hours.", "Try again later.")
        mixed = False
        for hour, count, source in _parse_entries(listed):
            if source in {None, self.event_source_id}:
                hourly[hour] = hourly.get(hour, 0) + count
                mixed |= source is None
        note = "The Interchange counts all event sources of the advertiser together."
        return Received(hourly, note=note if mixed else "")


@attrs.frozen
class AgentClient:
    """Event sources of an account at an agent, by its tool ``sync_event_sources``.

    Attributes:
        event_source_id: The event source whose events are counted.
        version: The protocol version that is spoken.
        ask: Calls a tool with arguments.
    """

    event_source_id: str
    version: AdcpVersion
    ask: Callable[[str, Mapping[str, object]], Answer]

    def list(self, account: Account | None) -> tuple[SourceReport, ...] | CheckResult:
        """Return all event sources of the account."""
        answer = self._use(account, {})
        if isinstance(answer, CheckResult):
            return answer
        return tuple(attrs.evolve(report, action="") for report in parse_reports(answer))

    def sync(
        self, sources: Sequence[EventSource], account: Account | None, *, delete_missing: bool
    ) -> tuple[SourceReport, ...] | CheckResult:
        """Register event sources, 50 a call."""
        obstacle = self.validate(sources, delete_missing=delete_missing)
        if obstacle is not None:
            return obstacle

        def sync(items: list[dict[str, object]]) -> Answer:
            wish = {"event_sources": items, "delete_missing": delete_missing}
            return self._use(account, wish)

        return _in_parts([source.as_json() for source in sources], sync)

    def validate(
        self, sources: Sequence[EventSource], *, delete_missing: bool
    ) -> CheckResult | None:
        """Return an error also if the protocol version lacks one of the event types."""
        wrong = _check_count(sources, delete_missing=delete_missing)
        return wrong or _check_versions(sources, self.version)

    def count_received(
        self, account: Account | None, start: int, stop: int
    ) -> Received | CheckResult:
        """Return the count of the last 24 hours from the source's health."""
        del start, stop
        found = self.list(account)
        if isinstance(found, CheckResult):
            return found
        own = next((each for each in found if each.event_source_id == self.event_source_id), None)
        count = own.health.events_received_24h if own and own.health else None
        if count is None:
            message = f"The agent doesn't say how many events {self.event_source_id!r} received."
            return CheckResult("warning", message, "Ask the seller.")
        return Received(last_day=count)

    def _use(self, account: Account | None, arguments: Mapping[str, object]) -> Answer:
        if account is None:
            text = "Agents need to know which account the event sources belong to."
            return CheckResult("error", text, "Pass account_id (--account), or brand and operator.")
        # A new key for each call, so that it never gets an old response.
        key = {"idempotency_key": secrets.token_hex(32), "account": account.as_json()}
        return self.ask("sync_event_sources", key | dict(arguments))


def client_for(destination: Destination) -> EventSourceClient | None:
    """Return the client of a destination's seller, or ``None`` if it has none.

    The client uses a connection and session of its own, not those that deliver events.
    """
    own = getattr(destination, "event_source_id", "")
    if isinstance(destination, Interchange):
        return InterchangeClient(destination.advertiser_id, own, attrs.evolve(destination).ask)
    if isinstance(destination, Agent):
        return AgentClient(own, destination.adcp_version, attrs.evolve(destination).ask)
    if isinstance(destination, SupportsEventSources):
        return destination.event_source_client()
    return None


def _in_parts(
    items: Sequence[dict[str, object]], sync: Callable[[list[dict[str, object]]], Answer]
) -> tuple[SourceReport, ...] | CheckResult:
    """Register as many event sources per call as every seller accepts."""
    found: list[SourceReport] = []
    for start in range(0, len(items), _SOURCES_PER_CALL):
        answer = sync(list(items[start : start + _SOURCES_PER_CALL]))
        if isinstance(answer, CheckResult):
            return answer
        found += parse_reports(answer)
    return tuple(found)


def _check_count(sources: Sequence[EventSource], *, delete_missing: bool) -> CheckResult | None:
    if not sources:
        return CheckResult("error", "There are no event sources to register.", "Pass at least one.")
    if delete_missing and len(sources) > _SOURCES_PER_CALL:
        # Each call would delete what the others registered.
        message = f"Sellers accept {_SOURCES_PER_CALL} event sources per call, got {len(sources)}."
        return CheckResult("error", message, "Sync without delete_missing, or pass fewer.")
    return None


def _check_versions(sources: Sequence[EventSource], version: AdcpVersion) -> CheckResult | None:
    """Return an error if an older version lacks an event type: it would fail the request."""
    for source in sources:
        for kind in source.event_types:
            needed = NEWER_EVENT_TYPES.get(kind, version)
            if parse_version(needed) > parse_version(version):
                where = f"The event source {source.event_source_id!r} has {kind!r}"
                message = f"{where}, of AdCP {needed}, but this destination speaks {version}."
                remedy = (
                    f"Set adcp_version to {needed} if the seller speaks it, or remove the type."
                )
                return CheckResult("error", message, remedy)
    return None


def _format_hour(hour: int) -> str:
    return datetime.fromtimestamp(hour * HOUR_SECONDS, _UTC).strftime("%Y-%m-%dT%H:00:00Z")


def _parse_entries(listed: list[object]) -> Iterator[tuple[int, int, str | None]]:
    """Yield hour, count and event source of each valid entry."""
    for entry in listed:
        if not isinstance(entry, dict):
            continue
        hour = _parse_hour(entry.get("eventHour", entry.get("hour")))
        count = entry.get("eventCount", entry.get("events_received"))
        source = entry.get("event_source_id")
        kind = entry.get("eventType", "conversion")
        if hour is not None and is_count(count) and kind == "conversion":
            yield hour, count, source if isinstance(source, str) else None


def _parse_hour(text: object) -> int | None:
    try:
        moment = datetime.fromisoformat(str(text).replace("Z", "+00:00"))
        zoned = moment if moment.tzinfo else moment.replace(tzinfo=_UTC)
        return int(zoned.timestamp() // HOUR_SECONDS)
    except (ValueError, OverflowError):
        return None
