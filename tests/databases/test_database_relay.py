"""A relay: a directory's events are shipped to a queue in a database, each once."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from adcp_tracker import Consent, RequestContext, Tracker
from adcp_tracker.outbox.database import Database, migrate
from adcp_tracker.outbox.database_store import DatabaseStore
from adcp_tracker.testing import RecordingDestination
from tests.support.destinations import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.mysql import MySQLServer
    from tests.support.postgres import PostgresServer


def order(number: int) -> dict[str, object]:
    """Return an order."""
    return {"id": f"A-{number}", "total": "59.90", "currency": "EUR", "email": "a@example.com"}


@pytest.fixture
def database(any_database: str) -> str:
    """Return the URL of an empty database; each test runs over every kind."""
    return any_database


def _rows(url: str, statement: str) -> list[tuple[Any, ...]]:
    with Database(url).transaction() as cursor:
        cursor.execute(statement)
        return list(cursor.fetchall())


@pytest.fixture
def url(database: str) -> str:
    """Return the URL of a new queue."""
    migrate(database)
    return database


def _deliver(url: str, **settings: object) -> list[str]:
    seller = RecordingDestination()
    with Tracker([seller], queue=url, **settings) as worker:  # type: ignore[arg-type]
        worker.flush(30)
    return sorted(event.event_id for event in seller.events)


def test_a_server_that_can_compresses_what_is_shipped(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    """PostgreSQL is told to when the tables are made, also if they are there already."""
    url = postgres.create(tmp_path.name)
    migrate(url)
    migrate(url)
    with Tracker(directory=tmp_path / "q", queue=url, flush_interval=0.05) as shop:
        for number in range(100):
            shop.track_purchase(order(number))
        shop.flush(30)
    can = "SELECT count(*) FROM pg_config() WHERE setting LIKE '%--with-lz4%'"
    size = "SELECT sum(octet_length(data)) > 2 * sum(pg_column_size(data)) FROM adcp_intake"
    assert _rows(url, size) == [(bool(_rows(url, can)[0][0]),)]
    assert len(_deliver(url)) == 100


def test_events_are_shipped_and_segments_deleted(tmp_path: Path, database: str) -> None:
    """The directory is empty then, and its stats say what became of all."""
    url = database
    migrate(url)
    with Tracker(directory=tmp_path / "q", queue=url, flush_interval=0.05) as shop:
        for number in range(100):
            shop.track_purchase(order(number))
        stats = shop.flush(30)
    assert stats.destinations["relay"].delivered == 100
    assert stats.pending == 0
    assert not list((tmp_path / "q" / "segments").iterdir())
    assert _deliver(url) == sorted(f"A-{number}" for number in range(100))
    with Database(url).transaction() as cursor:
        cursor.execute("SELECT is_closed FROM adcp_relay")
        assert [bool(row[0]) for row in cursor.fetchall()] == [True]


def test_refused_and_dropped_events_are_shipped_too(tmp_path: Path, url: str) -> None:
    """The worker has the dead letters and the counts of every machine."""
    key = os.urandom(32)
    with Tracker(
        directory=tmp_path / "q", queue=url, encryption_keys=[key], on_denied="drop"
    ) as shop:
        shop.track_purchase(order(1))
        shop.track_purchase({**order(2), "currency": "euros"})
        shop.track_purchase(order(3), test_event_code="T1")
        denied = RequestContext(consent=Consent.DENIED)
        shop.track_purchase(order(4), context=denied)
        stats = shop.flush(30)
    assert stats.destinations["relay"].dropped == {"consent": 1}
    seller = RecordingDestination()
    rows = _rows(url, "SELECT data FROM adcp_intake")
    assert not any(b"A-1" in bytes(data) for (data,) in rows)
    with Tracker([seller], queue=url, encryption_keys=[key]) as worker:
        central = worker.flush(30).destinations[seller.name]
        (letter,) = worker.dead_letters.list()
    assert (central.delivered, central.dead, central.dropped) == (2, 1, {"consent": 1})
    assert letter.code == "INVALID_EVENT"


def test_while_the_database_is_away_the_directory_fills_up(
    tmp_path: Path, any_server: PostgresServer | MySQLServer, url: str
) -> None:
    """Calls go on as if nothing was; all is shipped once when it is back."""
    with Tracker(
        directory=tmp_path / "q", queue=url, flush_interval=0.05, max_bytes=20_000
    ) as shop:
        shop.track_purchase(order(0))
        wait_until(lambda: shop.stats().total().delivered == 1)
        any_server.kill()
        for number in range(1, 101):
            shop.track_purchase(order(number))
        assert 20 < shop.flush(0.5).pending < 100
        any_server.start()
        wait_until(lambda: shop.stats().pending == 0, 180.0)  # tries come at growing distances
        left = shop.stats().destinations["relay"]
    assert left.delivered + left.dropped["full"] == left.accepted == 101
    assert _deliver(url) == sorted(f"A-{number}" for number in range(left.delivered))


def test_what_was_shipped_and_not_heard_of_is_not_shipped_again(tmp_path: Path, url: str) -> None:
    """The next leader learns from the database how far it came."""
    script = f"""
