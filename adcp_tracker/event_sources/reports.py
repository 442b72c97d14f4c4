"""What sellers report about event sources, sanitized."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeGuard

import attrs

from adcp_tracker.destinations.responses import CODE_LENGTH, sanitize

if TYPE_CHECKING:
    from collections.abc import Mapping

    from adcp_tracker.destinations.base import CheckResult

_MOST_LINES: Final = 60
_MOST_WORDS: Final = 200
_MOST_SOURCES: Final = 1000
_LINE_LENGTH: Final = 1000
_ID_LENGTH: Final = 255
_FAILED: Final = frozenset({"failed", "unconfirmed"})


@attrs.frozen
class Setup:
    """How a seller wants an event source to be set up. Untrusted text, never executed.

    Attributes:
        instructions: Instructions, line by line.
        snippet: A tag to install, line by line; empty if events come from a server.
        snippet_type: The kind of tag.
    """

    instructions: tuple[str, ...] = ()
    snippet: tuple[str, ...] = ()
    snippet_type: str = ""


@attrs.frozen
class Health:
    """A seller's view of the health of an event source.

    Attributes:
        status: One word, such as ``good``.
        match_rate: The share of events it could match, 0–1; ``None`` if it doesn't say.
        events_received_24h: Events of the last 24 hours; ``None`` if it doesn't say.
        issues: What it says is wrong.
    """

    status: str = ""
    match_rate: float | None = None
    events_received_24h: int | None = None
    issues: tuple[str, ...] = ()


@attrs.frozen
class SourceReport:
    """What one seller reports about one event source.

    Attributes:
        event_source_id: The event source.
        name: Its name.
        action: What the seller did: ``created``, ``updated``, ``unchanged``, ``deleted`` or
            ``failed``; ``unconfirmed`` if it doesn't say; empty if it was only listed.
        managed_by: Who manages it, ``buyer`` or ``seller``.
        event_types: The types it accepts; ``None`` if the seller doesn't say.
        value_currencies: The currencies it accepts; ``None`` if the seller doesn't say.
        setup: How to set it up.
        health: Its health.
        errors: Why it failed.
        action_source: Where its events happen; empty if the seller doesn't say.
    """

    event_source_id: str
    name: str = ""
    action: str = ""
    managed_by: str = ""
    event_types: tuple[str, ...] | None = None
    value_currencies: tuple[str, ...] | None = None
    setup: Setup | None = None
    health: Health | None = None
    errors: tuple[str, ...] = ()
    action_source: str = ""

    @property
    def has_failed(self) -> bool:
        """Whether the seller didn't register it, as far as it says."""
        return self.action in _FAILED


@attrs.frozen
class SourcesReport:
    """What one destination's seller reports about its event sources.

    Attributes:
        destination: The destination's name.
        sources: The event sources.
        problem: Why there is no response, if so.
    """

    destination: str
    sources: tuple[SourceReport, ...] = ()
    problem: CheckResult | None = None

    @property
    def is_ok(self) -> bool:
        """Whether there is a response, and nothing failed."""
        return self.problem is None and not any(each.has_failed for each in self.sources)


def parse_reports(answer: Mapping[str, object]) -> tuple[SourceReport, ...]:
    """Parse a response about event sources, ignoring values of a wrong type.

    Accepts ``event_source_id`` and ``eventSourceId``.
    """
    listed = _get(answer, "event_sources")
    items = listed[:_MOST_SOURCES] if isinstance(listed, list) else []
    reports = (_report(item) for item in items if isinstance(item, dict))
    return tuple(report for report in reports if report.event_source_id)


def is_count(value: object) -> TypeGuard[int]:
    """Return whether `value` is an integer of 0 or more."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _report(item: Mapping[str, object]) -> SourceReport:
    setup, health = _get(item, "setup"), _get(item, "health")
    return SourceReport(
        event_source_id=sanitize(_get(item, "event_source_id"), _ID_LENGTH),
        name=sanitize(_get(item, "name"), _ID_LENGTH),
        action=sanitize(_get(item, "action"), CODE_LENGTH),
        managed_by=sanitize(_get(item, "managed_by"), CODE_LENGTH),
        event_types=_words(_get(item, "event_types")),
        value_currencies=_words(_get(item, "value_currencies")),
        action_source=sanitize(_get(item, "action_source"), CODE_LENGTH),
        setup=_setup(setup) if isinstance(setup, dict) else None,
        health=_health(health) if isinstance(health, dict) else None,
        errors=tuple(_errors(item)),
    )


def _setup(setup: Mapping[str, object]) -> Setup:
    return Setup(
        _lines(_get(setup, "instructions")),
        _lines(_get(setup, "snippet")),
        sanitize(_get(setup, "snippet_type"), CODE_LENGTH),
    )


def _health(health: Mapping[str, object]) -> Health:
    listed = _get(health, "issues")
    issues = [_message(issue) for issue in listed[:_MOST_LINES]] if isinstance(listed, list) else []
    issues.append(sanitize(_get(health, "last_error")))
    rate, events = _get(health, "match_rate"), _get(health, "events_received_24h")
    return Health(
        status=sanitize(_get(health, "status"), CODE_LENGTH),
        match_rate=float(rate) if _is_number(rate) and 0 <= rate <= 1 else None,
        events_received_24h=events if is_count(events) else None,
        issues=tuple(filter(None, issues)),
    )


def _errors(item: Mapping[str, object]) -> list[str]:
    listed = _get(item, "errors")
    errors = [_message(error) for error in listed[:_MOST_LINES]] if isinstance(listed, list) else []
    errors.append(_message(_get(item, "error")))
    return [error for error in errors if error]


def _message(value: object) -> str:
    if not isinstance(value, dict):
        return sanitize(value)
    parts = (sanitize(value.get("code"), CODE_LENGTH), sanitize(value.get("message")))
    return ": ".join(part for part in parts if part)


def _lines(value: object) -> tuple[str, ...]:
    lines = value.splitlines()[:_MOST_LINES] if isinstance(value, str) else []
    return tuple(sanitize(line, _LINE_LENGTH) for line in lines)


def _words(value: object) -> tuple[str, ...] | None:
    if not isinstance(value, list):
        return None
    return tuple(filter(None, (sanitize(word, CODE_LENGTH) for word in value[:_MOST_WORDS])))


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _get(table: Mapping[str, object], name: str) -> object:
    """Return a value by its name, or by its name in camel case."""
    if name in table:
        return table[name]
    first, *rest = name.split("_")
    return table.get(first + "".join(word.capitalize() for word in rest))
