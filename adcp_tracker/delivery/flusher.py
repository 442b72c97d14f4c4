"""The flusher: one background thread per process.

The thread that gets the leader lock uploads, until it is stopped or asked to step down. In
the other processes, the thread sleeps. Commands on the queue run in the leader's thread.
"""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from adcp_tracker._logging import ThrottledLogger, logger
from adcp_tracker.delivery.stats import StatsReader, write_stats
from adcp_tracker.delivery.uploader import Uploader
from adcp_tracker.exceptions import AdcpTrackerError, LeadLostError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from adcp_tracker.delivery.relay import Relay
    from adcp_tracker.delivery.stats import Stats
    from adcp_tracker.delivery.uploader import UploaderConfig

    Result = TypeVar("Result")
    Leader = Uploader | Relay


FORK_WAIT_SECONDS = 5.0
_POLLS = 500


@attrs.define(eq=False)
class _Fork:
    """A pending fork: which threads have paused for it, and whether it is over."""

    over: threading.Event = attrs.field(factory=threading.Event)
    changed: threading.Event = attrs.field(factory=threading.Event)
    paused: set[threading.Thread] = attrs.field(factory=set)


class ForkBarrier:
    """Pauses threads while their process forks.

    Args:
        nudge: Has them look whether they are to.
    """

    def __init__(self, nudge: Callable[[], None]) -> None:
        self._wake = nudge
        self._fork: _Fork | None = None

    def begin(self, threads: Iterable[threading.Thread]) -> None:
        """Wait until each thread has paused or ended, five seconds at most."""
        self._fork = fork = _Fork()
        waited_for = list(threads)
        for _ in range(_POLLS):
            if not any(
                is_other_live_thread(each) and each not in fork.paused for each in waited_for
            ):
                break
            self._wake()
            fork.changed.wait(FORK_WAIT_SECONDS / _POLLS)
            fork.changed.clear()

    def end(self) -> None:
        """Resume the threads."""
        fork, self._fork = self._fork, None
        if fork is not None:
            fork.over.set()

    def wait(self, leader: Leader | None = None) -> None:
        """Pause if the process is about to fork, once for each fork.

        Args:
            leader: Its state is closed meanwhile.
        """
        fork, thread = self._fork, threading.current_thread()
        if fork is None or thread in fork.paused:
            return
        if leader is not None:
            leader.close_state()
        fork.paused.add(thread)
        fork.changed.set()
        fork.over.wait(FORK_WAIT_SECONDS)
        if leader is not None:
            leader.reopen_state()


def stats_of(leader: Leader) -> Stats:
    """Return the counts of an uploader or a relay."""
    return leader.stats()


def is_other_live_thread(thread: threading.Thread) -> bool:
    """Return whether a thread is alive and isn't the current one."""
    return thread is not threading.current_thread() and thread.is_alive()


class _WakeUp:
    """Wakes one thread. Unlike an event's, its ``set`` holds no lock that could be left behind.

    A signal handler may raise in the middle of it, as Celery's soft time limit does.
    """

    def __init__(self) -> None:
        self._asleep = threading.Lock()
        self._asleep.acquire()

    def set(self) -> None:
        """Wake the thread, now or when it waits next."""
        try:
            self._asleep.release()
        except RuntimeError:  # it is awake already
            return

    def wait(self, timeout: float) -> None:
        """Wait until somebody wakes this thread, at most `timeout` seconds."""
        self._asleep.acquire(timeout=timeout)


_HANDOVER_SECONDS = 0.2
_BUSY_POLL_SECONDS = 0.05
_GATHER_SECONDS = 0.1
_BEHIND_INTERVALS = 2
_COUNTING_SHARE = 20
_LONG_SECONDS = 0.02
_ASKED_TIMES = 10
_LATE_SECONDS = 1.0


@attrs.define(eq=False)
class _Flush:
    """A caller that waits until everything is delivered, or can't be in time."""

    deadline: float
    done: threading.Event = attrs.field(factory=threading.Event)


