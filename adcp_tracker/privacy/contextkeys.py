"""The keys that sign shoppers' contexts: the site's own, or one that the queue directory keeps."""

from __future__ import annotations

import contextlib
import os
import secrets
from typing import TYPE_CHECKING

from adcp_tracker.exceptions import ConfigurationError
from adcp_tracker.queue.directory import open_private, sync_directory

if TYPE_CHECKING:
    from pathlib import Path

    from adcp_tracker.queue.directory import QueueDirectory

_KEY_BYTES = 32
_MOST_BYTES = 256


def directory_key(directory: QueueDirectory) -> bytes:
    """Return the key of a queue directory, which all its processes share.

    The first process that needs it makes it. It appears whole or not at all, and of several
    that are made at once the first to appear is everybody's.

    Raises:
        ConfigurationError: If what is there is no key.
        UnsafeDirectoryError: If it is a link, another user's, or open to others.
        OSError: If it can be neither read nor made.
    """
    path = directory.context_key
    try:
        return _read(path)
    except FileNotFoundError:
        directory.prepare()
        _make(path)
        return _read(path)


def _read(path: Path) -> bytes:
    descriptor = open_private(path, os.O_RDONLY)
    try:
        text = os.read(descriptor, _MOST_BYTES).strip()
    finally:
        os.close(descriptor)
    try:
        key = bytes.fromhex(text.decode("ascii"))
    except ValueError:
        key = b""
    if len(key) != _KEY_BYTES:
        raise ConfigurationError(
            f"{path}: expected {_KEY_BYTES} bytes in hex, got something else; remove the file, "
            f"and a new key is made: tokens of the old one restore nothing then"
        )
    return key


def _make(path: Path) -> None:
    hidden = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}")
    descriptor = open_private(hidden, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
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
