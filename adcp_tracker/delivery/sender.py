"""One thread per destination, so that a slow seller delays no other.

A lane does nothing but send: it knows no state, no disk and no other lane.
"""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING

from adcp_tracker._logging import logger
from adcp_tracker.destinations.base import Outcome, Retry
from adcp_tracker.hooks import Hooks

if TYPE_CHECKING:
    from collections.abc import Callable

    from adcp_tracker.destinations.base import Batch, Destination


class Sender:
    """Sends one batch at a time to one destination, in a thread of its own.

    Args:
        destination: Where to.
        on_done: Called from the lane's thread after each outcome.
        hooks: What is called around each request.
    """

    def __init__(
        self, destination: Destination, on_done: Callable[[], None], hooks: Hooks | None = None
    ) -> None:
        self._destination = destination
        self._on_outcome = on_done
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
            # Its words are not logged: they may hold anything.
            what = type(error).__name__
            logger.error("destination.raised", destination=name, error=what)
            return Retry("raised", f"the destination raised {what}")
        if isinstance(outcome, Outcome):
            return outcome
        what = type(outcome).__name__
        logger.error("destination.no_outcome", destination=name, returned=what)
        return Retry("no_outcome", f"expected an outcome of the destination, got {what}")
