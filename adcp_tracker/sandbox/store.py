"""What it received; idempotent replays; rate limit."""

from __future__ import annotations

import hashlib
import math
import threading
from collections import Counter, OrderedDict, deque
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

import attrs
import orjson

from adcp_tracker.sandbox.failures import ApiError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from adcp_tracker.sandbox.config import SandboxConfig
    from adcp_tracker.sandbox.schema import Issue


@attrs.define
class RateLimiter:
    """Counts requests in fixed windows.

    Attributes:
        monotonic: Tells the time in seconds.
        started_at: When the current window began.
        used: How many requests it has seen.
    """

    monotonic: Callable[[], float]
    started_at: float = float("-inf")
    used: int = 0

    def take(self, limit: int, window_s: float) -> tuple[bool, dict[str, str]]:
        """Count one request.

        Returns:
            Whether it is within the limit, and the headers that belong on its answer.
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
"""Event id, event type, event source and whether it is a test: what makes an event one."""


@attrs.frozen
class GoodEvent:
    """An event the seller took.

    Attributes:
        event_id: Its id.
        event_type: Its type.
        event_source_id: The source it came from.
        advertiser_id: The advertiser it counts for.
        received_at: When it came, in seconds since 1970.
        test_event_code: Set on an event that counts for nothing.
        body: Its JSON; empty when only ids are kept.
    """

    event_id: str
    event_type: str
    event_source_id: str
    advertiser_id: str
    received_at: float
    test_event_code: str | None
    body: bytes = attrs.field(repr=False)

    def decoded(self) -> dict[str, object]:
        """Return the event as it was sent, or its id and type when only those are kept."""
        if not self.body:
            return {"event_id": self.event_id, "event_type": self.event_type}
        event: dict[str, object] = orjson.loads(self.body)
        return event


@attrs.frozen
class BadEvent:
    """An event the seller did not take, and why.

    Attributes:
        body: Its JSON.
        code: The seller's word for it.
        issues: The rules it breaks, where it breaks any.
    """

    body: bytes = attrs.field(repr=False)
    code: str
    issues: tuple[Issue, ...] = ()

    def decoded(self) -> object:
        """Return the event as it was sent."""
        return orjson.loads(self.body)


@attrs.frozen
class SeenRequest:
    """A request as it came in, without its credentials.

    Attributes:
        method: Its HTTP method.
        path: Its path with the query.
        call: What it asked for, such as ``log_event`` or ``initialize``.
        headers: Its headers in lower case, without the bearer token.
        size: The bytes of its body as sent.
        received_at: When it came, in seconds since 1970.
        key_prefix: The first 8 characters of its idempotency key.
        status: The HTTP status it was answered with; 0 when it was not answered.
    """

    method: str
    path: str
    call: str
    headers: Mapping[str, str]
    size: int
    received_at: float
    key_prefix: str = ""
    status: int = 0


class EventStore:
    """Keeps what came, for many threads to read while one writes."""

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
        """Forget everything, and go by `config` from here on."""
        with self._changed:
            self._config = config
            self._clear()

    def add_good(self, events: Sequence[GoodEvent]) -> None:
        """Take `events`, each of which counts once however often it comes."""
        with self._changed:
            for event in events:
                self._take(event)
            self._changed.notify_all()

    def _take(self, event: GoodEvent) -> None:
        test = event.test_event_code is not None
        key = (event.event_id, event.event_type, event.event_source_id, test)
        times = self._arrivals.get(key, 0) + 1
        self._arrivals[key] = times
        self._counts["received"] += 1
        if times > 1:
            self._counts["duplicates"] += 1
            return
        self._counts["test" if test else "good"] += 1
        self.good.append(event)
        if len(self._arrivals) > self._config.remember_ids:
            self._arrivals.popitem(last=False)

    def add_bad(self, events: Sequence[BadEvent]) -> None:
        """Keep `events` with the reasons why they were not taken."""
        with self._changed:
            self._counts["received"] += len(events)
            self._counts["bad"] += len(events)
            self.bad.extend(events)
            self._changed.notify_all()

    def add_request(self, request: SeenRequest) -> None:
        """Note that `request` came."""
        with self._changed:
            self.requests.append(request)
            self._counts["requests"] += 1
            self._changed.notify_all()

    def add_count(self, name: str, number: int = 1) -> None:
        """Count something else by its name."""
        with self._changed:
            self._counts[name] += number
            self._changed.notify_all()

    def times_received(self, event_id: str) -> int:
        """Return how often an event of that id was taken, whatever its type and source."""
        with self._changed:
            return sum(times for key, times in self._arrivals.items() if key[0] == event_id)

    def events(self, *, test: bool = False) -> list[GoodEvent]:
        """Return the kept good events, or the kept test events, in the order they came."""
        with self._changed:
            return [event for event in self.good if (event.test_event_code is not None) is test]

    def latest_good(self, limit: int | None = None) -> list[GoodEvent]:
        """Return the newest good events, live and test, in the order they came."""
        with self._changed:
            return _newest(self.good, limit)

    def latest_bad(self, limit: int | None = None) -> list[BadEvent]:
        """Return the newest bad events, in the order they came."""
        with self._changed:
            return _newest(self.bad, limit)

    def latest_requests(self, limit: int | None = None) -> list[SeenRequest]:
        """Return the newest requests, in the order they came."""
        with self._changed:
            return _newest(self.requests, limit)

    def counts(self) -> dict[str, int]:
        """Return all counts; the usual ones are there even at zero."""
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
"""What is kept: an answer's body, or the refusal that a stubborn seller repeats."""


