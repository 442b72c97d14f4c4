"""write() and access() without releasing the GIL."""

from __future__ import annotations

import ctypes
import os
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    Append = Callable[[int, bytes, int], int]
    """Append `data` of `size` bytes to a descriptor and return the count written, or -1."""
    from collections.abc import Callable

    Exists = Callable[[bytes], bool]
    """Return whether there is a file or a directory at this path."""


def write_holding_gil() -> Append:
    """Return the C library's ``write``, called without releasing the GIL.

    Raises:
        OSError: If there is no C library to call.
        AttributeError: If it has no ``write``.
    """
    # Without declared argument types an int and bytes go through as they are, which is
    # quicker than checked conversions; the result is a C int, and records are small.
    return ctypes.PyDLL(None).write


def write_with_lock() -> Append:
    """Return ``os.write`` in the same form."""
    lock = threading.Lock()

    def append(descriptor: int, data: bytes, _size: int) -> int:
        with lock:
            try:
                return os.write(descriptor, data)
            except OSError:
                return -1

    return append


def fastest_write() -> Append:
    """Return the fastest append function of this interpreter."""
    try:
        return write_holding_gil()
    except (OSError, AttributeError):  # pragma: no cover - no C library to be had
        return write_with_lock()


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
