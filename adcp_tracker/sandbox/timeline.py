"""The timeline of the page: what became of each event, and the requests that brought them."""

from __future__ import annotations

import re
import threading
import zlib
from collections import Counter, OrderedDict, deque
from contextvars import ContextVar
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Literal

import attrs
import orjson

from adcp_tracker.sandbox.schema import Issue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping


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
        self.listener: Callable[[Entry], None] | None = None
        self.clear(max_entries)

    def clear(self, max_entries: int) -> None:
        """Remove all entries; numbers go on."""
        with self._lock:
            self._entries: deque[Entry] = deque(maxlen=max_entries)
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
