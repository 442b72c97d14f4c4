"""The library over PostgreSQL: each event is added in a transaction of its own."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import attrs

from adcp_tracker.outbox.database import migrate
from tests.bench.queues.adcp_directory import MARKER, opened_by
from tests.bench.spending import running_postgres

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.bench.adapters import Waiting

__all__ = ["MARKER", "opened"]


@contextmanager
def opened(directory: Path, url: str) -> Iterator[Waiting]:
    """Open a queue in a server of its own."""
    del directory
    with running_postgres() as (queue, spent):
        migrate(queue)
        with opened_by(url, queue=queue) as waiting:
            yield attrs.evolve(waiting, spent=spent)
