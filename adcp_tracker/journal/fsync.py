"""Waiting for the disk: several threads in one wait, and what to do when it fails.

The kernel reports a failed sync once and takes the pages for clean from then on. So a
later sync that succeeds says nothing of what was written before, unless it is written again.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from adcp_tracker.journal.files import open_secure
from adcp_tracker.journal.records import erase_record

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_NONE = -1


class FsyncError(OSError):
    """A record is in its segment, and the disk did not confirm it.

    Args:
        record: The record, as it was written.
        path: Its segment.
        cause: What the disk said.
    """

    def __init__(self, record: bytes, path: Path, cause: OSError) -> None:
        super().__init__(
            cause.errno,
            f"{path}: expected the disk to confirm {len(record)} bytes, got {cause.strerror}; "
            f"see to its volume",
        )
        self.record = record
        self.path = path


class GroupCommit:
    """Has the disk take what several threads have written, in one wait for all of them.

    A write is confirmed by a sync that began after it, unless one failed since it began.
    Positions would not tell, since threads that share one without a lock can set it back.

    Args:
        fdatasync: What syncs a file.

    Attributes:
        lock: Held while a sync is on its way, and to put another file in the place of one.
        begun: How many have begun; read before and after a write.
    """

    def __init__(self, fdatasync: Callable[[int], None]) -> None:
        self._fdatasync = fdatasync
        self.lock = threading.RLock()
        self.begun = 0
        self._failed = _NONE
        self._path: Path | None = None
        self._cause = OSError()

    def sync(self, descriptor: int, path: Path) -> None:
        """Sync a file, by whoever has the lock; :meth:`raise_if_failed` tells what came of it."""
        self.begun += 1
        try:
            self._fdatasync(descriptor)
        except OSError as error:
            self._failed, self._path = self.begun, path
            self._cause = OSError(error.errno, error.strerror)
            self.begun += 1  # what is written from now on is none of its

    def has_failed(self, since: int) -> bool:
        """Say whether a sync has failed since so many had begun."""
        return since <= self._failed

    def raise_if_failed(self, since: int, record: bytes) -> None:
        """See that no sync has failed since a record's write began.

        Args:
            since: How many syncs had begun before the write.
            record: What was written.

        Raises:
            FsyncError: If one has.
        """
        if self._path is not None and self.has_failed(since):
            raise FsyncError(record, self._path, self._cause)


def rewrite_and_sync(path: Path, record: bytes, fdatasync: Callable[[int], None]) -> bool:
    """Have the disk take a record where it stands, though it has refused before.

    Args:
        path: The record's segment.
        record: The record, as it was written.
        fdatasync: What syncs a file.

    Returns:
        Whether nothing is left to do: it is confirmed, or was erased, or somebody is done
        with the whole segment. Otherwise it is not there, and has to be appended again.

    Raises:
        OSError: If the disk does not take it.
    """
    try:
        descriptor = open_secure(path, os.O_RDWR)
    except FileNotFoundError:
        return True
    try:
        data = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
        place = data.rfind(record)
        if place < 0:
            return erase_record(record) in data
        written = os.pwrite(descriptor, record, place)
        fdatasync(descriptor)
    finally:
        os.close(descriptor)
    return written == len(record)