import os, signal
from adcp_tracker import Tracker
from adcp_tracker.outbox import database
shop = Tracker(directory={str(tmp_path / "q")!r}, queue={url!r}, flush_interval=0.05)
run = database.Database.run
def run_and_die(self, work, first="", **how):
    result = run(self, work, first, **how)
    if work.__qualname__.endswith("_ship.<locals>.ship"):
        os.kill(os.getpid(), signal.SIGKILL)
    return result
database.Database.run = run_and_die
for number in range(50):
    shop.track_purchase({{"id": f"A-{{number}}", "total": "5.00", "currency": "EUR"}})
shop.flush(30)
"""
    ended = subprocess.run([sys.executable, "-c", script], check=False)
    assert ended.returncode == -signal.SIGKILL
    with Tracker(directory=tmp_path / "q", queue=url) as shop:
        stats = shop.flush(30)
    assert stats.destinations["relay"].delivered == 50
    assert _rows(url, "SELECT sum(records) FROM adcp_intake") == [(50,)]
    assert len(_deliver(url)) == 50


def test_a_terminated_process_ships_what_it_has(tmp_path: Path, url: str) -> None:
    """Within its shutdown timeout, as a container is stopped."""
    script = f"""
import time
from adcp_tracker import Tracker
shop = Tracker(directory={str(tmp_path / "q")!r}, queue={url!r}, flush_interval=30.0,
               shutdown_timeout=20.0)
shop.start()
time.sleep(1)
for number in range(50):
    shop.track_purchase({{"id": f"A-{{number}}", "total": "5.00", "currency": "EUR"}})
