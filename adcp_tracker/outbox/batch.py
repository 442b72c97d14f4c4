"""The events of a batch, and which events go together in one."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

import orjson

from adcp_tracker.journal.records import HEADER_BYTES
from adcp_tracker.outbox.state import Span

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from adcp_tracker.journal.records import PlainRecords

BLANK = b"{}"
"""What stands for an event that was erased while it was on its way."""

_EVENT_ID = b'{"event_id":"'
_BEGINNING = len(_EVENT_ID) + len(b'","event_type":"')
"""Two events with the same id have at least this many bytes in common at their start."""

_RECORD_OVERHEAD = HEADER_BYTES + 1


class LocatedEvent(NamedTuple):
    """An event and the record it stands in.

    Attributes:
        segment: The segment's name.
        start: Where the record begins, in bytes from the start of its segment.
        stop: Where it ends, behind its line feed.
        event: The event's JSON.
        accepted_ms: When it was accepted, in milliseconds since the epoch.
    """

    segment: str
    start: int
    stop: int
    event: bytes
    accepted_ms: int


class BatchEvents:
    """The events of a batch in their frozen order, and where their records are.

    Attributes:
        payload: The JSON of each event.
        times: When each was accepted, in milliseconds since the epoch.
    """

    def __init__(self, located: Iterable[LocatedEvent] = ()) -> None:
        self.payload: list[bytes] = []
        self._segments: list[str] = []
        self._starts = array("Q")
        self._stops = array("Q")
        self.times = array("Q")
        for each in located:
            self.add(each)

    def add(self, event: LocatedEvent) -> None:
        """Add one event."""
        self.payload.append(event.event)
        self._segments.append(event.segment)
        self._starts.append(event.start)
        self._stops.append(event.stop)
        self.times.append(event.accepted_ms)

    def extend(self, segment: str, plain: PlainRecords) -> None:
        """Add events of one segment whose records follow each other."""
        sizes = (len(event) + _RECORD_OVERHEAD for event in plain.events)
        ends = array("Q", accumulate(sizes, initial=plain.start))
        self.payload += plain.events
        self._segments += [segment] * len(plain.events)
        self._starts += ends[:-1]
        self._stops += ends[1:]
        self.times.extend(plain.times)

    def erase(self, is_unwanted: Callable[[bytes], bool]) -> int:
        """Replace events that must not be kept by a blank; return how many there were."""
        # A new list: a request in flight goes on with the old one, whose length it announced.
        kept = [BLANK if is_unwanted(event) else event for event in self.payload]
        erased = sum(new is not old for new, old in zip(kept, self.payload, strict=True))
        self.payload = kept
        return erased

    def spans(self) -> list[Span]:
        """Return the spans of the records, adjacent ones as one."""
        found: list[Span] = []
        segment, start, stop = "", 0, 0
        for name, begin, end in zip(self._segments, self._starts, self._stops, strict=True):
            if begin != stop or name != segment:
                if segment:
                    found.append(Span(segment, start, stop))
                segment, start = name, begin
            stop = end
        if segment:
            found.append(Span(segment, start, stop))
        return found

    def __len__(self) -> int:
        return len(self.payload)

    def __iter__(self) -> Iterator[LocatedEvent]:
        return map(
            LocatedEvent, self._segments, self._starts, self._stops, self.payload, self.times
        )

    def __getitem__(self, places: slice) -> BatchEvents:
        return BatchEvents(tuple(self)[places])


class BatchLimit:
    """How many more events and bytes fit into a batch.

    Args:
        events: How many events in all.
        size: How many bytes in all.

    Attributes:
        events: How many events still fit.
        bytes: How many bytes still fit.
    """

    def __init__(self, events: int, size: int) -> None:
        self.events = events
        self.bytes = size
        self._empty = True

    @property
    def is_reached(self) -> bool:
        """Whether nothing more fits."""
        return self.events <= 0 or self.bytes <= 0

    def whole(self, data: bytes) -> int:
        """Return how many bytes of `data` are whole records that fit."""
        end = data.rfind(b"\n", 0, self.bytes) + 1
        return end or (data.find(b"\n") + 1 if self._empty else 0)

    def use(self, events: int, size: int, *, fully: bool) -> None:
        """Use up room; `fully` if more events follow that don't fit."""
        self._empty &= not events
        self.events -= events
        self.bytes = 0 if fully else self.bytes - size

    def take(self, starts: Sequence[int], stops: Sequence[int]) -> int:
        """Take as many adjacent records as fit, and at least one in all.

        Args:
            starts: Where each begins.
            stops: Where each ends.

        Returns:
            How many of them were taken, from the first on.
        """
        if not starts:
            return 0
        fitting = bisect_right(stops, starts[0] + self.bytes)
        count = max(min(fitting, self.events), int(self._empty))
        size = stops[count - 1] - starts[0] if count else 0
        self.use(count, size, fully=count < len(starts))
        return count


