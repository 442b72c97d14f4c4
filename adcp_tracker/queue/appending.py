"""The one system call of the hot path: append bytes to an open file.

Letting go of the interpreter lock costs a busy server up to a switch interval (5 ms)
for every thread that computes, to save a call of about a microsecond.
So ``write`` is called with the lock kept, which also keeps appends in order without a lock
of our own. Where that cannot be had, ``os.write`` under a lock does the same, only slower.
"""

from __future__ import annotations

import ctypes
import os
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    Append = Callable[[int, bytes, int], int]
    """Append `data` of `size` bytes to a descriptor and return the count written, or -1."""


def keeping_the_lock() -> Append:
    """Return ``write`` of the C library, called without letting go of the interpreter lock.

    Raises:
        OSError: If there is no C library to call.
        AttributeError: If it has no ``write``.
    """
    # Without declared argument types an int and bytes go through as they are, which is
    # quicker than checked conversions; the result is a C int, and records are small.
    return ctypes.PyDLL(None).write


def under_a_lock() -> Append:
    """Return ``os.write`` in the same form."""
    lock = threading.Lock()

    def append(descriptor: int, data: bytes, _size: int) -> int:
        with lock:
            try:
                return os.write(descriptor, data)
            except OSError:
                return -1

    return append


def best() -> Append:
    """Return the quickest way to append that this interpreter has."""
    try:
        return keeping_the_lock()
    except (OSError, AttributeError):  # pragma: no cover - no C library to be had
        return under_a_lock()
