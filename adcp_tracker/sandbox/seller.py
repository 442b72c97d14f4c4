"""The seller: accepts or rejects events, independent of the protocol they arrive by."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

import attrs
import orjson

from adcp_tracker.sandbox.config import FaultInjector, SandboxConfig
from adcp_tracker.sandbox.event_sources import EventSources, check_sources
from adcp_tracker.sandbox.failures import ApiError
from adcp_tracker.sandbox.schema import Issue, check_event, check_request, prefix_pointers
from adcp_tracker.sandbox.store import (
    BadEvent,
    EventStore,
    GoodEvent,
    IdempotencyStore,
    RateLimiter,
)
from adcp_tracker.sandbox.timeline import Entry, Timeline

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from adcp_tracker.sandbox.event_sources import EventSource
    from adcp_tracker.sandbox.schema import Dialect
    from adcp_tracker.sandbox.store import DeadLetterAccess


_DAY_S = 86_400
_LIKELY_TO_MATCH = ("hashed_email", "hashed_phone", "uids", "click_id")


@attrs.frozen
class Failure:
    """A partial failure: an event that was not processed."""

    event_id: str
    code: str
    message: str


def validate_events(
    events: Sequence[object], dialect: Dialect, source: EventSource
) -> dict[int, list[Issue]]:
    """Return the issues of each invalid event, by its index."""
    found: dict[int, list[Issue]] = {}
    for index, event in enumerate(events):
        issues = [*check_event(event, dialect), *_check_currency(event, source)]
        if issues:
            found[index] = prefix_pointers(f"/events/{index}", issues)
    return found


def _check_currency(event: object, source: EventSource) -> list[Issue]:
    if not source.value_currencies or not isinstance(event, dict):
        return []
    data = event.get("custom_data")
    currency = data.get("currency") if isinstance(data, dict) else None
    if not isinstance(currency, str) or currency in source.value_currencies:
        return []
    message = "must be one of the source's value_currencies"
    return [Issue("/custom_data/currency", message, "enum")]


def find_failure(
    event: object,
    issues: Sequence[Issue],
    source: EventSource,
    config: SandboxConfig,
    now: float,
) -> Failure | None:
    """Return why `event` is not processed, or ``None``.

    Args:
        event: The event as decoded from JSON.
        issues: What is invalid in it.
        source: Its event source.
        config: The seller's settings.
        now: The time in seconds since 1970.
    """
    event_id = _text_of(event, "event_id")
    if issues:
        return Failure(event_id, _code_of(issues[0]), f"{issues[0].pointer} {issues[0].message}")
    if event_id in config.refuse_events:
        return Failure(event_id, config.refuse_events[event_id], "The seller rejects this event.")
    if source.event_types and _text_of(event, "event_type") not in source.event_types:
        return Failure(
            event_id, "INVALID_EVENT_TYPE", "The event source doesn't accept this event type."
        )
    if config.require_match and isinstance(event, dict) and "user_match" not in event:
        return Failure(event_id, "MISSING_USER_MATCH", "The event has no user_match.")
    if config.max_age_days is not None and _age_s(event, now) > config.max_age_days * _DAY_S:
        return Failure(event_id, "INVALID_EVENT_TIME", "The event is too old to be attributed.")
    return None


def match_quality(events: Sequence[object]) -> float:
    """Return the share of `events` that could be matched to a person, 0–1."""
    if not events:
        return 0.0
    return round(sum(map(_weight, events)) / len(events), 3)


def _weight(event: object) -> float:
    match = event.get("user_match") if isinstance(event, dict) else None
    if not isinstance(match, dict):
        return 0.0
    return 1.0 if any(name in match for name in _LIKELY_TO_MATCH) else 0.5


def warnings_about(events: Sequence[object], now: float) -> list[str]:
    """Return warnings like those of real sellers, each with the number of events."""
    worthless = sum(
        _text_of(event, "event_type") == "purchase" and _lacks_value(event) for event in events
    )
    nameless = sum(isinstance(event, dict) and "user_match" not in event for event in events)
    tomorrow = datetime.fromtimestamp(now + _DAY_S).astimezone().date().isoformat()
    future = sum(
        _text_of(event, "event_time")[:10] > tomorrow and _age_s(event, now) < -_DAY_S
        for event in events
    )
    pieces = (
        (worthless, "purchases without value and currency can't be used for optimization"),
        (nameless, "events without user_match can't be attributed"),
        (future, "events are more than a day in the future"),
    )
    return [f"{number} {words}" for number, words in pieces if number]


def _lacks_value(event: object) -> bool:
    data = event.get("custom_data") if isinstance(event, dict) else None
    return not isinstance(data, dict) or not {"value", "currency"} <= data.keys()


def _code_of(issue: Issue) -> str:
    if issue.pointer.endswith("/event_type"):
        return "INVALID_EVENT_TYPE"
    if issue.pointer.endswith("/event_time"):
        return "INVALID_EVENT_TIME"
    return "MISSING_USER_MATCH" if issue.keyword == "anyOf" else "INVALID_EVENT"


def _text_of(event: object, name: str) -> str:
    value = event.get(name) if isinstance(event, dict) else None
    return value if isinstance(value, str) else ""


def _age_s(event: object, now: float) -> float:
    text = _text_of(event, "event_time").upper().replace("Z", "+00:00")
    # Python 3.10 parses neither all fractions nor leap seconds.
    whole = text[:17] + min(text[17:19], "59")
    return now - datetime.fromisoformat(whole + text[-6:]).timestamp()


@attrs.frozen
class LogRequest:
    """A request to log events, independent of the protocol.

    Attributes:
        body: The request as decoded from JSON.
        dialect: The rules to apply.
        advertiser_id: The owner of the event source; ``None`` for any.
        lose: How many of the last events to lose silently.
    """

    body: object
    dialect: Dialect
    advertiser_id: str | None = None
    lose: int = 0

    @property
    def via(self) -> str:
        """The protocol the request arrived by."""
        return "REST" if self.dialect == "interchange" else "MCP"

    @property
    def test_event_code(self) -> str | None:
        """The code that marks all events as tests."""
        code = self.body.get("test_event_code") if isinstance(self.body, dict) else None
        return None if code is None else str(code)


class Seller:
    """The state of the seller.

    Attributes:
        config: Its settings.
        store: The events and requests it received.
        timeline: What its page shows.
        faults: The faults to inject.
        sources: Its event sources.
        limiter: The rate limiter.
        idempotency: Responses by idempotency key.
        sessions: Open MCP sessions.
        crash: Stops the seller at once.
        dead_letters: The dead letters of a tracker, for its page.
    """

    def __init__(
        self,
        config: SandboxConfig | None = None,
        *,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.config = SandboxConfig() if config is None else config
        self.now = now
        self.store = EventStore(self.config)
        self.timeline = Timeline(now, self.config.keep_events)
        self.faults = FaultInjector(self.config.seed)
        self.sources = EventSources(self.config.advertisers, now)
        self.limiter = RateLimiter(monotonic)
        self.idempotency = IdempotencyStore(now)
        self.sessions: set[str] = set()
        self.crash: Callable[[], None] = lambda: None
        self.dead_letters: DeadLetterAccess | None = None

    def reset(self) -> None:
        """Discard events, faults and event sources; keep the settings."""
        self.clear()
        self.faults.clear(self.config.seed)
        self.sources = EventSources(self.config.advertisers, self.now)
        self.idempotency.clear()
        self.limiter.started_at = float("-inf")

    def clear(self) -> None:
        """Discard events and requests only."""
        self.store.reset(self.config)
        self.timeline.clear(self.config.keep_events)

    def configure(self, config: SandboxConfig) -> None:
        """Replace the settings, and add the event sources they name."""
        self.config = config
        self.sources.add(config.advertisers)

    def log_events(self, request: LogRequest) -> dict[str, object]:
        """Accept the events of `request`.

        Returns:
            The response body, without the parts of REST or MCP.

        Raises:
            ApiError: If the whole request is rejected.
        """
        body = self._well_formed(request)
        source = self._source(body, request)
        events: list[object] = body["events"]  # type: ignore[assignment]
        faults = validate_events(events, request.dialect, source)
        if faults and self.config.strict:
            codes = dict.fromkeys(faults, "VALIDATION_ERROR")
            self._add_rejected(codes, events, faults, source, request)
            raise validation_error([issue for issues in faults.values() for issue in issues])
        failures = self._failures(events, faults, source)
        codes = {index: failure.code for index, failure in failures.items()}
        self._add_rejected(codes, events, faults, source, request)
        kept = len(events) - request.lose
        taken = [event for at, event in enumerate(events) if at not in failures and at < kept]
        self._take(taken, source, request)
        self.store.add_lost(len(events) - len(taken) - len(failures))
        return _answer(events, taken, failures, self.now())

    def _well_formed(self, request: LogRequest) -> Mapping[str, object]:
        body = request.body
        if not isinstance(body, dict):
            raise ApiError(400, "BAD_REQUEST", "The body must be a JSON object.")
        issues = check_request(body, request.dialect, self.config.max_events)
        most = self.config.max_nodes
        if not issues and most is not None and _count_nodes(body) > most:
            message = f"must not make the request hold over {most} values"
            issues = [Issue("/events", message, "payload_size")]
        if issues:
            raise validation_error(list(issues))
        return body

    def _source(self, body: Mapping[str, object], request: LogRequest) -> EventSource:
        source_id = str(body["event_source_id"])
        source = self.sources.find(request.advertiser_id, source_id)
        if source is None:
            rest = request.dialect == "interchange"
            code = "EVENT_SOURCE_NOT_FOUND" if rest else "REFERENCE_NOT_FOUND"
            raise ApiError(404, code, "No such event source.", recovery="terminal")
        return source

    def _failures(
        self, events: list[object], faults: Mapping[int, list[Issue]], source: EventSource
    ) -> dict[int, Failure]:
        now = self.now()
        found = (
            find_failure(event, faults.get(index, ()), source, self.config, now)
            for index, event in enumerate(events)
        )
        return {index: failure for index, failure in enumerate(found) if failure is not None}

    def _add_rejected(
        self,
        codes: Mapping[int, str],
        events: list[object],
        faults: Mapping[int, list[Issue]],
        source: EventSource,
        request: LogRequest,
    ) -> None:
        """Keep the events that are rejected, each with its code."""
        bad = {
            index: BadEvent(orjson.dumps(events[index]), code, tuple(faults.get(index, ())))
            for index, code in codes.items()
        }
        self.store.add_bad(list(bad.values()))
        self.timeline.add(
            Entry(
                "rejected",
                _text_of(events[index], "event_id"),
                _text_of(events[index], "event_type"),
                request.via,
                source.name,
                request.test_event_code,
                each.body,
                each.code,
                each.issues,
            )
            for index, each in bad.items()
        )

    def _take(self, events: list[object], source: EventSource, request: LogRequest) -> None:
        code = request.test_event_code
        now = self.now()
        good = [
            GoodEvent(
                event_id=event["event_id"],  # type: ignore[index]
                event_type=event["event_type"],  # type: ignore[index]
                event_source_id=source.event_source_id,
                advertiser_id=source.account,
                received_at=now,
                test_event_code=code,
                body=b"" if self.config.ids_only else orjson.dumps(event),
            )
            for event in events
        ]
        are_new = self.store.add_good(good)
        name, via = source.name, request.via
        self.timeline.add(
            Entry(
                "delivered" if is_new else "repeated",
                event.event_id,
                event.event_type,
                via,
                name,
                code,
                event.body,
            )
            for event, is_new in zip(good, are_new, strict=True)
        )
        if code is None:
            self.sources.count(source, via, len(events))


def validation_error(issues: list[Issue]) -> ApiError:
    """Return the error for an invalid request."""
    message = f"The request is invalid; first issue: {issues[0].message}."
    return ApiError(400, "VALIDATION_ERROR", message, issues=tuple(issues))


def _count_nodes(value: object) -> int:
    if isinstance(value, dict):
        return 1 + sum(map(_count_nodes, value.values()))
    if isinstance(value, list):
        return 1 + sum(map(_count_nodes, value))
    return 1


def _answer(
    events: list[object], taken: list[object], failures: Mapping[int, Failure], now: float
) -> dict[str, object]:
    answer: dict[str, object] = {
        "events_received": len(events),
        "events_processed": len(taken),
        "match_quality": match_quality(taken),
    }
    if failures:
        answer["partial_failures"] = [attrs.asdict(failure) for failure in failures.values()]
    warnings = warnings_about(taken, now)
    if warnings:
        answer["warnings"] = warnings
    return answer


_MOST_SOURCES = 50
_HOUR = timedelta(hours=1)
_START = datetime(1970, 1, 1, tzinfo=timezone.utc)


def sync_sources(
    seller: Seller, body: Mapping[str, object], account: str, via: str
) -> dict[str, object]:
    """Register the event sources of `body`, or list those of `account` if it has none.

    Raises:
        ApiError: If the list is invalid; an invalid source only fails itself.
    """
    if "event_sources" not in body:
        return list_sources(seller, account, via)
    issues = check_sources(body["event_sources"], _MOST_SOURCES)
    delete = body.get("delete_missing", False)
    if not isinstance(delete, bool):
        issues.append(Issue("/delete_missing", "must be true or false", "type"))
    if issues:
        raise validation_error(issues)
    items: list[object] = body["event_sources"]  # type: ignore[assignment]
    found = seller.sources.sync(account, items, via, seller.config, delete_missing=bool(delete))
    return {"event_sources": found}


def list_sources(
    seller: Seller, account: str, via: str, take: int | None = None, skip: int = 0
) -> dict[str, object]:
    """List the event sources of `account` with their health."""
    known = seller.sources.of(account)
    shown = known[skip:] if take is None else known[skip : skip + take]
    return {
        "event_sources": [
            source.shown() | {"action": "unchanged", "health": seller.sources.health(source, via)}
            for source in shown
        ],
        "total": len(known),
    }


def summarize(
    seller: Seller, account: str, start: str | None, end: str | None
) -> dict[str, object]:
    """Count the live events of `account` per hour and source.

    Args:
        seller: The seller.
        account: The account.
        start: The first hour, in ISO 8601; UTC if it has no offset.
        end: The hour after the last.

    Raises:
        ApiError: If an hour is invalid.
    """
    late = int((seller.now() - seller.config.summary_delay_s) // 3600) + 1
    stop = min(_hour(end, "endHour"), late)
    counted = seller.sources.hours(account, "REST", _hour(start, "startHour"), stop)
    hours = [
        {
            "hour": (_START + hour * _HOUR).strftime("%Y-%m-%dT%H:00:00Z"),
            "event_source_id": source_id,
            "events_received": number,
        }
        for source_id, hour, number in counted
    ]
    return {"hours": hours, "total": sum(number for _, _, number in counted)}


def _hour(text: str | None, name: str) -> int:
    try:
        moment = datetime.fromisoformat((text or "").replace("Z", "+00:00"))
    except ValueError as error:
        raise ApiError(400, "BAD_REQUEST", f"{name} must be an ISO 8601 time.") from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return (moment - _START) // _HOUR
