"""All of a queue works through PgBouncer in transaction mode."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from adcp_tracker import RequestContext, Tracker
from adcp_tracker.outbox.database import migrate
from adcp_tracker.outbox.database_store import DatabaseStore
from adcp_tracker.testing import RecordingDestination
from tests.databases.test_database_store import TestDatabaseStore as DatabaseContract
from tests.support.pgbouncer import run_pgbouncer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from adcp_tracker.journal.encryption import Encryption
    from tests.support.pgbouncer import PgBouncer
    from tests.support.postgres import PostgresServer

_NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def pooler(postgres: PostgresServer) -> Iterator[PgBouncer]:
    """Run a pooler."""
    with run_pgbouncer(postgres) as running:
        yield running


@pytest.fixture
def database(pooler: PgBouncer, postgres: PostgresServer) -> str:
    """Return the URL of an empty database, by way of the pooler."""
    name = f"pooled_{next(_NUMBERS)}"
    postgres.create(name)
    return pooler.url(name)


class TestPooledStore(DatabaseContract):
    """The contract of stores."""

    @pytest.fixture
    def encryption(self) -> Encryption | None:
        """Return no encryption: it knows nothing of connections."""
        return None

    @pytest.fixture
    def store(self, database: str, encryption: Encryption | None) -> DatabaseStore:
        """Return one process's view."""
        migrate(database)
        return DatabaseStore(database, encryption)


def test_trackers_and_a_relay_share_few_connections(database: str, tmp_path: Path) -> None:
    """More clients than connections: each is used for one transaction at a time."""
    migrate(database)
    seller = RecordingDestination()
    shops = [Tracker(queue=database) for _ in range(5)]
    relay = Tracker(directory=tmp_path / "q", queue=database)
    shopper = RequestContext(client_ip="203.0.113.9", client_user_agent="Mozilla/5.0")
    shops[0].contexts.remember("A-1", context=shopper)
    for number, shop in enumerate([*shops, relay] * 10):
        order = {"id": f"A-{number}", "total": "5.00", "currency": "EUR"}
        shop.track_purchase({**order, "email": f"{number}@example.com"})
    assert relay.flush(30).pending == 0
    assert shops[0].privacy.erase(email="7@example.com").events == 1
    with Tracker([seller], queue=database) as worker:
        stats = worker.flush(30)
    for tracker in (*shops, relay):
        tracker.close()
    found = {event.event_id: event for event in seller.events}
    assert sorted(found) == sorted(f"A-{number}" for number in range(60) if number != 7)
    match = found["A-1"].user_match
    assert match is not None
    assert match.client_ip == "203.0.113.9"
    assert stats.total().delivered == 59
