"""What an outcome does to a delivery and to the books.

One function per outcome; nothing here does I/O. Whatever is decided is in the state,
to be committed by the caller, with the dead letters to be written before that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import orjson

from adcp_tracker.destinations.base import (
    Delivered,
    EventFailure,
    Outcome,
    Paused,
    Rejected,
    Retry,
    TooLarge,
)
from adcp_tracker.log import logger
from adcp_tracker.queue.batches import members_of
from adcp_tracker.queue.deadletters import DeadLetter
from adcp_tracker.queue.state import Pause

if TYPE_CHECKING:
    from collections.abc import Sequence

    from adcp_tracker.delivery.retry import RetryPolicy
    from adcp_tracker.queue.batches import Members, Placed
    from adcp_tracker.queue.state import Delivery, DestinationState, State


_TRIES_PER_KEY = 5
_SAME_KEY = frozenset({"IDEMPOTENCY_IN_FLIGHT"})
_REFUSED_IN_A_ROW = 5
_NOT_THE_EVENTS = (
    "Several events were refused one by one for this, and none was taken: see whether the "
    "destination's own settings are right."
)


@attrs.frozen
class Settlement:
    """Settles one delivery after one try.

    Attributes:
        state: What is known of the destinations; changed in place.
        policy: How long to wait.
        delivery: What was tried.
        members: Its records.
        now: Seconds since the epoch.
    """

    state: State
    policy: RetryPolicy
    delivery: Delivery
    members: Members
    now: float

    def settle(self, outcome: Outcome) -> list[DeadLetter]:
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
        return self.state.destinations[self.delivery.destination]

    def _well(self) -> None:
        """Note that the seller answers."""
        state = self._destination
        if state.pause is not None:
            logger.info("destination.resumed", destination=self.delivery.destination)
        state.failures, state.resume_at, state.pause = 0, 0.0, None

    def _delivered(self, outcome: Delivered) -> list[DeadLetter]:
        self._well()
        failed = self._named(outcome.failures)
        self._destination.refused_alone = 0
        counts = self._destination.counts
        live = self.delivery.test_event_code is None
        counts.deliver(len(self.members) - len(failed), self.now, live=live)
        counts.dead += len(failed)
        if outcome.received is not None and outcome.processed is not None:
            missing = outcome.received - outcome.processed - len(outcome.failures)
            counts.unprocessed += max(missing, 0)
        if outcome.wait is not None:
            self._destination.resume_at = self.now + outcome.wait
        self.state.replace(self.delivery)
        return self._letters(failed)

    def _retry(self, outcome: Retry) -> list[DeadLetter]:
        attempts = self.delivery.attempts + 1
        if outcome.budgeted and attempts >= self.policy.budget:
            return self._isolate(outcome.code, outcome.message)
        state = self._destination
        state.failures += 1
        delay = self.policy.delay(state.failures, outcome.retry_after)
        state.resume_at = self.now + delay
        again = attrs.evolve(
            self.delivery,
            attempts=attempts,
            generation=self.delivery.generation + self._needs_fresh_key(outcome, attempts),
            next_attempt_at=self.now + self.policy.delay(attempts, outcome.retry_after),
            last_code=outcome.code,
            last_message=outcome.message,
        )
        self.state.replace(self.delivery, again)
        return []

    def _needs_fresh_key(self, outcome: Retry, attempts: int) -> bool:
        """Say whether the next try goes under a new key.

        Some sellers replay an error for as long as its key comes, and do not say so. The
        same code of theirs, again and again, is escaped by another key; a request that may
        still be under way is not, and neither is one whose fate is unknown.
        """
        if outcome.fresh_key:
            return True
        sellers_own = outcome.code.isupper() and outcome.code not in _SAME_KEY
        same = outcome.code == self.delivery.last_code
        return sellers_own and same and attempts % _TRIES_PER_KEY == 0

    def _too_large(self, outcome: TooLarge) -> list[DeadLetter]:
        self._well()
        if len(self.members) > 1:
            state = self._destination
            size = sum(len(event) + 1 for event in self.members.events)
            state.max_events = len(self.members) // 2
            state.max_bytes = size // 2
            logger.info(
                "destination.limit_learned",
                destination=self.delivery.destination,
                code=outcome.code,
                max_events=state.max_events,
                max_bytes=state.max_bytes,
            )
        return self._isolate(outcome.code, outcome.message)

    def _rejected(self, outcome: Rejected) -> list[DeadLetter]:
        self._well()
        failed = self._named(outcome.failures)
        if not failed and len(self.members) == 1:
            return self._rejected_alone(outcome)
        if not failed:
            return self._isolate(outcome.code, outcome.message)
        self._destination.counts.dead += len(failed)
        rest = members_of(each for place, each in enumerate(self.members) if place not in failed)
        self._divide(rest)
        return self._letters(failed)

    def _rejected_alone(self, outcome: Rejected) -> list[DeadLetter]:
        """Set aside the one event that spoils every batch, unless it is not the event.

        A wrong setting can look like a bad event. So after a few that were refused alone,
        with nothing delivered in between, the destination pauses, and the next probe is
        made with another event.
        """
        state = self._destination
        if state.refused_alone >= _REFUSED_IN_A_ROW:
            self.state.replace(self.delivery)
            self.state.deliveries[self.delivery.destination].append(self.delivery)
            return self._paused(Paused(outcome.code, outcome.message, _NOT_THE_EVENTS))
        state.refused_alone += 1
        return self._isolate(outcome.code, outcome.message)

    def _paused(self, outcome: Paused) -> list[DeadLetter]:
        state = self._destination
        since = state.pause.since if state.pause is not None else self.now
        if state.pause is None or state.pause.code != outcome.code:
            logger.error(
                "destination.paused",
                destination=self.delivery.destination,
                code=outcome.code,
                message=outcome.message,
                remedy=outcome.remedy,
            )
        state.pause = Pause(outcome.code, outcome.message, outcome.remedy, since)
        state.resume_at = self.now + self.policy.probe_seconds
        again = attrs.evolve(self.delivery, last_code=outcome.code, last_message=outcome.message)
        self.state.replace(self.delivery, again)
        return []

    def _isolate(self, code: str, message: str) -> list[DeadLetter]:
        """Halve the batch to find the event that spoils it; one alone is a dead letter."""
        if len(self.members) > 1:
            middle = len(self.members) // 2
            self._divide(self.members[:middle], self.members[middle:])
            return []
        self._destination.counts.dead += len(self.members)
        self.state.replace(self.delivery)
        failure = EventFailure(code, message)
        return self._letters(dict.fromkeys(range(len(self.members)), failure))

    def _divide(self, *parts: Members) -> None:
        """Put smaller batches in the place of this one; other bytes, another identity."""
        self.state.replace(self.delivery)
        for part in parts:
            if part:
                code = self.delivery.test_event_code
                self.state.freeze(self.delivery.destination, part.spans(), len(part), code)

    def _named(self, failures: Sequence[EventFailure]) -> dict[int, EventFailure]:
        """Find the events that the seller named, by their place in the batch."""
        if not failures:
            return {}
        places = {event_id(event): place for place, event in enumerate(self.members.events)}
        named: dict[int, EventFailure] = {}
        for failure in failures:
            place = failure.index
            if place is None and failure.event_id is not None:
                place = places.get(failure.event_id)
            if place is not None and 0 <= place < len(self.members):
                named[place] = failure
        return named

    def _letters(self, failed: dict[int, EventFailure]) -> list[DeadLetter]:
        members = tuple(self.members) if failed else ()
        return [self._letter(members[place], failure) for place, failure in failed.items()]

    def _letter(self, member: Placed, failure: EventFailure) -> DeadLetter:
        return DeadLetter(
            destination=self.delivery.destination,
            segment=member.segment,
            offset=member.start,
            died_at=self.now,
            code=failure.code,
            message=failure.message,
            remedy=failure.remedy,
            test_event_code=self.delivery.test_event_code,
            event=member.event,
        )


def event_id(event: bytes) -> str:
    """Return an event's id."""
    return str(orjson.loads(event).get("event_id"))
