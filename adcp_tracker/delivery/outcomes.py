"""What an outcome does to a batch, to the counts and to dead letters.

One function per outcome; nothing here does I/O. Whatever is decided is in the state,
to be committed by the caller, with the dead letters to be written before that.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import attrs

from adcp_tracker._logging import ThrottledLogger, logger
from adcp_tracker._platform import SystemClock
from adcp_tracker.destinations.base import (
    Delivered,
    EventFailure,
    Outcome,
    Paused,
    Rejected,
    Retry,
    TooLarge,
)
from adcp_tracker.destinations.error_codes import remedy_for
from adcp_tracker.hooks import DeliveredNotice, Hooks, PausedNotice
from adcp_tracker.outbox.batch import BLANK, BatchEvents, decoded_event_id
from adcp_tracker.outbox.dead_letters import DeadLetter
from adcp_tracker.outbox.state import Pause

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from adcp_tracker.hooks import Notice
    from adcp_tracker.outbox.batch import LocatedEvent
    from adcp_tracker.outbox.state import DestinationState, FrozenBatch, State
    from adcp_tracker.outbox.storage import DeadLetters, Segments


_FIRST_SECONDS = 2.0
_LONGEST_SECONDS = 60.0
_JITTER = 0.25
_ENOUGH_DOUBLINGS = 10
_LONGEST_ASKED_SECONDS = 3600.0


@attrs.frozen
class RetryPolicy:
    """Backoff and retry limits.

    The numbers are those the protocol's notes advise: exponential from 2 s, at most 60 s,
    a quarter of jitter either way, and what the seller asks for as a minimum.

    Attributes:
        random: Returns numbers from 0 to 1, for the jitter.
        probe_seconds: How often a paused destination is probed.
        budget: How often a batch is tried for an unknown reason.
    """

    random: Callable[[], float]
    probe_seconds: float = 300.0
    budget: int = 12

    def delay(self, failures: int, retry_after: float | None = None) -> float:
        """Return the seconds to wait after so many failures in a row."""
        doublings = min(failures - 1, _ENOUGH_DOUBLINGS)
        steady = min(_FIRST_SECONDS * 2.0**doublings, _LONGEST_SECONDS)
        jittered = steady * (1.0 + _JITTER * (2.0 * self.random() - 1.0))
        return max(jittered, retry_after or 0.0)

    def longest(self) -> float:
        """Return the longest time that anything may wait, in seconds."""
        return max(_LONGEST_ASKED_SECONDS, _LONGEST_SECONDS * (1.0 + _JITTER), self.probe_seconds)


def clamp_future_deadlines(state: State, policy: RetryPolicy, now: float) -> None:
    """Make due what would wait longer than any rule allows.

    Waits are kept by the time of day, which survives a restart and may be set meanwhile.
    """
    latest = now + policy.longest()
    for destination in state.destinations.values():
        if destination.resume_at > latest:
            destination.resume_at = now
    for batches in state.batches.values():
        for batch in [each for each in batches if each.next_attempt_at > latest]:
            state.replace(batch, attrs.evolve(batch, next_attempt_at=now))


def shift_deadlines(state: State, seconds: float) -> None:
    """Move every deadline by so many seconds."""
    for destination in state.destinations.values():
        if destination.resume_at:
            destination.resume_at += seconds
    for batches in state.batches.values():
        for batch in [each for each in batches if each.next_attempt_at]:
            later = attrs.evolve(batch, next_attempt_at=batch.next_attempt_at + seconds)
            state.replace(batch, later)


_TRIES_PER_KEY = 5
_UNREADABLE_TRIES = 3
_WARNINGS_LOGGED = 3
_SAME_KEY = frozenset({"IDEMPOTENCY_IN_FLIGHT"})
_REFUSED_IN_A_ROW = 5
_TAKEN_PER_RAISE = 100
_NOT_THE_EVENTS = (
    "Several events were refused one by one for this, and none was taken: see whether the "
    "destination's own settings are right, and whether its seller is well."
)


@attrs.frozen
class OutcomeHandler:
    """Applies the outcome of one request to its batch.

    Attributes:
        state: What is known of the destinations; changed in place.
        policy: How long to wait.
        batch: What was tried.
        events: Its records.
        now: Seconds since the epoch.
        log: Logs what may happen with every batch.
        hooks: Which hooks there are.
        notices: What to tell them once the state is committed.
    """

    state: State
    policy: RetryPolicy
    batch: FrozenBatch
    events: BatchEvents
    now: float
    log: ThrottledLogger = attrs.field(factory=lambda: ThrottledLogger(SystemClock()))
    hooks: Hooks = attrs.field(factory=Hooks)
    notices: list[Notice] = attrs.field(factory=list)

    def apply(self, outcome: Outcome) -> list[DeadLetter]:
        """Apply an outcome.

        Returns:
            The events that died of it, to be written before the state is committed.
        """
        match outcome:
            case Delivered():
                return self._delivered(outcome)
            case Retry():
                return self._retry(outcome)
            case TooLarge():
                return self._too_large(outcome)
            case Rejected():
                return self._rejected(outcome)
            case Paused():
                return self._paused(outcome)

    @property
    def _destination(self) -> DestinationState:
        return self.state.destinations[self.batch.destination]

    def _mark_healthy(self) -> None:
        """Reset failures: the seller answers. A pause ends only if it takes events."""
        state = self._destination
        state.failures, state.resume_at = 0, 0.0
        if state.pause is not None and state.single_rejections < _REFUSED_IN_A_ROW:
            logger.info("destination.resumed", destination=self.batch.destination)
            state.pause = None

    def _delivered(self, outcome: Delivered) -> list[DeadLetter]:
        self._destination.single_rejections = 0
        self._mark_healthy()
        self._raise_limits()
        failed = self._failures_by_index(outcome.failures)
        counts = self._destination.counts
        live = self.batch.test_event_code is None
        sent = len(self.events)
        counts.deliver(sent - len(failed), self.now, live=live)
        counts.dead += len(failed)
        unconfirmed = sent - len(failed) - outcome.confirmed(sent, len(failed))
        counts.unconfirmed += unconfirmed
        counts.omitted.update(outcome.omitted or {})
        self._measure(failed, unconfirmed)
        self._destination.report.add(outcome.warnings, outcome.match_quality, sent, self.now)
        if unconfirmed:
            self._log_unconfirmed(outcome, unconfirmed)
        if outcome.wait is not None:
            self._destination.resume_at = self.now + outcome.wait
        self.state.replace(self.batch)
        return self._dead_letters(failed)

    def _measure(self, failed: Mapping[int, EventFailure], unconfirmed: int) -> None:
        """Add the batch to the metrics and note it for hooks, without the events that failed."""
        times: Sequence[int] = self.events.times
        if failed:
            times = [time for place, time in enumerate(times) if place not in failed]
        self._destination.measures.deliver(times, self.now, len(self.events))
        if self.hooks.delivered:
            had = [
                each
                for place, each in enumerate(self.events)
                if place not in failed and each.event != BLANK  # erased meanwhile
            ]
            notice = DeliveredNotice(
                destination=self.batch.destination,
                event_ids=tuple(decoded_event_id(each.event) for each in had),
                accepted_at=tuple(each.accepted_ms / 1000 for each in had),
                sent=len(self.events),
                unconfirmed=unconfirmed,
                is_test=self.batch.test_event_code is not None,
                at=self.now,
            )
            self.notices.append(notice)

    def _log_unconfirmed(self, outcome: Delivered, unconfirmed: int) -> None:
        self.log.warning(
            "batch.unconfirmed",
            destination=self.batch.destination,
            events=len(self.events),
            unconfirmed=unconfirmed,
            received=outcome.received,
            processed=outcome.processed,
            warnings=outcome.warnings[:_WARNINGS_LOGGED],
        )

    def _retry(self, outcome: Retry) -> list[DeadLetter]:
        attempts = self.batch.attempts + 1
        unreadable = self.batch.unreadable + outcome.is_success
        if outcome.is_success and unreadable >= _UNREADABLE_TRIES:
            # It seems to be accepted each time, so sending it again doesn't help.
            return self._delivered(Delivered(warnings=(outcome.message,), is_confirmed=False))
        budgeted = self.batch.budgeted + outcome.budgeted
        if outcome.budgeted and budgeted >= self.policy.budget:
            return self._bisect(outcome.code, outcome.message, at_once=False)
        state = self._destination
        state.measures.retry(outcome.code)
        state.failures += 1
        delay = self.policy.delay(state.failures, outcome.retry_after)
        state.resume_at = self.now + delay
        again = attrs.evolve(
            self.batch,
            attempts=attempts,
            budgeted=budgeted,
            unreadable=unreadable,
            generation=self.batch.generation + self._needs_fresh_key(outcome, attempts),
            next_attempt_at=self.now + self.policy.delay(attempts, outcome.retry_after),
            last_code=outcome.code,
            last_message=outcome.message,
        )
        self.state.replace(self.batch, again)
        return []

    def _needs_fresh_key(self, outcome: Retry, attempts: int) -> bool:
        """Return whether the next try needs a new idempotency key.

        Some sellers replay an error for as long as its key comes, and do not say so. The
        same code of theirs, again and again, is escaped by another key; a request that may
        still be under way is not, and neither is one whose fate is unknown.
        """
        if outcome.fresh_key:
            return True
        sellers_own = outcome.code.isupper() and outcome.code not in _SAME_KEY
        same = outcome.code == self.batch.last_code
        return sellers_own and same and attempts % _TRIES_PER_KEY == 0

    def _too_large(self, outcome: TooLarge) -> list[DeadLetter]:
        self._mark_healthy()
        state = self._destination
        if len(self.events) == 1:
            # The halves that led here were refused for this event, or as everything is.
            state.max_events = state.max_bytes = None
        elif not state.single_rejections:
            self._learn_limits(outcome.code)
        return self._bisect(outcome.code, outcome.message)

    def _learn_limits(self, code: str) -> None:
        state = self._destination
        size = sum(len(event) + 1 for event in self.events.payload)
        state.max_events = len(self.events) // 2
        state.max_bytes = size // 2
        state.successes_near_limit = 0
        self._log_limits("destination.limit_learned", code=code)

    def _raise_limits(self) -> None:
        """Double learned limits after many accepted requests near them.

        The limit may have come from a proxy, or may have been raised since. If it still stands,
        this costs one request in a hundred.
        """
        state = self._destination
        if state.max_events is None or state.max_bytes is None:
            return
        if 2 * len(self.events) <= state.max_events and 2 * self.batch.size <= state.max_bytes:
            return
        state.successes_near_limit += 1
        if state.successes_near_limit >= _TAKEN_PER_RAISE:
            state.successes_near_limit = 0
            state.max_events *= 2
            state.max_bytes *= 2
            self._log_limits("destination.limit_raised")

    def _log_limits(self, entry: str, **details: object) -> None:
        logger.info(
            entry,
            destination=self.batch.destination,
            max_events=self._destination.max_events,
            max_bytes=self._destination.max_bytes,
            **details,
        )

    def _rejected(self, outcome: Rejected) -> list[DeadLetter]:
        self._mark_healthy()
        failed = self._failures_by_index(outcome.failures)
        if not failed:
            return self._bisect(outcome.code, outcome.message)
        self._destination.counts.dead += len(failed)
        rest = BatchEvents(each for place, each in enumerate(self.events) if place not in failed)
        self._split(rest)
        return self._dead_letters(failed)

    def _bisect(self, code: str, message: str, *, at_once: bool = True) -> list[DeadLetter]:
        """Halve the batch to find the bad event; a single one is a dead letter.

        Unless it is not the event: a wrong setting or an outage can look like a bad one. So
        after a few that were refused alone, with nothing delivered in between, the
        destination pauses, and the next probe is made with another event.

        Halves that go at once go before all else, so that few requests are made until then;
        those that wait between their tries let others go first.
        """
        if len(self.events) > 1:
            middle = len(self.events) // 2
            self._split(self.events[:middle], self.events[middle:], at_once=at_once)
            return []
        state = self._destination
        if state.single_rejections >= _REFUSED_IN_A_ROW:
            self.state.replace(self.batch)
            self.state.batches[self.batch.destination].append(self.batch)
            return self._paused(Paused(code, message, _NOT_THE_EVENTS))
        state.single_rejections += 1
        state.counts.dead += len(self.events)
        self.state.replace(self.batch)
        failure = EventFailure(code, message)
        return self._dead_letters(dict.fromkeys(range(len(self.events)), failure))

    def _paused(self, outcome: Paused) -> list[DeadLetter]:
        state = self._destination
        since = state.pause.since if state.pause is not None else self.now
        if state.pause is None or state.pause.code != outcome.code:
            logger.error(
                "destination.paused",
                destination=self.batch.destination,
                code=outcome.code,
                message=outcome.message,
                remedy=outcome.remedy,
            )
            self._note_pause(outcome)
        state.pause = Pause(outcome.code, outcome.message, outcome.remedy, since)
        state.resume_at = self.now + self.policy.probe_seconds
        again = attrs.evolve(self.batch, last_code=outcome.code, last_message=outcome.message)
        self.state.replace(self.batch, again)
        return []

    def _note_pause(self, outcome: Paused) -> None:
        if self.hooks.paused:
            name, code = self.batch.destination, outcome.code
            notice = PausedNotice(name, code, outcome.message, outcome.remedy, self.now)
            self.notices.append(notice)

    def _split(self, *parts: BatchEvents, at_once: bool = True) -> None:
        """Replace the batch by smaller ones, each with its own identity."""
        name, code = self.batch.destination, self.batch.test_event_code
        made = [self.state.freeze(name, part.spans(), len(part), code) for part in parts if part]
        if at_once:
            batches = self.state.batches[name]
            del batches[len(batches) - len(made) :]
            self.state.replace(self.batch, *made)
        else:
            self.state.replace(self.batch)

    def _failures_by_index(self, failures: Sequence[EventFailure]) -> dict[int, EventFailure]:
        """Return the named failures by index in the batch."""
        if not failures:
            return {}
        places = {decoded_event_id(event): place for place, event in enumerate(self.events.payload)}
        named: dict[int, EventFailure] = {}
        for failure in failures:
            place = failure.index
            if place is None and failure.event_id is not None:
                place = places.get(failure.event_id)
            if place is not None and 0 <= place < len(self.events):
                named[place] = failure
        return named

    def _dead_letters(self, failed: dict[int, EventFailure]) -> list[DeadLetter]:
        events = tuple(self.events) if failed else ()
        return [self._dead_letter(events[place], failure) for place, failure in failed.items()]

    def _dead_letter(self, member: LocatedEvent, failure: EventFailure) -> DeadLetter:
        return DeadLetter(
            destination=self.batch.destination,
            segment=member.segment,
            offset=member.start,
            died_at=self.now,
            code=failure.code,
            message=failure.message,
            remedy=failure.remedy or remedy_for(failure.code),
            test_event_code=self.batch.test_event_code,
            event=member.event,
        )


_MOST_UNWRITTEN = 10_000
_ENVELOPE_BYTES = 300
MAX_BYTES = 128 * 1024 * 1024
"""How much the dead letters of one destination may take."""


class DeadLetterBuffer:
    """Changes to dead letters that the disk doesn't have yet.

    Args:
        kept: The letters on disk.
        segments: The segments, where letters that are sent again stand as records.

    Attributes:
        sizes: How many bytes the letters of each destination take, about.
    """

    def __init__(self, kept: DeadLetters, segments: Segments) -> None:
        self._store = kept
        self._segments = segments
        self._unwritten: list[DeadLetter] = []
        self._removed: set[str] = set()
        self.sizes: Counter[str] = Counter()

    @property
    def has_unwritten(self) -> bool:
        """Whether any letter exists only in memory."""
        return bool(self._unwritten)

    @property
    def is_full(self) -> bool:
        """Whether too many letters wait in memory to make more."""
        return len(self._unwritten) > _MOST_UNWRITTEN

    def add(self, letters: Iterable[DeadLetter]) -> None:
        """Add letters to be written."""
        for letter in letters:
            self._unwritten.append(letter)
            self.sizes[letter.destination] += len(letter.event) + _ENVELOPE_BYTES

    def trim(self, limit: int) -> Counter[str]:
        """Erase the oldest letters of each destination that has more than `limit` bytes.

        A seller that rejects everything must not fill the disk for the others.

        Returns:
            How many were erased, by destination.
        """
        if all(size <= limit for size in self.sizes.values()):
            return Counter()
        keys = list(self._store.keys())
        self.sizes = Counter()
        for key in keys:
            self.sizes[key.destination] += key.size
        excess = {name: size - limit * 9 // 10 for name, size in self.sizes.items() if size > limit}
        erased: Counter[str] = Counter()
        ids: set[str] = set()
        for key in keys:
            if excess.get(key.destination, 0) > 0 and key.id not in self._removed:
                excess[key.destination] -= key.size
                self.sizes[key.destination] -= key.size
                erased[key.destination] += 1
                ids.add(key.id)
        self._store.remove(ids)
        return erased

    def mark_removed(self, letters: Iterable[DeadLetter]) -> None:
        """Hide letters now, and erase them at the next write."""
        self._removed.update(letter.id for letter in letters)

    def find(self, ids: Collection[str]) -> list[DeadLetter]:
        """Return the letters with these ids that aren't marked as removed."""
        wanted = set(ids) - self._removed
        return [letter for letter in self._store if letter.id in wanted]

    def write(self, now: float) -> None:
        """Write new letters, then erase removed ones.

        Args:
            now: Seconds since the epoch.

        Raises:
            OSError: If the disk does not take it; the next call tries again.
        """
        self._store.add(self._unwritten, now)
        self._unwritten.clear()
        if self._removed:
            self._segments.sync()  # on disk as records before they are gone as letters
            self._store.remove(self._removed)
            self._removed.clear()

    def discard(self, is_unwanted: Callable[[bytes], bool]) -> None:
        """Drop letters from memory whose events were erased on disk."""
        self._unwritten = [each for each in self._unwritten if not is_unwanted(each.event)]

    def counts(self) -> Counter[str] | None:
        """Count letters by destination. ``None`` if some can't be decrypted."""
        if self._store.undecrypted():
            return None
        every = (*self._store, *self._unwritten)
        return Counter({each.id: each.destination for each in every}.values())
