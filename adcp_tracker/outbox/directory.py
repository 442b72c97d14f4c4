"""A queue in a directory of the local disk."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from typing import TYPE_CHECKING, Any

from adcp_tracker.exceptions import OutboxError
from adcp_tracker.journal.files import open_secure, replace_file, sync_directory
from adcp_tracker.journal.reader import SegmentStore
from adcp_tracker.journal.writer import JournalWriter
from adcp_tracker.outbox.context_files import ContextFiles
from adcp_tracker.outbox.dead_letters import DeadLetterStore
from adcp_tracker.outbox.known_destinations import KnownDestinations
from adcp_tracker.outbox.leader_lock import FileLeaderLock
from adcp_tracker.outbox.storage import DamagedOutboxError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from adcp_tracker._clock import Clock
    from adcp_tracker.journal.encryption import Encryption
    from adcp_tracker.journal.files import QueueDirectory
    from adcp_tracker.outbox.storage import Outbox


def open_outbox(directory: QueueDirectory) -> Outbox:
    """Open the outbox of a queue directory.

    Raises:
        DamagedOutboxError: If the database is no database.
        OutboxError: If it can't be opened at the moment.
    """
    # A process that never uploads needs no database.
    from adcp_tracker.outbox._diskcache import DiskcacheOutbox  # noqa: PLC0415 - see above

    return DiskcacheOutbox(directory.state)


class DirectoryStore:
    """Keeps a queue in a directory.

    Args:
        directory: The directory.
        encryption: Encrypts and decrypts events.
        outbox: Opens its state.

    Attributes:
        directory: The directory.
        encryption: Encrypts and decrypts events.
    """

    is_shared = False

    def __init__(
        self,
        directory: QueueDirectory,
        encryption: Encryption | None = None,
        outbox: Callable[[QueueDirectory], Outbox] = open_outbox,
    ) -> None:
        self.directory = directory
        self.encryption = encryption
        self.location = str(directory.path)
        self._open_outbox = outbox

    def prepare(self) -> None:
        """Create what is missing and check what is there."""
        self.directory.prepare()

    def shards(self) -> tuple[DirectoryStore, ...]:
        """Return itself: a directory is one queue."""
        return (self,)

    def open(self, term: int = 0) -> DirectoryQueue:
        """Return the queue; a directory's lock can't be lost, so terms don't matter."""
        del term
        return DirectoryQueue(self.directory, self.encryption, self._open_outbox)

    def journal_writer(self, **options: Any) -> JournalWriter:  # noqa: ANN401 - passed on
        """Return what appends this process's records."""
        if self.encryption is None:
            return JournalWriter(self.directory, **options)
        # Encryption is an extra, and its module loads slowly.
        from adcp_tracker.journal.encryption import EncryptedJournalWriter  # noqa: PLC0415 - see above

        return EncryptedJournalWriter(self.encryption, self.directory, **options)

    def leader_lock(self, clock: Clock) -> FileLeaderLock:
        """Return this process's claim to lead."""
        return FileLeaderLock(self.directory, clock)

    def destination_names(self, own: Iterable[str], clock: Clock) -> KnownDestinations:
        """Return the names of all destinations."""
        return KnownDestinations(self.directory, own, clock)

    def read_stats(self) -> bytes:
        """Return the counts that the leader last published; empty if there are none."""
        try:
            with os.fdopen(open_secure(self.directory.books, os.O_RDONLY), "rb") as file:
                return file.read()
        except OSError:
            return b""

    def contexts(self, clock: Clock) -> ContextFiles:
        """Return the contexts that are remembered for orders."""
        return ContextFiles(self.directory, clock)

    def count_uncollected(self) -> int:
        """Return none: each process writes to a segment of its own."""
        return 0

    def used_bytes(self) -> int:
        """Return the size of the queue."""
        return self.directory.used_bytes()


class DirectoryQueue:
    """A directory's queue as its leader sees it.

    Args:
        directory: The directory.
        encryption: Encrypts and decrypts events.
        outbox: Opens its state.

    Attributes:
        segments: Its segments.
        dead_letters: Its dead letters.
    """

    def __init__(
        self,
        directory: QueueDirectory,
        encryption: Encryption | None,
        outbox: Callable[[QueueDirectory], Outbox],
    ) -> None:
        self._directory = directory
        self._open_outbox = outbox
        self.segments = SegmentStore(directory, encryption)
        self.dead_letters = DeadLetterStore(directory, encryption)

    def open_outbox(self) -> Outbox:
        """Open its state, on a full disk with the room that is reserved for it."""
        try:
            return self._open_outbox(self._directory)
        except DamagedOutboxError:
            raise
        except OutboxError:
            if not self._directory.release_reserve():
                raise
            return self._open_outbox(self._directory)

    def has_state(self) -> bool:
        """Return whether a leader ever kept state."""
        return any(self._directory.state.iterdir())

    def quarantine_state(self) -> str:
        """Set a damaged state aside, and return where it is kept."""
        return str(self._directory.quarantine_state())

    def write_stats(self, data: bytes) -> None:
        """Publish counts for other processes."""
        replace_file(self._directory.books, data)

    def hold(self, destination: str, seconds: float) -> None:
        """Have nobody to tell: one process sends all of a directory."""

    def held(self) -> dict[str, float]:
        """Return nothing; see :meth:`hold`."""
        return {}

    def compact_state(self) -> None:
        """Overwrite what the closed database has freed."""
        for database in self._directory.state.glob("*.db"):
            with contextlib.closing(sqlite3.connect(database)) as connection:
                connection.execute("VACUUM")

    def places_with(self, texts: frozenset[str]) -> tuple[str, ...]:
        """Return the files that contain one of some texts, in any case."""
        root = self._directory.path
        files = (path for path in root.rglob("*") if path.is_file() and not path.is_symlink())
        return tuple(
            sorted(str(path.relative_to(root)) for path in files if _contains(path, texts))
        )

    def state_contains(self, texts: frozenset[str]) -> bool:
        """Return whether the state contains one of some texts, also where it was freed."""
        return any(_contains(path, texts) for path in self._directory.state.iterdir())

    def discard_quarantined(self) -> int:
        """Delete quarantined bytes and states; return how many there were."""
        directory = self._directory
        directory.check(directory.quarantine)
        files = sorted(directory.quarantine.iterdir())
        for path in files:
            path.unlink()
        states = sorted(directory.path.glob("state.damaged-*"))
        for path in states:
            shutil.rmtree(path)
        for folder in (directory.quarantine, directory.path):
            sync_directory(folder)
        return len(files) + len(states)


def _contains(path: Path, texts: frozenset[str]) -> bool:
    try:
        content = path.read_bytes().decode(errors="replace").casefold()
    except FileNotFoundError:  # gone in the meantime, as a segment that was delivered
        return False
    return any(each in content for each in texts)
