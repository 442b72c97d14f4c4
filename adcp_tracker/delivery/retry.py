"""When to try again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable

    from adcp_tracker.outbox.state import State

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
