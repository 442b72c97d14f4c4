"""Faults on request: which requests fail, how, and how often."""

from __future__ import annotations

import random
import re
import threading
from typing import TYPE_CHECKING, Literal

import attrs

from adcp_tracker.exceptions import ConfigurationError
from adcp_tracker.sandbox.config import ErrorPlace, check_numbers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Connection = Literal["reset", "close", "truncate", "truncate_reset", "stall"]
Body = Literal["html", "not_json", "cut_json", "empty", "wrong_types", "null", "list", "huge"]

_NOT_NEGATIVE = frozenset({"latency_ms", "lose", "skip", "size_bytes"})
_FIRST_STATUS, _LAST_STATUS = 200, 999
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"(?![ \t])[\t -~\x80-\xff]*(?<![ \t])")


def _header_value(value: str | int | None) -> str | None:
    return None if value is None else str(value)


@attrs.frozen(kw_only=True)
class Fault:
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
        die: Whether the seller stops right after its answer.
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
    die: bool = False

    def __attrs_post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise ConfigurationError(f"share: expected 0 to 1, got {self.share}")
        check_numbers(self, _NOT_NEGATIVE)
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
        return self.errs or self.garbles or self.connection in {"reset", "close", "stall"}

    @property
    def errs(self) -> bool:
        """Whether the answer is an error of the protocol."""
        return self.code is not None or (self.status is not None and not self.garbles)

    @property
    def garbles(self) -> bool:
        """Whether the answer is nothing that the protocol knows."""
        return self.body is not None or self.text is not None or self.location is not None


@attrs.define
class _Standing:
    fault: Fault
    left: int | None
    skip: int

    def strikes(self, call: str, chance: random.Random) -> bool:
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


class FaultBook:
    """The faults that stand, in the order they were asked for."""

    def __init__(self, seed: int) -> None:
        self._lock = threading.Lock()
        self._standing: list[_Standing] = []
        self._chance = random.Random(seed)  # noqa: S311 - it has to be repeatable

    def add(self, fault: Fault) -> None:
        """Let `fault` befall requests from now on."""
        with self._lock:
            self._standing.append(_Standing(fault, fault.times, fault.skip))

    def take(self, call: str) -> Fault | None:
        """Return the first fault that befalls this request, and use it up by one."""
        with self._lock:
            for standing in self._standing:
                if standing.strikes(call, self._chance):
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
