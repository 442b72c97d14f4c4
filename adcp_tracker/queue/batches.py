"""Batches in the making: which records go together, and how a batch is remembered."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from adcp_tracker.queue.state import Span

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from adcp_tracker.queue.records import Record

_EVENT_ID = b'{"event_id":"'


class Placed(NamedTuple):
    """A record, the segment it stands in and the event it holds.

    Attributes:
        segment: The segment's name.
        record: The record.
        event: The event's JSON.
    """

    segment: str
    record: Record
    event: bytes


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

    def take(self, records: Sequence[Record]) -> Sequence[Record]:
        """Return the first records, as many as still fit, and at least one in all."""
        if len(records) <= self._events:
            # Most often all of them fit, which one sum tells.
            total = sum(record.stop - record.start for record in records)
            if total <= self._bytes:
                self._events -= len(records)
                self._bytes -= total
                self._empty = self._empty and not records
                return records
        for taken, record in enumerate(records):
            size = len(record.body) + 1
            if self._events <= 0 or (size > self._bytes and not self._empty):
                self._bytes = 0
                return records[:taken]
            self._empty = False
            self._events -= 1
            self._bytes -= size
        return records


class Groups:
    """Records sorted into batches: one test code each, and no event id twice in one."""

    def __init__(self) -> None:
        self._batches: dict[tuple[str | None, int], list[Placed]] = {}
        self._layers: dict[tuple[str | None, bytes], int] = {}

    def add(self, test_event_code: str | None, placed: Placed) -> None:
        """Put a record into the first batch that it can go with."""
        key = (test_event_code, event_id(placed.event))
        layer = self._layers.get(key, 0)
        self._layers[key] = layer + 1
        self._batches.setdefault((test_event_code, layer), []).append(placed)

    def add_all(self, segment: str, records: Sequence[Record]) -> None:
        """Put plain, live events of one segment into the first batches they can go with."""
        make = tuple.__new__
        members = [make(Placed, (segment, record, record.body)) for record in records]
        ids = {(None, event_id(record.body)) for record in records}
        if len(ids) == len(members) and self._layers.keys().isdisjoint(ids):
            self._layers.update(dict.fromkeys(ids, 1))
            self._batches.setdefault((None, 0), []).extend(members)
            return
        for member in members:  # some id comes twice
            self.add(None, member)

    def __iter__(self) -> Iterator[tuple[str | None, list[Placed]]]:
        for (test_event_code, _), members in self._batches.items():
            yield test_event_code, members


def event_id(event: bytes) -> bytes:
    """Return what tells two events' ids apart, without decoding them.

    An id with a quote in it is cut there, which can only hold an event back for the next
    batch.
    """
    if not event.startswith(_EVENT_ID):
        return event
    return event[len(_EVENT_ID) : event.find(b'"', len(_EVENT_ID))]


def spans(members: Iterable[Placed]) -> list[Span]:
    """Return the spans of records, those that follow each other as one."""
    found: list[Span] = []
    segment, start, stop = "", 0, -1
    for name, (begin, end, _, _), _ in members:
        if begin == stop and name == segment:
            stop = end
            continue
        if stop >= 0:
            found.append(Span(segment, start, stop))
        segment, start, stop = name, begin, end
    if stop >= 0:
        found.append(Span(segment, start, stop))
    return found
