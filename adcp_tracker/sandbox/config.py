"""How the local seller behaves, settled before it starts or changed while it runs."""

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


DEFAULT_TOKEN = "sandbox-token"  # noqa: S105 - what the local seller takes unless told otherwise
DEFAULT_ADVERTISER = "12345"
DEFAULT_SOURCE = "website_pixel"

AdcpVersion = Literal["3.0", "3.1", "3.2"]
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
    versions: tuple[AdcpVersion, ...] = ("3.0", "3.1", "3.2")
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
    """One way to fail, and the requests it befalls.

    Attributes:
        on: The call it befalls: ``log_event``, ``initialize``, ``sync_event_sources``,
            ``list_event_sources``, ``events_summary``, any MCP method or tool, or ``*``.
        times: How many requests fail; ``None`` for as long as the fault stands.
        share: Which share of the matching requests fails, 0–1, by seeded chance.
        skip: How many matching requests are let through first.
        after: Whether the events are taken before the fault, so that the sender
            cannot know it.
        latency_ms: How long the answer waits.
        status: The HTTP status of the answer, 200–999.
        code: The code in the error body; by default one that goes with the status.
        message: The words in the error body.
        recovery: The way out in an AdCP error; ``None`` leaves it out.
        field: The place an error names.
        issues: The places an error lists.
        details: More in the error.
        place: Where an MCP error stands.
        remember: Whether MCP answers the same again for the same idempotency key.
        retry_after: The value of ``Retry-After``: seconds or an HTTP date.
        retry_after_s: ``retry_after`` in the body of an AdCP error.
        location: Redirect there.
        headers: More headers on the answer.
        body: A body that is not what it should be.
        text: A body of exactly this text, with ``content_type``.
        content_type: What a ``text`` claims to be.
        size_bytes: The size of a ``huge`` body.
        connection: What happens to the connection instead of an answer.
        lose: How many events are received, but neither processed nor named.
        forget_session: Whether MCP no longer knows any session.
        crash: Whether the seller stops right after its answer.
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
            raise ConfigurationError(f"times: expected 1 or more, or none, got {self.times}")
        for place, name, value in self._headers():
            if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
                raise ConfigurationError(
                    f"{place}: expected what an HTTP header may hold, got other characters"
                )

    def _headers(self) -> Iterator[tuple[str, str, str]]:
        for name, value in self.headers.items():
            yield "headers", name, value
        yield "retry_after", "Retry-After", self.retry_after or ""
        yield "location", "Location", self.location or ""
        yield "content_type", "Content-Type", self.content_type

    @property
    def replaces(self) -> bool:
        """Whether the usual answer is not given."""
        return self.is_error or self.is_malformed or self.connection in {"reset", "close", "stall"}

    @property
    def is_error(self) -> bool:
        """Whether the answer is an error of the protocol."""
        return self.code is not None or (self.status is not None and not self.is_malformed)

    @property
    def is_malformed(self) -> bool:
        """Whether the answer is nothing that the protocol knows."""
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
        # The chance is drawn for every request, so that a seed gives the same row again.
        if chance.random() >= self.fault.share:
            return False
        if self.left is not None:
            self.left -= 1
        return True


class FaultInjector:
    """The faults that stand, in the order they were asked for."""

    def __init__(self, seed: int) -> None:
        self._lock = threading.Lock()
        self._standing: list[_ActiveFault] = []
        self._chance = random.Random(seed)  # noqa: S311 - it has to be repeatable

    def add(self, fault: InjectedFault) -> None:
        """Let `fault` befall requests from now on."""
        with self._lock:
            self._standing.append(_ActiveFault(fault, fault.times, fault.skip))

    def take(self, call: str) -> InjectedFault | None:
        """Return the first fault that befalls this request, and use it up by one."""
        with self._lock:
            for standing in self._standing:
                if standing.applies_to(call, self._chance):
                    if standing.left == 0:
                        self._standing.remove(standing)
                    return standing.fault
        return None

    def clear(self, seed: int) -> None:
        """Let nothing fail any more."""
        with self._lock:
            self._standing.clear()
            self._chance.seed(seed)

    def standing(self) -> list[Mapping[str, object]]:
        """Return the faults that stand and how often each may yet strike."""
        with self._lock:
            return [{**attrs.asdict(entry.fault), "left": entry.left} for entry in self._standing]
