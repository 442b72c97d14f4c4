"""Read segments from each destination's cursors, and freeze batches of what is there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import attrs
import orjson

from adcp_tracker._logging import logger
from adcp_tracker.events.model import MAX_EVENT_BYTES
from adcp_tracker.journal.records import (
    DROPPED,
    ENVELOPED,
    ERASED,
    EVENT,
    UNDECRYPTED,
    Record,
    key_id_of,
    parse_plain,
)
from adcp_tracker.outbox.batch import BatchBuilder, BatchEvents, BatchLimit, LocatedEvent
from adcp_tracker.outbox.dead_letters import DeadLetter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from adcp_tracker.journal.records import PlainRecords
    from adcp_tracker.outbox.state import DestinationState, FrozenBatch, State
    from adcp_tracker.outbox.storage import Segments


class MissingKeys:
    """Records found so far whose key is missing."""

    def __init__(self) -> None:
        self._positions: dict[tuple[str, int], str] = {}
        self._batches: dict[tuple[str, int], str] = {}

    def add(self, segment: str, record: Record) -> None:
        """Add an undecrypted record at a destination's cursor."""
        self._positions[segment, record.start] = key_id_of(record)

    def add_batch(self, batch: FrozenBatch, record: Record) -> None:
        """Add a frozen batch with an undecrypted record."""
        self._batches[batch.destination, batch.number] = key_id_of(record)

    def blocks(self, segment: str, cursor: int) -> bool:
        """Return whether the record at `cursor` can't be decrypted."""
        return (segment, cursor) in self._positions

    def includes(self, batch: FrozenBatch) -> bool:
        """Return whether a frozen batch has a record that can't be decrypted."""
        return (batch.destination, batch.number) in self._batches

    def keys(self, destination: str, cursors: Mapping[str, int]) -> str:
        """Return the ids of the keys that a destination waits for."""
        names = {
            key for (name, start), key in self._positions.items() if cursors.get(name, 0) == start
        }
        names |= {key for (other, _), key in self._batches.items() if other == destination}
        return ", ".join(sorted(names))


# No event is larger, so that one read always holds a whole record.
_READ_BYTES = 2 * MAX_EVENT_BYTES
_LONGEST_RECORD_BYTES = _READ_BYTES * 3 // 4


@attrs.define
class BatchResult:
    """The result of one :meth:`Batcher.next_batches`.

    Attributes:
        batches: The new batches, each with its events.
        dead_letters: Events that this destination can never accept.
        corrupt_spans: Bytes that aren't records, by segment.
        unreadable: Why segments could not be read, or only in part, by segment.
        advanced: Whether any cursor moved.
    """

    batches: list[tuple[FrozenBatch, BatchEvents]] = attrs.field(factory=list)
    dead_letters: list[DeadLetter] = attrs.field(factory=list)
    corrupt_spans: list[tuple[str, bytes]] = attrs.field(factory=list)
    unreadable: list[tuple[str, OSError]] = attrs.field(factory=list)
    advanced: bool = False


class Rejection(Protocol):
    """Why a destination can't accept an event."""

    @property
    def code(self) -> str:
        """The reason, in one word."""

    @property
    def message(self) -> str:
        """The reason, for a person."""

    @property
    def remedy(self) -> str:
        """What to do about it."""


