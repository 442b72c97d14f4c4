"""``persistqueue.SQLiteQueue.put`` with its defaults, which sync every record to the disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from persistqueue import SQLiteQueue

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_TIMEOUT_S = 60


def appender(directory: Path) -> Callable[[bytes], object]:
    """Open one queue for all."""
    queue = SQLiteQueue(
        str(directory / "queue"), multithreading=True, auto_commit=True, timeout=_TIMEOUT_S
    )
    put: Callable[[bytes], object] = queue.put
    return put
