"""A queue in a directory: its store, leader lock, destinations and remembered contexts."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import secrets
import shutil
import sqlite3
import threading
from contextlib import suppress
from math import inf
from typing import TYPE_CHECKING, Any

from adcp_tracker._logging import ThrottledLogger, logger
from adcp_tracker._platform import SystemClock
from adcp_tracker.exceptions import ConfigurationError, OutboxError, UnsafeDirectoryError
from adcp_tracker.journal import _syscalls
from adcp_tracker.journal.files import (
    is_orphaned,
    open_secure,
    opened,
    replace_file,
    sync_directory,
    sync_file,
    try_lock,
    was_replaced,
    write_all,
)
from adcp_tracker.journal.reader import SegmentStore
from adcp_tracker.journal.writer import JournalWriter
from adcp_tracker.outbox.dead_letters import DeadLetterStore
from adcp_tracker.outbox.storage import DamagedOutboxError, Shards

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from adcp_tracker._platform import Clock
    from adcp_tracker.journal.encryption import Encryption
    from adcp_tracker.journal.files import QueueDirectory
    from adcp_tracker.outbox.schema import TransactionalOutbox
    from adcp_tracker.outbox.storage import Outbox, Store


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
        """Create missing folders and check the others."""
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
            with os.fdopen(open_secure(self.directory.stats_file, os.O_RDONLY), "rb") as file:
                return file.read()
        except OSError:
            return b""

    def contexts(self, clock: Clock) -> ContextFiles:
        """Return the contexts that are remembered for orders."""
        return ContextFiles(self.directory, clock)

    def count_uncollected(self) -> int:
        """Return 0: each process writes to a segment of its own."""
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
        replace_file(self._directory.stats_file, data)

    def hold(self, destination: str, seconds: float) -> None:
        """Do nothing: one process sends all of a directory."""

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


_STALE_SECONDS = 5.0
_POLL_SECONDS = 0.02
_ORPHAN_SECONDS = 30.0
_NONE = -1


class FileLeaderLock:
    """This process's claim to lead a directory.

    Args:
        directory: The queue directory, prepared.
        clock: Where the time is read.

    Attributes:
        free_in: Always infinity: it isn't known when the holder ends.
    """

    free_in = inf

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
                # file. It finds that replaced, and releases it.
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
        with opened(self._request_path, os.O_CREAT | os.O_WRONLY) as descriptor:
            os.utime(descriptor)


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
            path.unlink(missing_ok=True)  # a process that is still alive makes another

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
                remedy="check the queue's volume",
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
                with opened(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY) as descriptor:
                    write_all(descriptor, name.encode())
                draft.replace(path)
            except FileNotFoundError:  # a new leader swept it away
                if attempt == _ATTEMPTS - 1:
                    raise
            except OSError:
                draft.unlink(missing_ok=True)
                raise
            else:
                return


_FIRST = Shards()


def is_queue_url(place: str) -> bool:
    """Return whether a place is the URL of a queue, and not a directory."""
    return "://" in place


def open_store(
    directory: QueueDirectory | None,
    url: str | None = None,
    encryption: Encryption | None = None,
    outbox: Callable[[QueueDirectory], Outbox] = open_outbox,
    shards: Shards = _FIRST,
) -> Store:
    """Return the store of a directory, or of the queue at a URL.

    Args:
        directory: The queue directory, if it is one.
        url: The URL of the queue otherwise.
        encryption: Encrypts and decrypts events.
        outbox: Opens the state of a directory.
        shards: Which queues of the database this process works on.

    Raises:
        ConfigurationError: If the URL is invalid, or its driver isn't installed.
    """
    if directory is not None:
        return DirectoryStore(directory, encryption, outbox)
    from adcp_tracker.outbox.database_store import DatabaseStore  # noqa: PLC0415 - rarely needed

    return DatabaseStore(str(url), encryption, shards)


def open_producer_store(
    outbox: TransactionalOutbox, encryption: Encryption | None, shards: Shards
) -> Store:
    """Return the store of a process that only inserts events in the application's database."""
    from adcp_tracker.outbox.database_store import ProducerStore  # noqa: PLC0415 - for those who use it

    return ProducerStore(outbox, encryption, shards)


_KEY_BYTES = 32
_MOST_KEY_CHARACTERS = 256
_MOST_TOKEN_BYTES = 10_000
_UNFINISHED_SECONDS = 60.0
_NAME = re.compile(r"[0-9a-f]{32}")
_UNFINISHED = re.compile(r"\.[0-9a-f]{32}\.[0-9a-f]{8}")


