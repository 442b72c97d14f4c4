"""A queue by hand, as most outboxes are: a row per event and destination, claimed by thousands."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx
import psycopg

from tests.bench.adapters import DESTINATIONS, EVENT_MARKER, Waiting, body
from tests.bench.spending import running_postgres

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MARKER = EVENT_MARKER
_CREATE = """
CREATE TABLE job (
    id bigint GENERATED ALWAYS AS IDENTITY, destination integer, body text, tries integer DEFAULT 0,
    PRIMARY KEY (destination, id)
)
"""
_PUT = "INSERT INTO job (destination, body) SELECT generate_series(0, %s - 1), %s"
_CLAIM = """
UPDATE job SET tries = tries + 1 WHERE destination = %(destination)s AND id IN (
    SELECT id FROM job WHERE destination = %(destination)s
    ORDER BY id LIMIT 1000 FOR UPDATE SKIP LOCKED
) RETURNING id, body
"""
_DELETE = "DELETE FROM job WHERE destination = %s AND id = ANY(%s)"


@contextmanager
def opened(directory: Path, url: str) -> Iterator[Waiting]:
    """Open a queue in a server of its own."""
    del directory
    with (
        running_postgres() as (place, spent),
        psycopg.connect(place, autocommit=True) as connection,
    ):
        connection.execute(_CREATE)

        def put(numbers: range) -> None:
            connection.execute(_PUT, (DESTINATIONS, body(numbers)))

        def drain() -> None:
            threads = [
                threading.Thread(target=_work, args=(place, url, number))
                for number in range(DESTINATIONS)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

        yield Waiting(put, drain, spent=spent)


def _work(place: str, url: str, destination: int) -> None:
    with psycopg.connect(place) as connection, httpx.Client(timeout=60) as sender:
        while rows := connection.execute(_CLAIM, {"destination": destination}).fetchall():
            events = "[" + ",".join(row[1][1:-1] for row in rows) + "]"
            sender.post(f"{url}/{destination}", content=events).raise_for_status()
            connection.execute(_DELETE, (destination, [row[0] for row in rows]))
            connection.commit()
