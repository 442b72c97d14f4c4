"""The library's own journal, as the tracker uses it: framed, checksummed, one writer a file."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from adcp_tracker.journal.files import QueueDirectory
from adcp_tracker.journal.writer import JournalWriter

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def appender(directory: Path) -> Callable[[bytes], object]:
    """Open the queue directory for this process."""
    journal = JournalWriter(QueueDirectory(directory / "queue"))
    write, accepted_ms = journal.append, int(time.time() * 1e3)

    def append(record: bytes) -> None:
        write(record, accepted_ms)

    return append
