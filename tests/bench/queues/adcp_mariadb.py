"""The library over MariaDB: each event is added in a transaction of its own."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from adcp_tracker.outbox.database import migrate
from tests.bench.queues.adcp_directory import MARKER, opened_by
from tests.support.mysql import run_mariadb

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.bench.adapters import Waiting

__all__ = ["MARKER", "opened"]


@contextmanager
def opened(directory: Path, url: str) -> Iterator[Waiting]:
    """Open a queue in a server of its own."""
    del directory
    with run_mariadb() as server:
        queue = server.create("bench")
        migrate(queue)
        with opened_by(url, queue=queue) as waiting:
            yield waiting
