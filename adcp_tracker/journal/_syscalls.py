"""System calls of the journal: quick ones that keep the GIL, and one fsync for many threads."""

from __future__ import annotations

import ctypes
import os
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Append = Callable[[int, bytes, int], int]
    """Append `data` of `size` bytes to a descriptor and return the count written, or -1."""

    Exists = Callable[[bytes], bool]
    """Return whether there is a file or a directory at this path."""


def write_holding_gil() -> Append | None:
    """Return the C library's ``write``, called without releasing the GIL; ``None`` without one."""
    # Without declared argument types an int and bytes go through as they are, which is
    # quicker than checked conversions; the result is a C int, and records are small.
    try:
        return ctypes.PyDLL(None).write
    except (OSError, AttributeError):
        return None


def write_releasing_gil(descriptor: int, data: bytes, _size: int) -> int:
    """Call ``os.write`` in the same form."""
    try:
        return os.write(descriptor, data)
    except OSError:
        return -1


def exists_holding_gil() -> Exists:
    """Return the C library's ``access``, called without releasing the GIL.

    Raises:
        OSError: If there is no C library to call.
        AttributeError: If it has no ``access``.
    """
    access = ctypes.PyDLL(None).access

    def is_there(path: bytes) -> bool:
        return not access(path, os.F_OK)

    return is_there


def exists_releasing_gil() -> Exists:
    """Return ``os.access`` in the same form."""
    return lambda path: os.access(path, os.F_OK)


def fastest_exists() -> Exists:
    """Return the fastest existence check of this interpreter."""
    try:
        return exists_holding_gil()
    except (OSError, AttributeError):  # pragma: no cover - no C library to be had
        return exists_releasing_gil()


_NONE = -1


class FsyncError(OSError):
    """A record is in its segment, but the disk did not confirm it.

    Args:
        path: Its segment.
        cause: The error of the sync.
    """

    def __init__(self, path: Path, cause: OSError) -> None:
        super().__init__(
            cause.errno, f"{path}: the disk did not confirm a write: {cause.strerror}. Check it."
        )


class GroupCommit:
    """One fsync for what several threads have written (``durability="power"``).

    The kernel reports a failed sync once and marks the pages clean. A later sync that succeeds
    says nothing about what was written before, so such a record has to be appended again.

    A write is confirmed by a sync that began after it, unless one failed since it began.
    Positions would not tell, since threads that share one without a lock can set it back.

    Args:
        sync_data: What syncs a file.

    Attributes:
        lock: Held during a sync, and while one segment takes the place of another.
        begun: How many have begun; read before and after a write.
    """

    def __init__(self, sync_data: Callable[[int], None]) -> None:
        self._sync_data = sync_data
        self.lock = threading.RLock()
        self.begun = 0
        self._failed = _NONE
        self._path: Path | None = None
        self._cause = OSError()

    def sync(self, descriptor: int, path: Path) -> None:
        """Sync a file, holding the lock; :meth:`raise_if_failed` reports errors."""
        self.begun += 1
        try:
            self._sync_data(descriptor)
        except OSError as error:
            self._failed, self._path = self.begun, path
            self._cause = OSError(error.errno, error.strerror)
            self.begun += 1  # this sync doesn't cover what is written from now on

    def has_failed(self, since: int) -> bool:
        """Return whether a sync has failed since so many had begun."""
        return since <= self._failed

    def raise_if_failed(self, since: int) -> None:
        """Check that no sync has failed since a write began.

        Args:
            since: How many syncs had begun before the write.

        Raises:
            FsyncError: If one has.
        """
        if self._path is not None and self.has_failed(since):
            raise FsyncError(self._path, self._cause)
