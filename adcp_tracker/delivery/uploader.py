"""Deliver a queue: in each round apply outcomes, freeze batches, commit, send and delete."""

from __future__ import annotations

import queue
import threading
from contextlib import suppress
from math import inf
from typing import TYPE_CHECKING

import attrs

from adcp_tracker._advice import Advisor
from adcp_tracker._logging import ThrottledLogger, logger
from adcp_tracker.delivery.outcomes import (
    MAX_BYTES,
    DeadLetterBuffer,
    OutcomeHandler,
    clamp_future_deadlines,
    shift_deadlines,
)
from adcp_tracker.delivery.recovery import open_state, repair
from adcp_tracker.delivery.stats import StatsCollector
from adcp_tracker.destinations.base import Batch, Delivered, Outcome, Preloadable, Retry
from adcp_tracker.exceptions import OutboxError
from adcp_tracker.hooks import Hooks, rejected_notices
from adcp_tracker.outbox.batch import BLANK
from adcp_tracker.outbox.batcher import Batcher, limits

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from adcp_tracker._platform import Clock
    from adcp_tracker.delivery.outcomes import RetryPolicy
    from adcp_tracker.delivery.stats import Stats
    from adcp_tracker.destinations.base import Destination
    from adcp_tracker.hooks import Notice
    from adcp_tracker.outbox.batch import BatchEvents
    from adcp_tracker.outbox.batcher import BatchResult
    from adcp_tracker.outbox.database_store import DatabaseStore
    from adcp_tracker.outbox.dead_letters import DeadLetter
    from adcp_tracker.outbox.state import FrozenBatch
    from adcp_tracker.outbox.storage import DestinationNames, Store


_LOOKING_SHARE = 100
_LONG_SECONDS = 0.02
_LONGEST_LOOK_SECONDS = 5.0
_CLOCK_TOLERANCE_SECONDS = 5.0
_HELD_SECONDS = 1.0


