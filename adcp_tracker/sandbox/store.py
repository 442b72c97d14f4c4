"""The events and requests the seller received, their timeline, idempotency, and the rate limit."""

from __future__ import annotations

import hashlib
import math
import re
import threading
import zlib
from collections import Counter, OrderedDict, deque
from contextvars import ContextVar
from http import HTTPStatus
from itertools import islice
from typing import TYPE_CHECKING, Final, Literal, Protocol, TypeVar

import attrs
import orjson

from adcp_tracker.sandbox.failures import ApiError
from adcp_tracker.sandbox.schema import Issue

if TYPE_CHECKING:
    import builtins
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from adcp_tracker.outbox.dead_letters import DeadLetter
    from adcp_tracker.sandbox.config import SandboxConfig


@attrs.define
class RateLimiter:
    """Counts requests in fixed windows.

    Attributes:
        monotonic: Returns the time in seconds.
        started_at: When the current window began.
        used: The number of requests in it.
    """

    monotonic: Callable[[], float]
    started_at: float = float("-inf")
    used: int = 0

    def take(self, limit: int, window_s: float) -> tuple[bool, dict[str, str]]:
        """Count one request.

        Returns:
            Whether it is within the limit, and the headers for its response.
        """
        now = self.monotonic()
        if now - self.started_at >= window_s:
            self.started_at, self.used = now, 0
        self.used += 1
        left = max(0, limit - self.used)
        wait_s = str(max(1, math.ceil(self.started_at + window_s - now)))
        headers = {
            "RateLimit-Limit": str(limit),
            "RateLimit-Remaining": str(left),
            "RateLimit-Reset": wait_s,
        }
        allowed = self.used <= limit
        return allowed, headers if allowed else headers | {"Retry-After": wait_s}


_KEPT_REQUESTS = 10_000
_T = TypeVar("_T")

EventKey = tuple[str, str, str, bool]
"""Event id, event type, event source and whether it is a test: identifies an event."""


@attrs.frozen
class GoodEvent:
    """An accepted event.

    Attributes:
        event_id: Its id.
        event_type: Its type.
        event_source_id: Its event source.
        advertiser_id: Its advertiser.
        received_at: When it was received, in seconds since 1970.
        test_event_code: The code of a test event.
        body: Its JSON; empty if only ids are kept.
    """

    event_id: str
    event_type: str
    event_source_id: str
    advertiser_id: str
    received_at: float
    test_event_code: str | None
    body: bytes = attrs.field(repr=False)

    def decoded(self) -> dict[str, object]:
        """Return the event as sent, or its id and type if only ids are kept."""
        if not self.body:
            return {"event_id": self.event_id, "event_type": self.event_type}
        event: dict[str, object] = orjson.loads(self.body)
        return event


@attrs.frozen
class BadEvent:
    """A rejected event.

    Attributes:
        body: Its JSON.
        code: The error code.
        issues: What is invalid in it.
    """

    body: bytes = attrs.field(repr=False)
    code: str
    issues: tuple[Issue, ...] = ()

    def decoded(self) -> object:
        """Return the event as sent."""
        return orjson.loads(self.body)


@attrs.frozen
class SeenRequest:
    """A received request, without its credentials.

    Attributes:
        method: Its HTTP method.
        path: Its path with the query.
        call: The call, such as ``log_event`` or ``initialize``.
        headers: Its headers in lower case, without the bearer token.
        size: The bytes of its body as sent.
        received_at: When it was received, in seconds since 1970.
        key_prefix: The first 8 characters of its idempotency key.
        status: The HTTP status of the response; 0 if there was none.
    """

    method: str
    path: str
    call: str
    headers: Mapping[str, str]
    size: int
    received_at: float
    key_prefix: str = ""
    status: int = 0


class DeadLetterAccess(Protocol):
    """The dead letters of a tracker, such as ``tracker.dead_letters``."""

    def list(self) -> builtins.list[DeadLetter]:
        """Return every dead letter, oldest first."""

    def replay(self, ids: Collection[str], timeout: float = ...) -> object:
        """Send dead letters again; the text of the result says what became of them."""

    def correct(self, letter_id: str, event: Mapping[str, object], timeout: float = ...) -> object:
        """Send a corrected event in place of the one in a dead letter."""


