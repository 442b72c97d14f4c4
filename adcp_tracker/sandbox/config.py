"""Settings of the local seller, and the faults that can be injected."""

from __future__ import annotations

import random
import re
import threading
from typing import TYPE_CHECKING, Literal, TypeVar

import attrs
import cattrs

from adcp_tracker.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


DEFAULT_TOKEN = "sandbox-token"  # noqa: S105 - a default for local use
DEFAULT_ADVERTISER = "12345"
DEFAULT_SOURCE = "website_pixel"

AdcpVersion = Literal["3.0", "3.1", "3.2"]
"""A version of the protocol."""

_MAX_NUMBER = 2**53
"""The largest integer that every JSON parser keeps exact."""

_NOT_NEGATIVE = frozenset(
    {"keep_events", "max_bytes", "max_events", "max_nodes", "rate_limit", "remember_ids"}
)

ErrorPlace = Literal["adcp_error", "jsonrpc", "text", "errors", "http", "plain"]
"""Where an MCP response holds its error; ``plain`` is text without a code."""

_T = TypeVar("_T")


@attrs.frozen(kw_only=True, repr=False)
class SandboxConfig:
    """Settings of the local seller.

    Attributes:
        tokens: Accepted bearer tokens; an empty tuple accepts any request.
        advertisers: The advertisers, each with its initial event sources.
        max_bytes: The maximum size of a request body, compressed and decompressed.
        max_events: The maximum number of events per request.
        max_nodes: The maximum number of JSON values per request; ``None`` for no limit.
        gzip: Whether gzip bodies are accepted; otherwise they get a 415.
        rate_limit: The number of requests allowed per window; ``None`` for no limit and
            no ``RateLimit-*`` headers.
        rate_window_s: The length of the window in seconds.
        wrapped: Whether REST responses are wrapped in ``{"data": …, "error": …}``.
        strict: Whether one invalid event fails the whole request, as at real sellers;
            otherwise it becomes a partial failure.
        notation: How error locations are written: ``/events/3/event_time`` or
            ``events[3].event_time``.
        issues_in: Where an error lists its locations.
        names_field: Whether an error names its first location in ``field``.
        refuse_events: Event ids that always become partial failures, with their code.
        require_match: Whether an event without ``user_match`` is a partial failure.
        max_age_days: The maximum age of an event; older ones are partial failures.
        keep_events: How many good and how many bad events are kept for inspection.
        ids_only: Whether good events are kept without their bodies, to save memory.
        remember_ids: For how many events repeats are recognized.
        needs_name: Whether an event source must have a name to be registered.
        instructions: The set-up instructions returned for an event source.
        summary_delay_s: By how many seconds the hourly summary lags behind.
        seed: The seed of the random numbers used for ``share`` in faults.
        sessions: Whether MCP requires a session.
        stateless: ``True`` if MCP speaks only revision 2026-07-28, which has no sessions;
            ``False`` if it speaks only older ones; ``None`` if it speaks all of them.
        sse: Whether MCP responds with server-sent events instead of JSON.
        versions: The protocol versions of the MCP endpoint, oldest first.
        status: The ``status`` in MCP responses; ``None`` leaves it out, as many sellers do.
        error_place: Where an MCP response holds its error.
        idempotency_ttl_s: How long a response is kept for its idempotency key.
        replay_errors: Whether a repeated key gets the same error again.
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
    stateless: bool | None = None
    sse: bool = False
    versions: tuple[AdcpVersion, ...] = ("3.0", "3.1", "3.2")
    status: str | None = "completed"
    error_place: ErrorPlace = "adcp_error"
    idempotency_ttl_s: float = 86_400.0
    replay_errors: bool = False

    def __attrs_post_init__(self) -> None:
        check_numbers(self, _NOT_NEGATIVE)
        if not self.versions:
            raise ConfigurationError("versions: expected at least one protocol version.")

    def __repr__(self) -> str:
        return f"SandboxConfig(advertisers={sorted(self.advertisers)}, strict={self.strict})"


def check_numbers(settings: attrs.AttrsInstance, not_negative: frozenset[str]) -> None:
    """Check that all numbers are finite and in range.

    Raises:
        ConfigurationError: If one is NaN or too large, or negative and in `not_negative`.
    """
    for field in attrs.fields(type(settings)):
        value = getattr(settings, field.name)
        least = 0 if field.name in not_negative else -_MAX_NUMBER
        if isinstance(value, (int, float)) and not least <= value <= _MAX_NUMBER:
            raise ConfigurationError(
                f"{field.name}: expected a number from {least} to {_MAX_NUMBER}."
            )


_converter = cattrs.Converter(forbid_extra_keys=True)
_converter.register_structure_hook_func(lambda kind: kind is object, lambda value, _: value)


@_converter.register_structure_hook
def _structure_flag(value: object, _: type[bool]) -> bool:
    # cattrs would convert the string "false" to True.
    if not isinstance(value, bool):
        raise TypeError("expected true or false")
    return value


def structure(settings: object, kind: type[_T]) -> _T:
    """Convert decoded JSON to `kind`.

    Raises:
        ConfigurationError: If a setting is unknown or has the wrong type.
    """
    try:
        return _converter.structure(settings, kind)
    except Exception as error:
        what = "; ".join(cattrs.transform_error(error, path="$"))
        message = f"Invalid settings of {kind.__name__}: {what}"
        raise ConfigurationError(message) from error


Connection = Literal["reset", "close", "truncate", "truncate_reset", "stall"]
Body = Literal["html", "not_json", "cut_json", "empty", "wrong_types", "null", "list", "huge"]

_NOT_NEGATIVE_FAULTS = frozenset({"latency_ms", "lose", "skip", "size_bytes"})
_FIRST_STATUS, _LAST_STATUS = 200, 999
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"(?![ \t])[\t -~\x80-\xff]*(?<![ \t])")


def _header_value(value: str | int | None) -> str | None:
    return None if value is None else str(value)


@attrs.frozen(kw_only=True)
class InjectedFault:
    """A fault to inject, and the requests it applies to.

    Attributes:
        on: The call it applies to: ``log_event``, ``initialize``, ``sync_event_sources``,
            ``list_event_sources``, ``events_summary``, any MCP method or tool, or ``*``.
        times: How many requests fail; ``None`` for all until the fault is cleared.
        share: The share of matching requests that fails, 0–1, chosen at random.
        skip: How many matching requests succeed first.
        after: Whether the events are stored before the request fails, unknown to the
            sender.
        latency_ms: The delay before the response.
        status: The HTTP status of the response, 200–999.
        code: The code in the error body; by default one that matches the status.
        message: The message in the error body.
        recovery: ``recovery`` in an AdCP error; ``None`` leaves it out.
        field: ``field`` in the error.
        issues: ``issues`` in the error.
        details: Further ``details`` in the error.
        place: Where an MCP response holds the error.
        remember: Whether MCP repeats the error for the same idempotency key.
        retry_after: The header ``Retry-After``: seconds or an HTTP date.
        retry_after_s: ``retry_after`` in the body of an AdCP error.
        location: The target of a redirect.
        headers: Further response headers.
        body: A malformed body.
        text: A body of exactly this text, with ``content_type``.
        content_type: The content type of `text`.
        size_bytes: The size of a ``huge`` body.
        connection: What happens to the connection instead of a response.
        lose: How many events are counted as received but not processed or named.
        forget_session: Whether MCP discards all sessions.
        crash: Whether the seller stops right after its response.
    """

    on: str = "log_event"
    times: int | None = 1
    share: float = 1.0
    skip: int = 0
    after: bool = False
    latency_ms: float = 0.0
    status: int | None = None
    code: str | None = None
    message: str = "The seller was asked to fail."
    recovery: str | None = None
    field: str | None = None
    issues: tuple[dict[str, str], ...] = ()
    details: dict[str, object] = attrs.field(factory=dict)
    place: ErrorPlace | None = None
    remember: bool = False
    retry_after: str | None = attrs.field(default=None, converter=_header_value)
    retry_after_s: float | None = None
    location: str | None = None
    headers: dict[str, str] = attrs.field(factory=dict)
    body: Body | None = None
    text: str | None = None
    content_type: str = "application/json"
    size_bytes: int = 5_000_000
    connection: Connection | None = None
    lose: int = 0
    forget_session: bool = False
    crash: bool = False

    def __attrs_post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise ConfigurationError(f"share: expected 0 to 1, got {self.share}")
        check_numbers(self, _NOT_NEGATIVE_FAULTS)
        if self.status is not None and not _FIRST_STATUS <= self.status <= _LAST_STATUS:
            raise ConfigurationError(f"status: expected 200 to 999, got {self.status}")
        if self.times is not None and self.times < 1:
            raise ConfigurationError(f"times: expected 1 or more, or null, got {self.times}")
        for place, name, value in self._headers():
            if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
                raise ConfigurationError(
                    f"{place}: contains characters that an HTTP header can't hold."
                )

    def _headers(self) -> Iterator[tuple[str, str, str]]:
        for name, value in self.headers.items():
            yield "headers", name, value
        yield "retry_after", "Retry-After", self.retry_after or ""
        yield "location", "Location", self.location or ""
        yield "content_type", "Content-Type", self.content_type

    @property
    def replaces(self) -> bool:
        """Whether it replaces the normal response."""
        return self.is_error or self.is_malformed or self.connection in {"reset", "close", "stall"}

    @property
    def is_error(self) -> bool:
        """Whether the response is a protocol error."""
        return self.code is not None or (self.status is not None and not self.is_malformed)

    @property
    def is_malformed(self) -> bool:
        """Whether the response is not part of the protocol."""
        return self.body is not None or self.text is not None or self.location is not None


@attrs.define
class _ActiveFault:
    fault: InjectedFault
    left: int | None
    skip: int

    def applies_to(self, call: str, chance: random.Random) -> bool:
        if self.fault.on not in {"*", call} or self.left == 0:
            return False
        if self.skip:
            self.skip -= 1
            return False
        # Drawn for every request, so that a seed always gives the same sequence.
        if chance.random() >= self.fault.share:
            return False
        if self.left is not None:
            self.left -= 1
        return True


class FaultInjector:
    """The active faults, in the order they were added."""

    def __init__(self, seed: int) -> None:
        self._lock = threading.Lock()
        self._active: list[_ActiveFault] = []
        self._chance = random.Random(seed)  # noqa: S311 - it has to be repeatable

    def add(self, fault: InjectedFault) -> None:
        """Activate `fault`."""
        with self._lock:
            self._active.append(_ActiveFault(fault, fault.times, fault.skip))

    def take(self, call: str) -> InjectedFault | None:
        """Return the first fault that applies to this request, and count it down."""
        with self._lock:
            for entry in self._active:
                if entry.applies_to(call, self._chance):
                    if entry.left == 0:
                        self._active.remove(entry)
                    return entry.fault
        return None

    def clear(self, seed: int) -> None:
        """Remove all faults, and restart the random numbers."""
        with self._lock:
            self._active.clear()
            self._chance.seed(seed)

    def active(self) -> list[Mapping[str, object]]:
        """Return the active faults, with how many requests each still applies to."""
        with self._lock:
            return [{**attrs.asdict(entry.fault), "left": entry.left} for entry in self._active]
