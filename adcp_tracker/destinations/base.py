"""The destination protocol: take a frozen batch, make one request, return the outcome.

A destination keeps no queue. Every response becomes one of the five outcomes below;
:mod:`adcp_tracker.destinations.error_codes` is the table that decides which.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable
from urllib.parse import quote

import attrs
import orjson

from adcp_tracker._version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence


@attrs.frozen
class Batch:
    """Frozen events for one seller.

    Attributes:
        events: The events' final JSON, one object each, in their frozen order.
        identity: Identifies these exact bytes: the same after a restart, different once
            the batch's events or its generation change.
        test_event_code: Marks the whole request as a test; ``None`` for live events.
    """

    events: Sequence[bytes]
    identity: bytes
    test_event_code: str | None = None


@attrs.frozen
class EventFailure:
    """One event that the seller, or the destination itself, rejects.

    Attributes:
        code: The seller's code, such as ``INVALID_EVENT_TIME``.
        message: The seller's message, without control characters.
        event_id: The event, if the response names it by id.
        index: The event, if the response names it by its position in the request.
        remedy: What you can do about it.
    """

    code: str
    message: str
    event_id: str | None = None
    index: int | None = None
    remedy: str = ""


@attrs.frozen
class Delivered:
    """The seller accepted the batch, except for the events in ``failures``.

    Attributes:
        failures: Events that become dead letters.
        received: How many events the seller says it received; ``None`` if it doesn't say.
        processed: How many it says it processed. Fewer than received without failures is
            allowed; then it isn't known which are missing.
        warnings: The seller's warnings, without control characters.
        match_quality: The share of events that the seller could match, 0–1.
        replayed: Whether this is the response to an earlier try.
        wait: Seconds until the next request, within 1–3600, if this one used up the
            seller's rate limit; else ``None``.
        nameless_failures: How many failures the seller reports without saying of which event.
        is_confirmed: Whether the seller says that it processed the events. If not, it only
            accepted them.
        omitted: Fields that were left out because the seller doesn't accept them, as
            ``field reason``, with the number of events; ``None`` if there are none.
    """

    failures: tuple[EventFailure, ...] = ()
    received: int | None = None
    processed: int | None = None
    warnings: tuple[str, ...] = ()
    match_quality: float | None = None
    replayed: bool = False
    wait: float | None = None
    nameless_failures: int = 0
    is_confirmed: bool = True
    omitted: Mapping[str, int] | None = None

    def confirmed(self, sent: int, failed: int) -> int:
        """Return how many events the seller says it processed.

        Args:
            sent: How many events the request had.
            failed: How many of them the failures name.
        """
        if not self.is_confirmed:
            return 0
        unknown = len(self.failures) - failed + self.nameless_failures
        counts = (sent - failed - unknown, self.received, self.processed)
        return max(min(count for count in counts if count is not None), 0)


@attrs.frozen
class Retry:
    """The result is unknown or temporary: send the same bytes again.

    Attributes:
        code: The reason in one word, such as ``timeout``, ``http_503`` or ``RATE_LIMITED``.
        message: The reason, for people.
        retry_after: Seconds to wait at least, within 1–3600.
        fresh_key: Whether the next try needs a new idempotency key.
        budgeted: Whether tries are counted and end in a dead letter.
        is_success: Whether the seller reported success, but its report can't be read. After a
            few tries the events count as unconfirmed.
        rate_limited: Whether the seller is healthy and only asked too often.
    """

    code: str
    message: str
    retry_after: float | None = None
    fresh_key: bool = False
    budgeted: bool = False
    rate_limited: bool = False
    is_success: bool = False


@attrs.frozen
class TooLarge:
    """The request is over the seller's limit: halve it and remember the limit."""

    code: str
    message: str


@attrs.frozen
class Rejected:
    """The seller rejects the whole request because of some of its events.

    Attributes:
        failures: The events it names; empty if it names none. Then they are found by
            bisection.
        code: The seller's code.
        message: The seller's message, without control characters.
    """

    code: str
    message: str
    failures: tuple[EventFailure, ...] = ()


@attrs.frozen
class Paused:
    """The configuration is wrong: keep every event, and only probe from time to time.

    Attributes:
        code: The reason in one word.
        message: The reason, for people.
        remedy: What to change.
    """

    code: str
    message: str
    remedy: str


