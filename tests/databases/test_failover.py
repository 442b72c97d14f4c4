"""A primary is killed under load, and its standby takes over: what is lost, and what isn't.

Shops, a relay and workers find the primary by one URL that names both servers.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import attrs
import psycopg
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import sessionmaker

from adcp_tracker import Tracker
from adcp_tracker.outbox.database import migrate
from adcp_tracker_sqlalchemy import SessionOutbox
from tests.support.crashing.ledger import Ledger, LedgerDestination, keys_at_odds, taken_by
from tests.support.destinations import wait_until
from tests.support.postgres import run_postgres

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.crashing.ledger import Entry
    from tests.support.postgres import PostgresServer

EACH = 60
PATIENCE_S = 120.0


@attrs.define
class Servers:
    """A primary and its standby.

    Attributes:
        primary: The primary.
        standby: What streams from it.
        url: How to connect to the one of them that takes writes.
    """

    primary: PostgresServer
    standby: PostgresServer
    url: str

    def commit_on_both(self) -> None:
        """Let each commit wait for the standby."""
        setting = "ALTER SYSTEM SET synchronous_standby_names = '*'"
        self.primary.execute(setting, "SELECT pg_reload_conf()")
        state = "SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'"
        wait_until(lambda: self.primary.execute(state), PATIENCE_S)

    def let_lag(self) -> None:
        """Have the standby receive nothing more."""
        self.standby.execute("ALTER SYSTEM SET primary_conninfo = ''", "SELECT pg_reload_conf()")
        receiving = "SELECT 1 FROM pg_stat_wal_receiver"
        wait_until(lambda: not self.standby.execute(receiving), PATIENCE_S)

    def fail_over(self) -> None:
        """Kill the primary, and promote the standby."""
        self.primary.kill()
        assert self.standby.execute("SELECT pg_promote()") == [(True,)]

    def orders(self) -> set[str]:
        """Return the ids of the orders that the new primary has."""
        with psycopg.connect(self.url) as connection:
            return {row[0] for row in connection.execute("SELECT id FROM orders")}


@pytest.fixture
def servers() -> Iterator[Servers]:
    """Run a primary and its standby."""
    with run_postgres() as primary, run_postgres(primary) as standby:
        places = f"{primary.directory},{standby.directory}"
        primary.create("shop")
        url = f"postgresql://postgres@/shop?host={places}&target_session_attrs=read-write"
        migrate(url)
        with psycopg.connect(url) as connection:
            connection.execute("CREATE TABLE orders (id text PRIMARY KEY)")
        yield Servers(primary, standby, url)


class Shop:
    """Keeps an order and its event in one transaction, again and again.

    Attributes:
        begun: The ids of all orders.
        bought: Those whose commit was heard of.
    """

    def __init__(self, url: str) -> None:
        self.begun: list[str] = []
        self.bought: list[str] = []
        self._engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(url))
        self._sessions = sessionmaker(self._engine)
        self._tracker = Tracker(transactional_outbox=SessionOutbox(self._sessions))
        self._is_closed = threading.Event()

    def sell(self) -> None:
        """Sell until the shop is closed."""
        while not self._is_closed.wait(0.01):
            order = f"A-{len(self.begun)}"
            self.begun.append(order)
            with suppress(SQLAlchemyError):
                with self._sessions.begin() as session:
                    session.execute(text("INSERT INTO orders VALUES (:id)"), {"id": order})
                    self._tracker.track_purchase({"id": order, "total": "5.00", "currency": "EUR"})
                self.bought.append(order)

    def wait_for_orders(self) -> None:
        """Wait until some more orders are bought."""
        before = len(self.bought)
        wait_until(lambda: len(self.bought) >= before + EACH, PATIENCE_S)

    @contextmanager
    def open(self) -> Iterator[None]:
        """Sell in a thread."""
        selling = threading.Thread(target=self.sell)
        selling.start()
        try:
            yield
        finally:
            self._is_closed.set()
            selling.join()
            self._tracker.close()
            self._engine.dispose()


def _taken_again(entries: list[Entry]) -> int:
    """Return how many events a seller took under two keys."""
    keys: dict[tuple[str, str], set[str]] = {}
    for entry in entries:
        for name in entry.taken:
            keys.setdefault((entry.seller, name), set()).add(entry.identity)
    return sum(len(found) > 1 for found in keys.values())


@pytest.mark.timeout(600)
@pytest.mark.parametrize("is_synchronous", [True, False], ids=["synchronous", "asynchronous"])
def test_a_standby_takes_over(servers: Servers, tmp_path: Path, *, is_synchronous: bool) -> None:
    """Events are lost with their orders and with nothing else; the stats are the new primary's."""
    if is_synchronous:
        servers.commit_on_both()
    url, ledger = servers.url, Ledger(tmp_path)
    sellers = [LedgerDestination(name, ledger) for name in ("a", "b")]
    shop = Shop(url)
    with (
        Tracker(sellers, queue=url, flush_interval=0.05) as worker,
        Tracker(sellers, queue=url, flush_interval=0.05) as other,
        Tracker(directory=tmp_path / "q", queue=url, flush_interval=0.05) as relay,
    ):
        worker.start()
        other.start()
        with shop.open():
            shop.wait_for_orders()
            wait_until(lambda: list(ledger), PATIENCE_S)
            if not is_synchronous:
                servers.let_lag()
            for number in range(EACH):
                relay.track_purchase({"id": f"R-{number}", "total": "5.00", "currency": "EUR"})
            wait_until(lambda: relay.stats().total().delivered == EACH, PATIENCE_S)
            shop.wait_for_orders()
            servers.fail_over()
            shop.wait_for_orders()
        wait_until(lambda: relay.flush(10).pending == 0, PATIENCE_S)
        wait_until(lambda: worker.flush(10).pending == 0, PATIENCE_S)
        stats = worker.stats()
    orders, relayed = servers.orders(), {f"R-{number}" for number in range(EACH)}
    lost = set(shop.bought) - orders
    entries = list(ledger)
    print(  # noqa: T201 - figures
        f"{len(shop.begun)} orders begun, {len(shop.bought)} bought, {len(lost)} lost, "
        f"{len(orders)} kept; {len(entries)} requests, {_taken_again(entries)} events taken again"
    )
    for name in ("a", "b"):
        taken = taken_by(entries, name).keys()
        assert orders | relayed <= taken
        assert taken - orders - relayed <= lost  # delivered before they were lost
        counts = stats.destinations[name]
        assert counts.delivered == counts.accepted == len(orders) + len(relayed)
        assert (counts.pending, counts.dead, counts.dropped) == (0, 0, {})
    if is_synchronous:
        assert not lost
        assert not _taken_again(entries)
        assert not keys_at_odds(entries)
    else:
        assert len(lost) >= EACH