class ContextFiles:
    """Keeps contexts under hidden names, and the key that signs them.

    A name is 32 hexadecimal digits; a file of any other name is left alone.

    Args:
        directory: The queue directory.
        clock: Where the time is read.
    """

    def __init__(self, directory: QueueDirectory, clock: Clock) -> None:
        self._directory = directory
        self._folder = directory.remembered
        self._root = os.fsencode(directory.remembered)
        self._is_there = _syscalls.fastest_exists()
        self._clock = clock

    def key(self) -> bytes:
        """Return the signing key that all processes of this queue share; make it if needed.

        It appears whole or not at all, and the first one that appears is everybody's.

        Raises:
            ConfigurationError: If what is there is not a key.
            UnsafeDirectoryError: If it is a link, another user's, or open to others.
            OSError: If it can't be read or made.
        """
        path = self._directory.context_key
        try:
            return _read_key(path)
        except FileNotFoundError:
            self._directory.prepare()
            _make_key(path)
            return _read_key(path)

    def is_there(self) -> bool:
        """Return whether a context was ever remembered here. Takes one system call."""
        return bool(self._is_there(self._root))

    def read(self, name: str) -> bytes | None:
        """Return the data of a name.

        Raises:
            UnsafeDirectoryError: If the folder or the file is a link, another user's, or open
                to others.
            OSError: If it can't be read.
        """
        # Most orders are not remembered: a look takes less than an attempt to open it.
        if not self._is_there(b"%b/%b" % (self._root, name.encode())):
            return None
        self._directory.check(self._folder)
        return _read(self._folder / name)

    def write(self, name: str, data: bytes) -> None:
        """Store the data of a name, replacing older data; all of it or nothing.

        Raises:
            UnsafeDirectoryError: If the folder is a link, another user's, or open to others.
            OSError: If it can't be written.
        """
        self._directory.prepare_remembered()
        hidden = self._folder / f".{name}.{secrets.token_hex(4)}"
        with opened(hidden, os.O_CREAT | os.O_EXCL | os.O_WRONLY) as descriptor:
            os.write(descriptor, data)
            os.utime(descriptor, (self._clock.now(),) * 2)
        hidden.replace(self._folder / name)

    def __iter__(self) -> Iterator[tuple[str, bytes]]:
        """Yield every name with its data.

        Raises:
            UnsafeDirectoryError: If the folder or a file is a link, another user's, or open to
                others.
        """
        if not self._directory.check(self._folder):
            return
        for path in sorted(self._folder.glob("[!.]*")):
            data = _read(path) if _NAME.fullmatch(path.name) else None
            if data is not None:
                yield path.name, data

    def remove(self, names: Iterable[str]) -> None:
        """Delete some names with their data, durably.

        Raises:
            UnsafeDirectoryError: If the folder is a link, another user's, or open to others.
        """
        if self._directory.check(self._folder):
            for name in names:
                (self._folder / name).unlink(missing_ok=True)
            sync_directory(self._folder)

    def remove_old(self, max_age: float, most: int) -> bool:
        """Delete old data, and the oldest beyond `most`; return whether there was more.

        Raises:
            UnsafeDirectoryError: If the folder is a link, another user's, or open to others.
            OSError: If it can't be read.
        """
        if not self._directory.check(self._folder):
            return False
        today = self._clock.now()
        with os.scandir(self._folder) as entries:
            aged = sorted(
                (entry.stat(follow_symlinks=False).st_mtime, entry.name) for entry in entries
            )
        whole = [(kept_at, name) for kept_at, name in aged if _NAME.fullmatch(name)]
        old = {name for kept_at, name in whole if today - kept_at > max_age}
        old.update(name for _, name in whole[:-most])
        old.update(
            name
            for kept_at, name in aged
            if _UNFINISHED.fullmatch(name) and today - kept_at > _UNFINISHED_SECONDS
        )
        for name in old:
            (self._folder / name).unlink(missing_ok=True)
        return len(whole) > most


def _read(path: Path) -> bytes | None:
    with suppress(FileNotFoundError), opened(path, os.O_RDONLY) as descriptor:
        return os.read(descriptor, _MOST_TOKEN_BYTES)
    return None


def _read_key(path: Path) -> bytes:
    with opened(path, os.O_RDONLY) as descriptor:
        text = os.read(descriptor, _MOST_KEY_CHARACTERS).strip()
    try:
        key = bytes.fromhex(text.decode("ascii"))
    except ValueError:
        key = b""
    if len(key) != _KEY_BYTES:
        raise ConfigurationError(
            f"{path}: expected {_KEY_BYTES} bytes in hex, got something else; remove the file, "
            "and a new key is made. Tokens signed with the old one restore nothing then"
        )
    return key


def _make_key(path: Path) -> None:
    hidden = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}")
    with opened(hidden, os.O_CREAT | os.O_EXCL | os.O_WRONLY) as descriptor:
        try:
            os.write(descriptor, secrets.token_hex(_KEY_BYTES).encode() + b"\n")
            os.fsync(descriptor)
            # A link, unlike a rename, never replaces the key that another process just made.
            with contextlib.suppress(FileExistsError):
                os.link(hidden, path)
                sync_directory(path.parent)
        finally:
            hidden.unlink()