class Recipient(Protocol):
    """What batches need to know of a destination."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def max_events(self) -> int:
        """How many events one request may carry."""

    @property
    def max_bytes(self) -> int:
        """How large a request may be."""

    def check(self, event: Mapping[str, object]) -> Rejection | None:
        """Return why it can't accept an event, if it can't."""


def limits(destination: Recipient, state: DestinationState) -> tuple[int, int]:
    """Return how many events and bytes a batch may hold."""
    return (
        min(destination.max_events, state.max_events or destination.max_events),
        min(destination.max_bytes, state.max_bytes or destination.max_bytes),
    )


class Batcher:
    """Reads each destination's events, from its cursors on.

    Args:
        segments: The segments.
        state: What is known of the destinations. Freezing changes it, and the caller
            commits it before anything is sent.

    Attributes:
        missing_keys: Records found so far whose key is missing.
    """

    def __init__(self, segments: Segments, state: State) -> None:
        self._segments = segments
        self._state = state
        self.missing_keys = MissingKeys()

    def next_batches(
        self, destination: Recipient, sizes: Mapping[str, int], now: float
    ) -> BatchResult:
        """Freeze the next events of one destination.

        Args:
            destination: Whose.
            sizes: Each segment's size, the oldest first.
            now: Seconds since the epoch, for dead letters.
        """
        state = self._state.destinations[destination.name]
        draft, groups = state.copy(), BatchBuilder()
        scan = _SegmentScan(self._segments, destination, draft, self.missing_keys, now, groups)
        for name, size in sizes.items():
            scan.read(name, size)
        # An error until here leaves the cursors where they were: in front of what was read.
        state.cursors, state.counts = draft.cursors, draft.counts
        state.missing_keys = self.missing_keys.keys(destination.name, state.cursors)
        for code, events in groups:
            frozen = self._state.freeze(destination.name, events.spans(), len(events), code)
            scan.result.batches.append((frozen, events))
        return scan.result

    def drop_oldest(
        self, name: str, sizes: Mapping[str, int], excess: int, now: float
    ) -> tuple[int, BatchResult]:
        """Move a destination's cursors past its oldest events, and count those as ``full``.

        Args:
            name: The destination's.
            sizes: Each segment's size, the oldest first.
            excess: How many bytes to drop at least; whole segments are dropped.
            now: Seconds since the epoch, for dead letters.

        Returns:
            How many events were dropped, and what else was found.
        """
        state = self._state.destinations[name]
        draft = attrs.evolve(state.copy(), max_events=None, max_bytes=None)
        dropped = _Dropped()
        scan = _SegmentScan(self._segments, _Anything(name), draft, self.missing_keys, now, dropped)
        for segment, size in sizes.items():
            if excess <= 0:
                break
            before = draft.cursors.get(segment, 0)
            scan.read(segment, size)
            excess -= draft.cursors.get(segment, 0) - before
        draft.counts.dropped["full"] += dropped.count
        state.cursors, state.counts = draft.cursors, draft.counts
        return dropped.count, scan.result

    def read(self, batch: FrozenBatch) -> BatchEvents:
        """Return a batch's events that can be read from disk now."""
        events = BatchEvents()
        for segment, start, data in self._pieces(batch):
            plain = parse_plain(data, start) if data.endswith(b"\n") else None
            if plain is not None:
                events.extend(segment, plain)
                continue
            for record in self._scan(start, data):
                if record.kind in (EVENT, ENVELOPED):
                    events.add(_located(segment, record, record.unpack()[1]))
                elif record.kind in UNDECRYPTED:
                    self.missing_keys.add_batch(batch, record)
        return events

    def count(self, batch: FrozenBatch) -> int:
        """Return how many of a batch's records exist, readable or not."""
        return sum(record.kind != DROPPED for record in self._records(batch))

    def count_erased(self, batch: FrozenBatch) -> int:
        """Return how many of a batch's records were erased on disk."""
        return sum(record.kind == ERASED for record in self._records(batch))

    def _records(self, batch: FrozenBatch) -> Iterator[Record]:
        for _, start, data in self._pieces(batch):
            yield from self._scan(start, data)

    def _scan(self, start: int, data: bytes) -> list[Record]:
        """Parse a piece, including a last record without its line feed."""
        if data.endswith(b"\n"):
            return self._segments.parse(data, start)[0]
        stop = start + len(data)
        records = self._segments.parse(data + b"\n", start)[0]
        return [each._replace(stop=min(each.stop, stop)) for each in records]

    def _pieces(self, batch: FrozenBatch) -> Iterator[tuple[str, int, bytes]]:
        """Yield the bytes of a batch's records, in pieces of whole records."""
        for span in batch.spans:
            start = span.start
            with self._segments.reading(span.segment) as read:
                while data := read(start, min(span.stop - start, _READ_BYTES)):
                    end = data.rfind(b"\n") + 1
                    if not end:  # a line feed is lost, and what it divided may be long
                        data = read(start, span.stop - start)
                        end = len(data)
                    yield span.segment, start, data[:end]
                    start += end


