"""How the local seller behaves, settled before it starts or changed while it runs."""

from __future__ import annotations

from typing import Literal, TypeVar

import attrs
import cattrs

from adcp_tracker.exceptions import ConfigurationError

DEFAULT_TOKEN = "sandbox-token"  # noqa: S105 - what the local seller takes unless told otherwise
DEFAULT_ADVERTISER = "12345"
DEFAULT_SOURCE = "website_pixel"

Line = Literal["3.0", "3.1", "3.2"]
"""A line of the protocol."""

_MOST = 2**53
"""The largest number that JSON carries everywhere."""

_NOT_NEGATIVE = frozenset(
    {"keep_events", "max_bytes", "max_events", "max_nodes", "rate_limit", "remember_ids"}
)

ErrorPlace = Literal["adcp_error", "jsonrpc", "text", "errors", "http", "plain"]
"""Where an MCP answer holds its error; ``plain`` is words for people and no code."""

_T = TypeVar("_T")


@attrs.frozen(kw_only=True, repr=False)
class SandboxConfig:
    """What the seller knows, takes and answers.

    Attributes:
        tokens: The bearer tokens it takes; an empty tuple takes any request.
        advertisers: Which event sources each advertiser has from the start.
        max_bytes: How large a body may be, as sent and as unpacked, before a 413.
        max_events: How many events one request may hold.
        max_nodes: How many JSON values one request may hold; ``None`` counts none.
        gzip: Whether it unpacks gzip; otherwise a packed body is a 415.
        rate_limit: How many requests it answers per window; ``None`` limits nothing
            and sends no ``RateLimit-*`` headers.
        rate_window_s: The window's length in seconds.
        wrapped: Whether REST answers stand in ``{"data": …, "error": …}``.
        strict: Whether one wrong event fails the whole request, as real sellers do;
            otherwise it becomes a partial failure.
        notation: How a wrong place is named: ``/events/3/event_time`` or
            ``events[3].event_time``.
        issues_in: Where the list of wrong places stands in an error.
        names_field: Whether an error names the first wrong place in ``field``.
        refuse_events: Event ids that always become partial failures, with their code.
        require_match: Whether an event without ``user_match`` is a partial failure.
        max_age_days: How old an event may be before it is a partial failure.
        keep_events: How many good and how many bad events are kept for inspection.
        ids_only: Whether good events are kept without their bodies, to save memory.
        remember_ids: How many events are known again when they come twice.
        needs_name: Whether an event source without a name cannot be registered.
        instructions: What the buyer is told to do with a new event source.
        summary_delay_s: How late the hourly summary lags behind.
        seed: Starts the random numbers that pick the share of requests to fail.
        sessions: Whether MCP asks for a session.
        sse: Whether MCP answers with server-sent events instead of JSON.
        versions: The protocol lines its MCP side speaks, oldest first.
        status: The ``status`` of MCP answers; ``None`` leaves it out, as many do.
        error_place: Where an MCP error stands.
        idempotency_ttl_s: How long an answer is kept for its idempotency key.
        replay_errors: Whether the same key gets the same error again.
    """

    tokens: tuple[str, ...] = (DEFAULT_TOKEN,)
    advertisers: dict[str, tuple[str, ...]] = attrs.field(
        factory=lambda: {DEFAULT_ADVERTISER: (DEFAULT_SOURCE,)}
    )
    max_bytes: int = 10_000_000
    max_events: int = 10_000
    max_nodes: int | None = None
    gzip: bool = True
    rate_limit: int | None = None
    rate_window_s: float = 60.0
    wrapped: bool = True
    strict: bool = True
    notation: Literal["pointer", "dotted"] = "pointer"
    issues_in: Literal["details", "top", "nowhere"] = "details"
    names_field: bool = True
    refuse_events: dict[str, str] = attrs.field(factory=dict)
    require_match: bool = False
    max_age_days: float | None = None
    keep_events: int = 100_000
    ids_only: bool = False
    remember_ids: int = 1_000_000
    needs_name: bool = False
    instructions: str = "Send events from your server; there is nothing to install."
    summary_delay_s: float = 0.0
    seed: int = 0
    sessions: bool = True
    sse: bool = False
    versions: tuple[Line, ...] = ("3.0", "3.1", "3.2")
    status: str | None = "completed"
    error_place: ErrorPlace = "adcp_error"
    idempotency_ttl_s: float = 86_400.0
    replay_errors: bool = False

    def __attrs_post_init__(self) -> None:
        check_numbers(self, _NOT_NEGATIVE)
        if not self.versions:
            raise ConfigurationError("versions: expected one protocol line or more, got none")

    def __repr__(self) -> str:
        return f"SandboxConfig(advertisers={sorted(self.advertisers)}, strict={self.strict})"


def check_numbers(settings: attrs.AttrsInstance, not_negative: frozenset[str]) -> None:
    """Refuse numbers that cannot be reckoned with, or not be shown as JSON.

    Raises:
        ConfigurationError: If one is too large or not a number, or is below 0 and its name
            is among `not_negative`.
    """
    for field in attrs.fields(type(settings)):
        value = getattr(settings, field.name)
        least = 0 if field.name in not_negative else -_MOST
        if isinstance(value, (int, float)) and not least <= value <= _MOST:
            expected = f"a number from {least} to {_MOST}"
            raise ConfigurationError(f"{field.name}: expected {expected}, got another")


_converter = cattrs.Converter(forbid_extra_keys=True)
_converter.register_structure_hook_func(lambda kind: kind is object, lambda value, _: value)


@_converter.register_structure_hook
def _structure_flag(value: object, _: type[bool]) -> bool:
    # By itself the text "false" would become true.
    if not isinstance(value, bool):
        raise TypeError("expected true or false")
    return value


def structure(settings: object, kind: type[_T]) -> _T:
    """Make a `kind` of decoded JSON, and refuse what it does not know.

    Raises:
        ConfigurationError: If a setting is unknown or has the wrong type.
    """
    try:
        return _converter.structure(settings, kind)
    except Exception as error:
        what = "; ".join(cattrs.transform_error(error, path="$"))
        message = f"expected the settings of a {kind.__name__}: {what}"
        raise ConfigurationError(message) from error