Outcome = Delivered | Retry | TooLarge | Rejected | Paused


@attrs.frozen
class CheckResult:
    """One result of asking a seller something other than to take events.

    Attributes:
        level: ``ok``, ``warning`` or ``error``.
        message: The result, for people.
        remedy: What to change; empty if nothing.
    """

    level: Literal["ok", "warning", "error"]
    message: str
    remedy: str = ""


@runtime_checkable
class Destination(Protocol):
    """Where events are sent. Implement it to reach another kind of seller."""

    @property
    def name(self) -> str:
        """Its stable, unique name. It is stored with the queue, so don't put a secret in it."""

    @property
    def max_events(self) -> int:
        """The most events in one request."""

    @property
    def max_bytes(self) -> int:
        """The most bytes in one request, before compression."""

    def send(self, batch: Batch) -> Outcome:
        """Send `batch` in one request. Never raises because of a seller or a network."""

    def check(self, event: Mapping[str, object]) -> EventFailure | None:
        """Return why this destination can't send `event`, if it can't.

        Only called for events with something that not every seller supports.
        """

    def close(self) -> None:
        """Close connections. A later :meth:`send` opens new ones."""

    def after_fork(self) -> None:
        """Drop connections without closing them: they belong to the parent of a fork."""


@runtime_checkable
class Preloadable(Protocol):
    """A destination that imports modules before its first request.

    A module that is half imported during a fork stays broken in the child. Import such
    modules in ``prepare()``: forks wait for the thread that calls it, and not for the
    thread that sends.
    """

    def prepare(self) -> None:
        """Import what :meth:`Destination.send` needs, without connecting."""


class SourceRules(Protocol):
    """What one event source accepts."""

    def check(self, event: Mapping[str, object]) -> EventFailure | None:
        """Return why the event source doesn't accept a decoded `event`, if it doesn't."""


@runtime_checkable
class SupportsRules(Protocol):
    """A destination that rejects what its event source doesn't accept, once that is known."""

    source_rule: SourceRules | None


def event_failure(
    code: str, message: str, remedy: str, event: Mapping[str, object]
) -> EventFailure:
    """Return the failure of a decoded `event`, naming it by its id."""
    event_id = event.get("event_id")
    named = event_id if isinstance(event_id, str) else None
    return EventFailure(code, message, event_id=named, remedy=remedy)


def request_body(event_source_id: str, batch: Batch, before: bytes, after: bytes) -> RequestBody:
    """Return a request body around frozen events, without decoding them.

    Args:
        event_source_id: The event source they belong to.
        batch: The events.
        before: The JSON in front of the members ``event_source_id`` and ``events``.
        after: The JSON behind them.
    """
    test = batch.test_event_code
    head = b'"event_source_id":' + orjson.dumps(event_source_id) + b',"events":['
    tail = b"]" if test is None else b'],"test_event_code":' + orjson.dumps(test)
    return RequestBody(before + head, batch.events, tail + after)


def idempotency_key(credential: str, destination: str, identity: bytes) -> str:
    """Derive a batch's idempotency key: stable, unguessable, different for each seller.

    Returns:
        64 lower-case hex digits, which fit ``^[A-Za-z0-9_.:-]{16,255}$``.
    """
    message = destination.encode() + b"\0" + identity
    return hmac.new(credential.encode(), message, hashlib.sha256).hexdigest()


@attrs.frozen
class Timeouts:
    """How long a call may take, in seconds.

    Attributes:
        connect: To connect, for each address of the host; and then again to encrypt.
        read: Between two chunks of the response.
        write: Between two chunks of the request.
        total: For everything together. It can't interrupt a name lookup or an attempt to
            connect: a call that is late by then is cut off once it is connected.
    """

    connect: float = 5.0
    read: float = 30.0
    write: float = 30.0
    total: float = 120.0


def join_url(base: str, path: str) -> str:
    """Return `base` with `path` behind its own path; its query stays and comes last."""
    start, _, query = base.partition("?")
    url = f"{start.rstrip('/')}/{path}"
    return f"{url}{'&' if '?' in path else '?'}{query}" if query else url


def user_agent() -> str:
    """Return the ``User-Agent`` header that the library sends."""
    return f"adcp_tracker/{__version__}"