class BatchBuilder:
    """Sorts records into batches: one test code each, and no event id twice in one."""

    def __init__(self) -> None:
        self._batches: dict[tuple[str | None, int], BatchEvents] = {}
        self._occurrences: dict[str | None, dict[bytes, int]] = {}
        self._prefixes: set[bytes] = set()

    def add(self, test_event_code: str | None, event: LocatedEvent) -> None:
        """Add an event to the first batch without its id."""
        layers = self._occurrences_of(test_event_code)
        key = event_id(event.event)
        layer = layers.get(key, 0)
        layers[key] = layer + 1
        self._batch(test_event_code, layer).add(event)

    def add_plain(self, segment: str, plain: PlainRecords) -> None:
        """Add live events of one segment to the first batches without their ids."""
        if None not in self._occurrences and self._are_distinct(plain.events):
            self._batch(None, 0).extend(segment, plain)
            return
        layers, ids = self._occurrences_of(None), set(map(event_id, plain.events))
        if len(ids) == len(plain.events) and layers.keys().isdisjoint(ids):
            layers.update(dict.fromkeys(ids, 1))
            self._batch(None, 0).extend(segment, plain)
            return
        several = BatchEvents()
        several.extend(segment, plain)
        for event in several:  # some id comes twice
            self.add(None, event)

    def _batch(self, test_event_code: str | None, layer: int) -> BatchEvents:
        return self._batches.setdefault((test_event_code, layer), BatchEvents())

    def _are_distinct(self, events: Sequence[bytes]) -> bool:
        """Return whether no two events, here or before, begin alike.

        Then their ids differ, too. Comparing beginnings takes a third of the time of finding
        the end of each id.
        """
        beginnings = {event[:_BEGINNING] for event in events}
        if len(beginnings) < len(events) or not beginnings.isdisjoint(self._prefixes):
            return False
        self._prefixes |= beginnings
        return True

    def _occurrences_of(self, test_event_code: str | None) -> dict[bytes, int]:
        """Return how many batches hold each id."""
        layers = self._occurrences.get(test_event_code)
        if layers is None:
            known = self._batches.get((test_event_code, 0), ())
            layers = dict.fromkeys((event_id(each.event) for each in known), 1)
            self._occurrences[test_event_code] = layers
        return layers

    def __iter__(self) -> Iterator[tuple[str | None, BatchEvents]]:
        for (test_event_code, _), events in self._batches.items():
            if events:
                yield test_event_code, events


def event_id(event: bytes) -> bytes:
    """Return the bytes of an event's id, without decoding the event.

    An id with a quote in it is cut there, which can only hold an event back for the next
    batch.
    """
    if not event.startswith(_EVENT_ID):
        return event
    return event[len(_EVENT_ID) : event.find(b'"', len(_EVENT_ID))]


def decoded_event_id(event: bytes) -> str:
    """Return an event's id as text; decode the whole event only if that is needed."""
    found = event_id(event)
    if found is event or b"\\" in found:
        decoded = orjson.loads(event)
        return str(decoded.get("event_id", "")) if isinstance(decoded, dict) else ""
    return found.decode()