class _Dropped:
    """Counts events instead of keeping them."""

    def __init__(self) -> None:
        self.count = 0

    def add(self, test_event_code: str | None, event: LocatedEvent) -> None:
        """Count an event."""
        del test_event_code, event
        self.count += 1

    def add_plain(self, segment: str, plain: PlainRecords) -> None:
        """Count events."""
        del segment
        self.count += len(plain.events)


@attrs.frozen
class _Anything:
    """Stands for a destination whose events are dropped: nothing is sent, so all fits."""

    name: str
    max_events: int = 1 << 60
    max_bytes: int = 1 << 60

    def check(self, event: Mapping[str, object]) -> None:
        """Accept the event: it is not sent."""
        del event


@attrs.define(eq=False)
class _SegmentScan:
    """One pass over the segments for one destination."""

    _segments: Segments
    _destination: Recipient
    _state: DestinationState
    _missing_keys: MissingKeys
    _now: float
    _groups: BatchBuilder | _Dropped
    _limit: BatchLimit = attrs.field(init=False)
    result: BatchResult = attrs.field(factory=BatchResult, init=False)

    @_limit.default
    def _whole_limit(self) -> BatchLimit:
        return BatchLimit(*limits(self._destination, self._state))

    def read(self, name: str, size: int) -> None:
        """Read one segment as far as events fit and the disk allows."""
        if self._state.cursors.get(name, 0) >= size or self._limit.is_reached:
            return
        try:
            with self._segments.reading(name) as read:
                self._take_pieces(name, size, read)
        except OSError as error:  # its cursor stays in front of what could not be read
            self.result.unreadable.append((name, error))

    def _take_pieces(self, name: str, size: int, read: Callable[[int, int], bytes]) -> None:
        while not self._limit.is_reached:
            cursor = self._state.cursors.get(name, 0)
            if cursor >= size or self._missing_keys.blocks(name, cursor):
                return
            data = read(cursor, min(size - cursor, _READ_BYTES))
            if not self._take_piece(name, cursor, size, data):
                return
            self.result.advanced = True

    def _take_piece(self, name: str, start: int, size: int, data: bytes) -> bool:
        end = data.rfind(b"\n") + 1
        if not end and len(data) >= _READ_BYTES:
            return self._skip_overlong(name, start, data)
        if not end:
            return self._skip_torn(name, start, size)
        if not self._take_plain(name, data, start, end):
            self._take_records(name, data[:end], start)
        return True

    def _take_plain(self, name: str, data: bytes, start: int, end: int) -> bool:
        """Take plain events if the first `end` bytes hold nothing else."""
        fitting = self._limit.whole(data)
        whole = data if fitting == end else data[:fitting]  # mostly all of it: not one copy more
        plain = parse_plain(whole, start, self._limit.events)
        if plain is None:
            return False
        used = plain.stop - start
        self._limit.use(len(plain.events), used, fully=used < end)
        if not used:  # the next is too large for what room is left
            return True
        self._state.cursors[name] = plain.stop
        self._state.counts.accepted += len(plain.events)
        self._groups.add_plain(name, plain)
        return True

    def _take_records(self, name: str, data: bytes, start: int) -> None:
        """Process records of any kind; skip corrupt bytes."""
        records, corrupt_spans = self._segments.parse(data, start)
        end = start + len(data)
        lock = next((at for at, each in enumerate(records) if each.kind in UNDECRYPTED), None)
        if lock is not None:
            self._missing_keys.add(name, records[lock])
            end, records = records[lock].start, records[:lock]
        count = self._limit.take(
            [record.start for record in records], [record.stop for record in records]
        )
        stop = end if count == len(records) else records[count].start
        self._state.cursors[name] = stop
        for record in records[:count]:
            self._add_record(name, record)
        for damage in corrupt_spans:
            if damage.start < stop:
                self._state.counts.drop("damaged")
                self.result.corrupt_spans.append((name, damage.data))

    def _skip_overlong(self, name: str, start: int, data: bytes) -> bool:
        """Skip bytes that are longer than any record."""
        hole = data[:-_LONGEST_RECORD_BYTES]
        self._state.cursors[name] = start + len(hole)
        self._state.counts.drop("damaged")
        self.result.corrupt_spans.append((name, hole))
        return True

    def _skip_torn(self, name: str, start: int, size: int) -> bool:
        """Skip an unfinished last record once its segment is closed."""
        if not self._segments.is_closed(name):
            return False
        rest = self._segments.read(name, start, _READ_BYTES)
        if b"\n" in rest:  # finished since the size was read
            return False
        if start + len(rest) < size:  # not its end: the disk gives no more, or somebody cut it
            self._segments.read(name, start + len(rest), 1)  # which raises what the disk says
            return False
        self._state.cursors[name] = max(size, start + len(rest))
        return True

    def _add_record(self, name: str, record: Record) -> None:
        counts = self._state.counts
        if record.kind == EVENT:
            counts.accepted += 1
            self._groups.add(None, _located(name, record, record.body))
        elif record.kind == ENVELOPED:
            self._add_enveloped(name, record)
        elif record.kind == DROPPED:
            for reason, count in orjson.loads(record.body).items():
                counts.drop(reason, count)
        elif record.kind != ERASED:
            counts.drop("unknown_kind")
        elif self._is_mine(record.unpack()[0]):
            counts.drop("erased")

    def _add_enveloped(self, name: str, record: Record) -> None:
        """Add an event as its envelope says."""
        envelope, event = record.unpack()
        if not self._is_mine(envelope):
            return
        self._state.counts.accepted += 1
        omitted = envelope.get("omitted")
        if isinstance(omitted, list):
            self._state.counts.omitted.update(each for each in omitted if isinstance(each, str))
        test = envelope.get("test")
        code = test if isinstance(test, str) else None
        reason = self._rejection(envelope, event)
        if reason is None:
            self._groups.add(code, _located(name, record, event))
            return
        self._state.counts.dead += 1
        self.result.dead_letters.append(
            DeadLetter(
                self._destination.name,
                name,
                record.start,
                self._now,
                *reason,
                test_event_code=code,
                replayable="code" not in envelope,
                event=event,
            )
        )

    def _is_mine(self, envelope: Mapping[str, object]) -> bool:
        return envelope.get("only", self._destination.name) == self._destination.name

    def _rejection(
        self, envelope: Mapping[str, object], event: bytes
    ) -> tuple[str, str, str] | None:
        """Return the code, message and remedy if an event must not be sent."""
        if "code" in envelope:
            words = (str(envelope.get(name, "")) for name in ("code", "message", "remedy"))
            code, message, remedy = words
            return code, message, remedy
        refusal = self._check(event) if envelope.get("look") else None
        return None if refusal is None else (refusal.code, refusal.message, refusal.remedy)

    def _check(self, event: bytes) -> Rejection | None:
        try:
            return self._destination.check(orjson.loads(event))
        except BaseException as error:  # noqa: BLE001 - a destination may be anybody's code
            # Also a cancelled task's error or an exit: in this thread they would only end
            # delivery. The message isn't logged, since it may contain personal data.
            what = type(error).__name__
            logger.error("destination.raised", destination=self._destination.name, error=what)
            return None


def _located(segment: str, record: Record, event: bytes) -> LocatedEvent:
    return LocatedEvent(segment, record.start, record.stop, event, record.accepted_ms)
