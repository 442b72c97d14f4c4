"""Destinations, outboxes and clocks that do as they are told."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import orjson

from adcp_tracker.destinations.base import Batch, Delivered, EventFailure, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping


class ScriptedDestination:
    """Answers with given outcomes, then takes everything. Remembers what it was sent.

    Args:
        name: Its name.
        outcomes: What to answer, one after the other; a function gets the batch.
        max_events: How many events one request may carry.
        max_bytes: How large a request may be.
    """

    def __init__(
        self,
        name: str = "scripted",
        outcomes: Iterable[Outcome | Callable[[Batch], Outcome]] = (),
        max_events: int = 10_000,
        max_bytes: int = 8 * 1024 * 1024,
    ) -> None:
        self.name = name
        self.max_events = max_events
        self.max_bytes = max_bytes
        self.outcomes = list(outcomes)
        self.always: Callable[[Batch], Outcome] | None = None
        self.batches: list[Batch] = []
        self.delivered: list[bytes] = []
        self.refused: Mapping[str, EventFailure] = {}
        self.gate = threading.Event()
        self.gate.set()

    @property
    def ids(self) -> list[str]:
        """The ids of all events taken, in order."""
        return [orjson.loads(event)["event_id"] for event in self.delivered]

    def send(self, batch: Batch) -> Outcome:
        """Answer as scripted, once the gate is open."""
        self.batches.append(batch)
        self.gate.wait(30.0)
        outcome: Outcome | Callable[[Batch], Outcome] = Delivered()
        if self.outcomes:
            outcome = self.outcomes.pop(0)
        elif self.always is not None:
            outcome = self.always
        if callable(outcome):
            outcome = outcome(batch)
        if isinstance(outcome, Delivered):
            failed = {failure.event_id for failure in outcome.failures}
            self.delivered += [
                event for event in batch.events if orjson.loads(event)["event_id"] not in failed
            ]
        return outcome

    def check(self, event: Mapping[str, object]) -> EventFailure | None:
        """Refuse events of the types it was told of."""
        return self.refused.get(str(event["event_type"]))

    def close(self) -> None:
        """Have nothing to close."""

    def after_fork(self) -> None:
        """Keep nothing open across a fork."""


class MemoryOutbox:
    """An outbox that forgets with the process."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}

    def load(self) -> dict[str, bytes]:
        """Return everything in it."""
        return dict(self.values)

    def apply(self, puts: Mapping[str, bytes], removes: Collection[str]) -> None:
        """Set and remove keys."""
        self.values.update(puts)
        for key in removes:
            self.values.pop(key, None)

    def close(self) -> None:
        """Have nothing to close."""


def wait_until(condition: Callable[[], object], timeout: float = 20.0) -> None:
    """Wait for a condition; fail if it does not come."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"expected within {timeout:g} s what did not come")
        time.sleep(0.005)


class HandClock:
    """A clock that only a test moves."""

    def __init__(self, now: float = 1_767_225_600.0) -> None:
        self.time = now

    def now(self) -> float:
        """Return the set time."""
        return self.time

    def monotonic(self) -> float:
        """Return the set time."""
        return self.time

    def sleep(self, seconds: float) -> None:
        """Let other threads run, and time stand."""
        del seconds
        time.sleep(0.001)


class RestlessClock(HandClock):
    """A clock whose time flies, so that a tracker's waits take no time."""

    def __init__(self) -> None:
        super().__init__()
        self.flies = False

    def monotonic(self) -> float:
        """Return the same moment always, so that the log has one interval."""
        return 0.0

    def now(self) -> float:
        """Return a time a minute later than the last, once time flies."""
        self.time += 60.0 if self.flies else 0.0
        return self.time
