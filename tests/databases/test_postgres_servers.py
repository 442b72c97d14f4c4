"""Servers are killed under load, workers are cut off and paused: nothing is lost or doubled.

``--database-rounds 100`` kills the server a hundred times.
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

import psycopg
import pytest

from adcp_tracker import Tracker
from adcp_tracker.outbox.database import migrate
from tests.support.crashing.ledger import (
    Entry,
    Ledger,
    LedgerDestination,
    id_of,
    keys_at_odds,
    taken_by,
)
from tests.support.destinations import wait_until
from tests.support.mysql import run_mariadb, run_mysql
from tests.support.postgres import run_postgres
from tests.support.proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from tests.support.mysql import MySQLServer
    from tests.support.postgres import PostgresServer

PER_ROUND = 60


RUN: dict[str, Callable[[], AbstractContextManager[PostgresServer | MySQLServer]]] = {
    "postgres": run_postgres,
    "mariadb": run_mariadb,
    "mysql": run_mysql,
}


@pytest.fixture
def server(kind: str) -> Iterator[PostgresServer | MySQLServer]:
    """Run a server of each kind, of the test's own, to be killed."""
    with RUN[kind]() as running:
        yield running


def _order(name: str) -> dict[str, object]:
    return {"id": name, "total": "5.00", "currency": "EUR"}


@pytest.mark.timeout(0)
def test_a_server_is_killed_again_and_again(
    server: PostgresServer | MySQLServer, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    """Each acknowledged event arrives under one key, and the stats are those of the sellers."""
    rounds = pytestconfig.getoption("--database-rounds", default=3)
    url = server.create("killed")
    migrate(url)
    ledger = Ledger(tmp_path)
    sellers = [LedgerDestination(name, ledger) for name in ("a", "b")]
    tracked: list[str] = []
    stop = threading.Event()
    with (
        Tracker(sellers, queue=url, flush_interval=0.05) as worker,
        Tracker(directory=tmp_path / "q", queue=url, flush_interval=0.05) as relay,
        Tracker(queue=url) as direct,
    ):

        def track() -> None:
            number = 0
            while not stop.wait(0.01):
                number += 1
                name = f"relay-{number}" if number % 4 else f"direct-{number}"
                (relay if number % 4 else direct).track_purchase(_order(name))
                tracked.append(name)

        producer = threading.Thread(target=track)
        producer.start()
        try:
            for _ in range(rounds):
                before = len(tracked)
                wait_until(lambda: len(tracked) >= before + PER_ROUND, 120.0)  # noqa: B023 - at once
                time.sleep(random.random() * 0.3)  # noqa: S311 - any time will do
                server.kill()
                server.start()
        finally:
            stop.set()
            producer.join()
        wait_until(lambda: relay.flush(10).pending == 0, 180.0)
        wait_until(lambda: direct.stats().in_memory == 0, 180.0)
        wait_until(lambda: worker.flush(10).pending == 0, 180.0)
        stats = worker.stats()
    entries = list(ledger)
    again = _added_again(entries)
    print(f"{rounds} kills, {len(tracked)} events, {len(entries)} requests, again: {sorted(again)}")  # noqa: T201 - figures
    assert not again
    assert not keys_at_odds(entries)
    for name in ("a", "b"):
        assert taken_by(entries, name).keys() == set(tracked)
        counts = stats.destinations[name]
        assert counts.delivered + counts.unconfirmed == len(tracked)
        assert (counts.pending, counts.dead, counts.dropped) == (0, 0, {})


def _added_again(entries: list[Entry]) -> set[str]:
    """Return the ids that a seller took under two keys."""
    keys: dict[tuple[str, str], set[str]] = {}
    for entry in entries:
        for name in map(id_of, entry.events):
            keys.setdefault((entry.seller, name), set()).add(entry.identity)
    return {name for (_, name), found in keys.items() if len(found) > 1}


_WORKER = """
import signal, sys
from pathlib import Path
from adcp_tracker import Tracker
from tests.support.crashing.ledger import Ledger, LedgerDestination
signal.signal(signal.SIGTERM, signal.default_int_handler)
worker = Tracker([LedgerDestination("a", Ledger(Path(sys.argv[1])))], queue=sys.argv[2],
                 flush_interval=0.2, handle_sigterm=False)
worker.start()
try:
    signal.pause()
except KeyboardInterrupt:
    worker.close()
"""


def _worker(url: str, folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", _WORKER, folder, url])


def _leader(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "SELECT holder FROM adcp_queue WHERE until > extract(epoch FROM clock_timestamp())"
        ).fetchone()
    return int(row[0].split(":")[1]) if row else 0


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", ["postgres"], indirect=True)
def test_a_leader_that_is_cut_off_or_paused_doubles_nothing(  # noqa: PLR0915 - one story
    server: PostgresServer, tmp_path: Path
) -> None:
    """Another takes over when the lease ends; the old one finds out, and does nothing more."""
    url = server.create("cut_off")
    migrate(url)
    proxy = Proxy(str(server.directory / ".s.PGSQL.5432"))
    through = (
        f"postgresql://postgres@127.0.0.1:{proxy.port}/cut_off?sslmode=disable&gssencmode=disable"
    )
    cut_off = _worker(through, tmp_path)
    ledger = Ledger(tmp_path)
    count = 0
    taken: Counter[str] = Counter()
    try:
        with Tracker(queue=url) as shop:

            def sell() -> None:
                nonlocal count
                for _ in range(40):
                    count += 1
                    shop.track_purchase(_order(f"A-{count}"))

            def is_delivered() -> bool:
                return len(taken_by(list(ledger), "a")) == count

            wait_until(lambda: _leader(url) == cut_off.pid, 60.0)
            other = _worker(url, tmp_path)
            try:
                sell()
                wait_until(is_delivered, 60.0)
                sell()
                proxy.freeze()
                sell()
                began = time.monotonic()
                wait_until(lambda: _leader(url) == other.pid, 60.0)
                taken["cut off"] = round(time.monotonic() - began)
                wait_until(is_delivered, 60.0)
                proxy.thaw()
                sell()
                wait_until(is_delivered, 60.0)
                sell()
                other.send_signal(signal.SIGSTOP)
                sell()
                began = time.monotonic()
                wait_until(lambda: _leader(url) == cut_off.pid, 60.0)
                taken["paused"] = round(time.monotonic() - began)
                wait_until(is_delivered, 60.0)
                other.send_signal(signal.SIGCONT)
                sell()
                wait_until(is_delivered, 60.0)
                wait_until(lambda: shop.stats().total().delivered == count, 60.0)
            finally:
                other.send_signal(signal.SIGCONT)
                other.terminate()
                other.wait()
    finally:
        proxy.thaw()
        cut_off.terminate()
        cut_off.wait()
    print(f"seconds until the other led: {dict(taken)}")  # noqa: T201 - figures
    assert not keys_at_odds(list(ledger))
    assert not _added_again(list(ledger))
    assert max(taken.values()) <= 20  # on a busy machine; the lease is 15 s