class Flusher:
    """Tries to take the leader lock, and uploads while it holds it.

    Args:
        config: What a leadership works with.
        maintenance: Called by the thread about once per idle interval, elected or not.
    """

    def __init__(self, config: UploaderConfig, maintenance: Callable[[], None]) -> None:
        self._config = config
        self._clock = config.clock
        self._maintenance = maintenance
        self.reset()

    def reset(self) -> None:
        """Reset to the state of a new process."""
        self._made_with: object = threading.Lock
        self._lock = threading.Lock()
        self._holders: list[int] = []
        self._wake = _WakeUp()
        self._stopping = self._retiring = False
        self._thread: threading.Thread | None = None
        self._ending: list[threading.Thread] = []
        self._leader_lock = self._config.store.leader_lock(self._clock)
        self._reader = StatsReader(self._config.store)
        relay_to = self._config.relay_to
        self._database = self._reader if relay_to is None else StatsReader(relay_to)
        self._commands: deque[Callable[[Any], None]] = deque()
        self._flushes: list[_Flush] = []
        self._fork_barrier = ForkBarrier(self._wake.set)
        self._throttled_log = ThrottledLogger(self._clock)
        self._maintained_at = 0.0
        self._due_at = 0.0
        self._published_at = 0.0
        self._counting_seconds = 0.0
        self._woken_at = -_GATHER_SECONDS

    @property
    def is_running(self) -> bool:
        """Whether the thread was started."""
        return self._thread is not None

    @property
    def has_ended(self) -> bool:
        """Whether no thread runs, not even one that is still ending."""
        return not any(is_other_live_thread(each) for each in self._threads())

    @property
    def overdue(self) -> float:
        """For how many seconds the thread should have gone on and has not."""
        late = 0.0 if self._thread is None else self._clock.monotonic() - self._due_at
        return late if late > _LATE_SECONDS else 0.0

    @property
    def is_leading(self) -> bool:
        """Whether this process uploads."""
        return self._leader_lock.is_held

    def start(self) -> None:
        """Start the thread unless it runs."""
        if self._made_with is not threading.Lock and self._thread is None:
            # gevent or eventlet has replaced locks since. Waiting for an old one would stop
            # every greenlet of the thread.
            self.reset()
        with self._lock:
            if self._thread is not None and self._thread.is_alive():
                return
            self._stopping = self._retiring = False
            # Set before it starts: if an error strikes in between, a thread that isn't known here
            # would run beside the one of the next start.
            thread = threading.Thread(target=self._run, name="adcp_tracker", daemon=True)
            self._thread = thread
            self._due_at = self._clock.monotonic()
            try:
                thread.start()
            except RuntimeError:
                self._thread = None
                raise

    def wake(self) -> None:
        """Wake the thread now."""
        self._wake.set()

    def wake_soon(self) -> None:
        """Wake the thread soon, after half a megabyte was written.

        Not at once each time, so that many events in a short time make few, large batches.
        """
        now = self._clock.monotonic()
        if now - self._woken_at >= _GATHER_SECONDS:
            self._woken_at = now
            self._wake.set()

    def flush(self, timeout: float) -> bool:
        """Wait until every destination has every event.

        Args:
            timeout: How long to wait at most, in seconds.

        Returns:
            Whether it has.
        """
        self.start()
        flush = _Flush(self._clock.monotonic() + timeout)
        self._flushes.append(flush)
        self._wake.set()
        try:
            flush.done.wait(timeout)
        finally:
            self._flushes.remove(flush)
        return self._run_or(lambda leader: leader.is_drained(), _HANDOVER_SECONDS, default=False)

    def run(self, command: Callable[[Any], Result], timeout: float) -> Result:
        """Run a command in the leader's thread.

        Args:
            command: What to do.
            timeout: How long to wait for another process to hand over, in seconds.

        Raises:
            TimeoutError: If another process did not hand over in time.
        """
        self.start()
        future: Future[Result] = Future()

        def do(uploader: Leader) -> None:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(command(uploader))
                except BaseException as error:  # noqa: BLE001 - handed to whoever waits
                    future.set_exception(error)

        self._commands.append(do)
        self._wake.set()
        try:
            return future.result(timeout)
        except FutureTimeoutError:
            if future.cancel():
                raise TimeoutError(
                    f"{self._config.store.location}: expected the process that uploads "
                    f"({self._reader.leader()}) to hand over within "
                    f"{timeout:g} s, and it did not; try again, or stop it"
                ) from None
            return future.result()

    def stats(self) -> Stats:
        """Return this leader's counts, or the published ones and what waits.

        If the queue's database does not answer, this doesn't wait for it long.
        """
        if not (self.is_leading or self.is_running):
            return self.last_stats()
        if not self.is_leading:
            published = self._reader.published()
            if published.stale:
                return published
            if published.leader:
                return self.last_stats()
        for _ in range(_ASKED_TIMES):
            found = self._run_or(stats_of, FORK_WAIT_SECONDS / _ASKED_TIMES, default=None)
            if found is not None:
                self._reader.note(found)
                return found
            reason = self._database.published().stale  # what the thread may wait for
            if reason:
                return attrs.evolve(self.last_stats(), stale=reason)
        return self.last_stats()

    def last_stats(self) -> Stats:
        """Return the published counts and what waits, without asking this leader."""
        return self._reader.current()

    def stop(self, timeout: float) -> None:
        """End the thread after the request in flight, if that ends in time."""
        thread = self._thread
        self._stopping = True
        self._wake.set()
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)
            if thread.is_alive():
                for destination in self._config.destinations:
                    destination.close()  # breaks the request off; its batch stays frozen
                thread.join(_HANDOVER_SECONDS)
        told = [each for each in (*self._ending, thread) if each is not None]
        self._ending = [each for each in told if each.is_alive()]
        if self._thread is thread:  # and not one that was started meanwhile
            self._thread = None
        for destination in self._config.destinations:
            destination.close()

    def interrupt(self) -> None:
        """Have the thread end without another request; break off the one in flight."""
        self._stopping = True
        self._wake.set()
        for destination in self._config.destinations:
            destination.close()

    def retire(self) -> None:
        """Have the thread end once everything is delivered. Takes no lock."""
        self._retiring = True
        self._wake.set()

    def pause_for_fork(self) -> None:
        """Pause the thread with the database closed, before a fork.

        None begins until :meth:`resume_after_fork`: a child that was forked in the middle of SQLite
        could never use it.
        """
        if self._lock.acquire(timeout=FORK_WAIT_SECONDS):
            self._holders.append(threading.get_ident())
        self._fork_barrier.begin(self._threads())

    def resume_after_fork(self) -> None:
        """Resume the thread in the parent of a fork."""
        self._fork_barrier.end()
        if threading.get_ident() in self._holders:
            self._holders.remove(threading.get_ident())
            self._lock.release()

    def reset_after_fork(self) -> None:
        """Reset in the child of a fork."""
        self._leader_lock.close_inherited()
        for destination in self._config.destinations:
            destination.after_fork()
        for reader in (self._reader, self._database):
            reader.reset_after_fork()
        self.reset()

    def _run_or(self, command: Callable[[Any], Result], timeout: float, default: Result) -> Result:
        try:
            return self.run(command, timeout)
        except (TimeoutError, AdcpTrackerError, OSError):
            return default

    def _threads(self) -> list[threading.Thread]:
        """Return the threads that may have the database open."""
        thread = self._thread
        return [*self._ending] if thread is None else [*self._ending, thread]

    def _should_end(self) -> bool:
        """Return whether this thread was stopped or replaced."""
        return self._stopping or self._thread is not threading.current_thread()

    def _run(self) -> None:
        while not self._should_end():
            self._run_safely(self._run_round)
        if self._retiring:  # close the segment: no other thread will
            self._run_safely(self._maintenance)

    def _run_round(self) -> None:
        """Lead, if this process can; else wait a while."""
        if self._run_safely(self._lead_if_acquired):
            return
        try:
            self._run_maintenance()
            self._fork_barrier.wait()
        finally:
            if self._retiring:  # another process uploads
                self._stopping = True
            else:
                self._sleep(min(self._config.idle_seconds, self._leader_lock.free_in))

    def _run_safely(self, do: Callable[[], object]) -> object:
        """Call `do` and return what it returns. Log every error and go on."""
        try:
            return do()
        except (AdcpTrackerError, OSError) as error:
            self._throttled_log.warning("flusher.failed", error=str(error))
        except BaseException as error:  # noqa: BLE001 - or nothing would be delivered any more
            # The message isn't logged, since it may contain personal data.
            self._throttled_log.warning("flusher.failed", reason=type(error).__name__)
        return False

    def _lead_if_acquired(self) -> bool:
        """Lead until there is a reason to stop; return whether it led at all."""
        if not self._acquire_lock():
            return False
        self._run_as_leader()
        return True

    def _acquire_lock(self) -> bool:
        self._config.store.prepare()
        if self._flushes or self._commands:
            return self._leader_lock.acquire(_HANDOVER_SECONDS)
        return not self._leader_lock.is_requested() and self._leader_lock.try_acquire()

    def _run_as_leader(self) -> None:
        try:
            uploader = self._make_leader()
            try:
                self._upload(uploader)
            except LeadLostError:
                uploader.abandon()
                raise
            finally:
                if not uploader.is_abandoned:
                    self._drain(uploader)
        finally:
            self._leader_lock.release()

    def _make_leader(self) -> Leader:
        if self._config.relay_to is None:
            return Uploader(self._config, self._wake.set, self._leader_lock.term)
        from adcp_tracker.delivery.relay import Relay  # noqa: PLC0415 - for those who relay

        return Relay(self._config, self._leader_lock.term)

    def _upload(self, uploader: Leader) -> None:
        """Upload round by round until there is a reason to stop."""
        logger.debug("leader.elected", directory=self._config.store.location)
        self._maintained_at = self._clock.monotonic()
        self._published_at = self._maintained_at - self._config.idle_seconds  # soon
        while not self._should_end() and not self._should_step_down():
            self._check_lead()
            delay = uploader.run_once()
            self._serve_requests(uploader)
            if self._retiring and uploader.is_drained():
                self._stopping = True
            else:
                self._sleep(delay)

    def _should_step_down(self) -> bool:
        return not self._flushes and not self._commands and self._leader_lock.is_requested()

    def _check_lead(self) -> None:
        """Raise if the lock was lost, as to a lease that ran out or a directory replaced."""
        if not self._leader_lock.renew():
            raise LeadLostError(
                f"{self._config.store.location}: another process may lead by now. If its "
                f"directory was deleted or moved, find out by whom."
            )

    def _serve_requests(self, uploader: Leader) -> None:
        """Run commands, answer flushes and do maintenance between two rounds."""
        self._fork_barrier.wait(uploader)
        while self._commands:
            self._commands.popleft()(uploader)
        self._answer_flushes(uploader)
        self._run_maintenance(uploader)

    def _answer_flushes(self, uploader: Leader) -> None:
        if not self._flushes or uploader.is_sending:
            return
        drained = uploader.is_drained()
        rest = uploader.next_attempt_at() - self._clock.now()
        for flush in list(self._flushes):
            hopeless = self._clock.monotonic() + rest > flush.deadline
            if drained or hopeless:
                flush.done.set()

    def _run_maintenance(self, uploader: Leader | None = None) -> None:
        now = self._clock.monotonic()
        if now - self._maintained_at >= self._config.idle_seconds or self._stopping:
            self._maintained_at = now
            self._run_safely(self._maintenance)
            if uploader is not None:
                self._sync(uploader)
        if uploader is not None and self._should_publish(uploader, now):
            self._publish(uploader)

    def _sync(self, uploader: Leader) -> None:
        """Sync segments; what fails is synced again later."""
        try:
            uploader.segments.sync()
        except OSError as error:
            self._throttled_log.warning(
                "segments.not_synced", error=str(error), remedy="check the queue's volume"
            )

    def _should_publish(self, uploader: Leader, now: float) -> bool:
        """Return whether it is time to publish stats.

        Counting all that waits takes a while. So it does not come in between two requests,
        unless one follows the other for long.
        """
        # Where counting takes long, as with very many segments, it is done more rarely.
        counting = self._counting_seconds if self._counting_seconds > _LONG_SECONDS else 0.0
        interval = max(self._config.idle_seconds, _COUNTING_SHARE * counting)
        intervals = (now - self._published_at) / interval
        return intervals >= (_BEHIND_INTERVALS if uploader.is_sending else 1)

    def _publish(self, uploader: Leader) -> None:
        """Publish stats; uploading goes on if that fails."""
        began = self._published_at = self._clock.monotonic()
        try:
            stats = uploader.stats()
            self._reader.note(stats)
            write_stats(uploader.queue, stats)
        except OSError as error:
            self._throttled_log.warning(
                "stats.not_written", error=str(error), remedy="check the queue's volume"
            )
        self._counting_seconds = self._clock.monotonic() - began

    def _drain(self, uploader: Leader) -> None:
        """Wait for requests in flight: another leader must not send them too.

        Errors, in the meantime or before, don't end the wait.
        """
        try:
            while uploader.is_sending:
                self._run_safely(lambda: self._fork_barrier.wait(uploader))
                self._sleep(_BUSY_POLL_SECONDS)
                self._run_safely(uploader.apply_arrived)
            self._run_safely(lambda: self._publish(uploader))
        finally:
            uploader.close()

    def _sleep(self, seconds: float) -> None:
        self._due_at = self._clock.monotonic() + max(seconds, 0.0)
        self._wake.wait(max(seconds, 0.0))
        self._due_at = min(self._due_at, self._clock.monotonic())
