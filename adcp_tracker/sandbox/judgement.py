"""What the seller thinks of each event: wrong, unusable, or worth a word of advice."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import attrs

from adcp_tracker.sandbox.checks import Issue, under
from adcp_tracker.sandbox.rules import check_event

if TYPE_CHECKING:
    from collections.abc import Sequence

    from adcp_tracker.sandbox.config import SandboxConfig
    from adcp_tracker.sandbox.rules import Dialect
    from adcp_tracker.sandbox.sources import Source

_DAY_S = 86_400
_LIKELY_TO_MATCH = ("hashed_email", "hashed_phone", "uids", "click_id")


@attrs.frozen
class Failure:
    """An event that is not processed, as partial failures name it."""

    event_id: str
    code: str
    message: str


def judge(events: Sequence[object], dialect: Dialect, source: Source) -> dict[int, list[Issue]]:
    """List the broken rules of each event that breaks any, by its place."""
    found: dict[int, list[Issue]] = {}
    for index, event in enumerate(events):
        issues = [*check_event(event, dialect), *_check_currency(event, source)]
        if issues:
            found[index] = under(f"/events/{index}", issues)
    return found


def _check_currency(event: object, source: Source) -> list[Issue]:
    if not source.value_currencies or not isinstance(event, dict):
        return []
    data = event.get("custom_data")
    currency = data.get("currency") if isinstance(data, dict) else None
    if not isinstance(currency, str) or currency in source.value_currencies:
        return []
    message = "must be one of the source's value_currencies"
    return [Issue("/custom_data/currency", message, "enum")]


def failure_of(
    event: object,
    issues: Sequence[Issue],
    source: Source,
    config: SandboxConfig,
    now: float,
) -> Failure | None:
    """Say why `event` is not processed, if it is not.

    Args:
        event: The event as decoded from JSON.
        issues: The rules it breaks.
        source: Where it claims to come from.
        config: What the seller wants of events beyond the rules.
        now: Seconds since 1970.
    """
    event_id = _text_of(event, "event_id")
    if issues:
        return Failure(event_id, _code_of(issues[0]), f"{issues[0].pointer} {issues[0].message}")
    if event_id in config.refuse_events:
        return Failure(event_id, config.refuse_events[event_id], "The seller refuses this event.")
    if source.event_types and _text_of(event, "event_type") not in source.event_types:
        return Failure(event_id, "INVALID_EVENT_TYPE", "The source does not take this event type.")
    if config.require_match and isinstance(event, dict) and "user_match" not in event:
        return Failure(event_id, "MISSING_USER_MATCH", "The event names nobody.")
    if config.max_age_days is not None and _age_s(event, now) > config.max_age_days * _DAY_S:
        return Failure(event_id, "INVALID_EVENT_TIME", "The event is too old to be attributed.")
    return None


def match_quality(events: Sequence[object]) -> float:
    """Return the share of `events` that could be matched to a person, 0-1."""
    if not events:
        return 0.0
    return round(sum(map(_weight, events)) / len(events), 3)


def _weight(event: object) -> float:
    match = event.get("user_match") if isinstance(event, dict) else None
    if not isinstance(match, dict):
        return 0.0
    return 1.0 if any(name in match for name in _LIKELY_TO_MATCH) else 0.5


def warnings_about(events: Sequence[object], now: float) -> list[str]:
    """Give the advice that real sellers give, each piece once with the number of events."""
    worthless = sum(
        _text_of(event, "event_type") == "purchase" and _no_worth(event) for event in events
    )
    nameless = sum(isinstance(event, dict) and "user_match" not in event for event in events)
    tomorrow = datetime.fromtimestamp(now + _DAY_S).astimezone().date().isoformat()
    future = sum(
        _text_of(event, "event_time")[:10] > tomorrow and _age_s(event, now) < -_DAY_S
        for event in events
    )
    pieces = (
        (worthless, "purchases without value and currency cannot be optimised for"),
        (nameless, "events without user_match cannot be attributed"),
        (future, "events lie over a day in the future"),
    )
    return [f"{number} {words}" for number, words in pieces if number]


def _no_worth(event: object) -> bool:
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
    # Older Pythons read neither odd numbers of decimals nor leap seconds.
    whole = text[:17] + min(text[17:19], "59")
    return now - datetime.fromisoformat(whole + text[-6:]).timestamp()
