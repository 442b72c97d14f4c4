"""Batches in the making: which records go together, and how a batch is remembered."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, overload

from adcp_tracker.queue.state import Span

if TYPE_CHECKING:
    from collections.abc import Iterator

    from adcp_tracker.queue.records import PlainRecords

_EVENT_ID = b'{"event_id":"'


class Placed(NamedTuple):
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


class Members(Sequence[Placed]):
    """The events of a batch, in their frozen order; kept in columns, as they are many.

    Attributes:
        events: Each event's JSON.
    """

    def __init__(self) -> None:
        self._segments: list[str] = []
        self._starts: list[int] = []
        self._stops: list[int] = []
        self.events: list[bytes] = []

    def add(self, placed: Placed) -> None:
        """Add one event."""
        self._segments.append(placed.segment)
        self._starts.append(placed.start)
        self._stops.append(placed.stop)
        self.events.append(placed.event)

    def extend(self, segment: str, plain: PlainRecords) -> None:
        """Add events of one segment."""
        self._segments += [segment] * len(plain.events)
        self._starts += plain.starts
        self._stops += plain.stops
        self.events += plain.events

    def blank(self, place: int) -> None:
        """Forget what the event at a place said."""
        self.events[place] = b"{}"

    def spans(self) -> list[Span]:
        """Return the spans of the records, those that follow each other as one."""
        found: list[Span] = []
        segment, start, stop = "", 0, -1
        for name, begin, end in zip(self._segments, self._starts, self._stops, strict=True):
            if begin == stop and name == segment:
                stop = end
                continue
            if stop >= 0:
                found.append(Span(segment, start, stop))
            segment, start, stop = name, begin, end
        if stop >= 0:
            found.append(Span(segment, start, stop))
        return found

    def __len__(self) -> int:
        return len(self.events)

    @overload
    def __getitem__(self, place: int) -> Placed: ...

    @overload
    def __getitem__(self, place: slice) -> Members: ...

    def __getitem__(self, place: int | slice) -> Placed | Members:
        if isinstance(place, slice):
            return members_of(self[each] for each in range(*place.indices(len(self))))
        return Placed(
            self._segments[place], self._starts[place], self._stops[place], self.events[place]
        )


def members_of(events: Iterator[Placed]) -> Members:
    """Return some events as the members of a batch."""
    members = Members()
    for each in events:
        members.add(each)
    return members


class Limit:
    """How much more one batch takes.

    Args:
        events: How many events in all.
        size: How many bytes in all.
    """

    def __init__(self, events: int, size: int) -> None:
        self._events = events
        self._bytes = size
        self._empty = True

    @property
    def is_reached(self) -> bool:
        """Whether nothing more fits."""
        return self._events <= 0 or self._bytes <= 0

    @property
    def bytes(self) -> int:
        """How many bytes still fit."""
        return self._bytes

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
        fitting = bisect_right(stops, starts[0] + self._bytes)
        count = max(min(fitting, self._events), int(self._empty))
        if count:
            self._empty = False
            self._events -= count
            self._bytes -= stops[count - 1] - starts[0]
        if count < len(starts):
            self._bytes = 0
        return count


class Groups:
    """Records sorted into batches: one test code each, and no event id twice in one."""

    def __init__(self) -> None:
        self._batches: dict[tuple[str | None, int], Members] = {}
        self._layers: dict[str | None, dict[bytes, int]] = {}

    def add(self, test_event_code: str | None, placed: Placed) -> None:
        """Put an event into the first batch that it can go with."""
        layers = self._layers.setdefault(test_event_code, {})
        key = event_id(placed.event)
        layer = layers.get(key, 0)
        layers[key] = layer + 1
        self._batches.setdefault((test_event_code, layer), Members()).add(placed)

    def add_plain(self, segment: str, plain: PlainRecords) -> None:
        """Put live events of one segment into the first batches they can go with."""
        layers = self._layers.setdefault(None, {})
        ids = set(map(event_id, plain.events))
        if len(ids) == len(plain.events) and layers.keys().isdisjoint(ids):
            layers.update(dict.fromkeys(ids, 1))
            self._batches.setdefault((None, 0), Members()).extend(segment, plain)
            return
        for start, stop, event in zip(*plain, strict=True):  # some id comes twice
            self.add(None, Placed(segment, start, stop, event))

    def __iter__(self) -> Iterator[tuple[str | None, Members]]:
        for (test_event_code, _), members in self._batches.items():
            if members:
                yield test_event_code, members


def event_id(event: bytes) -> bytes:
    """Return what tells two events' ids apart, without decoding them.

    An id with a quote in it is cut there, which can only hold an event back for the next
    batch.
    """
    if not event.startswith(_EVENT_ID):
        return event
    return event[len(_EVENT_ID) : event.find(b'"', len(_EVENT_ID))]
