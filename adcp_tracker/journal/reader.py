"""The segments of a queue directory, as the leader sees them.

Writers only ever append; everything else that happens to a segment happens here.
"""

from __future__ import annotations

import os
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from adcp_tracker.journal.files import (
    is_orphaned,
    opened,
    sync_data,
    sync_directory,
    sync_file,
    sync_volume,
    try_lock,
)
from adcp_tracker.journal.records import erase_record, parse
from adcp_tracker.journal.writer import SUFFIX, UNFINISHED_SUFFIX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from adcp_tracker.journal.encryption import Encryption
    from adcp_tracker.journal.files import QueueDirectory
    from adcp_tracker.journal.records import CorruptSpan, Record


_EVIDENCE_BYTES = 1024 * 1024
_PIECE_BYTES = 1024 * 1024
_CLOSED_AT_ONCE = 5000
_SYNCED_ONE_BY_ONE = 200
_QUARANTINE_BYTES = 64 * 1024 * 1024
_TICK_NS = 2_000_000_000
_ORPHAN_SECONDS = 30.0


class SegmentStore:
    """The segment files of one directory.

    Args:
        directory: The queue directory.
        encryption: What decrypts records.

    Attributes:
        parse: Reads records as :func:`.records.parse` does, decrypted as far as keys allow.
    """

    def __init__(self, directory: QueueDirectory, encryption: Encryption | None = None) -> None:
        self.parse = parse if encryption is None else encryption.parse
        self._directory = directory
        self._folder = directory.segments
        self._evidence = directory.quarantine
        self._synced: dict[str, int] = {}
        self._listed: dict[str, int] = {}
        self._growing: set[str] = set()
        self._changed_at = 0
        self._looked_at: dict[str, float] = {}
        self._orphaned: set[str] = set()

    def sizes(self, *, is_complete: bool = True) -> dict[str, int]:
        """Return every segment's size in bytes by its name, oldest first.

        A closed segment doesn't change, so that its size is asked for once. The folder is
        listed again only if its modification time says so.
        """
        del is_complete
        self._list()
        sizes = self._listed.copy()
        unchanged: list[str] = []
        folder = str(self._folder)  # making a path of each name costs more than asking for it
        for name in self._growing.copy():
            try:
                size = os.lstat(f"{folder}/{name}").st_size
            except FileNotFoundError:
                del sizes[name]
                continue
            if size == self._listed[name]:
                unchanged.append(name)
            sizes[name] = self._listed[name] = size
        for name in unchanged[:_CLOSED_AT_ONCE]:
            with suppress(OSError):
                if self.is_closed(name):
                    self._growing.discard(name)
        return sizes

    def _list(self) -> None:
        """List the folder, unless nothing has changed in it for longer than its clock's tick."""
        changed_at = self._folder.stat().st_mtime_ns
        if changed_at == self._changed_at:
            return
        is_settled = time.time_ns() - changed_at > _TICK_NS
        self._changed_at = changed_at if is_settled else 0
        with os.scandir(self._folder) as entries:
            names = sorted(
                each.name
                for each in entries
                if each.name.endswith(SUFFIX) and each.is_file(follow_symlinks=False)
            )
        known = self._listed
        self._listed = {name: known.get(name, 0) for name in names}
        self._growing &= self._listed.keys()
        self._growing |= self._listed.keys() - known.keys()

    def _look_again(self, name: str) -> None:
        """Ask for a segment's size again, since something outside has changed it."""
        if name in self._listed:
            self._growing.add(name)

    def read(self, name: str, start: int, length: int) -> bytes:
        """Return up to `length` bytes of a segment from `start` on."""
        with self.reading(name) as read:
            data = read(start, length)
        if len(data) < length:
            self._look_again(name)
        return data

    @contextmanager
    def reading(self, name: str) -> Iterator[Callable[[int, int], bytes]]:
        """Open a segment for several reads.

        Each system call releases the GIL, and may then wait for a thread that computes.
        """
        with opened(self._folder / name, os.O_RDONLY) as descriptor:
            yield lambda start, length: os.pread(descriptor, length, start)

    def count(self, name: str, start: int, stop: int) -> int:
        """Return how many records there are between two offsets, by their line feeds."""
        count = 0
        with self.reading(name) as read:
            while start < stop and (piece := read(start, min(stop - start, _PIECE_BYTES))):
                count += piece.count(b"\n")
                start += len(piece)
        return count

    def is_closed(self, name: str) -> bool:
        """Return whether no process can write to the segment anymore."""
        with opened(self._folder / name, os.O_RDONLY) as descriptor:
            return self._has_no_writer(name, descriptor)

    def _has_no_writer(self, name: str, descriptor: int) -> bool:
        """Return whether a segment's lock is free, or its writer dead and the lock inherited."""
        if try_lock(descriptor):
            self._looked_at.pop(name, None)
            return True
        now = time.monotonic()
        if now - self._looked_at.get(name, -_ORPHAN_SECONDS) >= _ORPHAN_SECONDS:
            self._looked_at[name] = now
            if is_orphaned(os.fstat(descriptor)):
                self._orphaned.add(name)
        return name in self._orphaned

    def delete(self, name: str, size: int) -> bool:
        """Delete a segment if it is closed and still of that size.

        Returns:
            Whether it is gone.
        """
        path = self._folder / name
        self._directory.check(self._folder)
        with suppress(FileNotFoundError), opened(path, os.O_RDONLY) as descriptor:
            if not self._has_no_writer(name, descriptor) or os.fstat(descriptor).st_size != size:
                self._look_again(name)
                return False
            path.unlink()
        self._synced.pop(name, None)
        self._orphaned.discard(name)
        self._looked_at.pop(name, None)
        return True

    def erase(self, name: str, records: Iterable[Record]) -> None:
        """Overwrite records, so that nothing of their content is left."""
        self._directory.check(self._folder)
        with opened(self._folder / name, os.O_RDWR) as descriptor:
            for record in records:
                old = os.pread(descriptor, record.stop - record.start, record.start)
                os.pwrite(
                    descriptor, erase_record(old, record.unpack()[0].get("only")), record.start
                )
            sync_data(descriptor)

    def blank(self, name: str, spans: Iterable[CorruptSpan]) -> None:
        """Overwrite bytes that are no records, keeping their number of lines."""
        self._directory.check(self._folder)
        with opened(self._folder / name, os.O_RDWR) as descriptor:
            for span in spans:
                os.pwrite(descriptor, b" " * len(span.data), span.start)
            sync_data(descriptor)

    def quarantine(self, name: str, data: bytes) -> None:
        """Keep bytes that were no record, up to a limit per segment."""
        self._directory.check(self._evidence)
        flags = os.O_CREAT | os.O_WRONLY | os.O_APPEND
        with opened(self._evidence / name, flags) as descriptor:
            room = _EVIDENCE_BYTES - os.fstat(descriptor).st_size
            os.write(descriptor, data[: max(room, 0)])
        self._trim_quarantine()

    def _trim_quarantine(self) -> None:
        """Delete the oldest quarantined files over the limit of all of them."""
        files = sorted(self._evidence.iterdir())
        size = sum(path.lstat().st_size for path in files)
        for path in files:
            if size <= _QUARANTINE_BYTES:
                return
            size -= path.lstat().st_size
            path.unlink()

    def sync(self) -> None:
        """Sync what was appended since the last call.

        With it, a power cut costs at most what came after the last round.
        Very many segments, as a new leader may find, are synced with their whole volume.

        Raises:
            OSError: If the disk does not take all of it; the next call tries the rest again.
        """
        sizes = self.sizes()
        grown = [name for name, size in sizes.items() if self._synced.get(name) != size]
        if len(grown) > _SYNCED_ONE_BY_ONE and sync_volume(self._folder):
            self._synced = sizes
            return
        troubles = {name: _sync_file(self._folder / name) for name in grown}
        if grown:
            sync_directory(self._folder)
        self._synced = {name: size for name, size in sizes.items() if troubles.get(name) is None}
        for trouble in filter(None, troubles.values()):
            raise trouble

    def remove_stale(self) -> None:
        """Remove segments that a crashed process left unfinished."""
        for path in self._folder.glob(f"*{UNFINISHED_SUFFIX}"):
            _remove_if_abandoned(path)


def _sync_file(path: Path) -> OSError | None:
    """Sync a file if it exists; return the error if that fails."""
    try:
        sync_file(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        return error
    return None


def _remove_if_abandoned(path: Path) -> None:
    # A writer that is just about to lock it will find its name gone and begin another.
    with suppress(FileNotFoundError), opened(path, os.O_RDONLY) as descriptor:
        if try_lock(descriptor):
            path.unlink(missing_ok=True)