class EventStore:
    """The received events and requests; thread-safe."""

    def __init__(self, config: SandboxConfig) -> None:
        self._changed = threading.Condition()
        self._config = config
        self._clear()

    def _clear(self) -> None:
        self.good: deque[GoodEvent] = deque(maxlen=self._config.keep_events)
        self.bad: deque[BadEvent] = deque(maxlen=self._config.keep_events)
        self.requests: deque[SeenRequest] = deque(maxlen=_KEPT_REQUESTS)
        self._arrivals: OrderedDict[EventKey, int] = OrderedDict()
        self._counts: Counter[str] = Counter()

    def reset(self, config: SandboxConfig) -> None:
        """Discard everything, and use `config` from now on."""
        with self._changed:
            self._config = config
            self._clear()

    def add_good(self, events: Sequence[GoodEvent]) -> list[bool]:
        """Store accepted events; return for each whether it is new. Repeats are only counted."""
        with self._changed:
            are_new = [self._take(event) for event in events]
            self._changed.notify_all()
        return are_new

    def _take(self, event: GoodEvent) -> bool:
        test = event.test_event_code is not None
        key = (event.event_id, event.event_type, event.event_source_id, test)
        times = self._arrivals.get(key, 0) + 1
        self._arrivals[key] = times
        self._counts["received"] += 1
        if times > 1:
            self._counts["duplicates"] += 1
            return False
        self._counts["test" if test else "good"] += 1
        self.good.append(event)
        if len(self._arrivals) > self._config.remember_ids:
            self._arrivals.popitem(last=False)
        return True

    def add_bad(self, events: Sequence[BadEvent]) -> None:
        """Store rejected events."""
        with self._changed:
            self._counts["received"] += len(events)
            self._counts["bad"] += len(events)
            self.bad.extend(events)
            self._changed.notify_all()

    def add_request(self, request: SeenRequest) -> None:
        """Store a request."""
        with self._changed:
            self.requests.append(request)
            self._counts["requests"] += 1
            self._changed.notify_all()

    def add_count(self, name: str, number: int = 1) -> None:
        """Increase another counter."""
        with self._changed:
            self._counts[name] += number
            self._changed.notify_all()

    def times_received(self, event_id: str) -> int:
        """Return how often an event with this id was accepted, of any type and source."""
        with self._changed:
            return sum(times for key, times in self._arrivals.items() if key[0] == event_id)

    def events(self, *, test: bool = False) -> list[GoodEvent]:
        """Return the stored live or test events, oldest first."""
        with self._changed:
            return [event for event in self.good if (event.test_event_code is not None) is test]

    def latest_good(self, limit: int | None = None) -> list[GoodEvent]:
        """Return the newest accepted events, live and test, oldest first."""
        with self._changed:
            return _newest(self.good, limit)

    def latest_bad(self, limit: int | None = None) -> list[BadEvent]:
        """Return the newest rejected events, oldest first."""
        with self._changed:
            return _newest(self.bad, limit)

    def latest_requests(self, limit: int | None = None) -> list[SeenRequest]:
        """Return the newest requests, oldest first."""
        with self._changed:
            return _newest(self.requests, limit)

    def counts(self) -> dict[str, int]:
        """Return all counters, the standard ones even at zero."""
        usual = ("received", "good", "bad", "duplicates", "test", "requests")
        with self._changed:
            return dict.fromkeys(usual, 0) | dict(self._counts)

    def wait_for(self, count: int, timeout: float) -> None:
        """Wait until `count` events, live and test together, were taken.

        Raises:
            TimeoutError: If they do not come within `timeout` seconds.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._taken() >= count, timeout):
                got = self._taken()
                raise TimeoutError(f"expected {count} events within {timeout} s, got {got}")

    def _taken(self) -> int:
        return self._counts["good"] + self._counts["test"]


def _newest(kept: deque[_T], limit: int | None) -> list[_T]:
    start = 0 if limit is None else max(0, len(kept) - limit)
    return list(islice(kept, start, None))


_KEPT_KEYS = 10_000
_NOT_COMPARED = frozenset({"context", "idempotency_key"})

Answer = dict[str, object] | ApiError
"""A stored response: its body, or an error to repeat."""


@attrs.define
class _Entry:
    digest: bytes
    started_at: float
    answer: Answer | None = None


class IdempotencyStore:
    """Remembers the response to each idempotency key."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._entries: OrderedDict[str, _Entry] = OrderedDict()

    def begin(self, key: str, request: Mapping[str, object], ttl_s: float) -> Answer | None:
        """Reserve `key` for `request`, unless it has a response already.

        Returns:
            The stored response, or ``None`` if the request must be handled now.

        Raises:
            ApiError: If the key was used for another request, is in use, or has expired.
        """
        digest = _digest(request)
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                self._open(key, _Entry(digest, self._now()))
                return None
            if self._now() - entry.started_at > ttl_s:
                raise _refusal("IDEMPOTENCY_EXPIRED", "The response to this key has expired.")
            if entry.digest != digest:
                raise _refusal("IDEMPOTENCY_CONFLICT", "The key was used for another request.")
            if entry.answer is None:
                raise _in_flight()
            return entry.answer

    def _open(self, key: str, entry: _Entry) -> None:
        self._entries[key] = entry
        if len(self._entries) > _KEPT_KEYS:
            self._entries.popitem(last=False)

    def finish(self, key: str, answer: Answer) -> None:
        """Store the response to `key`."""
        with self._lock:
            if key in self._entries:
                self._entries[key].answer = answer

    def release(self, key: str) -> None:
        """Release `key` if it has no response, so that it can be used again."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is not None and entry.answer is None:
                del self._entries[key]

    def clear(self) -> None:
        """Discard every key."""
        with self._lock:
            self._entries.clear()


def _digest(request: Mapping[str, object]) -> bytes:
    compared = {name: value for name, value in request.items() if name not in _NOT_COMPARED}
    return hashlib.sha256(orjson.dumps(compared, option=orjson.OPT_SORT_KEYS)).digest()


def _refusal(code: str, message: str) -> ApiError:
    return ApiError(409, code, message)


def _in_flight() -> ApiError:
    message = "The first request with this key is still in progress."
    return ApiError(409, "IDEMPOTENCY_IN_FLIGHT", message, recovery="transient", retry_after_s=1)


Outcome = Literal["delivered", "repeated", "rejected", "failed", "invalid", "trimmed", "dropped"]
"""What happened to an event. The last three happen in the tracker, before sending."""

OUTCOMES: Final[dict[Outcome, str]] = {
    "delivered": "Delivered",
    "repeated": "Delivered again",
    "rejected": "Rejected by the seller",
    "failed": "Request failed",
    "invalid": "Rejected before sending",
    "trimmed": "Sent without some fields",
    "dropped": "Dropped",
}
"""Outcomes with their labels."""

_ERROR: Final = re.compile(rb'"isError":true|"errors":\[|"error":\{')
_CODE: Final = re.compile(rb'"code\\?":\\?"([A-Z_]+)')
_MAX_BODY: Final = 256 * 1024
_MAX_EXCHANGES: Final = 500
_MAX_EXCHANGE_BYTES: Final = 16 * 1024 * 1024
_MAX_ORIGINS: Final = 10_000


@attrs.frozen
class Entry:
    """One row of the timeline.

    Attributes:
        outcome: What happened.
        event_id: The event's id; empty for a request without valid events.
        event_type: The event's type.
        via: ``REST``, ``MCP``, or ``tracker`` for what a tracker reported.
        destination: The advertiser and the event source.
        test_event_code: The code of a test event.
        body: The event as JSON; empty if it is not kept.
        code: The error code or the reason.
        issues: What is invalid in the event.
        exchange: The number of the request; 0 if there was none.
        number: The position in the timeline, from 1.
        at: The time in seconds since 1970.
    """

    outcome: Outcome
    event_id: str = ""
    event_type: str = ""
    via: str = ""
    destination: str = ""
    test_event_code: str | None = None
    body: bytes = attrs.field(default=b"", repr=False)
    code: str = ""
    issues: tuple[Issue, ...] = ()
    exchange: int = 0
    number: int = 0
    at: float = 0.0

    def decoded(self) -> object:
        """Return the event, or ``None`` if it is not kept."""
        return orjson.loads(self.body) if self.body else None


@attrs.frozen(kw_only=True)
class Report:
    """What a tracker on this machine reports about an event.

    Attributes:
        outcome: What happened; ``tracked`` only carries the origin.
        event_id: The event's id, if it has one.
        event_type: The event's type.
        reason: Why it was dropped or rejected.
        errors: What is invalid, each with ``path`` and ``message``.
        event: The event as far as it may be shown.
        origin: The file and line that tracked it.
    """

    outcome: Literal["tracked", "invalid", "trimmed", "dropped"]
    event_id: str = ""
    event_type: str = ""
    reason: str = ""
    errors: tuple[dict[str, str], ...] = ()
    event: dict[str, object] = attrs.field(factory=dict)
    origin: str = ""

    def entry(self) -> Entry:
        """Return the row of the timeline."""
        if self.outcome == "tracked":
            raise ValueError("a report that an event was tracked has no row")
        issues = tuple(
            Issue(_to_pointer(each.get("path", "")), each.get("message", ""), "tracker")
            for each in self.errors
        )
        body = orjson.dumps(self.event) if self.event else b""
        return Entry(
            self.outcome,
            self.event_id,
            self.event_type,
            "tracker",
            body=body,
            code=self.reason,
            issues=issues,
        )


def _to_pointer(path: str) -> str:
    """Convert ``$.contents[1].price`` to a JSON pointer."""
    return re.sub(r"\[(\d+)\]", r"/\1", path.removeprefix("$")).replace(".", "/")


@attrs.frozen
class Exchange:
    """A request and its response, without credentials.

    Attributes:
        method: The HTTP method.
        path: The path with the query.
        headers: The request's headers.
        body: The request's body as received.
        status: The HTTP status; 0 if the connection was broken.
        response: The response's body.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = attrs.field(repr=False)
    status: int
    response: bytes = attrs.field(repr=False)

    @property
    def failed(self) -> bool:
        """Whether the response is an error."""
        return self.status != HTTPStatus.OK or _ERROR.search(self.response) is not None

    @property
    def code(self) -> str:
        """The error code, or the HTTP status."""
        found = _CODE.search(self.response)
        if found is not None and self.failed:
            return found[1].decode()
        return f"HTTP {self.status}" if self.status else "no response"

    def request_text(self) -> str:
        """Return the request's body as text, decompressed and shortened."""
        body = self.body
        if self.headers.get("content-encoding", "").lower() == "gzip":
            unpacker = zlib.decompressobj(16 + zlib.MAX_WBITS)
            try:
                body = unpacker.decompress(body, _MAX_BODY)
            except zlib.error:
                return f"{len(self.body):,} bytes that are not gzip"
        return body.decode(errors="replace")


