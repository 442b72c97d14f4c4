"""Tools for your own tests: a real tracker, and a seller that records what it gets.

Only the seller is simulated. Events are validated, written to disk, batched and sent as in
production. For a seller that speaks HTTP, rejects invalid events and fails on request, see
:mod:`adcp_tracker.sandbox`.
"""

from __future__ import annotations

import shutil
import tempfile
import weakref
from contextlib import contextmanager
from decimal import Decimal
from typing import TYPE_CHECKING, Final

import attrs

from adcp_tracker import _development
from adcp_tracker.destinations.base import Delivered
from adcp_tracker.events.event import decode
from adcp_tracker.events.hashing import hash_email, hash_phone
from adcp_tracker.events.model import EventType
from adcp_tracker.tracker import Tracker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from typing_extensions import Unpack

    from adcp_tracker.delivery.stats import Stats
    from adcp_tracker.destinations.base import Batch, EventFailure, Outcome
    from adcp_tracker.events.event import Event
    from adcp_tracker.web.options import TrackerOptions

__all__ = ["CapturedEvents", "RecordingDestination", "RecordingTracker", "capture_events"]

_FLUSH_SECONDS: Final = 0.02
_LONGEST_SECONDS: Final = 10.0


def _take_all(_batch: Batch) -> Outcome:
    return Delivered()


@attrs.define(kw_only=True, eq=False)
class RecordingDestination:
    """A destination that records what it is sent, for a tracker that your code makes itself.

    Attributes:
        name: Its name in the stats.
        max_events: How many events one request may carry.
        max_bytes: How large a request may be.
        answer: Returns the outcome of a batch; by default everything is delivered. Return
            :class:`.Retry` or :class:`.Paused` to see how your code copes with a seller that
            is down.
        batches: Every batch that was sent, including rejected ones.
        events: Every event that was delivered, in order.
    """

    name: str = "recording"
    max_events: int = 10_000
    max_bytes: int = 8 * 1024 * 1024
    answer: Callable[[Batch], Outcome] = _take_all
    batches: list[Batch] = attrs.field(factory=list, init=False)
    events: list[Event] = attrs.field(factory=list, init=False)

    def send(self, batch: Batch) -> Outcome:
        """Record `batch`, and those of its events that are delivered."""
        self.batches.append(batch)
        outcome = self.answer(batch)
        if isinstance(outcome, Delivered):
            ids = {failure.event_id for failure in outcome.failures}
            places = {failure.index for failure in outcome.failures}
            for place, event in enumerate(map(decode, batch.events)):
                if event.event_id not in ids and place not in places:
                    self.events.append(event)
        return outcome

    def check(self, event: Mapping[str, object]) -> EventFailure | None:
        """Refuse nothing."""

    def close(self) -> None:
        """Have nothing to close."""

    def after_fork(self) -> None:
        """Keep nothing open across a fork."""


class RecordingTracker(Tracker):
    """A tracker in a temporary directory, whose events you can inspect.

    It is strict by default, so that an invalid event fails the test that creates it. Use it
    as a context manager, or close it: then its directory is removed.

    Args:
        **settings: Anything a :class:`~adcp_tracker.Tracker` takes. With ``destinations``,
            events go there as well; with a ``directory``, it is kept.
    """

    def __init__(self, **settings: Unpack[TrackerOptions]) -> None:
        self._recording = RecordingDestination()
        temporary = "" if "directory" in settings else tempfile.mkdtemp(prefix="adcp-tracker-")
        if temporary:
            settings["directory"] = temporary
        settings.setdefault("strict", True)
        settings.setdefault("handle_sigterm", False)
        settings.setdefault("flush_interval", _FLUSH_SECONDS)
        settings["destinations"] = [self._recording, *settings.get("destinations", ())]
        super().__init__(**settings)
        # Also if it is never closed: at exit, or once its flusher has ended.
        self._remove_directory = weakref.finalize(
            self._pipeline, shutil.rmtree, temporary, ignore_errors=True
        )
        if not temporary:
            self._remove_directory.detach()

    @property
    def events(self) -> list[Event]:
        """Every event tracked so far, in order, as a seller gets them.

        Raises:
            TimeoutError: If they are not delivered in time.
        """
        left = self.flush(_LONGEST_SECONDS).destinations[self._recording.name]
        if left.pending:
            raise TimeoutError(
                f"{left.pending} events were not delivered within {_LONGEST_SECONDS:g} s. "
                "Does another process upload from this directory?"
            )
        return list(self._recording.events)

    def close(self, timeout: float | None = None) -> Stats:
        """Deliver what can be delivered in time, end the flusher, and remove the directory."""
        stats = super().close(timeout)
        self._remove_directory()
        return stats


