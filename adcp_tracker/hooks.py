"""Notify an application of deliveries, rejections and pauses, from a separate thread."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Protocol

import attrs

from adcp_tracker._logging import ThrottledLogger
from adcp_tracker._platform import SystemClock
from adcp_tracker.outbox.batch import decoded_event_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from adcp_tracker._platform import Clock
    from adcp_tracker.destinations.base import Batch, Outcome
    from adcp_tracker.outbox.dead_letters import DeadLetter

_MOST_WAITING = 100_000
"""How many event ids may wait for slow hooks: about 10 MB."""


@attrs.frozen
class DeliveredNotice:
    """Events that a seller has. ``on_delivered`` gets one for each request.

    Attributes:
        destination: The name of the destination.
        event_ids: The events' ids, without those that the seller rejected.
        accepted_at: When each was tracked, in seconds since the epoch.
        sent: How many events the request had.
        unconfirmed: How many of them the seller doesn't say it processed.
        is_test: Whether they were sent with a test event code.
        at: When the seller had them, in seconds since the epoch.
    """

    destination: str
    event_ids: tuple[str, ...]
    accepted_at: tuple[float, ...]
    sent: int
    unconfirmed: int
    is_test: bool
    at: float


@attrs.frozen
class RejectedNotice:
    """Events that became dead letters for one reason. ``on_rejected`` gets it.

    Attributes:
        destination: The name of the destination that doesn't get them.
        event_ids: The events' ids.
        code: The reason in one word, such as ``INVALID_EVENT``.
        remedy: What to do about it.
        at: When they were rejected, in seconds since the epoch.
    """

    destination: str
    event_ids: tuple[str, ...]
    code: str
    remedy: str
    at: float


@attrs.frozen
class PausedNotice:
    """A destination that sends nothing until its configuration is fixed. ``on_paused`` gets it.

    Attributes:
        destination: The name of the destination.
        code: The reason in one word.
        message: The reason, for people.
        remedy: What to change.
        at: When it was paused, in seconds since the epoch.
    """

    destination: str
    code: str
    message: str
    remedy: str
    at: float


Notice = DeliveredNotice | RejectedNotice | PausedNotice


class OnSend(Protocol):
    """Is called before each request, in the thread that sends it."""

    def __call__(self, destination: str, batch: Batch) -> Callable[[Outcome], None]:
        """Return a function to call with the outcome, in the same thread."""


class Hooks:
    """What a tracker calls when events were delivered or rejected, or a destination was paused.

    Hooks are called in the process that delivers, one at a time and in a thread of their own: no
    delivery waits for them. What a hook raises is logged. If hooks are so slow that too many
    notices wait, some are skipped, which is logged as well. No hook gets a notice twice, and
    notices are lost if the process is killed. To count events, read
    :meth:`Tracker.stats() <adcp_tracker.Tracker.stats>`.

    Args:
        clock: Where the time is read.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self.delivered: list[Callable[[DeliveredNotice], object]] = []
        self.rejected: list[Callable[[RejectedNotice], object]] = []
        self.paused: list[Callable[[PausedNotice], object]] = []
        self._senders: list[OnSend] = []
        self.reset_after_fork()

    def reset_after_fork(self) -> None:
        """Reset in a child made by a fork. The parent calls the hooks for what waits."""
        self._lock = threading.Lock()
        self._queue: deque[Notice] = deque()
        self._waiting = 0
        self._thread: threading.Thread | None = None
        self._throttled_log = ThrottledLogger(self._clock)

    def add(
        self,
        *,
        on_delivered: Callable[[DeliveredNotice], object] | None = None,
        on_rejected: Callable[[RejectedNotice], object] | None = None,
        on_paused: Callable[[PausedNotice], object] | None = None,
        on_send: OnSend | None = None,
    ) -> None:
        """Add hooks to those there are.

        Args:
            on_delivered: Is called with events that a seller has.
            on_rejected: Is called with events that became dead letters.
            on_paused: Is called with a destination that was paused.
            on_send: Is called around each request, in the thread that sends it, so it has to be
                quick.
        """
        self.delivered += [on_delivered] if on_delivered else []
        self.rejected += [on_rejected] if on_rejected else []
        self.paused += [on_paused] if on_paused else []
        self._senders += [on_send] if on_send else []

    def begin_send(self, destination: str, batch: Batch) -> Callable[[Outcome], None]:
        """Call the hooks before a request; return what to call with its outcome."""
        began = [self._guarded(hook, destination, batch) for hook in self._senders]

        def finish(outcome: Outcome) -> None:
            for each in reversed(began):
                if callable(each):
                    self._guarded(each, outcome)

        return finish

    def post(self, notices: Iterable[Notice]) -> None:
        """Queue notices for the thread that calls the hooks."""
        for notice in notices:
            with self._lock:
                if self._waiting <= _MOST_WAITING:
                    self._queue.append(notice)
                    self._waiting += _weight(notice)
                    self._start()
                    continue
            self._throttled_log.warning(
                "hook.skipped",
                destination=notice.destination,
                remedy="make the hooks faster: they are called less often than events arrive",
            )

    def close(self, timeout: float) -> None:
        """Wait until all hooks were called, at most `timeout` seconds."""
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)

    def _start(self) -> None:
        """Start the thread unless it runs. It ends when nothing waits."""
        if self._thread is not None:
            return
        self._thread = threading.Thread(target=self._run, name="adcp_tracker-hooks", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # the interpreter is ending, or there are too many
            self._thread = None

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._queue:
                    self._thread = None
                    return
                notice = self._queue.popleft()
            self._call(notice)
            with self._lock:
                self._waiting -= _weight(notice)

    def _call(self, notice: Notice) -> None:
        hooks: dict[type[Notice], Sequence[Callable[..., object]]] = {
            DeliveredNotice: self.delivered,
            RejectedNotice: self.rejected,
            PausedNotice: self.paused,
        }
        for hook in hooks[type(notice)]:
            self._guarded(hook, notice)

    def _guarded(self, hook: Callable[..., object], *arguments: object) -> object:
        """Call a hook and return what it returns; log what it raises."""
        try:
            return hook(*arguments)
        except BaseException as error:  # noqa: BLE001 - a hook is anybody's code
            # The message isn't logged, since it may contain personal data.
            self._throttled_log.warning(
                "hook.raised", error=type(error).__name__, remedy="fix the hook"
            )
            return None


def _weight(notice: Notice) -> int:
    return 1 if isinstance(notice, PausedNotice) else 1 + len(notice.event_ids)


def rejected_notices(letters: Sequence[DeadLetter]) -> list[RejectedNotice]:
    """Return a notice for each reason among some new dead letters of one destination."""
    reasons: dict[tuple[str, str], list[DeadLetter]] = {}
    for letter in letters:
        reasons.setdefault((letter.code, letter.remedy), []).append(letter)
    return [
        RejectedNotice(
            group[0].destination,
            tuple(decoded_event_id(letter.event) for letter in group),
            code,
            remedy,
            group[0].died_at,
        )
        for (code, remedy), group in reasons.items()
    ]
