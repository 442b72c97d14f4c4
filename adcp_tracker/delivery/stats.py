"""The counts of a queue: collected and published by the leader, read by every process."""

from __future__ import annotations

import os
import threading
from collections import Counter
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

import attrs
from cattrs import BaseValidationError
from cattrs.preconf.orjson import make_converter

from adcp_tracker import _process
from adcp_tracker._platform import SystemClock
from adcp_tracker.exceptions import OutboxError
from adcp_tracker.journal.records import HEADER_BYTES, accepted_ms
from adcp_tracker.outbox.state import Measures

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from adcp_tracker.outbox.state import FrozenBatch, State
    from adcp_tracker.outbox.storage import Queue, Segments, Store

T = TypeVar("T")

_ANSWER_SECONDS: Final = 1.5


def oldest_waiting(
    segments: Segments,
    sizes: Mapping[str, int],
    cursors: Mapping[str, int],
    batches: Iterable[FrozenBatch] = (),
) -> float | None:
    """Return when the oldest waiting event was accepted, in seconds since the epoch.

    Only the first waiting record of each segment is looked at: what follows it came later.

    Args:
        segments: The segments.
        sizes: Each segment's size.
        cursors: Up to where each is in batches.
        batches: The batches on their way.
    """
    first: dict[str, int] = {}
    for batch in batches:
        for span in batch.spans:
            first[span.segment] = min(first.get(span.segment, span.start), span.start)
    for name, size in sizes.items():
        if cursors.get(name, 0) < size:
            first.setdefault(name, cursors.get(name, 0))
    oldest: float | None = None
    for name, start in sorted(first.items()):
        if oldest is not None and _begun_at(name) > oldest:
            break  # all others were begun later, and so were their records
        time = _time(segments, name, start)
        if time is not None and (oldest is None or time < oldest):
            oldest = time
    return oldest


def _begun_at(segment: str) -> float:
    """Return when a segment was begun, in seconds since the epoch; 0 if its name says nothing."""
    try:
        return int(segment.partition("-")[0]) / 1e9
    except ValueError:
        return 0.0


def _time(segments: Segments, name: str, start: int) -> float | None:
    try:
        return accepted_ms(segments.read(name, start, HEADER_BYTES)) / 1000
    except (OSError, ValueError):  # deleted meanwhile or not to be read, or no record
        return None


_converter = make_converter()
_PLACES_KEPT = 16


@attrs.frozen
class DestinationStats:
    """What became of one destination's events.

    ``accepted = delivered + unconfirmed + pending + dead + sum(dropped)`` at all times.

    Attributes:
        accepted: Events recorded for it.
        delivered: Events the seller says it processed.
        pending: Events on disk, on their way.
        dead: Dead letters.
        dropped: Events dropped, by reason.
        unconfirmed: Events the seller accepted without saying that it processed them.
        omitted: Fields that were unusable and left out of events, as ``field reason``, with the
            number of events.
        paused: Why nothing is sent, and what to do about it; empty if all is well.
        retrying: Why the last try failed; empty if it did not.
        configured: Whether a running tracker knows this destination.
        oldest_at: When the oldest pending event was accepted, in seconds since the epoch.
        missing_keys: Which keys are missing to read some of the pending events; empty if none is.
        hourly: Live events that the seller accepted, confirmed or not, by hour since the
            epoch, for 35 days.
        warnings: The seller's latest warnings, each kind once, the newest last.
        match_quality: The latest share of events that the seller could match, 0–1.
        match_quality_by_hour: The mean share by hour since the epoch, for 7 days.
        advice: What is probably wrong with the events, seen in a sample of the latest ones.
        sample: Counts over that sample: ``events``, each identifier, and what looks wrong.
        measures: What metrics need beside these counts.
    """

    accepted: int = 0
    delivered: int = 0
    pending: int = 0
    dead: int = 0
    dropped: dict[str, int] = attrs.field(factory=dict)
    unconfirmed: int = 0
    omitted: dict[str, int] = attrs.field(factory=dict)
    paused: str = ""
    retrying: str = ""
    configured: bool = True
    oldest_at: float | None = None
    missing_keys: str = ""
    hourly: dict[str, int] = attrs.field(factory=dict, repr=False)
    warnings: list[str] = attrs.field(factory=list)
    match_quality: float | None = None
    match_quality_by_hour: dict[str, float] = attrs.field(factory=dict, repr=False)
    advice: list[str] = attrs.field(factory=list)
    sample: dict[str, int] = attrs.field(factory=dict, repr=False)
    measures: Measures = attrs.field(factory=Measures, repr=False)