@attrs.define
class _Entry:
    digest: bytes
    started_at: float
    answer: Answer | None = None


class IdempotencyStore:
    """Remembers which key stood for which request, and what it was answered."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._entries: OrderedDict[str, _Entry] = OrderedDict()

    def begin(self, key: str, request: Mapping[str, object], ttl_s: float) -> Answer | None:
        """Open `key` for `request`, unless it was answered before.

        Returns:
            The answer kept for it, or ``None`` if it is to be handled now.

        Raises:
            ApiError: If the key stood for another request, is being handled, or is
                too old to know.
        """
        digest = _digest(request)
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                self._open(key, _Entry(digest, self._now()))
                return None
            if self._now() - entry.started_at > ttl_s:
                raise _refusal("IDEMPOTENCY_EXPIRED", "The answer to this key is gone.")
            if entry.digest != digest:
                raise _refusal("IDEMPOTENCY_CONFLICT", "The key stood for another request.")
            if entry.answer is None:
                raise _in_flight()
            return entry.answer

    def _open(self, key: str, entry: _Entry) -> None:
        self._entries[key] = entry
        if len(self._entries) > _KEPT_KEYS:
            self._entries.popitem(last=False)

    def finish(self, key: str, answer: Answer) -> None:
        """Keep `answer` for `key`."""
        with self._lock:
            if key in self._entries:
                self._entries[key].answer = answer

    def abandon_unanswered(self, key: str) -> None:
        """Forget `key` if its request came to nothing, so that it may be tried again."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is not None and entry.answer is None:
                del self._entries[key]

    def clear(self) -> None:
        """Forget every key."""
        with self._lock:
            self._entries.clear()


def _digest(request: Mapping[str, object]) -> bytes:
    compared = {name: value for name, value in request.items() if name not in _NOT_COMPARED}
    return hashlib.sha256(orjson.dumps(compared, option=orjson.OPT_SORT_KEYS)).digest()


def _refusal(code: str, message: str) -> ApiError:
    return ApiError(409, code, message)


def _in_flight() -> ApiError:
    message = "The first request with this key is being handled."
    return ApiError(409, "IDEMPOTENCY_IN_FLIGHT", message, recovery="transient", retry_after_s=1)
