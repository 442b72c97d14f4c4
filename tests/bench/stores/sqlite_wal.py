"""One row per record in the standard library's SQLite, in WAL mode with ``synchronous=NORMAL``."""

from __future__ import annotations

import sqlite3
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_TIMEOUT_S = 60.0


def appender(directory: Path) -> Callable[[bytes], object]:
    """Open one database for all, with a connection per thread."""
    local = threading.local()

    def append(record: bytes) -> None:
        try:
            execute = local.execute
        except AttributeError:
            execute = local.execute = _connect(directory).execute
        execute("INSERT INTO queue (record) VALUES (?)", (record,))

    return append


def _connect(directory: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        directory / "queue.db", timeout=_TIMEOUT_S, isolation_level=None, check_same_thread=False
    )
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("CREATE TABLE IF NOT EXISTS queue (id INTEGER PRIMARY KEY, record BLOB)")
    return connection