@attrs.frozen
class Stats:
    """The counts of all destinations.

    Attributes:
        destinations: Each one's counts, by its name.
        waiting: Events that wait while there is no destination at all.
        taken_at: When they were taken, in seconds since the epoch.
        leader: The id of the process that uploads.
        oldest_at: When the oldest event that any destination waits for was accepted.
        in_memory: Events that only the asking process has, in its memory, since the disk
            refuses to take them.
        failed_inserts: How many events the asking process could not insert in the application's
            transaction; they went to the journal instead.
        overdue: For how many seconds the asking process's uploading thread should have gone on
            and has not; 0 if all is well or none runs.
        host: The name of the machine of the process that uploads.
        stale: Why the queue's database could not be asked, so that these are the counts last
            known; empty if it could, or if there is none.
        counted: Up to where each segment was counted, in bytes; ``None`` if that isn't known.
    """

    destinations: dict[str, DestinationStats] = attrs.field(factory=dict)
    waiting: int = 0
    taken_at: float = 0.0
    leader: int = 0
    oldest_at: float | None = None
    in_memory: int = 0
    failed_inserts: int = 0
    overdue: float = 0.0
    host: str = ""
    stale: str = ""
    counted: dict[str, int] | None = attrs.field(default=None, repr=False)

    @property
    def age(self) -> float:
        """How many seconds ago these counts were taken."""
        return max(SystemClock.now() - self.taken_at, 0.0)

    @property
    def pending(self) -> int:
        """Deliveries still to be made; events in memory count once."""
        pending = sum(counts.pending for counts in self.destinations.values())
        return self.in_memory + self.waiting + pending

    def total(self) -> DestinationStats:
        """Return the counts of all destinations added up."""
        every = _add_up([DestinationStats(), *self.destinations.values()])
        unsent = self.in_memory + self.waiting
        return attrs.evolve(every, accepted=every.accepted + unsent, pending=self.pending)

    def as_json(self) -> dict[str, object]:
        """Return it as a JSON-serializable dict."""
        plain: dict[str, object] = _converter.unstructure(self)
        del plain["counted"]
        return {**plain, "age": round(self.age, 3)}


class StatsCollector:
    """Counts events; those not in a batch yet by their records.

    Args:
        segments: The segments.
        state: What is known of the destinations.
    """

    def __init__(self, segments: Segments, state: State) -> None:
        self._segments = segments
        self._state = state
        self._line_counts: dict[str, dict[int, int]] = {}

    def collect(self, sizes: Mapping[str, int], configured: Iterable[str], now: float) -> Stats:
        """Count everything, as of `now`, in seconds since the epoch."""
        names = set(configured)
        self._line_counts = {name: self._line_counts.get(name, {}) for name in sizes}
        destinations = {
            name: self._collect_one(name, sizes, configured=name in names)
            for name in self._state.destinations
        }
        waiting = 0 if destinations else self._count(dict.fromkeys(sizes, 0), sizes)
        ages = [
            counts.oldest_at for counts in destinations.values() if counts.oldest_at is not None
        ]
        oldest = min(ages, default=oldest_waiting(self._segments, sizes, {}) if waiting else None)
        host = os.uname().nodename
        return Stats(
            destinations, waiting, now, os.getpid(), oldest, host=host, counted=dict(sizes)
        )

    def _collect_one(
        self, name: str, sizes: Mapping[str, int], *, configured: bool
    ) -> DestinationStats:
        state, batches = self._state.destinations[name], self._state.batches[name]
        unbatched = self._count(state.cursors, sizes)
        batched = sum(batch.count for batch in batches)
        pause, accepted = state.pause, state.counts.accepted + unbatched
        state.measures.accepted = max(state.measures.accepted, accepted)
        return DestinationStats(
            accepted=accepted,
            delivered=state.counts.delivered - state.counts.unconfirmed,
            pending=unbatched + batched,
            dead=state.counts.dead,
            dropped=dict(state.counts.dropped),
            unconfirmed=state.counts.unconfirmed,
            omitted=dict(state.counts.omitted),
            warnings=list(state.report.warnings),
            match_quality=state.report.match_quality,
            advice=list(state.advice),
            sample=dict(state.sample),
            match_quality_by_hour=state.report.match_means(),
            hourly=dict(state.counts.hourly),
            paused=f"{pause.code}: {pause.message} {pause.remedy}".strip() if pause else "",
            retrying=next((each.last_code for each in batches if each.attempts), ""),
            configured=configured,
            oldest_at=oldest_waiting(self._segments, sizes, state.cursors, batches),
            missing_keys=state.missing_keys,
            measures=state.measures.copy(),
        )

    def _count(self, cursors: Mapping[str, int], sizes: Mapping[str, int]) -> int:
        return sum(
            self._between(name, cursors.get(name, 0), size)
            for name, size in sizes.items()
            if cursors.get(name, 0) < size
        )

    def _between(self, name: str, start: int, stop: int) -> int:
        """Count what waits in one segment; 1 if it can't be read."""
        try:
            return self._line_feeds(name, stop) - self._line_feeds(name, start)
        except OSError:
            return 1

    def _line_feeds(self, name: str, stop: int) -> int:
        """Count records up to `stop`, from the nearest known count."""
        known = self._line_counts[name]
        start = max((place for place in known if place <= stop), default=0)
        count = known.get(start, 0)
        count += self._segments.count(name, start, stop)
        known[stop] = count
        for old in sorted(known)[:-_PLACES_KEPT]:  # behind every cursor, or soon
            del known[old]
        return count


