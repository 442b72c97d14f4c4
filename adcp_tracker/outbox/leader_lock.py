"""The leader lock of a directory: one process holds it and uploads.

The kernel frees the lock when its holder dies, so there is no lease that could expire
under a live holder, and no batch is ever sent by two. Where a child that was forked without
Python's hooks keeps the lock of a dead holder, the lock file is replaced.
A process that needs the lock asks for it by a file; the holder steps down after its current
request and lets the asking one go first.
"""

from __future__ import annotations

import fcntl
import os
import threading
from math import inf
from typing import TYPE_CHECKING

from adcp_tracker._clock import SystemClock
from adcp_tracker._logging import logger
from adcp_tracker.journal.files import is_orphaned, open_secure, try_lock, was_replaced

if TYPE_CHECKING:
    from adcp_tracker._clock import Clock
    from adcp_tracker.journal.files import QueueDirectory

_STALE_SECONDS = 5.0
_POLL_SECONDS = 0.02
_ORPHAN_SECONDS = 30.0
_NONE = -1


class FileLeaderLock:
    """This process's claim to lead a directory.

    Args:
        directory: The queue directory, prepared.
        clock: Where the time is read.
    """

    def __init__(self, directory: QueueDirectory, clock: Clock) -> None:
        self._lock_path = directory.leader_lock
        self._request_path = directory.leader_wanted
        self._clock = clock
        self._descriptor = _NONE
        self._holder: threading.Thread | None = None
        self._looked_at = -inf

    @property
    def is_held(self) -> bool:
        """Whether this process leads."""
        return self._descriptor != _NONE

    @property
    def term(self) -> int:
        """Always 0: the kernel frees the lock only when its holder ends."""
        return 0

    def renew(self) -> bool:
        """Return whether the lock is still the directory's own."""
        return self.is_held and not self.is_stale

    @property
    def is_stale(self) -> bool:
        """Whether the lock held is no longer the directory's.

        Somebody deleted or moved the directory; another process can hold the new one's.
        """
        return self.is_held and was_replaced(self._descriptor, self._lock_path)

    def try_acquire(self) -> bool:
        """Take the lock if it is free; return whether this thread holds it."""
        if self.is_held and self._holder is not threading.current_thread():
            return False
        if self.is_stale:
            self.release()
        if self.is_held:
            return True
        descriptor = self._open_locked()
        if descriptor == _NONE:
            return False
        self._holder = threading.current_thread()
        self._descriptor = descriptor
        return True

    def _open_locked(self) -> int:
        """Return the open lock file, locked by this process; -1 if another has it."""
        descriptor = open_secure(self._lock_path, os.O_CREAT | os.O_RDWR)
        if not try_lock(descriptor):
            try:
                return self._replace_orphaned(descriptor)
            finally:
                os.close(descriptor)
        if was_replaced(descriptor, self._lock_path):
            os.close(descriptor)
            return _NONE
        return descriptor

    def _replace_orphaned(self, old: int) -> int:
        """Replace the lock file if only children of its dead holder have it locked."""
        now = self._clock.monotonic()
        if now - self._looked_at < _ORPHAN_SECONDS:
            return _NONE
        self._looked_at = now
        if not is_orphaned(os.fstat(old)):
            return _NONE
        folder = os.open(self._lock_path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            # One process at a time replaces it.
            if not try_lock(folder) or was_replaced(old, self._lock_path):
                return _NONE
            return self._replace(old)
        finally:
            os.close(folder)

    def _replace(self, old: int) -> int:
        draft = self._lock_path.with_name(f".{self._lock_path.name}")
        draft.unlink(missing_ok=True)
        new = open_secure(draft, os.O_CREAT | os.O_EXCL | os.O_RDWR)
        try:
            fcntl.flock(new, fcntl.LOCK_EX | fcntl.LOCK_NB)
            draft.replace(self._lock_path)
            if not is_orphaned(os.fstat(old)):
                # The children have ended just now, and another process may have locked the old
                # file. It finds that replaced, and lets go.
                fcntl.flock(old, fcntl.LOCK_EX)
        except BaseException:
            os.close(new)
            raise
        logger.warning(
            "leader.replaced",
            directory=str(self._lock_path.parent),
            reason="the process that uploaded has ended, and its children keep its lock",
        )
        return new

    def acquire(self, timeout: float) -> bool:
        """Ask the holder to step down, and take the lock within `timeout` seconds."""
        if self.try_acquire():
            return True
        deadline = self._clock.monotonic() + timeout
        while self._clock.monotonic() < deadline:
            self._request()
            if self.try_acquire():
                self._request_path.unlink(missing_ok=True)
                return True
            self._clock.sleep(_POLL_SECONDS)
        return False

    def is_requested(self) -> bool:
        """Return whether another process asks for the lock.

        A request that is not renewed goes stale: the process that made it has ended.
        """
        try:
            asked_at = self._request_path.stat().st_mtime
        except FileNotFoundError:
            return False
        return abs(SystemClock.now() - asked_at) < _STALE_SECONDS  # as the file system has it

    def release(self) -> None:
        """Release the lock."""
        descriptor, self._descriptor = self._descriptor, _NONE
        if descriptor != _NONE:
            os.close(descriptor)

    def close_inherited(self) -> None:
        """Close the lock inherited from the parent, which keeps it."""
        self.release()

    def _request(self) -> None:
        descriptor = open_secure(self._request_path, os.O_CREAT | os.O_WRONLY)
        try:
            os.utime(descriptor)
        finally:
            os.close(descriptor)
