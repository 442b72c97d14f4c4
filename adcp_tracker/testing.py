"""Tools for your own tests: a real tracker, and a seller that records what it gets.

Only the seller is simulated. Events are validated, written to disk, batched and sent as in
production. For a seller that speaks HTTP, rejects invalid events and fails on request, see
:mod:`adcp_tracker.sandbox`.
"""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING, Final

import attrs

from adcp_tracker.destinations.base import Delivered
from adcp_tracker.events.codec import decode
from adcp_tracker.tracker import Tracker

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from typing_extensions import Unpack

    from adcp_tracker.delivery.stats import Stats
    from adcp_tracker.destinations.base import Batch, EventFailure, Outcome
    from adcp_tracker.events.event import Event
    from adcp_tracker.web.options import TrackerOptions

__all__ = ["RecordingDestination", "RecordingTracker"]

_FLUSH_SECONDS: Final = 0.02
_LONGEST_SECONDS: Final = 10.0


def _take_all(_batch: Batch) -> Outcome:
    return Delivered()


@attrs.define(kw_only=True, eq=False)
class RecordingDestination:
    """A destination that records what it is sent, for a tracker that your code makes itself.

    Attributes:
        name: Its name in the stats.
        max_events: How many events one request may carry.
        max_bytes: How large a request may be.
        answer: Returns the outcome of a batch; by default everything is delivered. Return
            :class:`.Retry` or :class:`.Paused` to see how your code copes with a seller that
            is down.
        batches: Every batch that was sent, including rejected ones.
        events: Every event that was delivered, in order.
    """

    name: str = "recording"
    max_events: int = 10_000
    max_bytes: int = 8 * 1024 * 1024
    answer: Callable[[Batch], Outcome] = _take_all
    batches: list[Batch] = attrs.field(factory=list, init=False)
    events: list[Event] = attrs.field(factory=list, init=False)

    def send(self, batch: Batch) -> Outcome:
        """Record `batch`, and those of its events that are delivered."""
        self.batches.append(batch)
        outcome = self.answer(batch)
        if isinstance(outcome, Delivered):
            ids = {failure.event_id for failure in outcome.failures}
            places = {failure.index for failure in outcome.failures}
            for place, event in enumerate(map(decode, batch.events)):
                if event.event_id not in ids and place not in places:
                    self.events.append(event)
        return outcome

    def check(self, event: Mapping[str, object]) -> EventFailure | None:
        """Refuse nothing."""

    def close(self) -> None:
        """Have nothing to close."""

    def after_fork(self) -> None:
        """Keep nothing open across a fork."""


class RecordingTracker(Tracker):
    """A tracker in a temporary directory, whose events you can inspect.

    It is strict by default, so that an invalid event fails the test that creates it. Use it
    as a context manager, or close it: then its directory is removed.

    Args:
        **settings: Anything a :class:`~adcp_tracker.Tracker` takes. With ``destinations``,
            events go there as well; with a ``directory``, it is kept.
    """

    def __init__(self, **settings: Unpack[TrackerOptions]) -> None:
        self._recording = RecordingDestination()
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        if "directory" not in settings:
            # Don't print a traceback at exit if the tracker was never closed.
            self._temporary = tempfile.TemporaryDirectory(
                prefix="adcp-tracker-", ignore_cleanup_errors=True
            )
            settings["directory"] = self._temporary.name
        settings.setdefault("strict", True)
        settings.setdefault("handle_sigterm", False)
        settings.setdefault("flush_interval", _FLUSH_SECONDS)
        settings["destinations"] = [self._recording, *settings.get("destinations", ())]
        super().__init__(**settings)

    @property
    def events(self) -> list[Event]:
        """Every event tracked so far, in order, as a seller gets them.

        Raises:
            TimeoutError: If they are not delivered in time.
        """
        left = self.flush(_LONGEST_SECONDS).destinations[self._recording.name]
        if left.pending:
            raise TimeoutError(
                f"{left.pending} events were not delivered within {_LONGEST_SECONDS:g} s. "
                "Does another process upload from this directory?"
            )
        return list(self._recording.events)

    def close(self, timeout: float | None = None) -> Stats:
        """Deliver what can be delivered in time, end the flusher, and remove the directory."""
        stats = super().close(timeout)
        if self._temporary is not None:
            self._temporary.cleanup()
        return stats
