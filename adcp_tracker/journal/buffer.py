"""WriteBuffer: retries in memory what the disk refused; counts drops.

A disk that fails must not break a checkout, and an event that cannot be kept must not
vanish unseen. So what the disk refuses waits in a bounded piece of memory and is tried again,
and dropped events are counted by reason, in records of the journal.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple, Protocol

import orjson

from adcp_tracker._logging import ThrottledLogger
from adcp_tracker._platform import reraise_interruption
from adcp_tracker.exceptions import QueueFullError
from adcp_tracker.journal._syscalls import FsyncError
from adcp_tracker.journal.records import DROPPED, ENVELOPED, EVENT, with_envelope

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from adcp_tracker._platform import Clock
    from adcp_tracker.journal.records import Record

_MEMORY_BYTES = 16 * 1024 * 1024
_RETRY_SECONDS = 1.0
_REMEDY = "check the queue's volume"


class _Waiting(NamedTuple):
    """A record that waits in memory, encrypted if the queue is.

    Attributes:
        body: Its body.
        accepted_ms: Its time.
        kind: Its kind.
    """

    body: bytes
    accepted_ms: int
    kind: bytes


class Journal(Protocol):
    """Where this process's records go."""

    def append(self, body: bytes, accepted_ms: int) -> None:
        """Make a plain event durable.

        Raises:
            OSError: If that fails.
        """

    def append_record(self, body: bytes, accepted_ms: int, kind: bytes) -> None:
        """Make a record of any kind durable; raises like :meth:`append`."""

    def append_reserved(self, body: bytes, accepted_ms: int, kind: bytes) -> None:
        """Make a small, rare record durable even if the queue is full."""

    def encode_for_disk(self, body: bytes, accepted_ms: int, kind: bytes) -> tuple[bytes, bytes]:
        """Return a record's body and kind as they may be kept."""

    def decode(self, body: bytes, accepted_ms: int, kind: bytes) -> Record:
        """Return the record of what is kept."""

    def roll(self, older_than: float = 0.0) -> None:
        """Close what is being written, if it is older than so many seconds."""

    def freeze(self) -> None:
        """Open and close nothing until :meth:`unfreeze`, as across a fork."""

    def unfreeze(self) -> None:
        """Resume, in the thread that called :meth:`freeze`."""

    def close_inherited(self) -> None:
        """Close what belongs to the parent, in a child made by a fork."""

    def check_fork(self) -> None:
        """Reset in a child whose fork did not run Python's hooks."""


