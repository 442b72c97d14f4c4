"""Ask whether a file is there, on the hot path.

Asked in the ordinary way, the interpreter lock is let go for it, and beside threads that
compute a call of a microsecond may wait for it for 5 ms and more (see :mod:`.appending`).
"""

from __future__ import annotations

import ctypes
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    IsThere = Callable[[bytes], bool]
    """Say whether there is a file or a directory of this path."""


def keeping_the_lock() -> IsThere:
    """Return ``access`` of the C library, called without letting go of the interpreter lock.

    Raises:
        OSError: If there is no C library to call.
        AttributeError: If it has no ``access``.
    """
    access = ctypes.PyDLL(None).access

    def is_there(path: bytes) -> bool:
        return not access(path, os.F_OK)

    return is_there


def letting_it_go() -> IsThere:
    """Return ``os.access`` in the same form."""
    return lambda path: os.access(path, os.F_OK)


def best() -> IsThere:
    """Return the quickest way that this interpreter has."""
    try:
        return keeping_the_lock()
    except (OSError, AttributeError):  # pragma: no cover - no C library to be had
        return letting_it_go()
