"""Know a fork when you are in one, even if nobody told Python.

Servers written in C may fork without running Python's fork hooks.
A page that the kernel wipes in a child (``MADV_WIPEONFORK``, Linux ≥ 4.14) tells at the
price of reading one byte; elsewhere the process id does, at the price of a system call.
"""

from __future__ import annotations

import mmap
import os
from typing import Protocol

_WIPE_ON_FORK = 18
_PAGE = mmap.PAGESIZE


class ForkMark(Protocol):
    """Something whose first element is true in the process that made it, and false in a child."""

    def __getitem__(self, index: int, /) -> int: ...


class _ProcessMark:
    def __init__(self) -> None:
        self._pid = os.getpid()

    def __getitem__(self, index: int, /) -> int:
        return self._pid == os.getpid()


def fork_mark() -> ForkMark:
    """Return a mark of this very process: ``mark[0]`` is false in a child made by a fork."""
    try:
        page = mmap.mmap(-1, _PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        page.madvise(_WIPE_ON_FORK)
    except (AttributeError, OSError, ValueError):  # pragma: no cover - not this kernel
        return _ProcessMark()
    page[0] = 1
    return page