def request_headers(
    authorization: str | None = None, accept: str = "application/json"
) -> dict[str, str]:
    """Return the headers of a request with a JSON body.

    Args:
        authorization: The credential, if the request has one.
        accept: The types of a response that are understood.
    """
    headers = {
        "Content-Type": "application/json",
        "Accept": accept,
        "Accept-Encoding": "identity",
        "User-Agent": user_agent(),
    }
    return headers if authorization is None else {"Authorization": authorization, **headers}


# Each piece costs three system calls, and each of them may wait for the interpreter lock.
_PIECE_BYTES = 1024 * 1024


@attrs.frozen
class RequestBody:
    """A request's body, whose events are never decoded and never joined as a whole.

    Iterating yields pieces of about a megabyte, the same bytes each time.

    Attributes:
        head: What comes before the events.
        events: The JSON of each event; commas are put in between.
        tail: What comes after them.
        size: Its length in bytes.
    """

    head: bytes
    events: Sequence[bytes]
    tail: bytes
    size: int = attrs.field(init=False)

    @size.default
    def _size(self) -> int:
        commas = max(len(self.events) - 1, 0)
        return len(self.head) + sum(map(len, self.events)) + commas + len(self.tail)

    def __iter__(self) -> Iterator[bytes]:
        count = len(self.events)
        step = max(_PIECE_BYTES * count // max(self.size, 1), 1)
        for start in range(0, max(count, 1), step):
            before = b"," if start else self.head
            after = self.tail if start + step >= count else b""
            yield b"".join((before, b",".join(self.events[start : start + step]), after))


MASK = "***"
_MIN_LENGTH = 6  # anything shorter is part of ordinary words and numbers
_SECRET_NAME = re.compile("auth|key|secret|token", re.IGNORECASE)
_EVENT_ID = "event_id"  # the seller names events by it, and nothing else of it is shown


@attrs.frozen(repr=False)
class Redaction:
    """Replaces secrets by :data:`MASK`: some sellers repeat a request that they reject.

    It is applied as soon as a response is decoded and before anything is shortened: half a
    credential would no longer be found.

    Attributes:
        pattern: Finds them; ``None`` if there are none.
    """

    pattern: re.Pattern[str] | None = None

    def of(self, payload: object) -> object:
        """Return decoded JSON without the secrets in its strings; changes `payload` itself."""
        whole: list[object] = [payload]
        holders: list[Any] = [whole]
        while self.pattern is not None and holders:
            holder = holders.pop()
            for key, value in holder.items() if isinstance(holder, dict) else enumerate(holder):
                if isinstance(value, (dict, list)):
                    holders.append(value)
                elif isinstance(value, str) and key != _EVENT_ID:
                    holder[key] = self.pattern.sub(MASK, value)
        return whole[0]


def redaction_of(headers: Mapping[str, str], parameters: Iterable[str] = ()) -> Redaction:
    """Return what removes a request's credentials from the response to it.

    Args:
        headers: The request's headers. ``Authorization`` and any header named after a key,
            secret or token holds a credential.
        parameters: The values of its query, each of which may be one.

    Returns:
        What finds the credentials in any case: as they are, in Base64, percent-encoded and
        escaped as in JSON. Credentials shorter than six characters are not removed.
    """
    found = set(parameters)
    for name, value in headers.items():
        if _SECRET_NAME.search(name):
            scheme, _, rest = value.strip().partition(" ")
            found |= {value.strip(), rest.strip()}
            with suppress(ValueError):
                if scheme.lower() == "basic":
                    pair = base64.b64decode(rest).decode()
                    found |= {pair, pair.partition(":")[2]}
    forms = {form for secret in found if len(secret) >= _MIN_LENGTH for form in _forms(secret)}
    if not forms:
        return Redaction()
    longest_first = sorted(forms, key=len, reverse=True)
    return Redaction(re.compile("|".join(map(re.escape, longest_first)), re.IGNORECASE))


def _forms(secret: str) -> set[str]:
    raw, escaped = secret.encode(), orjson.dumps(secret).decode()[1:-1]
    encoded = {base64.b64encode(raw), base64.urlsafe_b64encode(raw)}
    return {
        *(secret, escaped, escaped.replace("/", "\\/"), quote(secret, safe=""), quote(secret)),
        *(each.decode().rstrip("=") for each in encoded),
    }
