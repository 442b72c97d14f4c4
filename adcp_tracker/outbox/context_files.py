"""Contexts that were remembered for orders, each in a file of the queue directory."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from typing import TYPE_CHECKING

from adcp_tracker.exceptions import ConfigurationError
from adcp_tracker.journal import _syscalls
from adcp_tracker.journal.files import open_secure, sync_directory

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from adcp_tracker._clock import Clock
    from adcp_tracker.journal.files import QueueDirectory

_KEY_BYTES = 32
_MOST_KEY_CHARACTERS = 256
_MOST_BYTES = 10_000
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
        """Return what is kept under a name.

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
        """Keep data under a name, in place of what was there; all of it or nothing.

        Raises:
            UnsafeDirectoryError: If the folder is a link, another user's, or open to others.
            OSError: If it can't be written.
        """
        self._directory.prepare_remembered()
        hidden = self._folder / f".{name}.{secrets.token_hex(4)}"
        descriptor = open_secure(hidden, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        try:
            os.write(descriptor, data)
            os.utime(descriptor, (self._clock.now(),) * 2)
        finally:
            os.close(descriptor)
        hidden.replace(self._folder / name)

    def __iter__(self) -> Iterator[tuple[str, bytes]]:
        """Yield every name and what is kept under it.

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
        """Delete what is kept under some names, durably.

        Raises:
            UnsafeDirectoryError: If the folder is a link, another user's, or open to others.
        """
        if self._directory.check(self._folder):
            for name in names:
                (self._folder / name).unlink(missing_ok=True)
            sync_directory(self._folder)

    def remove_old(self, max_age: float, most: int) -> bool:
        """Delete what is too old, and the oldest beyond `most`; return whether it was too much.

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
    try:
        descriptor = open_secure(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        return os.read(descriptor, _MOST_BYTES)
    finally:
        os.close(descriptor)


def _read_key(path: Path) -> bytes:
    descriptor = open_secure(path, os.O_RDONLY)
    try:
        text = os.read(descriptor, _MOST_KEY_CHARACTERS).strip()
    finally:
        os.close(descriptor)
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
    descriptor = open_secure(hidden, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    try:
        os.write(descriptor, secrets.token_hex(_KEY_BYTES).encode() + b"\n")
        os.fsync(descriptor)
        # A link, unlike a rename, never replaces the key that another process has just made.
        with contextlib.suppress(FileExistsError):
            os.link(hidden, path)
            sync_directory(path.parent)
    finally:
        os.close(descriptor)
        hidden.unlink()