def write_stats(queue: Queue, stats: Stats) -> None:
    """Publish counts for other processes."""
    queue.write_stats(_converter.dumps(stats))


def read_stats(store: Store) -> Stats:
    """Return the counts that the leader last published; empty ones if there are none."""
    try:
        return _converter.loads(store.read_stats(), Stats)
    except (ValueError, TypeError, AttributeError, BaseValidationError):
        return Stats()


def current_stats(store: Store) -> Stats:
    """Return the published counts of all queues plus what was appended since as pending.

    Whatever has become of the process that published them: nothing that waits is left out.
    """
    return add_up([_current_stats(shard) for shard in store.shards()])


def _current_stats(store: Store) -> Stats:
    stats = read_stats(store)
    if not stats.taken_at:
        return count_unclaimed(store)
    newer = _count_behind(store, stats.counted) if stats.counted is not None else 0
    if not newer:
        return stats
    oldest = stats.oldest_at or _oldest_behind(store, stats.counted or {})
    if not stats.destinations:
        return attrs.evolve(stats, waiting=stats.waiting + newer, oldest_at=oldest)
    destinations = {
        name: attrs.evolve(
            each,
            accepted=each.accepted + newer,
            pending=each.pending + newer,
            oldest_at=each.oldest_at or oldest,
        )
        for name, each in stats.destinations.items()
    }
    return attrs.evolve(stats, destinations=destinations, oldest_at=oldest)


def add_up(parts: Sequence[Stats]) -> Stats:
    """Return the counts of several queues as those of one."""
    if len(parts) == 1:
        return parts[0]
    names = dict.fromkeys(name for each in parts for name in each.destinations)
    oldest = [each.oldest_at for each in parts if each.oldest_at is not None]
    latest = max(parts, key=lambda each: each.taken_at)
    return attrs.evolve(
        latest,
        destinations={
            name: _add_up([each.destinations[name] for each in parts if name in each.destinations])
            for name in names
        },
        waiting=sum(each.waiting for each in parts),
        taken_at=min((each.taken_at for each in parts if each.taken_at), default=0.0),
        oldest_at=min(oldest, default=None),
        in_memory=sum(each.in_memory for each in parts),
        failed_inserts=sum(each.failed_inserts for each in parts),
        overdue=max(each.overdue for each in parts),
        stale=next((each.stale for each in parts if each.stale), ""),
        counted=None,
    )


