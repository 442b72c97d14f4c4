"""The library's own journal with a key: every record sealed with AES-GCM."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from adcp_tracker.journal.encryption import EncryptedJournalWriter, Encryption
from adcp_tracker.journal.files import QueueDirectory

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def appender(directory: Path) -> Callable[[bytes], object]:
    """Open the queue directory for this process, with a key of its own."""
    journal = EncryptedJournalWriter(
        Encryption(os.urandom(32)), QueueDirectory(directory / "queue")
    )
    write, accepted_ms = journal.append, int(time.time() * 1e3)

    def append(record: bytes) -> None:
        write(record, accepted_ms)

    return append