print("tracked", flush=True)
time.sleep(60)
"""
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert process.stdout is not None
    while b"tracked" not in process.stdout.readline():
        assert process.poll() is None
    process.terminate()
    process.wait()
    process.stdout.close()
    assert _rows(url, "SELECT sum(records) FROM adcp_intake") == [(50,)]


def test_a_copied_directory_ships_nothing_twice(tmp_path: Path, url: str) -> None:
    """Both have the same id, and only one of them can move a segment on."""
    with Tracker(directory=tmp_path / "q", queue=url) as shop:
        shop.track_purchase(order(0))
        shop.flush(30)  # now it has an id
    with Tracker(directory=tmp_path / "q", queue=url, uploader="external") as shop:
        for number in range(1, 20):
            shop.track_purchase(order(number))
    shutil.copytree(tmp_path / "q", tmp_path / "copy")
    for name in ("q", "copy"):
        with Tracker(directory=tmp_path / name, queue=url) as shop:
            shop.flush(30)
    assert _deliver(url) == sorted(f"A-{number}" for number in range(20))


def test_a_person_is_erased_from_the_relay_and_the_database(tmp_path: Path, url: str) -> None:
    """Shipped or not; machines that are silent are named."""
    with Database(url).transaction() as cursor:
        cursor.execute(
            "INSERT INTO adcp_relay (directory, host, seen) VALUES ('0123456789', 'web-9', 1)"
        )
    with (
        Tracker(directory=tmp_path / "q", queue=url, flush_interval=0.05) as shop,
        Tracker(directory=tmp_path / "other", queue=url, flush_interval=0.05) as other,
    ):
        for number in range(4):
            person = {"email": f"{number % 2}@example.com"}
            (shop if number < 2 else other).track_purchase({**order(number), **person})
        report = shop.privacy.erase(email="1@example.com")
        warnings = [each.message for each in DatabaseStore(url).conditions()]
        assert shop.stats().destinations["relay"].dropped == {}
    assert any(each.startswith("The relay on web-9 (01234567)") for each in warnings)
    assert report.events == 2
    assert report.unreached == ("web-9 (01234567)",)
    assert not report.is_complete
    assert "web-9" in report.remaining_steps[0]
    assert _deliver(url) == ["A-0", "A-2"]
    kept = b"".join(path.read_bytes() for path in (tmp_path / "q").rglob("*") if path.is_file())
    assert b"A-1" not in kept


def test_the_log_refers_to_large_pieces_until_they_are_delivered(tmp_path: Path, url: str) -> None:
    """They are copied nowhere, and a person is erased in the piece."""
    with Tracker(directory=tmp_path / "q", queue=url, uploader="external") as shop:
        for number in range(600):
            shop.track_purchase({**order(number), "email": f"{number % 100}@example.com"})
    with Tracker(directory=tmp_path / "q", queue=url) as shop:
        shop.flush(30)
        assert _rows(url, "SELECT sum(octet_length(data)) FROM adcp_intake") == [(0,)]
        assert DatabaseStore(url).used_bytes() > 64 * 1024
        report = shop.privacy.erase(email="7@example.com")
    assert (report.events, report.leftover_files) == (6, ())
    assert _rows(url, "SELECT sum(octet_length(data)) FROM adcp_log") == [(0,)]
    assert _deliver(url) == sorted(f"A-{number}" for number in range(600) if number % 100 != 7)
    with Database(url).transaction() as cursor:
        cursor.execute("UPDATE adcp_queue SET begun = 0")
    _deliver(url)
    assert _rows(url, "SELECT count(*) FROM adcp_log") == [(0,)]
    assert _rows(url, "SELECT count(*) FROM adcp_piece") == [(0,)]


def test_a_relay_spreads_segments_over_queues(tmp_path: Path, database: str) -> None:
    """Each segment goes to one of them."""
    migrate(database, queues=3)
    for number in range(12):
        with Tracker(directory=tmp_path / str(number), queue=database, queues="0-2") as shop:
            shop.track_purchase(order(number))
            shop.flush(30)
    found = [_deliver(database, queues=queue) for queue in range(3)]
    assert sorted(each for ids in found for each in ids) == sorted(f"A-{n}" for n in range(12))
    assert sum(bool(ids) for ids in found) > 1


def test_the_command_line_relays_for_processes_that_do_not(tmp_path: Path, url: str) -> None:
    """`adcp-tracker worker` with both variables ships, and needs no destination."""
    environ = os.environ | {"ADCP_DIRECTORY": str(tmp_path / "q"), "ADCP_QUEUE": url}
    with Tracker(directory=tmp_path / "q", queue=url, uploader="external") as shop:
        shop.track_purchase(order(1))
    command = [sys.executable, "-m", "adcp_tracker", "worker", "--once", "--json"]
    ended = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["destinations"]["relay"]["delivered"] == 1
    assert _deliver(url) == ["A-1"]


def test_a_call_is_as_fast_as_without_a_relay(tmp_path: Path, url: str) -> None:
    """No call waits for the database, also while it can't be reached."""
    away = re.sub("adcp-[a-z]+-", "adcp-gone-", url)
    with Tracker(directory=tmp_path / "q", queue=away) as shop:
        shop.track_purchase(order(0))
        began = time.perf_counter()
        for number in range(1, 1001):
            shop.track_purchase(order(number))
        assert time.perf_counter() - began < 5.0
        shop.stop(0.0)
