"""What a tracker does with what waits on disk: deliver it, count it, and see it off."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

import attrs

from adcp_tracker import _process
from adcp_tracker._logging import logger
from adcp_tracker.delivery import commands
from adcp_tracker.delivery.stats import published
from adcp_tracker.delivery.uploader import Leadership
from adcp_tracker.exceptions import ConfigurationError
from adcp_tracker.outbox.dead_letters import DeadLetter, DeadLetters

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from types import TracebackType

    from typing_extensions import Self

    from adcp_tracker._clock import Clock
    from adcp_tracker.delivery.commands import Replayed
    from adcp_tracker.delivery.flusher import Flusher
    from adcp_tracker.delivery.stats import Stats
    from adcp_tracker.destinations.base import Destination
    from adcp_tracker.journal.buffer import WriteBuffer
    from adcp_tracker.journal.encryption import Encryption
    from adcp_tracker.journal.files import QueueDirectory
    from adcp_tracker.journal.writer import JournalWriter
    from adcp_tracker.privacy.context_store import ContextStore
    from adcp_tracker.settings import Settings

Result = TypeVar("Result")

_ROLL_SECONDS: Final = 300.0
_CLAIM_SECONDS: Final = 0.05
_POLL_SECONDS: Final = 0.02


class DeliveryMethods:
    """Delivers what a tracker has taken, and lives in somebody else's process meanwhile."""

    settings: Settings
    destinations: tuple[Destination, ...]
    shutdown_timeout: float
    _clock: Clock
    _directory: QueueDirectory
    _buffer: WriteBuffer
    _journal: JournalWriter
    _encryption: Encryption | None
    _flusher: Flusher
    _memory: ContextStore
    _started: bool
    _closed: bool

    def start(self) -> None:
        """Start to deliver what waits on disk; the first event does it by itself."""
        self._journal.check_fork()
        self._closed = False
        self._live()
        if self._uploads:
            try:
                self._flusher.start()
            except RuntimeError as error:  # the interpreter is shutting down: it is on disk
                logger.warning("flusher.not_started", error=str(error))
                return
            self._live()  # again, if somebody has closed it in between
        self._started = True

    def flush(self, timeout: float = 10.0) -> Stats:
        """Deliver what waits, and wait for it.

        Where another process uploads, it is asked to step down for this one.

        Args:
            timeout: How long to wait at most, in seconds.

        Returns:
            The books; ``.pending`` is what is left.
        """
        self.start()
        self._buffer.flush()
        if self._uploads:
            self._flusher.flush(timeout)
        elif self.destinations:
            self._await_worker(timeout)
        return self.stats()

    async def aflush(self, timeout: float = 10.0) -> Stats:
        """Do what :meth:`flush` does, without holding up the event loop."""
        import asyncio  # noqa: PLC0415 - slow to import, and rarely needed

        return await asyncio.to_thread(self.flush, timeout)

    def stats(self) -> Stats:
        """Return the books of this directory, all processes together.

        A tracker that was closed stays so: its books are those that were last written.
        """
        self._journal.check_fork()
        if self._uploads and not (self._closed or self._flusher.is_running):
            found = self._run(Leadership.books, _CLAIM_SECONDS) or self._flusher.stats()
        else:
            found = self._flusher.stats()
        return self._with_own(found)

    def close(self, timeout: float | None = None) -> Stats:
        """Deliver what can be delivered in time, and end the thread; the rest stays on disk.

        Args:
            timeout: How long to take at most, in seconds; left out, the tracker's
                ``shutdown_timeout``.

        Returns:
            The books; ``.pending`` is what is left.
        """
        if not self._uploads:  # there is nothing to wait for here
            return self.stop(timeout)
        seconds = self.shutdown_timeout if timeout is None else timeout
        deadline = self._clock.monotonic() + seconds
        self._journal.check_fork()
        self._buffer.flush()
        self._journal.roll()
        left = self.flush(seconds)
        self._end(max(deadline - self._clock.monotonic(), 0.0))
        return left

    def stop(self, timeout: float | None = None) -> Stats:
        """End the thread after the request that is on its way; the rest stays on disk.

        Args:
            timeout: How long that request may take, in seconds; left out, the tracker's
                ``shutdown_timeout``.

        Returns:
            The books as the uploading process last wrote them.
        """
        self._journal.check_fork()
        self._buffer.flush()
        self._journal.roll()
        self._end(self.shutdown_timeout if timeout is None else timeout)
        return self._with_own(published(self._directory))

    async def aclose(self, timeout: float | None = None) -> Stats:
        """Do what :meth:`close` does, without holding up the event loop."""
        import asyncio  # noqa: PLC0415 - slow to import, and rarely needed

        return await asyncio.to_thread(self.close, timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def dead_letters(self) -> list[DeadLetter]:
        """Return every event that was set aside, the oldest first."""
        return list(DeadLetters(self._directory, self._encryption))

    def replay(self, ids: Collection[str], timeout: float = 10.0) -> Replayed:
        """Send dead letters again.

        Args:
            ids: Which.
            timeout: How long to wait for another process to hand over, in seconds.

        Raises:
            TimeoutError: If it did not.
            OSError: If the disk does not take them; then they stay where they are.
        """
        return self._errand(
            lambda leadership: commands.replay(leadership, self._journal, ids), timeout
        )

    def drop(self, ids: Collection[str], timeout: float = 10.0) -> int:
        """Give dead letters up for good, and return how many there were.

        Args:
            ids: Which.
            timeout: How long to wait for another process to hand over, in seconds.

        Raises:
            TimeoutError: If it did not.
        """
        return self._errand(lambda leadership: commands.drop(leadership, ids), timeout)

    def retire(self, destination: str, timeout: float = 10.0) -> bool:
        """Forget a destination that is not configured any more, and what waits for it.

        Args:
            destination: Its name.
            timeout: How long to wait for another process to hand over, in seconds.

        Returns:
            Whether it was known and is none of this tracker's.

        Raises:
            TimeoutError: If it did not.
        """
        return self._errand(lambda leadership: commands.retire(leadership, destination), timeout)

    def before_fork(self) -> None:
        """Close the database, which must not be open across a fork, and hold the journal."""
        self._journal.check_fork()
        self._flusher.park()
        self._journal.freeze()

    def after_fork_in_parent(self) -> None:
        """Go on."""
        self._journal.unfreeze()
        self._flusher.unpark()

    def after_fork_in_child(self) -> None:
        """Begin anew, as a process of its own."""
        self._buffer.reset_after_fork()
        self._flusher.reset_after_fork()
        self._started = False

    def after_unseen_fork(self) -> None:
        """Let go of what is the parent's, in a child of a fork that this tracker was not told of.

        It was closed then, or Python was not told either.

        Such an interpreter must not start threads, and another process uploads for it;
        but uWSGI sees to its interpreters by itself, and its master never uploads.
        """
        self.after_fork_in_child()
        if not (_process.is_under_uwsgi() or _process.was_told_of_this_process()):
            self._started = True

    def hurry(self) -> None:
        """Deliver what there is, without waiting for it."""
        self._flusher.wake()

    def finish(self) -> None:
        """Deliver what there is, within ``shutdown_timeout`` seconds."""
        self._journal.check_fork()
        self._buffer.flush()
        if self._flusher.is_running and self._leads_soon():
            self.close()
        self._journal.roll()

    def _live(self) -> None:
        """Be told of forks and of the end; again, if it was closed meanwhile."""
        _process.watch(self, sigterm=False)

    def _end(self, timeout: float) -> None:
        """End the thread, and be told nothing any more, once none is left that matters."""
        self._flusher.stop(timeout)
        self._started = False
        self._closed = True
        _process.forget(self)
        if not self._flusher.has_ended:  # it takes its time, or another was started meanwhile
            self._live()

    def _with_own(self, stats: Stats) -> Stats:
        """Add to the books what no other process can know of."""
        in_memory = self._buffer.in_memory
        return attrs.evolve(stats, in_memory=in_memory) if in_memory else stats

    @property
    def _uploads(self) -> bool:
        """Whether a thread of this process may upload; else an external worker does."""
        wanted = self.settings.uploader == "thread" and bool(self.destinations)
        return wanted and _process.threads_run()

    def _leads_soon(self) -> bool:
        """Say whether this process uploads; if none does, let it."""
        self._flusher.wake()
        deadline = self._clock.monotonic() + _CLAIM_SECONDS
        while not self._flusher.is_leading and self._clock.monotonic() < deadline:
            self._clock.sleep(_POLL_SECONDS)
        return self._flusher.is_leading

    def _await_worker(self, timeout: float) -> None:
        """Wait until another process has delivered everything there is now."""
        asked_at, deadline = self._clock.now(), self._clock.monotonic() + timeout
        while self._clock.monotonic() < deadline:
            stats = self._flusher.stats()
            if stats.taken_at > asked_at and not stats.pending:
                return
            self._clock.sleep(_POLL_SECONDS)

    def _errand(self, errand: Callable[[Leadership], Result], timeout: float) -> Result:
        """Do something with the queue, and leave uploading to whom it belongs."""
        if not _process.threads_run():
            raise ConfigurationError(
                "threads: expected them to run in this process, and they stand still; start "
                "uWSGI with --enable-threads, or use the command line"
            )
        self.start()
        try:
            return self._flusher.run(errand, timeout)
        finally:
            if not self._uploads:
                self._flusher.stop(timeout)

    def _run(self, errand: Callable[[Leadership], Result], timeout: float) -> Result | None:
        try:
            return self._errand(errand, timeout)
        except (TimeoutError, OSError, RuntimeError):
            return None

    def _grown(self) -> None:
        # A thread that is not there yet looks by itself once it is.
        if self._flusher.is_running:
            self._flusher.grown()

    def _keep_house(self) -> None:
        self._buffer.flush()
        self._journal.roll(_ROLL_SECONDS)
        if self._flusher.is_leading:
            self._memory.sweep()
