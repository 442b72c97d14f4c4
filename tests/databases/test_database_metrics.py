"""Metrics and health of workers whose queue is in a database."""

from __future__ import annotations

import signal
from functools import partial
from typing import TYPE_CHECKING

import httpx

from adcp_tracker import Tracker
from adcp_tracker.metrics import render
from adcp_tracker.outbox.database import migrate
from tests.cli.program import NAME, pointing_at, start
from tests.support.destinations import wait_until
from tests.support.postgres import run_postgres
from tests.support.scraping import booked, books_of, scrape, scraped, url_of

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from adcp_tracker.sandbox import Sandbox


_AT = frozenset({("destination", NAME)})
_DELIVERED = ("adcp_events_delivered_total", _AT)


def _worker(url: str, seller: Sandbox, *options: str) -> subprocess.Popen[str]:
    command = ("worker", "--json", "--metrics", "0", "--queue", url, *options)
    return start(*command, **pointing_at(seller))


def _track(url: str, *orders: str) -> None:
    with Tracker([], queue=url) as shop:
        for each in orders:
            shop.track_purchase({"id": each, "total": "5.00", "currency": "EUR"})


def _has_delivered(url: str, count: int) -> bool:
    return scraped(url).get(_DELIVERED) == count


def test_both_workers_report_the_same(any_database: str, seller: Sandbox) -> None:
    """The one that waits has the figures of the one that delivers, and both are well."""
    migrate(any_database)
    workers = [_worker(any_database, seller) for _ in range(2)]
    try:
        urls = [url_of(each) for each in workers]
        _track(any_database, "A-1", "A-2", "A-3")
        for url in urls:
            wait_until(partial(_has_delivered, url, 3))
            assert httpx.get(f"{url}/healthz").status_code == 200
            assert httpx.get(f"{url}/readyz").status_code == 200
        found = [scraped(url) for url in urls]
        for each in workers:
            each.send_signal(signal.SIGTERM)
        outs = [each.communicate(timeout=30)[0] for each in workers]
    finally:
        for each in workers:
            each.kill()
            each.communicate()
    for out in outs:
        assert found[0].items() >= booked(books_of(out)).items()
        assert found[1].items() >= booked(books_of(out)).items()


def test_several_queues_are_added_up(database: str, seller: Sandbox) -> None:
    """A worker that delivers from all of them reports their sum."""
    migrate(database, 3)
    worker = _worker(database, seller, "--queues", "0-2")
    try:
        url = url_of(worker)
        ids = [f"A-{number}" for number in range(12)]
        with Tracker([], queue=database, queues="0-2", uploader="external") as shop:
            for each in ids:
                shop.track_purchase({"id": each, "total": "5.00", "currency": "EUR"})
        wait_until(partial(_has_delivered, url, 12))
        assert scraped(url)["adcp_delivery_latency_seconds_count", _AT] == 12
        assert httpx.get(f"{url}/readyz").status_code == 200
        worker.send_signal(signal.SIGTERM)
        out, _ = worker.communicate(timeout=30)
    finally:
        worker.kill()
        worker.communicate()
    assert books_of(out).destinations[NAME].delivered == 12


def test_a_relay_reports_what_its_machine_shipped(tmp_path: Path, database: str) -> None:
    """Its directory's numbers are those of one destination, so that both can be scraped."""
    migrate(database)
    with Tracker(directory=tmp_path / "q", queue=database, handle_sigterm=False) as shop:
        shop.track_purchase({"id": "A-1", "total": "5.00", "currency": "EUR"})
        at = frozenset({("destination", "relay")})
        expected = {
            ("adcp_events_accepted_total", at): 1.0,
            ("adcp_events_delivered_total", at): 1.0,
        }
        wait_until(lambda: scrape(render(shop.stats(live=False))).items() >= expected.items())


def test_a_worker_without_its_database_is_not_ready(seller: Sandbox) -> None:
    """It goes on, so that it is alive, and is ready again when the database is."""
    with run_postgres() as server:
        url = server.create("queue")
        migrate(url)
        worker = _worker(url, seller)
        try:
            at = url_of(worker)
            wait_until(lambda: httpx.get(f"{at}/readyz").status_code == 200)
            server.kill()
            wait_until(lambda: httpx.get(f"{at}/readyz", timeout=30).status_code == 503)
            assert httpx.get(f"{at}/healthz", timeout=30).status_code == 200
            assert httpx.get(f"{at}/metrics", timeout=30).status_code in {200, 500}
            server.start()
            wait_until(lambda: httpx.get(f"{at}/readyz", timeout=30).status_code == 200)
        finally:
            worker.kill()
            worker.communicate()
