"""The events and requests the seller received, idempotency, and the rate limit."""

from __future__ import annotations

import hashlib
import math
import threading
from collections import Counter, OrderedDict, deque
from itertools import islice
from typing import TYPE_CHECKING, Protocol, TypeVar

import attrs
import orjson

from adcp_tracker.sandbox.failures import ApiError

if TYPE_CHECKING:
    import builtins
    from collections.abc import Callable, Collection, Mapping, Sequence

    from adcp_tracker.outbox.dead_letters import DeadLetter
    from adcp_tracker.sandbox.config import SandboxConfig
    from adcp_tracker.sandbox.schema import Issue


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

    def add_lost(self, number: int) -> None:
        """Count events that were received, but neither processed nor rejected."""
        with self._changed:
            self._counts["lost"] += number
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
class _KeyRecord:
    digest: bytes
    started_at: float
    answer: Answer | None = None


class IdempotencyStore:
    """Remembers the response to each idempotency key."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._entries: OrderedDict[str, _KeyRecord] = OrderedDict()

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
                self._entries[key] = _KeyRecord(digest, self._now())
                if len(self._entries) > _KEPT_KEYS:
                    self._entries.popitem(last=False)
                return None
            if self._now() - entry.started_at > ttl_s:
                raise ApiError(409, "IDEMPOTENCY_EXPIRED", "The response to this key has expired.")
            if entry.digest != digest:
                raise ApiError(409, "IDEMPOTENCY_CONFLICT", "The key was used for another request.")
            if entry.answer is None:
                raise _in_flight()
            return entry.answer

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


def _in_flight() -> ApiError:
    message = "The first request with this key is still in progress."
    return ApiError(409, "IDEMPOTENCY_IN_FLIGHT", message, recovery="transient", retry_after_s=1)
