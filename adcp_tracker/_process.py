"""Fork, exit and SIGTERM hooks; fork detection."""

from __future__ import annotations

import _thread
import atexit
import mmap
import os
import signal
import sys
import threading
import time
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from adcp_tracker._logging import logger

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType


_WIPE_ON_FORK = 18


class ForkDetector(Protocol):
    """A sequence whose first element is true in this process, and false in a forked child."""

    def __getitem__(self, index: int, /) -> int: ...


class _ProcessMark:
    def __init__(self) -> None:
        self._pid = os.getpid()

    def __getitem__(self, index: int, /) -> int:
        return self._pid == os.getpid()


def fork_detector() -> ForkDetector:
    """Return a detector: ``detector[0]`` is true here, and false in a child made by a fork."""
    try:
        page = mmap.mmap(-1, mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        page.madvise(_WIPE_ON_FORK)
    except (AttributeError, OSError, ValueError):  # pragma: no cover - not this kernel
        return _ProcessMark()
    page[0] = 1
    return page


_POLL_SECONDS = 0.005


class ForkAware(Protocol):
    """An object that is called when its process forks or ends."""

    shutdown_timeout: float

    def before_fork(self) -> None:
        """Close what must not be open across a fork."""

    def after_fork_in_parent(self) -> None:
        """Resume in the parent."""

    def after_fork_in_child(self) -> None:
        """Reset in the child."""

    def request_flush(self) -> None:
        """Deliver pending events soon, without waiting for it."""

    def on_exit(self, timeout: float | None = None) -> None:
        """Deliver pending events within `timeout` or :attr:`shutdown_timeout` seconds."""

    def interrupt(self) -> None:
        """End without delivering anything else, and don't wait for it."""


_registered_objects: weakref.WeakSet[ForkAware] = weakref.WeakSet()
_hooks_installed = False
_process = os.getpid()
_hooked_pools: set[str] = set()


def register(target: ForkAware, *, sigterm: bool) -> None:
    """Call the hooks of `target` at forks and at exit; at SIGTERM too if `sigterm` is true.

    Targets are held by weak reference, so that unused ones can be garbage-collected.
    """
    global _hooks_installed  # noqa: PLW0603 - hooks are the process's, not an object's
    _registered_objects.add(target)
    if not _hooks_installed:
        _hooks_installed = True
        os.register_at_fork(
            before=_before_fork,
            after_in_parent=_after_fork_in_parent,
            after_in_child=_after_fork_in_child,
        )
        atexit.register(_at_exit)
    if sigterm and threading.current_thread() is threading.main_thread():
        _chain_sigterm()


def unregister(target: ForkAware) -> None:
    """Stop calling the hooks of `target`."""
    _registered_objects.discard(target)


def fork_hooks_ran() -> bool:
    """Return whether Python's fork hooks ran for the fork that made this process, if any."""
    return _process == os.getpid()


def threads_enabled() -> bool:
    """Return whether background threads run in this process.

    Up to 2.0.26, uWSGI keeps the interpreter lock between requests unless it is started
    with ``--enable-threads``. A thread then stops wherever it happens to be, possibly while
    it holds a lock that another process waits for.
    """
    return bool(getattr(sys.modules.get("uwsgi"), "has_threads", True))


def running_under_uwsgi() -> bool:
    """Return whether uWSGI runs this interpreter.

    It forks its workers in C, by default without Python's hooks, from a master that
    handles no requests.
    """
    return "uwsgi" in sys.modules


def _before_fork() -> None:
    _hook_pools()
    _call_each([each.before_fork for each in list(_registered_objects)])


def _after_fork_in_parent() -> None:
    _call_each([each.after_fork_in_parent for each in list(_registered_objects)])


def _after_fork_in_child() -> None:
    global _process  # noqa: PLW0603 - as above
    _process = os.getpid()
    _restore_sigterm()
    _call_each([each.after_fork_in_child for each in list(_registered_objects)])


def _hook_pools() -> None:
    """Have the exit hook run in children that end by ``os._exit``, which skips it.

    Called before each fork: by then, the module that forks is loaded.
    """
    for name in ("multiprocessing.util", "billiard.util"):
        util = sys.modules.get(name)
        if util is not None and name not in _hooked_pools:
            _hooked_pools.add(name)
            util.register_after_fork(util, _add_finalizer)
    signals = sys.modules.get("celery.signals")
    if signals is not None and "celery" not in _hooked_pools:
        _hooked_pools.add("celery")
        signals.worker_process_shutdown.connect(_at_pool_exit, weak=False)


def _add_finalizer(util: Any) -> None:  # noqa: ANN401 - of multiprocessing, or alike
    util.Finalize(None, _at_exit, exitpriority=0)


def _at_pool_exit(**_: object) -> None:
    _at_exit()


def _at_exit() -> None:
    """Have all trackers deliver at the same time, within the longest of their timeouts."""
    waiting = list(_registered_objects)
    deadline = time.monotonic() + _longest_timeout()
    _call_each([each.request_flush for each in waiting])
    while waiting and (left := deadline - time.monotonic()) > 0.0:
        each = waiting.pop(0)
        _call_each([partial(each.on_exit, min(left, each.shutdown_timeout))])
    _call_each([each.interrupt for each in waiting])
    _call_each([partial(each.on_exit, 0.0) for each in waiting])


def _longest_timeout() -> float:
    return max((each.shutdown_timeout for each in list(_registered_objects)), default=0.0)


def _call_each(calls: list[Callable[[], None]]) -> None:
    """Make every call, even if another one fails, and log failures."""
    for call in calls:
        name = getattr(getattr(call, "func", call), "__name__", "")
        try:
            call()
        except OSError as error:
            logger.error("process_hook.failed", step=name, error=str(error))
        except Exception as error:  # noqa: BLE001 - the other calls are made all the same
            # The message isn't logged, since it may contain personal data.
            logger.error("process_hook.failed", step=name, error=type(error).__name__)


def _chain_sigterm() -> None:
    """Install our handler in front of the host's, which it calls."""
    previous = signal.getsignal(signal.SIGTERM)
    if previous in (signal.SIG_IGN, None) or isinstance(previous, _Sigterm):
        return
    signal.signal(signal.SIGTERM, _Sigterm(previous))


def _restore_sigterm() -> None:
    """Give a child of a fork the SIGTERM handler that was there before ours.

    A Python handler doesn't run while the process waits in C for a lock that it shares with
    others, as the workers of a ``multiprocessing.Pool`` do: such a child would outlive SIGTERM.
    """
    handler = signal.getsignal(signal.SIGTERM)
    if isinstance(handler, _Sigterm):
        signal.signal(signal.SIGTERM, handler.previous)


class _Sigterm:
    """Flush, then do what would have been done without us."""

    def __init__(self, previous: Callable[[int, FrameType | None], object] | int) -> None:
        self.previous = previous

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if callable(self.previous):
            # The host shuts down in its own time; the exit hook waits, if it runs.
            _run_in_thread([each.request_flush for each in list(_registered_objects)], 0.0)
            self.previous(number, frame)
            return
        _run_in_thread([_at_exit], _longest_timeout())
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)


def _run_in_thread(calls: list[Callable[[], None]], seconds: float) -> None:
    """Make calls in a new thread and wait for it, without taking a lock in this one.

    A signal handler interrupts the main thread anywhere, possibly while it holds the lock
    that the calls need.
    """
    done: list[bool] = []

    def run() -> None:
        try:
            _call_each(calls)
        finally:
            done.append(True)

    try:
        _thread.start_new_thread(run, ())
    except RuntimeError:  # the interpreter is shutting down, so the exit hooks have run
        return
    deadline = time.monotonic() + seconds
    while not done and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
