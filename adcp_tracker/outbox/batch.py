"""Batches in the making: which records go together, and how a batch is remembered."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple, overload

from adcp_tracker.destinations.payload import Block, JoinedEvents, Room
from adcp_tracker.journal.records import HEADER_BYTES
from adcp_tracker.outbox.state import Span

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from mmap import mmap

    from adcp_tracker.journal.records import PlainRecords

BLANK = b"{}"
"""What stands for an event that was erased while it was on its way."""

_EVENT_ID = b'{"event_id":"'
_BEGINNING = len(_EVENT_ID) + len(b'","event_type":"')
"""How much of two events with one id is the same at least: the id, and what follows it."""


class LocatedEvent(NamedTuple):
    """An event and the record it stands in.

    Attributes:
        segment: The segment's name.
        start: Where the record begins, in bytes from the start of its segment.
        stop: Where it ends, behind its line feed.
        event: The event's JSON.
    """

    segment: str
    start: int
    stop: int
    event: bytes


class _ContiguousEvents:
    """Plain records that follow each other: where they begin is all that need be known."""

    def __init__(self, segment: str, plain: PlainRecords, room: Room | None = None) -> None:
        self._span = Span(segment, plain.start, plain.stop)
        self.block = Block(plain.events, room)

    def spans(self) -> Iterator[Span]:
        """Return where the records are."""
        yield self._span

    def __iter__(self) -> Iterator[LocatedEvent]:
        start = self._span.start
        for event in self.block.split():
            stop = start + HEADER_BYTES + len(event) + 1
            yield LocatedEvent(self._span.segment, start, stop, event)
            start = stop


class _EventColumns:
    """Any records, in a column each for what is known of them."""

    def __init__(self) -> None:
        self._segments: list[str] = []
        self._starts: list[int] = []
        self._stops: list[int] = []
        self._events: list[bytes] = []

    def add(self, event: LocatedEvent) -> None:
        self._segments.append(event.segment)
        self._starts.append(event.start)
        self._stops.append(event.stop)
        self._events.append(event.event)

    @property
    def block(self) -> Block:
        """The events, joined."""
        return Block(self._events)

    def spans(self) -> Iterator[Span]:
        """Return where the records are."""
        return map(Span, self._segments, self._starts, self._stops)

    def __iter__(self) -> Iterator[LocatedEvent]:
        return map(LocatedEvent, self._segments, self._starts, self._stops, self._events)


class BatchEvents(Sequence[LocatedEvent]):
    """The events of a batch, in their frozen order; kept as compactly as may be.

    Args:
        spare: Memory to keep them in; see :class:`.Room`.
    """

    def __init__(self, spare: list[mmap] | None = None) -> None:
        self._parts: list[_ContiguousEvents | _EventColumns] = []
        self._room = Room(spare)
        self._count = 0

    @property
    def payload(self) -> JoinedEvents:
        """Each event's JSON."""
        return JoinedEvents([part.block for part in self._parts])

    def add(self, event: LocatedEvent) -> None:
        """Add one event."""
        last = self._parts[-1] if self._parts else None
        if not isinstance(last, _EventColumns):
            last = _EventColumns()
            self._parts.append(last)
        last.add(event)
        self._count += 1

    def extend(self, segment: str, plain: PlainRecords) -> None:
        """Add events of one segment."""
        if plain.events:
            self._parts.append(_ContiguousEvents(segment, plain, self._room))
            self._count += len(plain.events)

    def erase(self, is_unwanted: Callable[[bytes], bool]) -> int:
        """Forget what some events said; return how many there were."""
        found = {place for place, each in enumerate(self) if is_unwanted(each.event)}
        if found:
            columns = _EventColumns()
            for place, each in enumerate(self):
                columns.add(each._replace(event=BLANK) if place in found else each)
            self._parts = [columns]
        return len(found)

    def spans(self) -> list[Span]:
        """Return the spans of the records, those that follow each other as one."""
        found: list[Span] = []
        for span in chain.from_iterable(part.spans() for part in self._parts):
            last = found[-1] if found else None
            if last is not None and (last.segment, last.stop) == (span.segment, span.start):
                found[-1] = Span(last.segment, last.start, span.stop)
            else:
                found.append(span)
        return found

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[LocatedEvent]:
        return chain.from_iterable(self._parts)

    @overload
    def __getitem__(self, place: int) -> LocatedEvent: ...

    @overload
    def __getitem__(self, place: slice) -> BatchEvents: ...

    def __getitem__(self, place: int | slice) -> LocatedEvent | BatchEvents:
        if isinstance(place, slice):
            return batch_events(iter(tuple(self)[place]))
        return tuple(self)[place]