def _add_up(parts: Sequence[DestinationStats]) -> DestinationStats:
    """Add counts; of what can't be added, the first or the worst stands for all."""

    def total(name: str) -> dict[str, int]:
        found: Counter[str] = Counter()
        for each in parts:
            found.update(getattr(each, name))
        return dict(found)

    def texts(name: str) -> list[str]:
        return list(dict.fromkeys(text for each in parts for text in getattr(each, name)))

    def first(name: str) -> str:
        return next((text for each in parts if (text := getattr(each, name))), "")

    summed: dict[str, Any] = {
        name: sum(getattr(each, name) for each in parts)
        for name in ("accepted", "delivered", "pending", "dead", "unconfirmed")
    }
    summed |= {name: total(name) for name in ("dropped", "omitted", "hourly", "sample")}
    summed |= {name: texts(name) for name in ("warnings", "advice")}
    summed |= {name: first(name) for name in ("paused", "retrying", "missing_keys")}
    oldest = [each.oldest_at for each in parts if each.oldest_at is not None]
    return attrs.evolve(
        parts[0],
        configured=any(each.configured for each in parts),
        oldest_at=min(oldest, default=None),
        measures=sum((each.measures for each in parts[1:]), parts[0].measures),
        **summed,
    )


def _count_behind(store: Store, counted: Mapping[str, int]) -> int:
    """Return how many records were appended behind the places that were counted."""
    count = 0
    with suppress(OSError):
        count += store.count_uncollected()
        segments = store.open().segments
        for name, size in segments.sizes().items():
            if size > counted.get(name, 0):
                with suppress(OSError):
                    count += segments.count(name, counted.get(name, 0), size)
    return count


def _oldest_behind(store: Store, counted: Mapping[str, int]) -> float | None:
    """Return when the oldest of those records was accepted."""
    segments = store.open().segments
    try:
        return oldest_waiting(segments, segments.sizes(), counted)
    except OSError:
        return None


def count_unclaimed(store: Store) -> Stats:
    """Count what waits in a queue from which no process has uploaded yet."""
    waiting = _count_behind(store, {})
    return Stats(waiting=waiting, oldest_at=_oldest_behind(store, {}) if waiting else None)


class StatsReader:
    """Reads the counts of a queue; returns the last known while its database doesn't answer.

    Args:
        store: The queue.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known = Stats()
        self._thread = threading.Thread()
        self._is_silent = False

    def reset_after_fork(self) -> None:
        """Replace a thread that waits in the parent: in a child it would seem to be alive."""
        self._thread = threading.Thread()

    def note(self, stats: Stats) -> None:
        """Remember what the leader of this process counted."""
        self._known = stats

    def published(self) -> Stats:
        """Return the counts that the leader last published."""
        return self._read(read_stats)

    def current(self) -> Stats:
        """Return the published counts plus what was appended since as pending."""
        return self._read(current_stats)

    def leader(self) -> int:
        """Return the id of the process that uploads, as far as that is known without waiting."""
        return (self._known if self._store.is_shared else read_stats(self._store)).leader

    def _read(self, read: Callable[[Store], Stats]) -> Stats:
        if not self._store.is_shared:
            return read(self._store)
        try:
            self._known = self.ask(read, _ANSWER_SECONDS)
        except (OutboxError, OSError) as error:
            return attrs.evolve(self._known, stale=str(error))
        return self._known

    def ask(self, question: Callable[[Store], T], seconds: float) -> T:
        """Return the answer to a question. A thread waits for it: drivers can't give up so soon.

        Raises:
            OutboxError: If there is none in time, or for as long as an earlier one is awaited.
        """
        answer: Future[T] = Future()
        if self._thread.is_alive():
            self._thread.join(0.0 if self._is_silent else seconds)
        if self._thread.is_alive():
            seconds = 0.0
        else:
            self._begin(partial(_answer, answer, question, self._store))
        try:
            found = answer.result(seconds)
        except FutureTimeoutError:
            self._is_silent = True
            raise OutboxError(
                f"{self._store.location}: the database does not answer; see that it runs and can "
                f"be reached"
            ) from None
        self._is_silent = False
        return found

    def _begin(self, work: Callable[[], None]) -> None:
        """Start a thread; where none can run, do the work here."""
        self._thread = threading.Thread(target=work, name="adcp_tracker-stats", daemon=True)
        try:
            if _process.threads_enabled():
                return self._thread.start()
        except RuntimeError:  # the interpreter is shutting down
            pass
        return work()


def _answer(answer: Future[T], question: Callable[[Store], T], store: Store) -> None:
    try:
        answer.set_result(question(store))
    except BaseException as error:  # noqa: BLE001 - handed to whoever asked
        answer.set_exception(error)