class WriteBuffer:
    """Writes events to the journal, or keeps them in memory until it can.

    Args:
        journal: This process's journal.
        clock: Where the time is read.
        raise_when_full: Raise instead of dropping when the queue has no room.
        on_drop: Called with the reason of each dropped event; what it raises is logged.
        memory_bytes: How much may wait in memory while the disk refuses everything.
        retries: Write what waits from a thread of its own. Without it, that takes another event
            or a call of :meth:`flush`.

    Attributes:
        waiting: Records that wait in memory until the disk takes them.
        drop_counts: Dropped events by reason, until a record counts them.
    """

    def __init__(  # noqa: PLR0913 - options, each by its name
        self,
        journal: Journal,
        clock: Clock,
        *,
        raise_when_full: bool = False,
        on_drop: Callable[[str], None] | None = None,
        memory_bytes: int = _MEMORY_BYTES,
        retries: bool = False,
    ) -> None:
        self._journal = journal
        self._clock = clock
        self._raise_when_full = raise_when_full
        self._on_drop = on_drop
        self._memory_bytes = memory_bytes
        self._retries = retries
        self.reset()

    def reset(self) -> None:
        """Reset to the state of a new process."""
        self._lock = threading.RLock()
        self.waiting: deque[_Waiting] = deque()
        self._waiting_bytes = 0
        self._is_retrying = False
        self.drop_counts: Counter[str] = Counter()
        self._written_at = self._clock.monotonic()
        self._throttled_log = ThrottledLogger(self._clock)

    @property
    def in_memory(self) -> int:
        """How many events wait in memory until the disk takes them."""
        return len(self.waiting)

    def append(self, event: bytes, accepted_ms: int) -> None:
        """Write a plain event.

        Args:
            event: Its JSON.
            accepted_ms: When it was accepted, in milliseconds since the epoch.

        Raises:
            QueueFullError: If the queue is full, and only with ``raise_when_full``.
        """
        try:
            self._journal.append(event, accepted_ms)
        except OSError as error:
            self.keep(error, event, accepted_ms)
        if self.waiting or self.drop_counts:
            self.flush_soon()

    def append_enveloped(
        self, envelope: Mapping[str, object], event: bytes, accepted_ms: int
    ) -> None:
        """Write an event with an envelope; raises like :meth:`append`."""
        body = with_envelope(envelope, event)
        try:
            self._journal.append_record(body, accepted_ms, ENVELOPED)
        except OSError as error:
            self.keep(error, body, accepted_ms, ENVELOPED)

    def count_dropped(self, reason: str, count: int = 1) -> None:
        """Count dropped events."""
        self._journal.check_fork()
        with self._lock:
            self.drop_counts[reason] += count
            self._retry_soon()
        if self._on_drop is not None:
            for _ in range(count):
                self._call_on_drop(self._on_drop, reason)

    def flush(self) -> None:
        """Write waiting events and drop counts to disk."""
        self._journal.check_fork()
        with self._lock:
            self._write_waiting()
            self._write_drop_counts()

    def give_up(self) -> None:
        """Count what the disk still refuses as dropped, when the process ends."""
        with self._lock:
            left = len(self.waiting)
            self.waiting.clear()
            self._waiting_bytes = 0
        if left:
            self.count_dropped("disk", left)
        self.flush()

    def erase(self, is_unwanted: Callable[[bytes], bool]) -> int:
        """Drop events from memory that must be erased.

        Args:
            is_unwanted: Returns whether an event must be erased, by its JSON.

        Returns:
            How many there were.
        """
        self._journal.check_fork()
        with self._lock:
            before = self.in_memory
            self.waiting = deque(
                each
                for each in self.waiting
                if not is_unwanted(self._journal.decode(*each).unpack()[1])
            )
            self._waiting_bytes = sum(len(each.body) for each in self.waiting)
            gone = before - self.in_memory  # the others are counted where they are, on disk
        if gone:
            self.count_dropped("erased", gone)
        return gone

    def reset_after_fork(self) -> None:
        """Reset in the child of a fork."""
        self.reset()
        self._journal.close_inherited()

    def _call_on_drop(self, on_drop: Callable[[str], None], reason: str) -> None:
        try:
            on_drop(reason)
        except Exception as error:  # noqa: BLE001 - nothing may break a checkout
            reraise_interruption(error)
            # Not its message: it is the host's code, and may contain anything.
            self._throttled_log.warning(
                "on_drop.raised", error=type(error).__name__, remedy="fix the callback"
            )

    def flush_soon(self) -> None:
        """Flush, if the last time is more than a second ago."""
        if self._clock.monotonic() - self._written_at >= _RETRY_SECONDS:
            self.flush()

    def keep(self, error: OSError, body: bytes, accepted_ms: int, kind: bytes = EVENT) -> None:
        """Keep a record in memory that the journal did not take, or drop it if there is no room.

        Args:
            error: What the journal raised.
            body: The record's body.
            accepted_ms: When it was accepted.
            kind: The record's kind.

        Raises:
            QueueFullError: If the queue is full, and only with ``raise_when_full``.
        """
        reraise_interruption(error)
        if isinstance(error, QueueFullError) and self._raise_when_full:
            raise error
        # First what becomes of the event: without a descriptor left, even a log may fail.
        if isinstance(error, QueueFullError):
            self.count_dropped("full")
            self._throttled_log.warning("event.dropped", reason="full", error=str(error))
            return
        body, kind = self._journal.encode_for_disk(body, accepted_ms, kind)
        # What the disk did not confirm is in its segment all the same, and is sent from there.
        is_kept = self._keep(_Waiting(body, accepted_ms, kind)) or isinstance(error, FsyncError)
        if not is_kept:
            self.count_dropped("disk")
        self._throttled_log.warning("journal.not_written", error=str(error), remedy=_REMEDY)
        if not is_kept:
            self._throttled_log.warning("event.dropped", reason="disk", error=str(error))

    def _keep(self, one: _Waiting) -> bool:
        with self._lock:
            if self._waiting_bytes + len(one.body) > self._memory_bytes:
                return False
            self.waiting.append(one)
            self._waiting_bytes += len(one.body)
            self._retry_soon()
            return True

    def _retry_soon(self) -> None:
        """Have what waits written soon, also if no other event comes."""
        if not self._retries or self._is_retrying:
            return
        thread = threading.Thread(target=self._retry, name="adcp-retry", daemon=True)
        with suppress(RuntimeError):  # the interpreter is shutting down, and writes what waits
            thread.start()
            self._is_retrying = True

    def _retry(self) -> None:
        while True:
            threading.Event().wait(_RETRY_SECONDS)
            with self._lock:
                self.flush()
                if not (self.waiting or self.drop_counts):
                    self._is_retrying = False
                    return

    def _write_waiting(self) -> None:
        while self.waiting:
            one = self.waiting[0]
            try:
                self._journal.append_record(*one)
            except OSError as error:
                reraise_interruption(error)
                self._written_at = self._clock.monotonic()
                return
            self.waiting.popleft()
            self._waiting_bytes -= len(one.body)

    def _write_drop_counts(self) -> None:
        """Write the counts of dropped events as a record of their own."""
        self._written_at = self._clock.monotonic()
        if not self.drop_counts:
            return
        counts, self.drop_counts = self.drop_counts, Counter()
        try:
            self._journal.append_reserved(
                orjson.dumps(counts), int(self._clock.now() * 1000), DROPPED
            )
        except FsyncError:
            return  # it is in its segment; a second record would be counted twice
        except OSError as error:
            self.drop_counts.update(counts)
            reraise_interruption(error)