def batch_events(located: Iterator[LocatedEvent]) -> BatchEvents:
    """Return some events as those of a batch."""
    events = BatchEvents()
    for each in located:
        events.add(each)
    return events


class BatchLimit:
    """How much more one batch takes.

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
        """Return how many of the bytes in `data` are whole records that fit, or only one is."""
        end = data.rfind(b"\n", 0, self.bytes) + 1
        return end or (data.find(b"\n") + 1 if self._empty else 0)

    def use(self, events: int, size: int, *, fully: bool) -> None:
        """Take so many events of so many bytes; `fully` if there are more that do not fit."""
        self._empty &= not events
        self.events -= events
        self.bytes = 0 if fully else self.bytes - size

    def take(self, starts: Sequence[int], stops: Sequence[int]) -> int:
        """Take records that follow each other, as many as still fit, and one in all at least.

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
    """Records sorted into batches: one test code each, and no event id twice in one.

    Args:
        spare: Memory to keep them in; see :class:`.Room`.
    """

    def __init__(self, spare: list[mmap] | None = None) -> None:
        self._spare = spare
        self._batches: dict[tuple[str | None, int], BatchEvents] = {}
        self._occurrences: dict[str | None, dict[bytes, int]] = {}
        self._prefixes: set[bytes] = set()

    def add(self, test_event_code: str | None, event: LocatedEvent) -> None:
        """Put an event into the first batch that it can go with."""
        layers = self._occurrences_of(test_event_code)
        key = event_id(event.event)
        layer = layers.get(key, 0)
        layers[key] = layer + 1
        self._batch(test_event_code, layer).add(event)

    def add_plain(self, segment: str, plain: PlainRecords) -> None:
        """Put live events of one segment into the first batches they can go with."""
        if None not in self._occurrences and self._are_distinct(plain.events):
            self._batch(None, 0).extend(segment, plain)
            return
        layers, ids = self._occurrences_of(None), set(map(event_id, plain.events))
        if len(ids) == len(plain.events) and layers.keys().isdisjoint(ids):
            layers.update(dict.fromkeys(ids, 1))
            self._batch(None, 0).extend(segment, plain)
            return
        for event in _ContiguousEvents(segment, plain):  # some id comes twice
            self.add(None, event)

    def _batch(self, test_event_code: str | None, layer: int) -> BatchEvents:
        found = self._batches.get((test_event_code, layer))
        if found is None:
            found = self._batches[test_event_code, layer] = BatchEvents(self._spare)
        return found

    def _are_distinct(self, events: Sequence[bytes]) -> bool:
        """Say whether events begin otherwise than each other and all before, as most do.

        Then their ids are others too, which is known in a third of the time that it takes to
        look for each one's end.
        """
        beginnings = {event[:_BEGINNING] for event in events}
        if len(beginnings) < len(events) or not beginnings.isdisjoint(self._prefixes):
            return False
        self._prefixes |= beginnings
        return True

    def _occurrences_of(self, test_event_code: str | None) -> dict[bytes, int]:
        """Return in how many batches each id is already."""
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
    """Return what tells two events' ids apart, without decoding them.

    An id with a quote in it is cut there, which can only hold an event back for the next
    batch.
    """
    if not event.startswith(_EVENT_ID):
        return event
    return event[len(_EVENT_ID) : event.find(b'"', len(_EVENT_ID))]
