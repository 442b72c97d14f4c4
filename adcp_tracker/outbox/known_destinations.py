"""The destinations that a directory's events are kept for.

A process that uploads knows its own destinations, and those that the database names. During
a rolling deployment it may be an older one that knows fewer; and a database can be lost. So
each process enters the destinations it tracks for here before it writes its first event, and
no segment is deleted before every one that is entered has had it.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING

from adcp_tracker._clock import SystemClock
from adcp_tracker._logging import ThrottledLogger
from adcp_tracker.exceptions import UnsafeDirectoryError
from adcp_tracker.journal.files import open_secure, sync_directory, sync_file, write_all

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from adcp_tracker._clock import Clock
    from adcp_tracker.journal.files import QueueDirectory

_DRAFT = "."
_MOST_BYTES = 64 * 1024
_ATTEMPTS = 5


class KnownDestinations:
    """The names of destinations, one small file each.

    Args:
        directory: The queue directory.
        own: The names of this process's destinations.
        clock: Where the time is read.

    Attributes:
        own: The names of this process's destinations.
    """

    def __init__(
        self, directory: QueueDirectory, own: Iterable[str] = (), clock: Clock | None = None
    ) -> None:
        self._folder = directory.destinations
        self.own = tuple(own)
        self._throttled_log = ThrottledLogger(clock or SystemClock())

    def __iter__(self) -> Iterator[str]:
        """Yield every name."""
        with suppress(FileNotFoundError), os.scandir(self._folder) as entries:
            for entry in entries:
                if entry.name.startswith(_DRAFT):
                    continue
                name = self._read(self._folder / entry.name)
                if name is not None:
                    yield name

    def add_own(self) -> None:
        """Add this process's destinations without waiting for the disk.

        A disk that takes none is logged, and tracking goes on: then only the database knows
        them.
        """
        for name in self.own:
            self._try(name, self._add_if_missing)

    def add_own_synced(self) -> None:
        """Add this process's destinations durably."""
        self.add(self.own)

    def add(self, names: Iterable[str]) -> None:
        """Add names durably; rewrite entries that can't be read.

        What the disk refuses is logged, and tried again at the next call.

        Raises:
            UnsafeDirectoryError: If what is there is a link, another user's, or open to others.
        """
        for name in names:
            self._try(name, self._add_synced)
        with suppress(OSError):  # told by the next segment, whose name it does not take either
            sync_directory(self._folder)

    def remove(self, name: str) -> None:
        """Remove a name."""
        self._path(name).unlink(missing_ok=True)

    def remove_stale(self) -> None:
        """Remove what a process left that died while it added a name."""
        for path in self._folder.glob(f"{_DRAFT}*"):
            path.unlink(missing_ok=True)  # whoever lives yet finds it gone and makes another

    def _try(self, name: str, enter: Callable[[str], None]) -> None:
        try:
            enter(name)
        except UnsafeDirectoryError:
            raise
        except OSError as error:
            self._throttled_log.warning(
                "destination.not_entered",
                destination=name,
                error=str(error),
                remedy="see to the queue's volume",
            )

    def _add_if_missing(self, name: str) -> None:
        path = self._path(name)
        if not path.exists():
            self._write(path, name)

    def _add_synced(self, name: str) -> None:
        path = self._path(name)
        if self._read(path) != name:
            self._write(path, name)
        sync_file(path)

    def _path(self, name: str) -> Path:
        # Names may be longer than a file's, and hold what none may.
        return self._folder / hashlib.sha256(name.encode()).hexdigest()

    def _read(self, path: Path) -> str | None:
        """Return the name in a file; ``None`` if it is missing or incomplete."""
        try:
            with os.fdopen(open_secure(path, os.O_RDONLY), "rb") as file:
                name = file.read(_MOST_BYTES).decode()
        except (FileNotFoundError, UnicodeDecodeError):
            return None
        return name if self._path(name) == path else None

    def _write(self, path: Path, name: str) -> None:
        for attempt in range(_ATTEMPTS):
            draft = self._folder / f"{_DRAFT}{secrets.token_hex(8)}"
            try:
                _make(draft, name.encode())
                draft.replace(path)
            except FileNotFoundError:  # a new leader swept it away
                if attempt == _ATTEMPTS - 1:
                    raise
            except OSError:
                draft.unlink(missing_ok=True)
                raise
            else:
                return


def _make(path: Path, content: bytes) -> None:
    descriptor = open_secure(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    try:
        write_all(descriptor, content)
    finally:
        os.close(descriptor)
