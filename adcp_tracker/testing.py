"""For your own tests: a tracker that is all there, and a seller that remembers.

Nothing is patched and nothing is simulated but the seller: events are judged, written to
disk, batched and sent as they are in production. For a seller that speaks HTTP, refuses
what is wrong and fails on request, see :mod:`adcp_tracker.sandbox`.
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
    """A destination that keeps what it is sent, for a tracker that your code makes itself.

    Attributes:
        name: What deliveries are kept under.
        max_events: How many events one request may carry.
        max_bytes: How large a request may be.
        answer: What becomes of a batch; by default all of it is delivered. Return a
            ``Retry`` or a ``Paused`` of :mod:`adcp_tracker.destinations.base` to see how
            your code lives with a seller that is down.
        batches: Every batch that was sent, the refused ones too.
        events: Every event that was delivered, in order.
    """

    name: str = "recording"
    max_events: int = 10_000
    max_bytes: int = 8 * 1024 * 1024
    answer: Callable[[Batch], Outcome] = _take_all
    batches: list[Batch] = attrs.field(factory=list, init=False)
    events: list[Event] = attrs.field(factory=list, init=False)

    def send(self, batch: Batch) -> Outcome:
        """Keep `batch`, and its events as far as they are delivered."""
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
    """A tracker in a temporary directory, whose events can be looked at.

    It is strict unless told otherwise, so that an event which breaks a rule fails the test
    that makes it. Use it as a context manager, or close it: then its directory is removed.

    Args:
        **settings: Anything a :class:`~adcp_tracker.Tracker` takes. With ``destinations``,
            events go there as well; with a ``directory``, it is kept.
    """

    def __init__(self, **settings: Unpack[TrackerOptions]) -> None:
        self._recording = RecordingDestination()
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        if "directory" not in settings:
            # Somebody who forgot to close it is not to be told so by a traceback at the exit.
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
                f"expected all events to be delivered within {_LONGEST_SECONDS:g} s, "
                f"got {left.pending} left; does another process upload from this directory?"
            )
        return list(self._recording.events)

    def close(self, timeout: float | None = None) -> Stats:
        """Deliver what can be delivered in time, end the thread, and remove the directory."""
        stats = super().close(timeout)
        if self._temporary is not None:
            self._temporary.cleanup()
        return stats
