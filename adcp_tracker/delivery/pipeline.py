"""One tracker's journal, buffer and flusher, and their life in the host's process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

import attrs

from adcp_tracker import _development, _process
from adcp_tracker._development import make_reporter
from adcp_tracker._logging import logger
from adcp_tracker.delivery.flusher import Flusher, stats_of
from adcp_tracker.destinations.validation import is_remote
from adcp_tracker.exceptions import ConfigurationError
from adcp_tracker.journal.buffer import WriteBuffer
from adcp_tracker.journal.writer import segment_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from adcp_tracker.delivery.stats import Stats
    from adcp_tracker.delivery.uploader import Uploader, UploaderConfig
    from adcp_tracker.outbox.storage import Store
    from adcp_tracker.settings import Settings

Result = TypeVar("Result")

_ROLL_SECONDS: Final = 300.0
_CLAIM_SECONDS: Final = 0.05
_POLL_SECONDS: Final = 0.02
_PAUSE_PER_LOOK: Final = 9  # so that counting a long queue takes a tenth of a core at most


class Pipeline:
    """Builds the journal, the buffer and the flusher; starts, flushes and stops them.

    It also holds the fork, exit and SIGTERM hooks that :mod:`adcp_tracker._process` calls.

    Args:
        settings: The tracker's settings.
        config: What an uploader needs.
        maintenance: Called about once per flush interval, in every process.
        leader_maintenance: Called as often, in the process that uploads.
    """

    def __init__(
        self,
        settings: Settings,
        config: UploaderConfig,
        *,
        maintenance: Iterable[Callable[[], None]],
        leader_maintenance: Iterable[Callable[[], None]],
    ) -> None:
        self.store = config.store
        self._config = config
        self.shutdown_timeout = settings.shutdown_timeout
        self._settings = settings
        is_relay = config.relay_to is not None
        self._has_destinations = (bool(config.destinations) or is_relay) and settings.has_store
        self.is_remote = is_relay or any(map(is_remote, config.destinations))
        self.reporter = make_reporter(config.destinations)
        self.clock = config.clock
        self._hooks = config.hooks
        self._maintenance = tuple(maintenance)
        self._leader_maintenance = tuple(leader_maintenance)
        is_synchronous = settings.durability == "power"
        known = config.names
        self.journal = config.store.journal_writer(
            max_bytes=settings.max_bytes,
            segment_bytes=segment_bytes(settings.max_bytes),
            synchronous=is_synchronous,
            on_begin=known.add_own_synced if is_synchronous else known.add_own,
            on_growth=self._on_journal_growth,
            on_fork=self._after_untracked_fork,
            clock=config.clock,
        )
        self.buffer = WriteBuffer(
            self.journal,
            config.clock,
            raise_when_full=settings.when_full == "raise",
            on_drop=settings.on_drop,
            retries=not self._wants_uploads and _process.threads_enabled(),
        )
        self.flusher = Flusher(config, self._run_maintenance)
        _import_dependencies(uploads=self._uploads)
        # Nothing to start where this process doesn't upload, or where the thread runs.
        self.started = not self._uploads
        self._closed = self._is_retired = False
        self._failed_inserts = 0
        _process.register(self, sigterm=settings.handle_sigterm)
        if settings.uploader == "thread" and not _process.threads_enabled():
            logger.warning(
                "flusher.no_threads",
                uploader="external",
                remedy="start uWSGI with --enable-threads, or run adcp-tracker worker",
            )

    def start(self) -> None:
        """Start the flusher and register the process hooks."""
        self.journal.check_fork()
        self._closed = False
        self._register_hooks()
        if self._uploads:
            try:
                self.flusher.start()
            except RuntimeError as error:  # the interpreter is shutting down: it is on disk
                logger.warning("flusher.not_started", error=str(error))
                return
            self._register_hooks()  # again, in case another thread closed it in between
        self.started = True

    def flush(self, timeout: float) -> Stats:
        """Deliver pending events and wait for them, at most `timeout` seconds."""
        self.start()
        self.buffer.flush()
        if self._uploads:
            self.flusher.flush(timeout)
        elif self._has_destinations and _development.capture_for(remote=self.is_remote) is None:
            self._await_worker(timeout)
        return self.stats()

    def stats(self, *, live: bool = True) -> Stats:
        """Return the stats of the queue; never restart a closed flusher for it."""
        self.journal.check_fork()
        if not live:
            return self._add_local_counts(self.flusher.last_stats())
        found = None
        if self._uploads and not (self._closed or self.flusher.is_running):
            found = self._try_run(stats_of, _CLAIM_SECONDS)
        return self._add_local_counts(found or self.flusher.stats())

    def close(self, timeout: float | None) -> Stats:
        """Deliver what can be delivered within `timeout` seconds, and end the flusher."""
        if not self._uploads:  # nothing to wait for here
            return self.stop(timeout)
        seconds = self.shutdown_timeout if timeout is None else timeout
        deadline = self.clock.monotonic() + seconds
        self._close_segment()
        left = self.flush(seconds)
        self._shut_down(max(deadline - self.clock.monotonic(), 0.0))
        return left

    def stop(self, timeout: float | None) -> Stats:
        """End the flusher after the request in flight; the rest stays on disk."""
        self._close_segment()
        self._shut_down(self.shutdown_timeout if timeout is None else timeout)
        return self._add_local_counts(self.flusher.last_stats())

    def run(self, command: Callable[[Uploader], Result], timeout: float) -> Result:
        """Take the lead, and run `command` in the thread that uploads.

        Raises:
            ConfigurationError: If this process can't read the queue, or run a thread.
            TimeoutError: If another process did not hand over in time.
        """
        if not self._settings.has_store:
            raise ConfigurationError(
                f"queue: expected the URL of {self.store.location}, got none; this process only "
                f"inserts events, so set queue= or use the command line"
            )
        if not _process.threads_enabled():
            raise ConfigurationError(
                "threads: this uWSGI process runs without threads. Start it with "
                "--enable-threads, or use the command line."
            )
        self.start()
        try:
            return self.flusher.run(command, timeout)
        finally:
            if not self._uploads:
                self.flusher.stop(timeout)

    def run_on_all(self, command: Callable[[Uploader], Result], timeout: float) -> list[Result]:
        """Run `command` for each queue of the store, one after the other.

        Raises:
            ConfigurationError: If no thread can run in this process.
            TimeoutError: If another process did not hand over in time.
        """
        shards = self.shards()
        if self._config.relay_to is None and len(shards) == 1:
            return [self.run(command, timeout)]
        return [self._run_on(shard, command, timeout) for shard in shards]

    def shards(self) -> Sequence[Store]:
        """Return the queues that events are delivered from."""
        return (self._config.relay_to or self.store).shards()

    def ship_all(self, timeout: float) -> tuple[str, ...]:
        """Wait until every relay has shipped its events.

        Returns:
            The machines that could not be asked.

        Raises:
            TimeoutError: If this one can't ship in time.
        """
        store = self._config.relay_to
        if store is None and not self.store.is_shared:
            return ()
        from adcp_tracker.delivery.relay import await_relays  # noqa: PLC0415 - rarely needed

        if store is not None and self.flush(timeout).pending:
            raise TimeoutError(
                f"{self.store.location}: expected to ship all events to {store.location} within "
                f"{timeout:g} s, and some are left; see that the database can be reached"
            )
        return await_relays(store or self.store, self.clock, timeout)

    @property
    def is_relay(self) -> bool:
        """Whether events are shipped to a database, and delivered from there."""
        return self._config.relay_to is not None

    def _run_on(
        self, shard: Store, command: Callable[[Uploader], Result], timeout: float
    ) -> Result:
        # Maintenance is left to the processes that deliver.
        flusher = Flusher(attrs.evolve(self._config, store=shard, relay_to=None), lambda: None)
        try:
            return flusher.run(command, timeout)
        finally:
            flusher.stop(timeout)

    def before_fork(self) -> None:
        """Close the database, which must not be open across a fork; freeze the journal."""
        self.journal.check_fork()
        self.flusher.pause_for_fork()
        self.journal.freeze()

    def after_fork_in_parent(self) -> None:
        """Resume in the parent after a fork."""
        self.journal.unfreeze()
        self.flusher.resume_after_fork()

    def after_fork_in_child(self) -> None:
        """Reset in the child after a fork."""
        self.buffer.reset_after_fork()
        self.flusher.reset_after_fork()
        self._hooks.reset_after_fork()
        self._failed_inserts = 0
        self.started = False

    def request_flush(self) -> None:
        """Deliver pending events soon, without waiting for it."""
        self.flusher.wake()

    def interrupt(self) -> None:
        """End the flusher without another request, and don't wait for it."""
        self.flusher.interrupt()

    def retire(self) -> None:
        """End the flusher once everything is delivered: nobody uses the tracker anymore."""
        self._is_retired = True
        self.flusher.retire()

    def on_exit(self, timeout: float | None = None) -> None:
        """Deliver pending events within `timeout` or ``shutdown_timeout`` seconds."""
        self.journal.check_fork()
        self.buffer.flush()
        if self.flusher.is_running and timeout is not None and timeout <= 0.0:
            self.stop(0.0)
        elif self.flusher.is_running and self._try_become_leader():
            self.close(timeout)
        self.buffer.give_up()
        self.journal.roll()

    def _after_untracked_fork(self) -> None:
        """Reset in a child whose fork did not run the hooks here.

        The tracker was closed then, or the fork did not run Python's hooks at all. Such an
        interpreter must not start threads, and another process uploads for it. uWSGI is the
        exception: it looks after its interpreters itself, and its master never uploads.
        """
        self.after_fork_in_child()
        if not (_process.running_under_uwsgi() or _process.fork_hooks_ran()):
            self.started = True

    def _register_hooks(self) -> None:
        """Register the fork and exit hooks. Safe to call again after a close."""
        _process.register(self, sigterm=False)

    def _close_segment(self) -> None:
        self.journal.check_fork()
        self.buffer.flush()
        self.journal.roll()

    def _shut_down(self, timeout: float) -> None:
        """End the flusher, and unregister the process hooks once no thread is left."""
        deadline = self.clock.monotonic() + timeout
        self.flusher.stop(timeout)
        self._hooks.close(max(deadline - self.clock.monotonic(), 0.0))
        if self.reporter is not None:
            self.reporter.send()
        self.started = False
        self._closed = True
        _process.unregister(self)
        # The thread is still ending, another one was started, or the disk still refuses events.
        if not self.flusher.has_ended or self.buffer.in_memory:
            self._register_hooks()

    def count_failed_insert(self) -> None:
        """Count an event that couldn't be inserted in the application's transaction."""
        self._failed_inserts += 1

    def _add_local_counts(self, stats: Stats) -> Stats:
        """Add what only this process knows."""
        return attrs.evolve(
            stats,
            in_memory=self.buffer.in_memory,
            failed_inserts=self._failed_inserts,
            overdue=self.flusher.overdue,
        )

    @property
    def _uploads(self) -> bool:
        """Whether a thread of this process may upload; else an external worker does."""
        if _development.capture_for(remote=self.is_remote) is not None:
            return False
        return self._wants_uploads and _process.threads_enabled()

    @property
    def _wants_uploads(self) -> bool:
        return self._settings.uploader == "thread" and self._has_destinations

    def _try_become_leader(self) -> bool:
        """Return whether this process uploads; become the one that does if there is none."""
        self.flusher.wake()
        deadline = self.clock.monotonic() + _CLAIM_SECONDS
        while not self.flusher.is_leading and self.clock.monotonic() < deadline:
            self.clock.sleep(_POLL_SECONDS)
        return self.flusher.is_leading

    def _await_worker(self, timeout: float) -> None:
        """Wait until another process has delivered everything that is pending now."""
        asked_at, deadline = self.clock.now(), self.clock.monotonic() + timeout
        while (began := self.clock.monotonic()) < deadline:
            stats = self.flusher.stats()
            if stats.taken_at > asked_at and not stats.pending:
                return
            looked = self.clock.monotonic()
            pause = max(_POLL_SECONDS, _PAUSE_PER_LOOK * (looked - began))
            self.clock.sleep(min(pause, max(deadline - looked, 0.0)))

    def _try_run(self, command: Callable[[Uploader], Result], timeout: float) -> Result | None:
        try:
            return self.run(command, timeout)
        except (TimeoutError, OSError, RuntimeError):
            return None

    def _on_journal_growth(self) -> None:
        # A thread that hasn't started yet looks by itself once it runs.
        if self.flusher.is_running:
            self.flusher.wake_soon()

    def _run_maintenance(self) -> None:
        self.buffer.flush()
        self.journal.roll(0.0 if self._is_retired else _ROLL_SECONDS)
        if self.flusher.is_leading:
            for task in self._leader_maintenance:
                task()
        for task in self._maintenance:
            task()
        if self.reporter is not None:
            self.reporter.send()


def _import_dependencies(*, uploads: bool) -> None:
    """Import modules now, in the caller's thread, rather than later.

    The children of a fork share it, and a fork in the middle of a thread's import would leave
    the child waiting for it forever.
    """
    import structlog  # noqa: F401, PLC0415 - see above

    if uploads:
        import adcp_tracker.outbox._diskcache  # noqa: F401, PLC0415 - see above
