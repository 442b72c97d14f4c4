"""The library over a directory and PostgreSQL: a relay ships what was added, in pieces."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import attrs

from adcp_tracker import Tracker
from adcp_tracker.outbox.database import migrate
from tests.bench import ours
from tests.bench.queues.adcp_directory import FLUSH_S, MARKER, opened_by
from tests.bench.spending import running_postgres

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.bench.adapters import Waiting

__all__ = ["MARKER", "opened"]


@contextmanager
def opened(directory: Path, url: str) -> Iterator[Waiting]:
    """Open a queue in a server of its own; it is full once all is shipped."""
    with running_postgres() as (queue, spent):
        migrate(queue)
        with (
            Tracker(directory=directory / "queue", queue=queue) as shop,
            opened_by(url, queue=queue) as waiting,
        ):

            def put(numbers: range) -> None:
                for number in numbers:
                    shop.track_purchase({**ours.facts(number), "items": ours.items()})

            settle = partial(shop.flush, FLUSH_S)
            yield attrs.evolve(waiting, put=put, settle=settle, spent=spent)
