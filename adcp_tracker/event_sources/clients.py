"""How each kind of seller is asked about event sources, and about what it received."""

from __future__ import annotations

import secrets
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable
from urllib.parse import urlencode

import attrs

from adcp_tracker.destinations.agent import Agent
from adcp_tracker.destinations.base import CheckResult
from adcp_tracker.destinations.capabilities import EVENT_TYPES, parse_version
from adcp_tracker.destinations.interchange import Interchange, list_event_sources
from adcp_tracker.event_sources.reports import is_count, parse_reports

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from adcp_tracker.destinations.base import Destination
    from adcp_tracker.destinations.capabilities import AdcpVersion
    from adcp_tracker.event_sources.model import Account, EventSource
    from adcp_tracker.event_sources.reports import SourceReport

    Answer = dict[str, object] | CheckResult

_SOURCES_PER_CALL: Final = 50
_HOUR: Final = 3600
_UTC: Final = timezone.utc


@attrs.frozen
class Received:
    """How many events a seller says it received.

    Attributes:
        hourly: By the hour, in hours since the epoch; ``None`` if it counts no hours.
        last_day: In the last 24 hours, where that is all it says.
        note: What the count covers, where that is not just this event source.
    """

    hourly: Mapping[int, int] | None = None
    last_day: int | None = None
    note: str = ""


class EventSourceClient(Protocol):
    """What can be asked of a seller beside taking events."""

    def list(self, account: Account | None) -> tuple[SourceReport, ...] | CheckResult:
        """Return all event sources that the seller knows."""

    def sync(
        self, sources: Sequence[EventSource], account: Account | None, *, delete_missing: bool
    ) -> tuple[SourceReport, ...] | CheckResult:
        """Register event sources, and return what became of each."""

    def validate(
        self, sources: Sequence[EventSource], *, delete_missing: bool
    ) -> CheckResult | None:
        """Say why no seller of this kind registers these event sources together, if so."""

    def count_received(
        self, account: Account | None, start: int, stop: int
    ) -> Received | CheckResult:
        """Return what the seller received from one hour since the epoch up to another."""


@runtime_checkable
class SupportsEventSources(Protocol):
    """A destination of your own whose seller can be asked about event sources."""

    def event_source_client(self) -> EventSourceClient:
        """Return what asks the seller, over a connection of its own that it may keep."""


@attrs.frozen
class InterchangeClient:
    """The Interchange's interface for one advertiser.

    Attributes:
        advertiser_id: The advertiser, who is the account as well.
        event_source_id: The event source whose events are counted.
        ask: Makes a call: method, path and body.
    """

    advertiser_id: str
    event_source_id: str
    ask: Callable[[str, str, object], Answer]

    def list(self, account: Account | None) -> tuple[SourceReport, ...] | CheckResult:
        """Return all event sources of the advertiser, page by page."""
        del account  # the path says whose they are
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

        return _in_parts(sources, sync)

    def validate(
        self, sources: Sequence[EventSource], *, delete_missing: bool
    ) -> CheckResult | None:
        """Say if there are none, or too many to go with ``delete_missing``."""
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
            return CheckResult("error", "The summary's answer lists no hours.", "Try again later.")
        mixed = False
        for hour, count, source in _parse_entries(listed):
            if source in {None, self.event_source_id}:
                hourly[hour] = hourly.get(hour, 0) + count
                mixed |= source is None
        note = "The Interchange counts all event sources of the advertiser together."
        return Received(hourly, note=note if mixed else "")


@attrs.frozen
class AgentClient:
    """An agent's tool ``sync_event_sources``.

    Attributes:
        event_source_id: The event source whose events are counted.
        line: The protocol line that is spoken.
        ask: Uses a tool with arguments.
    """

    event_source_id: str
    line: AdcpVersion
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

        return _in_parts(sources, sync)

    def validate(
        self, sources: Sequence[EventSource], *, delete_missing: bool
    ) -> CheckResult | None:
        """Say the same as of the Interchange, or which event type the line does not know."""
        wrong = _check_count(sources, delete_missing=delete_missing)
        return wrong or _check_versions(sources, self.line)

    def count_received(
        self, account: Account | None, start: int, stop: int
    ) -> Received | CheckResult:
        """Return what the source's health says of the last 24 hours, as agents count no hours."""
        del start, stop
        found = self.list(account)
        if isinstance(found, CheckResult):
            return found
        own = next((each for each in found if each.event_source_id == self.event_source_id), None)
        count = own.health.events_received_24h if own and own.health else None
        if count is None:
            message = f"The agent does not say how much {self.event_source_id!r} received."
            return CheckResult("warning", message, "Ask the seller.")
        return Received(last_day=count)

    def _use(self, account: Account | None, arguments: Mapping[str, object]) -> Answer:
        if account is None:
            message = "An agent has to be told whose event sources these are."
            remedy = "Give the account: account_id, or brand and operator."
            return CheckResult("error", message, remedy)
        # A key of its own for each wish: yesterday's answer is no answer today.
        key = {"idempotency_key": secrets.token_hex(32), "account": account.as_json()}
        return self.ask("sync_event_sources", key | dict(arguments))


def client_for(destination: Destination) -> EventSourceClient | None:
    """Return what asks a destination's seller about event sources.

    Ours get a connection, and agents a session, apart from the one that delivers.
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
    sources: Sequence[EventSource], sync: Callable[[list[dict[str, object]]], Answer]
) -> tuple[SourceReport, ...] | CheckResult:
    """Register as many event sources a call as every seller takes."""
    found: list[SourceReport] = []
    for start in range(0, len(sources), _SOURCES_PER_CALL):
        part = sources[start : start + _SOURCES_PER_CALL]
        answer = sync([source.as_json() for source in part])
        if isinstance(answer, CheckResult):
            return answer
        found += parse_reports(answer)
    return tuple(found)


def _check_count(sources: Sequence[EventSource], *, delete_missing: bool) -> CheckResult | None:
    if not sources:
        return CheckResult("error", "There is no event source to register.", "Name at least one.")
    if delete_missing and len(sources) > _SOURCES_PER_CALL:
        # Each call would delete what the others named.
        message = f"Sellers take {_SOURCES_PER_CALL} event sources a call, got {len(sources)}."
        return CheckResult("error", message, "Sync without deleting, or name no more than that.")
    return None


def _check_versions(sources: Sequence[EventSource], line: AdcpVersion) -> CheckResult | None:
    """Say which event type an older line does not know, as it would refuse the whole request."""
    for source in sources:
        for kind in source.event_types:
            needed = EVENT_TYPES.get(kind, line)
            if parse_version(needed) > parse_version(line):
                where = f"The event source {source.event_source_id!r}"
                message = f"{where} has {kind!r}, of AdCP {needed}; this destination speaks {line}."
                remedy = f"Set adcp_version to {needed} if the seller speaks it, or leave it out."
                return CheckResult("error", message, remedy)
    return None


def _format_hour(hour: int) -> str:
    return datetime.fromtimestamp(hour * _HOUR, _UTC).strftime("%Y-%m-%dT%H:00:00Z")


def _parse_entries(listed: list[object]) -> Iterator[tuple[int, int, str | None]]:
    """Return hour, count and event source of each entry that can be read."""
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
        return int(zoned.timestamp() // _HOUR)
    except (ValueError, OverflowError):
        return None
