"""The layout and permissions of a queue directory.

::

    directory/           0700, ours
        leader.lock      held by the process that uploads
        leader.wanted    another process asks to upload
        books.json       the last counts, for other processes to read
        segments/        journals, one writer each
        state/           the outbox
        dead/            dead letters
        reserve          room on the disk for what has to be written when it is full
        destinations/    the names of those that events are for
        damaged/         bytes that were no records, as evidence
        state.damaged-*  an outbox that could not be read any more
        context.key      signs shoppers' contexts, where the site gives no key
        remembered/      shoppers' contexts, by order
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import shutil
import stat
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from adcp_tracker.exceptions import UnsafeDirectoryError, UnusableDirectoryError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_DIRECTORY_MODE = 0o700
_SIZES_ASKED = 500
_STATES_KEPT = 3
_RESERVE_BYTES = 512 * 1024
_RESERVE_FREE_BYTES = 8 * 1024 * 1024
_FILE_MODE = 0o600
_OTHERS = 0o077
# Regular files do not mind O_NONBLOCK; a pipe in place of one would have us wait for its other end.
_SAFE_FLAGS = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_MAY_RECOVER = frozenset(
    {errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ESTALE}
)
"""What a volume says that may take what waits in memory later."""
_PATH_SHOWN = 200
_WRITE_FLAGS = os.O_WRONLY | os.O_RDWR


class QueueDirectory:
    """One directory on a local file system, private to one user.

    Args:
        path: Where it is; created on first use, parents included.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(os.path.abspath(path))  # noqa: PTH100 - keeps a link visible as a link
        self.segments = self.path / "segments"
        self.state = self.path / "state"
        self.dead = self.path / "dead"
        self.quarantine = self.path / "damaged"
        self.destinations = self.path / "destinations"
        self.leader_lock = self.path / "leader.lock"
        self.leader_wanted = self.path / "leader.wanted"
        self.stats_file = self.path / "books.json"
        self.reserve = self.path / "reserve"
        self.context_key = self.path / "context.key"
        self.remembered = self.path / "remembered"

    def prepare(self) -> None:
        """Create what is missing and check what is there.

        Raises:
            UnsafeDirectoryError: If a part of it is a link, another user's, or open to others.
            OSError: If it cannot be created.
        """
        parts = (self.segments, self.state, self.dead, self.quarantine, self.destinations)
        for folder in (self.path, *parts):
            _make_secure(folder)
        self._keep_reserve()

    def _keep_reserve(self) -> None:
        """Keep room on the disk for what has to be written when it is full."""
        with suppress(OSError):
            if self.reserve.exists() or shutil.disk_usage(self.path).free < _RESERVE_FREE_BYTES:
                return
            with opened(self.reserve, os.O_CREAT | os.O_EXCL | os.O_WRONLY) as descriptor:
                write_all(descriptor, bytes(_RESERVE_BYTES))

    def release_reserve(self) -> bool:
        """Free the reserved room on the disk; return whether there was any.

        It is kept again as soon as the disk has room.
        """
        try:
            self.reserve.unlink()
        except OSError:
            return False
        return True

    def check_usable(self) -> None:
        """Check that the directory can be used, without creating anything.

        Raises:
            UnusableDirectoryError: If it can't be created or written to, or a part of it is a
                link, another user's, or open to others.
        """
        try:
            status = self.path.lstat()
        except FileNotFoundError:
            self._check_creatable()
            return
        except (OSError, ValueError) as error:
            raise self._unusable(error) from None
        try:
            _check_secure(self.path, status, stat.S_IFDIR)
            for folder in (self.segments, self.state, self.dead, self.destinations):
                with suppress(FileNotFoundError):
                    _check_secure(folder, folder.lstat(), stat.S_IFDIR)
        except UnsafeDirectoryError as error:
            raise UnusableDirectoryError(f"directory: {error}") from error
        if not _is_writable(self.path):
            raise UnusableDirectoryError(
                f"directory: {self.path} isn't writable by user {os.geteuid()}. Run: chmod u+rwx "
                f"{self.path}"
            )
        self._check_holds_files(self.path)

    def _unusable(self, error: Exception) -> UnusableDirectoryError:
        why, path = getattr(error, "strerror", None) or error, str(self.path)[:_PATH_SHOWN]
        return UnusableDirectoryError(
            f"directory: {path if path.isprintable() else repr(path)} can't be used: {why}. "
            "Choose a directory that this user may create or write to."
        )

    def _check_holds_files(self, folder: Path) -> None:
        """Raise if no file can be made in a folder, as in /proc, whatever its rights say."""
        try:
            _try_file(folder)
        except OSError as error:
            if error.errno not in _MAY_RECOVER:
                raise UnusableDirectoryError(
                    f"directory: {self.path} can't be used, since {folder} takes no files "
                    f"({error.strerror}). Choose a directory on a disk."
                ) from None

    def _check_creatable(self) -> None:
        parent = next(folder for folder in self.path.parents if os.path.lexists(folder))
        if not parent.is_dir():
            raise UnusableDirectoryError(
                f"directory: {self.path} can't be created, since {parent} isn't a directory."
            )
        if not _is_writable(parent):
            raise UnusableDirectoryError(
                f"directory: {self.path} can't be created, since user {os.geteuid()} may not write "
                f"to {parent}. Choose another directory, or create this one for that user."
            )
        self._check_holds_files(parent)

    def prepare_remembered(self) -> None:
        """Create the folder for shoppers' contexts, which most sites never need.

        Raises:
            UnsafeDirectoryError: If it is a link, another user's, or open to others.
            OSError: If it cannot be created.
        """
        self.prepare()
        _make_secure(self.remembered)

    def check(self, folder: Path) -> bool:
        """Check one of its folders as :meth:`prepare` does; return whether it is there.

        Called before files are removed or written, since a folder may be swapped meanwhile.

        Raises:
            UnsafeDirectoryError: If it is a link, another user's, or open to others.
        """
        try:
            for each in (self.path, folder):
                _check_secure(each, each.lstat(), stat.S_IFDIR)
        except FileNotFoundError:
            return False
        return True

    def quarantine_state(self) -> Path:
        """Move a damaged state aside and keep it for analysis.

        Returns:
            Where it is now.
        """
        aside = self.path / f"state.damaged-{time.time_ns()}"
        self.state.rename(aside)
        _make_secure(self.state)
        for older in sorted(self.path.glob("state.damaged-*"))[:-_STATES_KEPT]:
            shutil.rmtree(older, ignore_errors=True)
        return aside

    def waiting_bytes(self) -> int:
        """Return how many bytes segments take; an estimate if there are very many."""
        try:
            names = os.listdir(self.segments)  # noqa: PTH208 - a fifth of the time for many
        except FileNotFoundError:
            return 0
        step = max(len(names) // _SIZES_ASKED, 1)
        folder = str(self.segments)
        return step * sum(size_of(f"{folder}/{name}") for name in names[::step])

    def used_bytes(self) -> int:
        """Return how many bytes segments, dead letters and quarantined files take."""
        return sum(
            size_of(entry.path)
            for folder in (self.segments, self.dead, self.quarantine)
            for entry in _entries(folder)
        )


def open_secure(path: Path, flags: int) -> int:
    """Open a file of the queue, never through a link; a new one is ours alone.

    Raises:
        UnsafeDirectoryError: If what is there is a link, another user's, or open to others;
            or if it is to be written and has a second name.
    """
    try:
        descriptor = os.open(path, flags | _SAFE_FLAGS, _FILE_MODE)
    except OSError:
        check_secure_file(path)
        raise
    try:
        status = os.fstat(descriptor)
        _check_secure(path, status, stat.S_IFREG)
        if flags & _WRITE_FLAGS:
            _check_one_name(path, status)
    except UnsafeDirectoryError:
        os.close(descriptor)
        raise
    return descriptor


@contextmanager
def opened(path: Path, flags: int) -> Iterator[int]:
    """Open a file as :func:`open_secure` does, and close it when the block ends."""
    descriptor = open_secure(path, flags)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _check_one_name(path: Path, status: os.stat_result) -> None:
    if status.st_nlink > 1:
        raise UnsafeDirectoryError(
            f"{path}: expected a file with one hard link, got one with {status.st_nlink}; replace "
            f"it with a copy"
        )


def check_secure_file(path: Path) -> None:
    """Check a file's owner and rights, if it is there, without opening it.

    Raises:
        UnsafeDirectoryError: If it is a link, another user's, or open to others.
    """
    try:
        status = path.lstat()
    except FileNotFoundError:
        return
    _check_secure(path, status, stat.S_IFREG)


def was_replaced(descriptor: int, path: Path) -> bool:
    """Return whether an open file is no longer the one at its path.

    Someone may delete or move the queue directory while processes have it open.
    """
    try:
        return not os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return True


def try_lock(descriptor: int) -> bool:
    """Lock an open file if no other process has; return whether it is locked."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_orphaned(status: os.stat_result) -> bool:
    """Return whether a locked file is held only by children of the process that locked it.

    A server written in C may fork without Python's hooks. Its child inherits the lock, and
    keeps it when the parent dies. It never writes under it: it finds out that it is a child first.

    Linux names the process that took a lock, also when that has ended. Returns False wherever
    that can't be told: on other systems, and where neither the lock's taker nor its holder is
    visible. If another process has the taker's id by now, the taker counts as alive.
    """
    takers = _lock_takers(_read_text("/proc/locks").splitlines(), status)
    if any(takers):
        return all(map(_has_ended, takers))
    # In a container, one that has ended is called 0; so is one outside. The child of one
    # outside has no parent here.
    holders = list(_lock_holders(status))
    return bool(holders) and all(
        _has_ended(taker) if taker else _parent_of(holder) for holder, taker in holders
    )


def _lock_takers(lines: Iterable[str], status: os.stat_result) -> list[int]:
    """Return the ids of the processes that took a file's lock, from lines as in /proc/locks."""
    device = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    found = [line.split()[1:6] for line in lines if " FLOCK " in line and "->" not in line]
    return [int(fields[3]) for fields in found if fields[4] == device]


def _lock_holders(status: os.stat_result) -> Iterator[tuple[int, int]]:
    """Yield the processes that hold a file's lock, each with the one that took it."""
    for name in _names("/proc"):
        for number in _names(f"/proc/{name}/fd") if name.isdigit() else ():
            with suppress(OSError):
                if os.path.samestat(Path(f"/proc/{name}/fd/{number}").stat(), status):
                    for line in _read_text(f"/proc/{name}/fdinfo/{number}").splitlines():
                        if line.startswith("lock:") and " FLOCK " in line:
                            yield int(name), int(line.split()[5])


def _has_ended(process: int) -> bool:
    """Return whether there is no such process, or none of its threads runs."""
    state = _read_text(f"/proc/{process}/stat").rpartition(")")[2].split()
    if state:
        return state[0] in {"Z", "X"} and int(state[17]) <= 1
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def _parent_of(process: int) -> int:
    """Return the id of a process's parent; 0 if it is outside or unknown."""
    fields = _read_text(f"/proc/{process}/stat").rpartition(")")[2].split()
    return int(fields[1]) if fields else 0


def _names(folder: str) -> list[str]:
    try:
        return [entry.name for entry in Path(folder).iterdir()]
    except OSError:  # ended in the meantime, or another user's
        return []


def _read_text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of some bytes, however few the disk takes at once.

    Raises:
        OSError: If it takes no more; what it took before stays.
    """
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def sync_data(descriptor: int) -> None:
    """Make what was written to a file survive a power cut.

    On macOS, ``fsync`` leaves the data in the drive's own cache; ``F_FULLFSYNC`` does not.
    """
    if _FULL_SYNC is not None:
        with suppress(OSError):  # not every file system has it
            fcntl.fcntl(descriptor, _FULL_SYNC)
            return
    _sync(descriptor)


_FULL_SYNC: int | None = getattr(fcntl, "F_FULLFSYNC", None)
_sync: Callable[[int], None] = getattr(os, "fdatasync", os.fsync)


def sync_file(path: Path) -> None:
    """Make what was written to a file of the queue survive a power cut."""
    with opened(path, os.O_RDONLY) as descriptor:
        sync_data(descriptor)


def sync_volume(path: Path) -> bool:
    """Sync everything written to a folder's volume in one call; return whether that is possible.

    Raises:
        OSError: If the volume doesn't confirm it.
    """
    if _sync_file_system is None:
        return False
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if not _sync_file_system(descriptor):
            return True
        number = ctypes.get_errno()
    finally:
        os.close(descriptor)
    if number == errno.ENOSYS:  # as in some sandboxes
        return False
    raise OSError(number, os.strerror(number), str(path))


def _load_sync_file_system() -> Callable[[int], int] | None:
    """Return Linux's ``syncfs``; ``None`` elsewhere."""
    with suppress(OSError, AttributeError):
        return ctypes.CDLL(None, use_errno=True).syncfs
    return None


_sync_file_system = _load_sync_file_system()


def sync_directory(path: Path) -> None:
    """Make names created in or removed from a folder survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_file(path: Path, data: bytes) -> None:
    """Replace the content of a file at once, so that no reader sees half of it.

    One process at a time may do so. If it dies meanwhile, the next one removes what it left.

    Raises:
        UnsafeDirectoryError: If its folder is a link, another user's, or open to others.
    """
    _check_secure(path.parent, path.parent.lstat(), stat.S_IFDIR)
    temporary = path.with_name(f".{path.name}")
    temporary.unlink(missing_ok=True)
    with opened(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY) as descriptor:
        write_all(descriptor, data)
    temporary.replace(path)


def write_named_file(path: str | os.PathLike[str], data: bytes, mode: int = _FILE_MODE) -> None:
    """Replace the content of a file that a user named, wherever that is, at once.

    Its folder may belong to another user, as ``/tmp`` does, but mustn't let every user replace
    the file.

    Raises:
        ValueError: If its folder lets them.
        OSError: If it can't be written; what was there stays.
    """
    target = Path(path)
    rights = target.parent.stat().st_mode
    if rights & stat.S_IWOTH and not rights & stat.S_ISVTX:
        raise ValueError(
            f"everybody may replace files in {target.parent}; run: chmod o-w {target.parent}"
        )
    draft = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    draft.unlink(missing_ok=True)  # of a process with the same id that was killed
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(draft, flags, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        draft.replace(target)
    except BaseException:
        with suppress(OSError):
            draft.unlink()
        raise


def _make_secure(folder: Path) -> None:
    """Make a folder if it is missing, and check its owner and rights."""
    try:
        status = folder.lstat()
    except FileNotFoundError:
        _make_parents(folder)
        with suppress(FileExistsError):  # another process was quicker
            folder.mkdir(mode=_DIRECTORY_MODE)
            _sync_parent(folder)
        status = folder.lstat()
    _check_secure(folder, status, stat.S_IFDIR)


def _is_writable(folder: Path) -> bool:
    """Return whether this user may write to a folder, once its volume is writable."""
    effective = os.access in os.supports_effective_ids
    if os.access(folder, os.W_OK | os.X_OK, effective_ids=effective):
        return True
    # A volume that is read-only for now takes what waits in memory when it recovers.
    return bool(os.statvfs(folder).f_flag & os.ST_RDONLY)


def _try_file(folder: Path) -> None:
    """Make a file in a folder, without a name where that is possible, and remove it.

    Raises:
        OSError: If it can't be made.
    """
    flags = os.O_WRONLY | os.O_CLOEXEC
    unnamed: int | None = getattr(os, "O_TMPFILE", None)
    if unnamed is not None:
        with suppress(OSError):  # not every file system has them
            os.close(os.open(folder, flags | unnamed, _FILE_MODE))
            return
    trial = folder / f".adcp-{os.getpid()}-{time.time_ns()}"
    os.close(os.open(trial, flags | os.O_CREAT | os.O_EXCL, _FILE_MODE))
    trial.unlink()


def _make_parents(path: Path) -> None:
    """Make the folders above a directory; a power cut must not take one that holds events."""
    missing = [folder for folder in path.parents if not folder.exists()]
    for folder in reversed(missing):
        with suppress(FileExistsError):  # another process was quicker
            folder.mkdir(mode=_DIRECTORY_MODE)
        _sync_parent(folder)


def _sync_parent(folder: Path) -> None:
    # Where we may not read, we may not sync; the file system will do it in its own time.
    with suppress(PermissionError):
        sync_directory(folder.parent)


def _check_secure(path: Path, status: os.stat_result, kind: int) -> None:
    if stat.S_IFMT(status.st_mode) != kind:
        is_folder = kind == stat.S_IFDIR
        raise UnsafeDirectoryError(
            f"{path}: expected {'a directory' if is_folder else 'a file'}, "
            f"got {'a link' if stat.S_ISLNK(status.st_mode) else 'something else'}; "
            f"{'put a directory in its place' if is_folder else 'remove it'}"
        )
    if status.st_uid != os.geteuid():
        raise UnsafeDirectoryError(
            f"{path}: expected user {os.geteuid()} to own it, got user {status.st_uid}; "
            "run this as that user, or give each user a directory of its own; "
            "in a container's volume, use a folder below the mount"
        )
    if status.st_mode & _OTHERS:
        raise UnsafeDirectoryError(
            f"{path}: expected no rights for others, got mode {stat.S_IMODE(status.st_mode):04o}; "
            f"run: chmod go-rwx {path}"
        )


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if entry.is_file(follow_symlinks=False)]
    except FileNotFoundError:
        return []


def size_of(path: str) -> int:
    """Return a file's size; 0 if it is gone.

    Takes text: with very many segments, making a path of each name costs more than asking.
    """
    try:
        return os.lstat(path).st_size
    except FileNotFoundError:  # delivered and deleted while we looked
        return 0
