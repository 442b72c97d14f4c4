"""JournalWriter: appends to this process's own segment file.

One process writes one segment file at a time. It holds the file's lock for as long as it
may write to it, and the kernel frees the lock when the process dies, however it dies.
So a segment whose lock is free will never grow again.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import threading
from time import monotonic
from typing import TYPE_CHECKING

from adcp_tracker._logging import logger
from adcp_tracker._platform import SystemClock
from adcp_tracker._process import fork_detector
from adcp_tracker.exceptions import QueueFullError
from adcp_tracker.journal import _syscalls
from adcp_tracker.journal._syscalls import FsyncError, GroupCommit
from adcp_tracker.journal.files import open_secure, sync_data, sync_directory, was_replaced
from adcp_tracker.journal.records import HEADER_BYTES, Record, crc32, encode_record

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from adcp_tracker._platform import Clock
    from adcp_tracker.journal.files import QueueDirectory

SEGMENT_BYTES = 8 * 1024 * 1024
SUFFIX = ".log"
UNFINISHED_SUFFIX = ".new"
_SMALLEST_SEGMENT_BYTES = 4096
_LEAST_SEGMENTS = 16
_GROWTH_BYTES = 512 * 1024
_FULL_RECHECK_SECONDS = 0.25
_HOLD_SECONDS = 5.0
_ATTEMPTS = 5
_SLOW_SECONDS = 0.05
_QUICK_SECONDS = 0.005
_QUICK_WRITES = 100
_CLOSED = -1


def segment_bytes(max_bytes: int | None) -> int:
    """Return a segment size that suits `max_bytes`.

    The bound is kept to within a segment per process, so that segments have to be small
    against it.
    """
    if max_bytes is None:
        return SEGMENT_BYTES
    return min(SEGMENT_BYTES, max(max_bytes // _LEAST_SEGMENTS, _SMALLEST_SEGMENT_BYTES))


class JournalWriter:
    """Appends records to segments; opened by the first append.

    Args:
        directory: The queue directory.
        max_bytes: How much the directory may hold in all; ``None`` for no bound.
        segment_bytes: When a segment is closed and the next one begun.
        synchronous: Wait until the disk itself has each record (``durability="power"``).
        on_begin: Called before a segment is begun, once its directory is there.
        on_growth: Called from the appending thread each time about half a megabyte has come.
        on_fork: Called by the first append in a child whose fork ran no hooks.
        append: Appends bytes to a file, without releasing the GIL.
        sync: Syncs a file.
        clock: Where the time is read.
    """

    def __init__(  # noqa: PLR0913 - each is a decision of its own, by keyword
        self,
        directory: QueueDirectory,
        *,
        max_bytes: int | None = None,
        segment_bytes: int = SEGMENT_BYTES,
        synchronous: bool = False,
        on_begin: Callable[[], None] | None = None,
        on_growth: Callable[[], None] | None = None,
        on_fork: Callable[[], None] | None = None,
        append: _syscalls.Append | None = None,
        sync: Callable[[int], None] = sync_data,
        clock: Clock | None = None,
    ) -> None:
        self._directory = directory
        self._max_bytes = max_bytes
        self._segment_bytes = segment_bytes
        self._synchronous = synchronous
        self._on_begin = on_begin
        self._on_growth = on_growth
        self._on_fork = on_fork
        self._append = append or _syscalls.write_holding_gil() or self._append_with_lock
        self._sync_data = sync
        self._write = self._write_through if synchronous else self._append
        self._clock = clock or SystemClock()
        self._reset()

    def _reset(self) -> None:
        """Reset to the state of a new process."""
        self._mark = fork_detector()
        self._lock = threading.RLock()
        self._holders: list[int] = []
        self._descriptor = _CLOSED
        self._path: Path | None = None
        self._opened_at = 0.0
        self._position = 0
        self._watermark = 0
        self._full_until = 0.0
        self._is_unlimited = False
        self._quick_writes = 0
        self._syncs = GroupCommit(self._sync_data)

    @property
    def path(self) -> Path | None:
        """The segment being written, if any."""
        return self._path

    def append(self, body: bytes, accepted_ms: int) -> None:
        """Make a plain event durable.

        Args:
            body: The event's JSON.
            accepted_ms: When it was accepted, in milliseconds since the epoch.

        Raises:
            QueueFullError: If the directory holds ``max_bytes``.
            FsyncError: If it is in its segment, and the disk did not confirm it.
            OSError: If the disk does not take it.
        """
        if not self._mark[0]:
            self._reset_after_fork()
        # The record is framed here, not by a call: this is the one path that must be short.
        checksum = crc32(body, accepted_ms)
        header = b"%x %d E\t" % (checksum, accepted_ms)
        if len(header) != HEADER_BYTES:  # Seldom: widths are left out, as they cost time.
            header = b"%08x %013d E\t" % (checksum, accepted_ms)
        record = b"".join((header, body, b"\n"))
        size = len(record)
        write = self._write
        started = monotonic()
        written = write(self._descriptor, record, size)
        if written != size:
            self._append_slowly(record, written)
            return
        if monotonic() - started > _SLOW_SECONDS:
            self._on_slow_write(write)
        self._position = position = self._position + size
        if position > self._watermark:
            self._on_watermark()

    def _on_slow_write(self, write: _syscalls.Append) -> None:
        """Release the GIL from now on, so that a slow disk stops one thread."""
        if write is self._append:
            self._quick_writes = 0
            self._write = self._write_releasing_gil

    def _append_with_lock(self, _descriptor: int, record: bytes, size: int) -> int:
        """Append while other threads run, none of which can close the segment meanwhile."""
        with self._syncs.lock:
            return _syscalls.write_releasing_gil(self._descriptor, record, size)

    def _write_releasing_gil(self, descriptor: int, record: bytes, size: int) -> int:
        """Write a record; hold the GIL again once the disk is fast."""
        started = monotonic()
        written = self._append_with_lock(descriptor, record, size)
        is_quick = monotonic() - started < _QUICK_SECONDS
        self._quick_writes = self._quick_writes + 1 if is_quick else 0
        if self._quick_writes >= _QUICK_WRITES:
            self._write = self._append
        return written

    def _write_through(self, _descriptor: int, record: bytes, size: int) -> int:
        """Write a record, and wait until the disk has it.

        The descriptor is read once more: the segment may have been closed since the call of
        this function, but isn't between this reading and the write.
        """
        since = self._syncs.begun
        written = self._append(self._descriptor, record, size)
        if written == size:
            try:
                self._sync(since)
            except FsyncError:
                self._advance(size)
                raise
        return written

    def append_record(self, body: bytes, accepted_ms: int, kind: bytes) -> None:
        """Make a record of any kind durable; raises like :meth:`append`."""
        if not self._mark[0]:
            self._reset_after_fork()
        kept, kind = self.encode_for_disk(body, accepted_ms, kind)
        record = encode_record(kept, accepted_ms, kind)
        size = len(record)
        written = self._write(self._descriptor, record, size)
        if written != size:
            self._append_slowly(record, written)
            return
        self._position = position = self._position + size
        if position > self._watermark:
            self._on_watermark()

    def append_reserved(self, body: bytes, accepted_ms: int, kind: bytes) -> None:
        """Make a record durable even if the queue or its disk is full; raises :class:`OSError`.

        Meant for small and rare records: what the queue's reserve is kept for.
        """
        with self._lock:
            self._is_unlimited = True
            try:
                self.append_record(body, accepted_ms, kind)
            except FsyncError:
                raise  # it is in its segment
            except OSError:
                if not self._directory.release_reserve():
                    raise
                self.append_record(body, accepted_ms, kind)
            finally:
                self._is_unlimited = False

    def encode_for_disk(self, body: bytes, accepted_ms: int, kind: bytes) -> tuple[bytes, bytes]:
        """Return a record's body and kind as they may be kept, on disk or in memory."""
        del accepted_ms
        return body, kind

    def decode(self, body: bytes, accepted_ms: int, kind: bytes) -> Record:
        """Return the record of what :meth:`encode_for_disk` returned."""
        return Record(0, 0, kind, body, accepted_ms)

    def roll(self, older_than: float = 0.0) -> None:
        """Close the segment if it is old enough; the next append opens one.

        A closed segment can be deleted once it is delivered, so that personal data
        does not stay on disk for longer than it takes.

        A segment that somebody deleted or moved is left alone, and a new one begun.
        """
        with self._lock:
            if self._is_unlinked():
                self._start_next_segment()
            if (
                self._descriptor != _CLOSED
                and self._clock.monotonic() - self._opened_at >= older_than
            ):
                self._close()

    def freeze(self) -> None:
        """Open and close nothing until :meth:`unfreeze`, as across a fork.

        A segment whose descriptor a child inherits without knowing seems to be written for
        as long as the child lives. Appending goes on meanwhile.
        """
        if self._lock.acquire(timeout=_HOLD_SECONDS):
            self._holders.append(threading.get_ident())

    def unfreeze(self) -> None:
        """Resume, in the thread that called :meth:`freeze`."""
        if threading.get_ident() in self._holders:
            self._holders.remove(threading.get_ident())
            self._lock.release()

    def close_inherited(self) -> None:
        """Close the segment inherited from the parent, after a fork."""
        inherited = self._descriptor
        self._reset()
        if inherited != _CLOSED:
            os.close(inherited)

    def check_fork(self) -> None:
        """Reset if this is a child whose fork ran no hooks."""
        if not self._mark[0]:
            self._reset_after_fork()

    def _reset_after_fork(self) -> None:
        """Reset in a child of a fork that ran no hooks."""
        self.close_inherited()
        if self._on_fork is not None:
            self._on_fork()

    def _append_slowly(self, record: bytes, written: int) -> None:
        """Append after the fast write failed: not open yet, full or broken."""
        with self._lock:
            if written > 0:
                # The torn record stands alone: nothing follows it in its segment, and
                # no caller was told that it is there.
                self._close()
            if self._descriptor == _CLOSED:
                self._open()
            since = self._syncs.begun
            # os.write tells why it fails, which the quick way does not.
            written = os.write(self._descriptor, record)
            if written != len(record):
                self._close()
                raise OSError(
                    errno.ENOSPC,
                    f"{self._directory.path}: the disk took {written} of {len(record)} bytes. "
                    f"Free some room on its volume.",
                )
            self._advance(written)
        if self._synchronous:
            self._sync(since)

    def _advance(self, size: int) -> None:
        """Advance the position past a record."""
        self._position = position = self._position + size
        if position > self._watermark:
            self._on_watermark()

    def _open(self) -> None:
        """Begin a segment and write to it from now on."""
        descriptor, path = self._create_segment()
        # A thread that waits for a sync reads both, so they change together.
        with self._syncs.lock:
            self._use_segment(descriptor, path)

    def _create_segment(self) -> tuple[int, Path]:
        """Begin a segment. Its name appears only once it is locked."""
        self._check_room()
        self._directory.prepare()
        if self._on_begin is not None:
            self._on_begin()
        descriptor, path = self._create()
        if self._synchronous:
            self._sync_name(descriptor)
        return descriptor, path

    def _use_segment(self, descriptor: int, path: Path) -> None:
        self._opened_at = self._clock.monotonic()
        self._position = 0
        self._watermark = min(_GROWTH_BYTES, self._segment_bytes)
        self._descriptor, self._path = descriptor, path

    def _sync_name(self, descriptor: int) -> None:
        """Sync a segment's name, or give up the segment."""
        try:
            sync_directory(self._directory.segments)
        except OSError:
            os.close(descriptor)
            raise

    def _create(self) -> tuple[int, Path]:
        """Make a segment file; try again if a new leader removes it as an unfinished one."""
        for attempt in range(_ATTEMPTS):
            stem = f"{int(self._clock.now() * 1e9):020d}-{os.getpid()}-{secrets.token_hex(4)}"
            path = self._directory.segments / f"{stem}{SUFFIX}"
            try:
                return _create_locked(path), path
            except (BlockingIOError, FileNotFoundError):
                # A new leader swept it away as an unfinished one, in the instant before
                # it was locked.
                if attempt == _ATTEMPTS - 1:
                    raise
        raise AssertionError("unreachable")

    def _on_watermark(self) -> None:
        """Handle growth of the segment: report it, and roll a full one.

        Nothing of it may fail the record that was written: it would be written again.
        """
        try:
            with self._lock:
                self._watermark = self._position + min(_GROWTH_BYTES, self._segment_bytes)
                if self._position >= self._segment_bytes:
                    self._start_next_segment()
            if self._on_growth is not None:
                self._on_growth()
        except OSError as error:
            self._log_not_rolled(error)

    def _start_next_segment(self) -> None:
        """Continue in a new segment under the same descriptor number.

        Another thread may stand between reading the number and writing to it.
        As the number never changes hands, its record lands in the new segment.
        Without a descriptor to spare, it goes on in the old one.
        """
        old, path = self._descriptor, self._path
        if path is None:
            return
        try:
            left = os.dup(old)
        except OSError as error:
            self._log_not_rolled(error)
            return
        try:
            new, new_path = self._create_segment()
        except OSError:
            os.close(left)
            self._close()  # the next append says what is wrong
            return
        with self._syncs.lock:
            os.dup2(new, old, inheritable=False)
            self._use_segment(old, new_path)
            os.close(new)
            if self._synchronous:
                self._syncs.sync(left, path)  # only now does no thread write to it anymore
                # A thread may have written to the new one by now and wait for the lock. It takes
                # the sync above for its own.
                self._syncs.sync(old, new_path)
        os.close(left)

    def _log_not_rolled(self, error: OSError) -> None:
        logger.warning(
            "segment.not_rolled",
            directory=str(self._directory.path),
            error=str(error),
            remedy="check the queue's volume, and to how many files the process may open",
        )

    def _is_unlinked(self) -> bool:
        """Return whether the segment was deleted or moved."""
        path = self._path
        try:
            return path is not None and was_replaced(self._descriptor, path)
        except NotADirectoryError:
            return True
        except OSError:  # not to be told for now
            return False

    def _close(self) -> None:
        # A thread that has just written to it, and finds it closed, relies on the sync here.
        with self._syncs.lock:
            descriptor, path = self._descriptor, self._path
            if path is None:
                return
            self._descriptor, self._path = _CLOSED, None
            try:
                if self._synchronous:
                    self._syncs.sync(descriptor, path)
            finally:
                os.close(descriptor)

    def _check_room(self) -> None:
        if self._max_bytes is None or self._is_unlimited:
            return
        now = self._clock.monotonic()
        if now >= self._full_until:
            used = self._directory.waiting_bytes()
            if used < self._max_bytes:
                return
            self._full_until = now + _FULL_RECHECK_SECONDS
        raise QueueFullError(
            f"{self._directory.path}: expected less than {self._max_bytes} bytes waiting, "
            f"and there are more; see why nothing is delivered, or raise max_bytes"
        )

    def _sync(self, since: int) -> None:
        """Wait until the disk has what this thread has just written.

        Args:
            since: How many syncs had begun before it wrote.

        Raises:
            FsyncError: If the disk does not confirm it.
        """
        syncs = self._syncs
        begun = syncs.begun
        with syncs.lock:
            # A closed segment was synced by whoever closed it. Where a sync has failed, another
            # would succeed for nothing.
            if syncs.begun == begun and self._path is not None and not syncs.has_failed(since):
                syncs.sync(self._descriptor, self._path)
            syncs.raise_if_failed(since)


def _create_locked(path: Path) -> int:
    """Create a segment that no other process can see before it is locked."""
    hidden = path.with_suffix(UNFINISHED_SUFFIX)
    # Nobody else writes to it, so its one position is its end. With O_APPEND, what follows
    # after an outsider has cut it would stand where readers have been already.
    descriptor = open_secure(hidden, os.O_CREAT | os.O_EXCL | os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        hidden.rename(path)
    except OSError:
        os.close(descriptor)
        hidden.unlink(missing_ok=True)
        raise
    return descriptor