_MISSING: Final = object()
_SECRET: Final = {"email": hash_email, "phone": hash_phone}
"""Given raw to an assertion, and compared by their hash; never shown."""


class CapturedEvents(list["Event"]):
    """The events that were tracked while :func:`capture_events` took them, oldest first."""

    strict = True

    def takes(self, *, remote: bool) -> bool:  # noqa: ARG002 - it takes the events of any tracker
        """Take the events of every tracker."""
        return True

    def add(self, event: Event) -> None:
        """Take an event."""
        self.append(event)

    def of_type(self, event_type: EventType | str) -> list[Event]:
        """Return the events of one type, oldest first."""
        wanted = EventType(event_type)
        return [event for event in self if event.event_type is wanted]

    def assert_tracked(self, event_type: EventType | str, **expected: object) -> Event:
        """Return the one event of a type that has the `expected` values.

        Args:
            event_type: Such as ``"purchase"``.
            **expected: Fields of the event, of its custom data or of its user match, by their
                names, such as ``value="59.90"``. ``order_id`` is also a purchase's event id;
                ``email`` and ``phone`` are compared by their hashes.

        Raises:
            AssertionError: If there is no such event, or more than one; it lists the events that
                were tracked, and in what they differ.
        """
        found = [event for event in self.of_type(event_type) if not _differences(event, expected)]
        if len(found) == 1:
            return found[0]
        raise AssertionError(self._report(EventType(event_type), expected, len(found)))

    def assert_not_tracked(self, event_type: EventType | str, **expected: object) -> None:
        """Check that no event of a type has the `expected` values.

        Raises:
            AssertionError: If one has.
        """
        found = [event for event in self.of_type(event_type) if not _differences(event, expected)]
        if found:
            raise AssertionError(self._report(EventType(event_type), expected, len(found)))

    def _report(self, event_type: EventType, expected: Mapping[str, object], found: int) -> str:
        shown = ", ".join(f"{name}={_shown(name, value)}" for name, value in expected.items())
        wanted = f"{event_type.value}({shown})"
        lines = [f"expected 1 {wanted}, got {found}. Tracked: {len(self) or 'no events'}"]
        for event in self:
            line = f"  {event.event_type.value} {event.event_id!r}"
            if event.event_type is event_type:
                line += "".join(f"\n    {each}" for each in _differences(event, expected))
            lines.append(line)
        return "\n".join(lines)


def _differences(event: Event, expected: Mapping[str, object]) -> list[str]:
    """Return in what an event is not as expected, a line for each field."""
    lines = []
    for name, value in expected.items():
        actual = _field(event, name)
        if _comparable(name, actual, given=False) != _comparable(name, value, given=True):
            got = "no such field" if actual is _MISSING else _shown(name, actual)
            lines.append(f"{name}: expected {_shown(name, value)}, got {got}")
    return lines


def _field(event: Event, name: str) -> object:
    """Return a field of the event, of its custom data or of its user match."""
    if name == "order_id" and event.event_type is EventType.PURCHASE:
        return event.event_id
    path = f"hashed_{name}" if name in _SECRET else name
    for holder in (event, event.custom_data, event.user_match):
        value = getattr(holder, path, None)
        if value is not None:
            return value
    extra = event.custom_data.extra if event.custom_data is not None else {}
    return extra.get(name, _MISSING)


def _comparable(name: str, value: object, *, given: bool) -> object:
    if given and name in _SECRET and isinstance(value, str):
        return _SECRET[name](value)
    if isinstance(value, (int, float, Decimal)) or name == "value":
        return Decimal(str(value)) if value is not _MISSING else value
    return value


def _shown(name: str, value: object) -> str:
    return "(hidden)" if name in _SECRET else repr(value)


@contextmanager
def capture_events() -> Iterator[CapturedEvents]:
    """Capture the events of every tracker in the process; none is written or sent.

    Trackers are strict meanwhile: an event that breaks a rule raises. Events count as soon as
    they are tracked, whether or not a transaction around them is committed.
    """
    before, events = _development.active, CapturedEvents()
    _development.active = events
    try:
        yield events
    finally:
        _development.active = before
