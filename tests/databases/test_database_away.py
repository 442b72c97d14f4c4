"""Nobody waits long for the stats of a queue whose database is away."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from adcp_tracker import Tracker
from adcp_tracker.outbox.database import migrate
from adcp_tracker.testing import RecordingDestination
from adcp_tracker.web.health import liveness, readiness
from tests.support.destinations import wait_until
from tests.support.postgres import run_postgres
from tests.support.proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from adcp_tracker import Stats
    from tests.support.mysql import MySQLServer
    from tests.support.postgres import PostgresServer

SOON_S = 4.9
"""It is about a second, and was five, or as long as the database was away."""

LATER_S = 60.0


@pytest.fixture
def url(any_database: str) -> str:
    """Return the URL of a new queue."""
    migrate(any_database)
    return any_database


@contextmanager
def _away(server: PostgresServer | MySQLServer, how: str) -> Iterator[None]:
    """Kill a server, or stop it in its tracks, until the end of the block."""
    if how == "killed":
        server.kill()
    else:
        server.pause()
    try:
        yield
    finally:
        if how == "killed":
            server.start()
        else:
            server.resume()


def _order(number: int) -> dict[str, object]:
    return {"id": f"A-{number}", "total": "5.00", "currency": "EUR"}


def _soon(ask: Callable[[], Stats]) -> Stats:
    began = time.monotonic()
    stats = ask()
    assert time.monotonic() - began < SOON_S
    return stats


@pytest.mark.parametrize("how", ["killed", "stopped"])
@pytest.mark.parametrize("uploader", ["thread", "external"])
def test_the_stats_are_those_last_known(
    any_server: PostgresServer | MySQLServer, url: str, how: str, uploader: str
) -> None:
    """Whether this process uploads or another: they say so, and are current when it is back."""
    seller = RecordingDestination()
    with (
        Tracker([seller], queue=url, flush_interval=0.05) as worker,
        Tracker([], queue=url, uploader="external") as shop,
    ):
        asked = worker if uploader == "thread" else shop
        worker.track_purchase(_order(1))
        wait_until(lambda: asked.stats().total().delivered == 1)
        known = asked.stats()
        assert not known.stale
        with _away(any_server, how):
            for live in (True, False):
                found = _soon(lambda: asked.stats(live=live))  # noqa: B023 - at once
                assert found.total().delivered == 1
                assert "database" in found.stale
                assert found.taken_at >= known.taken_at
            assert json.loads(json.dumps(found.as_json()))["stale"] == found.stale
        wait_until(lambda: not asked.stats().stale, LATER_S)
        worker.track_purchase(_order(2))
        wait_until(lambda: asked.stats().total().delivered == 2, LATER_S)


def test_a_process_that_knows_nothing_says_so(
    any_server: PostgresServer | MySQLServer, url: str
) -> None:
    """Its counts are empty, and were never taken."""
    with Tracker([], queue=url, uploader="external") as shop:
        with _away(any_server, "stopped"):
            found = _soon(shop.stats)
        assert (found.destinations, found.taken_at, bool(found.stale)) == ({}, 0.0, True)


def test_many_who_ask_do_not_wait_for_each_other(
    any_server: PostgresServer | MySQLServer, url: str
) -> None:
    """Each answer comes as soon as the first, or sooner."""
    with Tracker([], queue=url, uploader="external") as shop:
        with _away(any_server, "stopped"):
            assert all(_soon(shop.stats).stale for _ in range(3))
            with ThreadPoolExecutor(4) as pool:
                assert all(each.stale for each in pool.map(lambda _: _soon(shop.stats), range(8)))
        wait_until(lambda: not shop.stats().stale, LATER_S)


def test_a_probe_gets_its_answer(any_server: PostgresServer | MySQLServer, url: str) -> None:
    """A process goes on without its database, and is not ready."""
    with Tracker([], queue=url, uploader="external") as shop:
        assert readiness(shop).status == 200
        with _away(any_server, "stopped"):
            began = time.monotonic()
            assert liveness(shop).status == 200
            assert readiness(shop).status == 503
            assert time.monotonic() - began < SOON_S
        wait_until(lambda: readiness(shop).status == 200, LATER_S)


@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_a_relay_knows_what_its_directory_holds(
    any_server: PostgresServer | MySQLServer, url: str, how: str, tmp_path: Path
) -> None:
    """What was tracked since is counted, though it can't be shipped."""
    with Tracker(directory=tmp_path / "q", queue=url, flush_interval=0.05) as relay:
        relay.track_purchase(_order(1))
        wait_until(lambda: relay.stats(live=False).total().delivered == 1)
        with _away(any_server, how):
            relay.track_purchase(_order(2))
            found = _soon(relay.stats)
            assert (found.total().delivered, found.pending) == (1, 1)
        wait_until(lambda: relay.stats().total().delivered == 2, LATER_S)


def test_a_network_that_swallows_everything_is_as_good_as_none() -> None:
    """Connections stay open, and nothing arrives."""
    with run_postgres() as server:
        migrate(server.create("cut"))
        proxy = Proxy(str(server.directory / ".s.PGSQL.5432"))
        through = f"postgresql://postgres@127.0.0.1:{proxy.port}/cut?sslmode=disable"
        seller = RecordingDestination()
        with Tracker([seller], queue=f"{through}&gssencmode=disable", flush_interval=0.05) as shop:
            shop.track_purchase(_order(1))
            wait_until(lambda: shop.stats().total().delivered == 1)
            proxy.freeze()
            try:
                found = _soon(shop.stats)
                assert (found.total().delivered, bool(found.stale)) == (1, True)
            finally:
                proxy.thaw()
            wait_until(lambda: not shop.stats().stale, LATER_S)


@pytest.mark.parametrize("command", ["status", "metrics"])
def test_the_command_line_gives_up_soon(
    any_server: PostgresServer | MySQLServer, url: str, command: str
) -> None:
    """It says that the database does not answer, and what to look at."""
    with _away(any_server, "stopped"):
        ended = subprocess.run(
            [sys.executable, "-m", "adcp_tracker", command, "--queue", url],
            env=os.environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=LATER_S,
        )
    assert ended.returncode == 3, ended.stderr
    assert "the database does not answer" in " ".join(ended.stderr.split())
