"""What a destination is: it takes a frozen batch and says what became of it.

A destination does one network call per :meth:`Destination.send` and keeps no queue.
Whatever the seller answers becomes one of the five outcomes below;
the way from answers to outcomes is the table in :mod:`adcp_tracker.destinations.responses`.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

import attrs
import orjson

from adcp_tracker._version import __version__
from adcp_tracker.destinations.payload import body_around

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from adcp_tracker.destinations.payload import Body


@attrs.frozen
class Batch:
    """Frozen events on their way to one seller.

    Attributes:
        events: The events' final JSON, one object each, in their frozen order;
            :func:`.joined.body_around` makes a request of them.
        identity: What these very bytes are known by; the same after a restart,
            different once the batch's members or its generation change.
        test_event_code: Marks the whole request as a test; ``None`` for live events.
    """

    events: Sequence[bytes]
    identity: bytes
    test_event_code: str | None = None


@attrs.frozen
class EventFailure:
    """One event that the seller, or the destination itself, does not take.

    Attributes:
        code: The seller's code, such as ``INVALID_EVENT_TIME``.
        message: The seller's words, without control characters.
        event_id: Which event, where the answer names it by id.
        index: Which event, where the answer names it by its place in the request.
        remedy: What its sender can do about it.
    """

    code: str
    message: str
    event_id: str | None = None
    index: int | None = None
    remedy: str = ""


@attrs.frozen
class Delivered:
    """The seller took the batch, except for the events in ``failures``.

    Attributes:
        failures: Events that are settled as dead letters.
        received: How many events the seller says it received; ``None`` if it does not.
        processed: How many it says it processed; fewer than received without failures
            is legal, and then the missing ones cannot be known.
        warnings: The seller's advice, without control characters.
        match_quality: The share of events the seller could match, 0–1.
        replayed: The answer of an earlier try.
        wait: The least number of seconds until the next request, already within
            1–3600, where this one used up what the seller allows; else ``None``.
    """

    failures: tuple[EventFailure, ...] = ()
    received: int | None = None
    processed: int | None = None
    warnings: tuple[str, ...] = ()
    match_quality: float | None = None
    replayed: bool = False
    wait: float | None = None


@attrs.frozen
class Retry:
    """Nothing is decided: try the same bytes again.

    Attributes:
        code: Why, in one word, such as ``timeout``, ``http_503`` or ``RATE_LIMITED``.
        message: Why, for a person.
        retry_after: The least number of seconds to wait, already within 1–3600.
        fresh_key: The next try needs a new idempotency key.
        budgeted: The reason is unknown, so tries are counted and end in a dead letter.
        rate_limited: The seller is well, only asked too often.
    """

    code: str
    message: str
    retry_after: float | None = None
    fresh_key: bool = False
    budgeted: bool = False
    rate_limited: bool = False


@attrs.frozen
class TooLarge:
    """The request is over the seller's limit: halve it and remember."""

    code: str
    message: str


@attrs.frozen
class Rejected:
    """The seller refuses the whole request for the sake of some events.

    Attributes:
        failures: The events it names; empty when it names none, so that they
            have to be found by bisection.
        code: The seller's code.
        message: The seller's words, without control characters.
    """

    code: str
    message: str
    failures: tuple[EventFailure, ...] = ()


@attrs.frozen
class Paused:
    """The configuration is wrong: keep everything, send nothing, probe rarely.

    Attributes:
        code: Why, in one word.
        message: Why, for a person.
        remedy: What to change.
    """

    code: str
    message: str
    remedy: str


Outcome = Delivered | Retry | TooLarge | Rejected | Paused


@attrs.frozen
class CheckResult:
    """One thing found out about a seller by asking it, without sending an event.

    Attributes:
        level: ``ok``, ``warning`` or ``error``.
        message: What was found, for a person.
        remedy: What to change; empty when nothing has to be.
    """

    level: Literal["ok", "warning", "error"]
    message: str
    remedy: str = ""


@runtime_checkable
class Destination(Protocol):
    """Where events go. Implement it to reach another kind of seller."""

    @property
    def name(self) -> str:
        """Its stable, unique name: deliveries are kept under it, so it holds no secret."""

    @property
    def max_events(self) -> int:
        """How many events one request may carry."""

    @property
    def max_bytes(self) -> int:
        """How large a request may be, in bytes before compression."""

    def send(self, batch: Batch) -> Outcome:
        """Deliver `batch` with one request. Never raises for what a seller or network does."""

    def check(self, event: Mapping[str, object]) -> EventFailure | None:
        """Say why this kind of seller cannot take `event`, if it cannot.

        Only asked of events that use more than every seller understands.
        """

    def close(self) -> None:
        """Close connections. A later :meth:`send` opens new ones."""

    def after_fork(self) -> None:
        """Forget connections without closing them: they belong to the parent of a fork."""


@runtime_checkable
class Preloadable(Protocol):
    """A destination that has something to load before its first request.

    A module that is half imported at a fork stays so in the child for good. What a
    destination imports only when it is first used, it should import here: the thread that
    calls this is one that a fork waits for, and the one that sends is not.
    """

    def prepare(self) -> None:
        """Load what :meth:`Destination.send` will need; connect to nothing."""


class SourceRules(Protocol):
    """What one event source accepts."""

    def check(self, event: Mapping[str, object]) -> EventFailure | None:
        """Return why the event source doesn't accept a decoded `event`, if it doesn't."""


@runtime_checkable
class SupportsRules(Protocol):
    """A destination that can be told what its event source accepts, and rejects by it."""

    source_rule: SourceRules | None


def event_failure(
    code: str, message: str, remedy: str, event: Mapping[str, object]
) -> EventFailure:
    """Return why a destination does not take a decoded `event`, which it names by its id."""
    event_id = event.get("event_id")
    named = event_id if isinstance(event_id, str) else None
    return EventFailure(code, message, event_id=named, remedy=remedy)


def request_body(event_source_id: str, batch: Batch, before: bytes, after: bytes) -> Body:
    """Return a request with frozen events on either wire, without decoding one.

    Args:
        event_source_id: Where the seller files them.
        batch: The events.
        before: What the wire puts before the members of the object that says this.
        after: What it puts behind them.
    """
    test = batch.test_event_code
    head = b'"event_source_id":' + orjson.dumps(event_source_id) + b',"events":['
    tail = b"]" if test is None else b'],"test_event_code":' + orjson.dumps(test)
    return body_around(batch.events, before + head, tail + after)


def idempotency_key(credential: str, destination: str, identity: bytes) -> str:
    """Derive the key of a batch: stable, different per seller, unguessable, never stored.

    Returns:
        64 lower-case hex digits, which fit ``^[A-Za-z0-9_.:-]{16,255}$``.
    """
    message = destination.encode() + b"\0" + identity
    return hmac.new(credential.encode(), message, hashlib.sha256).hexdigest()


@attrs.frozen
class Timeouts:
    """How long a call may take, in seconds.

    Attributes:
        connect: Until the connection stands, for each address that the host's name has; and
            then until it is encrypted.
        read: Between two pieces of the answer.
        write: Between two pieces of the request.
        total: For everything together. What is over when a connection first stands is cut off
            then: a name is looked up for as long as the system's resolver takes, and a host with
            many addresses that do not answer takes ``connect`` for each.
    """

    connect: float = 5.0
    read: float = 30.0
    write: float = 30.0
    total: float = 120.0


def user_agent() -> str:
    """Return how the library names itself to sellers."""
    return f"adcp_tracker/{__version__}"