class Uploader:
    """The queue, driven by the one process that leads it.

    Args:
        config: What it works with.
        on_outcome: Called from another thread when an outcome has arrived.
        term: The term of the leader lock.

    Raises:
        OutboxError: If the outbox cannot be opened for now.
    """

    def __init__(
        self, config: UploaderConfig, on_outcome: Callable[[], None], term: int = 0
    ) -> None:
        self._config = config
        self._clock = config.clock
        _preload(config.destinations)
        config.store.prepare()
        self.queue = queue = config.store.open(term)
        self.segments = queue.segments
        self.dead_letters = queue.dead_letters
        self.state = open_state(queue, config.names)
        self._batcher = Batcher(self.segments, self.state)
        self._collector = StatsCollector(self.segments, self.state)
        self._hooks = config.hooks
        self._notices: list[Notice] = []
        self._senders = {
            each.name: Sender(each, on_outcome, config.hooks) for each in config.destinations
        }
        self._advisors = {
            name: Advisor(name, self._clock, self.state.destinations[name].sample)
            for name in self._senders
        }
        self._in_flight: dict[str, tuple[FrozenBatch, BatchEvents]] = {}
        self._prefetched: dict[str, tuple[int, BatchEvents]] = {}
        self.dead_letter_buffer = DeadLetterBuffer(self.dead_letters, self.segments)
        self._throttled_log = ThrottledLogger(config.clock)
        self._held_until: dict[str, float] = {}
        self._looked_at = -_HELD_SECONDS
        self._made_progress = False
        self.is_abandoned = False
        self._clock_readings = self._clock.now(), self._clock.monotonic()
        try:
            self.dead_letter_buffer.sizes = repair(
                self.state, self.segments, self.dead_letters, self._batcher
            )
        except OSError:
            self.state.close()
            raise

    def run_once(self) -> float:
        """Do everything that is due now.

        Returns:
            The seconds until there is more to do, unless something happens before.
        """
        self._made_progress = False
        began = self._clock.monotonic()
        self._follow_clock(began)
        self._follow_others(began)
        sizes = self.segments.sizes(is_complete=False)
        for destination in self._config.destinations:
            self._apply_outcome(destination.name)
        self._drop_excess(sizes)
        for destination in self._config.destinations:
            self._send_prefetched(destination.name)
        outgoing = [
            dispatched
            for destination in self._config.destinations
            if (dispatched := self._next_batch(destination, sizes)) is not None
        ]
        if outgoing:
            self.commit()
            for name, batch in outgoing:
                self._senders[name].send(batch)
            if self._config.store.is_shared:  # more is collected while these are sent
                sizes = self.segments.sizes(is_complete=False)
        for destination in self._config.destinations:
            self._prefetch(destination, sizes)
        self.commit()
        self._delete_finished(sizes)
        delay = self._delay(sizes)
        if self._made_progress:
            return delay
        # With very many segments a look at all of them takes long: then look more rarely.
        busy = self._clock.monotonic() - began
        if busy < _LONG_SECONDS:
            return delay
        return max(delay, min(_LOOKING_SHARE * busy, _LONGEST_LOOK_SECONDS))

    def _follow_clock(self, monotonic: float) -> None:
        """Keep deadlines as far away as they were when the wall clock is set back."""
        now = self._clock.now()
        before, then = self._clock_readings
        set_back = (monotonic - then) - (now - before)
        self._clock_readings = now, monotonic
        if set_back > _CLOCK_TOLERANCE_SECONDS:
            shift_deadlines(self.state, -set_back)
        clamp_future_deadlines(self.state, self._config.policy, now)

    def _follow_others(self, monotonic: float) -> None:
        """Read, about once a second, how long sellers asked other leaders to wait."""
        if self._config.store.is_shared and monotonic - self._looked_at >= _HELD_SECONDS:
            self._looked_at = monotonic
            now = self._clock.now()
            held = self.queue.held()
            self._held_until = {name: now + seconds for name, seconds in held.items()}

    def _resume_at(self, name: str) -> float:
        """Return when a destination may be sent the next request, in seconds since the epoch."""
        return max(self.state.destinations[name].resume_at, self._held_until.get(name, 0.0))

    def commit(self) -> None:
        """Write dead letters, then the state; what can't be written is tried again.

        Raises:
            LeadLostError: If another process leads by now.
            OutboxError: If it can't be written to a store that several machines share.
            OSError: Likewise.
        """
        try:
            self.dead_letter_buffer.write(self._clock.now())
            self._trim_dead_letters()
            self.state.commit()
        except (OutboxError, OSError) as error:
            if self._config.store.is_shared:
                raise
            # Sending goes on from memory, or a full disk could never be drained. After a
            # crash now, some events are sent again under their own ids; sellers ignore them.
            self._throttled_log.warning(
                "outbox.not_written", error=str(error), remedy="free some room on its volume"
            )
        notices, self._notices = self._notices, []
        self._hooks.post(notices)

    def _trim_dead_letters(self) -> None:
        """Keep each destination's dead letters within their limit; count those erased."""
        for name, count in self.dead_letter_buffer.trim(self._config.dead_letter_bytes).items():
            state = self.state.destinations.get(name)
            if state is not None:
                state.counts.dead -= count
                state.counts.dropped["dead_letters_full"] += count
            self._throttled_log.warning(
                "dead_letters.full",
                destination=name,
                events=count,
                remedy="replay or discard dead letters; the oldest were dropped",
            )

    def remove_destination(self, destination: str) -> None:
        """Remove a destination and its events."""
        self._config.names.remove(destination)
        self.state.remove(destination)
        self.commit()

    def is_configured(self, destination: str) -> bool:
        """Return whether a destination is one of this tracker's."""
        return destination in self._senders

    def is_drained(self) -> bool:
        """Return whether every destination has every event."""
        sizes = self.segments.sizes()
        return not any(self._has_work(each.name, sizes) for each in self._config.destinations)

    def next_attempt_at(self) -> float:
        """Return the time of the next attempt, in seconds since the epoch."""
        sizes = self.segments.sizes()
        return min(
            (
                self._due(each.name, sizes)
                for each in self._config.destinations
                if self._has_work(each.name, sizes)
            ),
            default=0.0,
        )

    def stats(self) -> Stats:
        """Return current counts."""
        names = [destination.name for destination in self._config.destinations]
        return self._collector.collect(self.segments.sizes(), names, self._clock.now())

    def close_state(self) -> None:
        """Close the database, for a fork; requests in flight go on."""
        self.state.close()

    def reopen_state(self) -> None:
        """Open the database again.

        Raises:
            OutboxError: If it cannot be opened, or is not as it was left.
        """
        self.state.reopen(self.queue.open_outbox())

    @property
    def is_sending(self) -> bool:
        """Whether a request is in flight."""
        return any(sender.is_busy for sender in self._senders.values())

    def apply_arrived(self) -> None:
        """Apply outcomes that have arrived; send nothing."""
        for destination in self._config.destinations:
            self._apply_outcome(destination.name)
        self.commit()

    def discard_erased(self, is_unwanted: Callable[[bytes], bool]) -> int:
        """Drop events that were erased on disk from memory and batches.

        Batches that lost some get a new identity. A request in flight can't be recalled: its
        outcome is applied as if nothing had been erased. If it has to be sent again, it has
        fewer events by then.

        Args:
            is_unwanted: Tells those events by their JSON.

        Returns:
            How many of them are on their way.
        """
        self._prefetched.clear()
        self.dead_letter_buffer.discard(is_unwanted)
        self._recount_dead_letters()
        on_way = {(batch.destination, batch.number) for batch, _ in self._in_flight.values()}
        for batches in list(self.state.batches.values()):
            for batch in list(batches):
                events = self._batcher.read(batch)
                sent = (batch.destination, batch.number) in on_way
                locked = self._batcher.missing_keys.includes(batch)
                if len(events) != batch.count and not sent and not locked:
                    self._drop_missing(batch, events)
        return sum(events.erase(is_unwanted) for _, events in self._in_flight.values())

    def close(self) -> None:
        """Apply outcomes, delete finished segments and close the database."""
        try:
            self.apply_arrived()
            self._delete_finished(self.segments.sizes())
            self.commit()
        finally:
            for sender in self._senders.values():
                sender.stop()
            self.state.close()

    def abandon(self) -> None:
        """Stop at once and write nothing: another process leads by now."""
        self.is_abandoned = True
        for sender in self._senders.values():
            sender.stop()
        self.state.close()

    def _next_batch(
        self, destination: Destination, sizes: Mapping[str, int]
    ) -> tuple[str, Batch] | None:
        """Return the next batch of a destination, if it can be sent now."""
        name = destination.name
        if not self._may_send(name):
            return None
        ready = self._due_batch(name) or self._freeze(destination, sizes)
        return None if ready is None else (name, self._dispatch(*ready))

    def _send_prefetched(self, name: str) -> None:
        """Send the batch that was frozen while another was in flight."""
        if name not in self._prefetched or not self._may_send(name):
            return
        for first in self.state.batches[name][:1]:
            if (
                first.number == self._prefetched[name][0]
                and first.next_attempt_at <= self._clock.now()
            ):
                self._senders[name].send(self._dispatch(first, self._prefetched.pop(name)[1]))

    def _prefetch(self, destination: Destination, sizes: Mapping[str, int]) -> None:
        """Freeze the next full batch while another is in flight.

        So no request waits for the disk. Only if the seller accepts its batches: the next one
        must not be frozen in a size that the seller may reject.
        """
        name = destination.name
        state, on_way = self.state.destinations[name], self._in_flight.get(name)
        if on_way is None or len(self.state.batches[name]) > 1 or self.dead_letter_buffer.is_full:
            return
        if state.failures or state.pause is not None or not state.counts.delivered:
            return
        waiting = sum(max(size - state.cursors.get(each, 0), 0) for each, size in sizes.items())
        events, most = limits(destination, state)
        if waiting >= min(most, on_way[0].size * events // on_way[0].count):
            self._freeze(destination, sizes, ahead=True)

    def _may_send(self, name: str) -> bool:
        rests = self._clock.now() < self._resume_at(name)
        return not (self._senders[name].is_busy or self.dead_letter_buffer.is_full or rests)

    def _dispatch(self, batch: FrozenBatch, events: BatchEvents) -> Batch:
        self._in_flight[batch.destination] = batch, events
        self._advise(batch, events)
        return Batch(events.payload, batch.identity, batch.test_event_code)

    def _advise(self, batch: FrozenBatch, events: BatchEvents) -> None:
        """Look at a few events of a batch that is sent for the first time."""
        if not batch.attempts:
            advisor = self._advisors[batch.destination]
            advice = advisor.observe(events.payload, is_test=batch.test_event_code is not None)
            state = self.state.destinations[batch.destination]
            state.advice, state.sample = advice, advisor.sample.counts()

    def _apply_outcome(self, name: str) -> None:
        outcome = self._senders[name].take_outcome()
        if outcome is None:
            return
        batch, events = self._in_flight.pop(name)
        policy, now = self._config.policy, self._clock.now()
        handler = OutcomeHandler(
            self.state, policy, batch, events, now, self._throttled_log, self._hooks
        )
        self._add_dead_letters(name, handler.apply(outcome))
        self._notices += handler.notices
        self._tell_others(name, outcome)
        if not isinstance(outcome, Delivered):
            self._prefetched.pop(name, None)  # it may wait for long, and can be read again
        if isinstance(outcome, Retry):
            self._throttled_log.warning("destination.failing", reason=f"{name}: {outcome.code}")
        self._made_progress = True

    def _tell_others(self, name: str, outcome: Outcome) -> None:
        """Have other leaders wait, too, if the seller asks for it."""
        asked = None
        if isinstance(outcome, Retry):
            asked = outcome.retry_after
        elif isinstance(outcome, Delivered):
            asked = outcome.wait
        if asked:
            with suppress(OSError):  # they hear it from the seller themselves
                self.queue.hold(name, asked)

    def _add_dead_letters(self, name: str, letters: Sequence[DeadLetter]) -> None:
        """Add dead letters, except of events that were erased in flight."""
        kept = [letter for letter in letters if letter.event != BLANK]
        erased = len(letters) - len(kept)
        if erased:
            counts = self.state.destinations[name].counts
            counts.dead -= erased
            counts.dropped["erased"] += erased
        self.dead_letter_buffer.add(kept)
        self._note_rejected(kept)

    def _note_rejected(self, letters: Sequence[DeadLetter]) -> None:
        if self._hooks.rejected:
            self._notices += rejected_notices(letters)

    def _due_batch(self, name: str) -> tuple[FrozenBatch, BatchEvents] | None:
        """Return the first frozen batch that is due."""
        now = self._clock.now()
        for batch in list(self.state.batches[name]):
            if batch.next_attempt_at > now or self._batcher.missing_keys.includes(batch):
                continue
            number, events = self._prefetched.pop(name, (batch.number, None))
            if events is None or number != batch.number:
                events = self._read(batch)
            if events is None:
                continue
            if len(events) == batch.count:
                return batch, events
            if self._batcher.missing_keys.includes(batch):
                continue
            shrunk = self._drop_missing(batch, events)
            if shrunk is not None:
                return shrunk, events
        return None

    def _read(self, batch: FrozenBatch) -> BatchEvents | None:
        """Return a batch's events, or ``None`` if the disk fails at the moment."""
        try:
            return self._batcher.read(batch)
        except FileNotFoundError:  # for good; the next leader goes on with what is left
            raise
        except OSError as error:
            names = ", ".join(sorted({span.segment for span in batch.spans}))
            self._log_unreadable(names, error)
            return None

    def _log_unreadable(self, segment: str, error: OSError) -> None:
        self._throttled_log.warning(
            "segment.unreadable",
            reason=f"{segment}: {error}",
            remedy="check the disk and the rights of the file; its events wait until then",
        )

    def _drop_missing(self, batch: FrozenBatch, events: BatchEvents) -> FrozenBatch | None:
        """Reduce a batch to the records that are left on disk."""
        name, lost = batch.destination, batch.count - len(events)
        erased = min(self._batcher.count_erased(batch), lost)
        counts = self.state.destinations[name].counts
        if erased:
            counts.dropped["erased"] += erased
        if lost > erased:
            counts.dropped["damaged"] += lost - erased
            self._throttled_log.warning("segment.damaged", destination=name, events=lost - erased)
        if not events:
            self.state.replace(batch)
            return None
        shrunk = attrs.evolve(
            batch,
            spans=tuple(events.spans()),
            count=len(events),
            generation=batch.generation + 1,
        )
        self.state.replace(batch, shrunk)
        return shrunk

    def _recount_dead_letters(self) -> None:
        """Count dead letters that no longer exist as erased."""
        there = self.dead_letter_buffer.counts()
        if there is None:
            return
        for name, state in self.state.destinations.items():
            gone = state.counts.dead - there[name]
            if gone > 0:
                state.counts.dead -= gone
                state.counts.dropped["erased"] += gone

    def _freeze(
        self, destination: Destination, sizes: Mapping[str, int], *, ahead: bool = False
    ) -> tuple[FrozenBatch, BatchEvents] | None:
        """Freeze the next batches; return the first, or keep it for later."""
        frozen = self._batcher.next_batches(destination, sizes, self._clock.now())
        self._take_over(frozen)
        self._log_missing_keys(destination.name)
        at_hand = frozen.batches if ahead else frozen.batches[1:]
        if at_hand:
            self._prefetched[destination.name] = at_hand[0][0].number, at_hand[0][1]
        return frozen.batches[0] if frozen.batches else None

    def _take_over(self, found: BatchResult) -> None:
        """Store dead letters and corrupt bytes that were found among the events."""
        self.dead_letter_buffer.add(found.dead_letters)
        self._note_rejected(found.dead_letters)
        self._made_progress |= found.advanced
        for segment, data in found.corrupt_spans:
            self._throttled_log.warning("segment.damaged", segment=segment, bytes=len(data))
            self._quarantine(segment, data)
        for segment, error in found.unreadable:
            self._log_unreadable(segment, error)

    def _log_missing_keys(self, name: str) -> None:
        keys = self.state.destinations[name].missing_keys
        if keys:
            self._throttled_log.warning(
                "events.locked",
                destination=name,
                encrypted_with=keys,
                remedy="add the key of that name to encryption_keys",
            )

    def _quarantine(self, segment: str, data: bytes) -> None:
        try:
            self.segments.quarantine(segment, data)
        except OSError as error:
            self._throttled_log.warning("quarantine.not_written", segment=segment, error=str(error))

    def _drop_excess(self, sizes: Mapping[str, int]) -> None:
        """Drop the oldest events of each destination for which too much waits.

        One that takes nothing must not fill the queue for the others.
        """
        limit, names = self._config.destination_bytes, list(self.state.destinations)
        if limit is None and self._config.max_bytes is not None and len(names) > 1:
            limit = self._config.max_bytes // 2
        if limit is None or sum(sizes.values()) <= limit:
            return
        for name in names:
            cursors, batches = self.state.destinations[name].cursors, self.state.batches[name]
            waiting = sum(max(size - cursors.get(each, 0), 0) for each, size in sizes.items())
            excess = waiting + sum(batch.size for batch in batches) - limit
            if excess > 0:
                self._drop_oldest(name, excess + limit // 10, sizes)

    def _drop_oldest(self, name: str, excess: int, sizes: Mapping[str, int]) -> None:
        """Drop frozen batches that aren't in flight, then the events that follow."""
        dropped, on_way = 0, self._in_flight.get(name)
        for batch in list(self.state.batches[name]):
            if excess > 0 and not (on_way and on_way[0].number == batch.number):
                self.state.replace(batch)
                excess -= batch.size
                dropped += batch.count
        self._prefetched.pop(name, None)
        self.state.destinations[name].counts.dropped["full"] += dropped
        skipped, found = self._batcher.drop_oldest(name, sizes, excess, self._clock.now())
        self._take_over(found)
        if dropped + skipped:
            self._throttled_log.warning(
                "destination.full",
                destination=name,
                events=dropped + skipped,
                remedy="see why nothing is delivered to it, or raise max_destination_bytes",
            )

    def _delete_finished(self, sizes: Mapping[str, int]) -> None:
        """Delete the segments that no destination needs any more."""
        if self.dead_letter_buffer.has_unwritten or not any(
            map(self._is_finished, self._finished(sizes))
        ):
            return
        # Writers register their destinations before they create a segment.
        self.state.ensure(self._config.names)
        for name in self._finished(sizes):
            if self._delete(name, sizes[name]):
                for state in self.state.destinations.values():
                    state.cursors.pop(name, None)

    def _is_finished(self, name: str) -> bool:
        try:
            return self.segments.is_closed(name)
        except OSError:  # it is gone, or deleting it tells what is wrong
            return True

    def _finished(self, sizes: Mapping[str, int]) -> list[str]:
        """Return the segments that no known destination needs any more."""
        states = self.state.destinations.values()
        done = [
            name
            for name, size in sizes.items()
            if states and all(state.cursors.get(name, 0) >= size for state in states)
        ]
        needed = self.state.referenced_segments() if done else ()
        return [name for name in done if name not in needed]

    def _delete(self, name: str, size: int) -> bool:
        try:
            return self.segments.delete(name, size)
        except OSError as error:
            self._throttled_log.warning(
                "segment.not_deleted",
                reason=f"{name}: {error}",
                remedy="check the queue's volume and the rights of the file",
            )
            return False

    def _has_work(self, name: str, sizes: Mapping[str, int]) -> bool:
        cursors = self.state.destinations[name].cursors
        return (
            self._senders[name].is_busy
            or bool(self.state.batches[name])
            or any(cursors.get(segment, 0) < size for segment, size in sizes.items())
        )

    def _due(self, name: str, sizes: Mapping[str, int]) -> float:
        """Return the time of the next attempt for a destination with work."""
        state, locks = self.state.destinations[name], self._batcher.missing_keys
        unbatched = any(
            cursor < size and not locks.blocks(each, cursor)
            for each, size in sizes.items()
            for cursor in (state.cursors.get(each, 0),)
        )
        first = min(
            (each.next_attempt_at for each in self.state.batches[name] if not locks.includes(each)),
            default=inf if state.missing_keys else 0.0,
        )
        return max(self._resume_at(name), 0.0 if unbatched else first)

    def _delay(self, sizes: Mapping[str, int]) -> float:
        waits = [
            self._due(name, sizes) - self._clock.now()
            for name, sender in self._senders.items()
            if not sender.is_busy and self._has_work(name, sizes)
        ]
        delay = min([*waits, self._config.idle_seconds])
        if delay <= 0.0 and not self._made_progress:  # such as half a record, still being written
            return self._config.idle_seconds
        return max(delay, 0.0)


def _preload(destinations: Sequence[Destination]) -> None:
    for destination in destinations:
        if isinstance(destination, Preloadable):
            # Whatever is wrong, the first request says it in the destination's own words.
            with suppress(BaseException):
                destination.prepare()


@attrs.frozen
class UploaderConfig:
    """What an uploader works with.

    Attributes:
        store: Where the queue lives.
        destinations: Where events go.
        policy: When to try again.
        clock: Where the time is read.
        idle_seconds: How long to wait when there is nothing to do.
        dead_letter_bytes: How much the dead letters of one destination may take.
        max_bytes: How much may wait in all; ``None`` for no limit.
        destination_bytes: How much may wait for one destination; ``None`` for half of `max_bytes`
            if there are several.
        hooks: What is called about deliveries.
        relay_to: Where the directory's records are shipped, in place of being delivered.
        names: The names of all destinations that events are kept for.
    """

    store: Store
    destinations: Sequence[Destination]
    policy: RetryPolicy
    clock: Clock
    idle_seconds: float
    dead_letter_bytes: int = MAX_BYTES
    max_bytes: int | None = None
    destination_bytes: int | None = None
    hooks: Hooks = attrs.field(factory=Hooks)
    relay_to: DatabaseStore | None = None
    names: DestinationNames = attrs.field(init=False)

    @names.default
    def _add_own_names(self) -> DestinationNames:
        own = [destination.name for destination in self.destinations]
        return self.store.destination_names(own, self.clock)


class Sender:
    """Sends one batch at a time to one destination, in a thread of its own.

    Args:
        destination: Where to.
        on_outcome: Called from the sender's thread after each outcome.
        hooks: What is called around each request.
    """

    def __init__(
        self, destination: Destination, on_outcome: Callable[[], None], hooks: Hooks | None = None
    ) -> None:
        self._destination = destination
        self._on_outcome = on_outcome
        self._hooks = hooks or Hooks()
        self._queue: queue.SimpleQueue[Batch | None] = queue.SimpleQueue()
        self._outcomes: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self.is_busy = False

    def send(self, batch: Batch) -> None:
        """Start to send a batch. None may be in flight."""
        self.is_busy = True
        if self._is_running():
            self._queue.put(batch)
        else:
            self._outcomes.put(self._try(batch))
            self._on_outcome()

    def take_outcome(self) -> Outcome | None:
        """Return the outcome of the batch in flight, or ``None`` until it is known."""
        if not self.is_busy or self._outcomes.empty():
            return None
        self.is_busy = False
        return self._outcomes.get()

    def stop(self) -> None:
        """End the thread after the current request."""
        self._queue.put(None)
        self._thread = None

    def _is_running(self) -> bool:
        """Return whether a thread can send; start it if there was none."""
        if self._thread is None:
            name = f"adcp_tracker-{self._destination.name}"
            thread = threading.Thread(target=self._run, name=name, daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the interpreter is ending, or there are too many
                return False
            self._thread = thread
        return True

    def _run(self) -> None:
        while (batch := self._queue.get()) is not None:
            outcome = self._try(batch)
            del batch  # or it would be kept for as long as none follows
            self._outcomes.put(outcome)
            self._on_outcome()

    def _try(self, batch: Batch) -> Outcome:
        finish = self._hooks.begin_send(self._destination.name, batch)
        outcome = self._call(batch)
        finish(outcome)
        return outcome

    def _call(self, batch: Batch) -> Outcome:
        name = self._destination.name
        try:
            outcome: object = self._destination.send(batch)
        except BaseException as error:  # noqa: BLE001 - a destination may be anybody's code
            # The message isn't logged, since it may contain personal data.
            what = type(error).__name__
            logger.error("destination.raised", destination=name, error=what)
            return Retry("raised", f"the destination raised {what}")
        if isinstance(outcome, Outcome):
            return outcome
        what = type(outcome).__name__
        logger.error("destination.no_outcome", destination=name, returned=what)
        return Retry("no_outcome", f"expected an outcome of the destination, got {what}")
