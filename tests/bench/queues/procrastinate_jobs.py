"""procrastinate over PostgreSQL: a job for each destination, of one event or of many.

Ten jobs at once, in one process, over connections to the sink that are kept open.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx
import procrastinate

from tests.bench.adapters import DESTINATIONS, EVENT_MARKER, Waiting, body
from tests.bench.spending import running_postgres

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MARKER = EVENT_MARKER
_CONCURRENCY = 10


@contextmanager
def opened(directory: Path, url: str) -> Iterator[Waiting]:
    """Open a queue in a server of its own."""
    del directory
    with running_postgres() as (conninfo, spent):
        shop = procrastinate.App(connector=procrastinate.SyncPsycopgConnector(conninfo=conninfo))
        sending = shop.configure_task("send")
        with shop.open():
            shop.schema_manager.apply_schema()

            def put(numbers: range) -> None:
                events = body(numbers)
                for destination in range(DESTINATIONS):
                    sending.defer(destination=destination, events=events)

            yield Waiting(put, lambda: asyncio.run(_work(conninfo, url)), spent=spent)


async def _work(conninfo: str, url: str) -> None:
    """Do all jobs that there are."""
    app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=conninfo))
    async with httpx.AsyncClient(timeout=60) as sender, app.open_async():

        @app.task(name="send", retry=True)
        async def send(destination: int, events: str) -> None:
            (await sender.post(f"{url}/{destination}", content=events)).raise_for_status()

        await app.run_worker_async(
            concurrency=_CONCURRENCY, wait=False, install_signal_handlers=False
        )