@attrs.frozen
class Filter:
    """Which entries to show; empty fields match everything.

    Attributes:
        outcomes: The outcomes.
        types: The event types.
        via: The protocols.
        destinations: The destinations.
        test: Whether only test events match.
        text: A part of the event id.
    """

    outcomes: frozenset[str] = frozenset()
    types: frozenset[str] = frozenset()
    via: frozenset[str] = frozenset()
    destinations: frozenset[str] = frozenset()
    test: bool = False
    text: str = ""

    def matches(self, entry: Entry) -> bool:
        """Return whether `entry` is shown."""
        return (
            (not self.outcomes or entry.outcome in self.outcomes)
            and (not self.types or entry.event_type in self.types)
            and (not self.via or entry.via in self.via)
            and (not self.destinations or entry.destination in self.destinations)
            and (not self.test or entry.test_event_code is not None)
            and (not self.text or self.text in entry.event_id)
        )


@attrs.define
class _OpenRequest:
    number: int
    entries: int = 0
    has_rejected: bool = False


_request: ContextVar[_OpenRequest | None] = ContextVar("sandbox_request", default=None)


class Timeline:
    """Entries, requests and origins, each up to a limit; thread-safe."""

    def __init__(self, now: Callable[[], float], max_entries: int) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._last = 0
        self._requests = 0
        self._entries: deque[Entry] = deque(maxlen=max_entries)
        self.listener: Callable[[Entry], None] | None = None
        self.clear()

    def clear(self, max_entries: int | None = None) -> None:
        """Remove all entries; numbers go on."""
        with self._lock:
            size = self._entries.maxlen if max_entries is None else max_entries
            self._entries = deque(maxlen=size)
            self._exchanges: OrderedDict[int, Exchange] = OrderedDict()
            self._exchange_bytes = 0
            self._origins: OrderedDict[str, str] = OrderedDict()
            self.counts: Counter[str] = Counter()
            self.types: Counter[str] = Counter()
            self.via: Counter[str] = Counter()
            self.destinations: Counter[str] = Counter()
            self.tests = 0

    @property
    def last(self) -> int:
        """The number of the newest entry."""
        return self._last

    def open_request(self) -> None:
        """Attribute the entries that this task adds to a new request."""
        with self._lock:
            self._requests += 1
            _request.set(_OpenRequest(self._requests))

    def close_request(self, exchange: Exchange, *, is_log_event: bool, via: str) -> None:
        """Keep a request; add an entry if it brought none, so that it is seen."""
        request = _request.get()
        if request is None or not is_log_event:
            return
        self._keep(request.number, exchange)
        if not request.entries or (exchange.failed and not request.has_rejected):
            outcome: Outcome = "failed" if exchange.failed else "repeated"
            self.add([Entry(outcome, event_type="request", via=via, code=exchange.code)])

    def _keep(self, number: int, exchange: Exchange) -> None:
        exchange = attrs.evolve(
            exchange, body=exchange.body[:_MAX_BODY], response=exchange.response[:_MAX_BODY]
        )
        with self._lock:
            self._exchanges[number] = exchange
            self._exchange_bytes += len(exchange.body) + len(exchange.response)
            while (
                len(self._exchanges) > _MAX_EXCHANGES or self._exchange_bytes > _MAX_EXCHANGE_BYTES
            ):
                _, old = self._exchanges.popitem(last=False)
                self._exchange_bytes -= len(old.body) + len(old.response)

    def add(self, entries: Iterable[Entry]) -> None:
        """Add entries, numbered, with the time and the current request."""
        request = _request.get()
        with self._lock:
            added = [self._number(entry, request) for entry in entries]
        if self.listener is not None:
            for entry in added:
                self.listener(entry)

    def _number(self, entry: Entry, request: _OpenRequest | None) -> Entry:
        self._last += 1
        if request is not None:
            request.entries += 1
            request.has_rejected |= entry.outcome == "rejected"
        exchange = 0 if request is None else request.number
        entry = attrs.evolve(entry, number=self._last, at=self._now(), exchange=exchange)
        self._entries.append(entry)
        self.counts[entry.outcome] += 1
        self.types[entry.event_type] += 1
        self.via[entry.via] += 1
        self.destinations[entry.destination] += 1
        self.tests += entry.test_event_code is not None
        return entry

    def add_origin(self, event_id: str, origin: str) -> None:
        """Remember from where an event was tracked."""
        with self._lock:
            self._origins[event_id] = origin
            if len(self._origins) > _MAX_ORIGINS:
                self._origins.popitem(last=False)

    def origin(self, event_id: str) -> str:
        """Return from where an event was tracked; empty if unknown."""
        return self._origins.get(event_id, "")

    def exchange(self, number: int) -> Exchange | None:
        """Return a request, if it is still kept."""
        return self._exchanges.get(number)

    def find(self, number: int) -> Entry | None:
        """Return an entry, if it is still kept."""
        with self._lock:
            if not self._entries or not self._entries[0].number <= number <= self._last:
                return None
            return self._entries[number - self._entries[0].number]

    def newest_first(self) -> Iterator[Entry]:
        """Return the entries, newest first."""
        with self._lock:
            return reversed(list(self._entries))

    def since(self, number: int) -> list[Entry]:
        """Return the entries after `number`, oldest first."""
        with self._lock:
            new: list[Entry] = []
            for entry in reversed(self._entries):
                if entry.number <= number:
                    break
                new.append(entry)
        return new[::-1]

    def page(self, wanted: Filter, before: int | None, limit: int) -> tuple[list[Entry], int]:
        """Return up to `limit` matching entries before a number, newest first.

        Args:
            wanted: Which entries to return.
            before: Only entries with a smaller number; ``None`` for all.
            limit: The maximum number of entries.

        Returns:
            The entries, and how many match in total.
        """
        found: list[Entry] = []
        total = 0
        for entry in self.newest_first():
            if wanted.matches(entry):
                total += 1
                if len(found) < limit and (before is None or entry.number < before):
                    found.append(entry)
        return found, total
