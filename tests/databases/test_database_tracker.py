"""Trackers and workers over one queue in a database, as on several machines."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from adcp_tracker import ConfigurationError, RequestContext, Tracker
from adcp_tracker.outbox.database import Database, DatabaseError, migrate
from adcp_tracker.outbox.database_store import DatabaseStore
from adcp_tracker.testing import RecordingDestination
from tests.support.destinations import wait_until
from tests.support.importing import sale, write
from tests.support.seller import ADVERTISER, SOURCE, TOKEN

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tests.support.mysql import MySQLServer
    from tests.support.postgres import PostgresServer
    from tests.support.seller import SellerProcess


def order(number: int) -> dict[str, object]:
    """Return an order."""
    return {"id": f"A-{number}", "total": "59.90", "currency": "EUR", "email": "a@example.com"}


@pytest.fixture
def database(any_database: str) -> str:
    """Return the URL of an empty database; each test runs over every kind."""
    return any_database


@pytest.fixture
def url(database: str) -> str:
    """Return the URL of a new queue."""
    migrate(database)
    return database


def test_events_of_many_trackers_are_delivered_once_by_one(url: str) -> None:
    """Whoever leads delivers for all."""
    seller = RecordingDestination()
    producers = [Tracker([], queue=url) for _ in range(3)]
    for number, tracker in enumerate(producers * 10):
        tracker.track_purchase(order(number))
    with Tracker([seller], queue=url) as worker:
        stats = worker.flush(30)
    for tracker in producers:
        tracker.close()

    assert sorted(event.event_id for event in seller.events) == sorted(
        f"A-{number}" for number in range(30)
    )
    assert (stats.total().delivered, stats.pending) == (30, 0)


def test_a_file_is_imported_into_a_queue_of_several_machines(url: str, tmp_path: Path) -> None:
    """Its progress is kept in the user's own directory; another run does nothing."""
    file = write(tmp_path / "till.csv", *[sale(number) for number in range(20)])
    for repeated in (False, True):
        ended = _run(
            *("import", str(file), "--yes", "--json", "--queue", url),
            XDG_STATE_HOME=str(tmp_path / "state"),
        )
        assert ended.returncode == 0, ended.stderr
        assert json.loads(ended.stdout)["repeated"] is repeated
    seller = RecordingDestination()
    with Tracker([seller], queue=url) as worker:
        assert not worker.flush(30).pending

    expected = {f"S-{number}" for number in range(20)}
    assert {event.event_id for event in seller.events} == expected
    assert len(seller.events) == len(expected)


def test_another_machine_finds_the_context_of_an_order(url: str) -> None:
    """A payment's webhook may arrive anywhere."""
    shopper = RequestContext(client_ip="203.0.113.9", client_user_agent="Mozilla/5.0")
    with Tracker([], queue=url) as checkout:
        checkout.contexts.remember("A-1", context=shopper)
    with Tracker([], queue=url) as webhook:
        event = webhook.track_purchase({"id": "A-1", "total": "5.00", "currency": "EUR"})

    assert event.user_match.client_ip == "203.0.113.9"  # type: ignore[union-attr]


def test_a_person_is_erased_for_all_machines(url: str) -> None:
    """No row of the database has the person's event afterwards."""
    with Tracker([], queue=url) as producer:
        producer.track_purchase(order(1))
        producer.track_purchase({**order(2), "email": "b@example.com"})
        report = producer.privacy.erase(email="a@example.com")
    seller = RecordingDestination()
    with Tracker([seller], queue=url) as worker:
        worker.flush(30)

    assert report.events == 1
    assert [event.event_id for event in seller.events] == ["A-2"]


def test_while_the_database_is_away_events_wait_in_memory(
    any_server: PostgresServer | MySQLServer, url: str
) -> None:
    """A checkout never breaks, and nothing is lost when it is back."""
    seller = RecordingDestination()
    with Tracker([seller], queue=url, flush_interval=0.05) as tracker:
        tracker.track_purchase(order(1))
        wait_until(lambda: len(seller.events) == 1)
        any_server.kill()
        tracker.track_purchase(order(2))
        assert tracker.stats().in_memory == 1
        any_server.start()
        wait_until(
            lambda: {event.event_id for event in seller.events} == {"A-1", "A-2"},
            60,  # it may wait for its own lease
        )


def test_a_directory_or_a_queue_is_needed() -> None:
    """One of them says where events wait; both make a relay."""
    with pytest.raises(ConfigurationError, match="neither"):
        Tracker([])
    with pytest.raises(ConfigurationError, match="queue: expected a URL"):
        Tracker([], queue="redis://localhost")


def _run(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "adcp_tracker", *arguments]
    return subprocess.run(
        command, env=os.environ | environ, capture_output=True, text=True, check=False
    )


def test_the_command_line_migrates_and_shows_a_queue(database: str) -> None:
    """From an empty database to its status, without a directory."""
    missing = _run("status", "--queue", database)
    assert (missing.returncode, "queue migrate" in missing.stderr) == (3, True)
    assert _run("queue", "migrate", "--queue", database).returncode == 0
    check = _run("queue", "check", ADCP_QUEUE=database)
    assert (check.returncode, check.stderr) == (1, "")
    assert "Nobody delivers queue 0." in check.stdout
    assert "A commit is on the server" in check.stdout
    with Tracker([RecordingDestination()], queue=database, uploader="external") as tracker:
        tracker.track_purchase(order(1))
    status = _run("status", "--json", ADCP_QUEUE=database)
    assert json.loads(status.stdout)["waiting"] == 1, status.stdout
    coach = _run("coach", "--json", "--queue", database)
    assert [each["events"] for each in json.loads(coach.stdout)["views"]] == [1], coach.stderr


def test_workers_take_over_from_one_that_is_killed(url: str, seller_process: SellerProcess) -> None:
    """Every order arrives once, whichever worker delivers it."""
    environ = os.environ | {
        "ADCP_QUEUE": url,
        "ADCP_BASE_URL": seller_process.url,
        "ADCP_ADVERTISER_ID": ADVERTISER,
        "ADCP_EVENT_SOURCE_ID": SOURCE,
        "ADCP_API_KEY": TOKEN,
        "ADCP_FLUSH_INTERVAL": "0.1",
    }
    command = [sys.executable, "-m", "adcp_tracker", "worker"]
    workers = [subprocess.Popen(command, env=environ) for _ in range(2)]
    try:
        with Tracker([], queue=url) as shop:
            for number in range(50):
                shop.track_purchase(order(number))
            wait_until(lambda: shop.stats().total().delivered == 50, 60.0)
            leader = _leader_pid(url)
            os.kill(leader, signal.SIGKILL)
            for number in range(50, 100):
                shop.track_purchase(order(number))
            wait_until(lambda: seller_process.counts["good"] == 100, 60.0)
    finally:
        for worker in workers:
            worker.terminate()
            worker.wait()
    assert seller_process.counts["duplicates"] == 0


def _leader_pid(url: str) -> int:
    with Database(url).transaction() as cursor:
        cursor.execute("SELECT holder FROM adcp_queue")
        ((holder,),) = cursor.fetchall()
    return int(holder.split(":")[1])


APPLICATION_RIGHTS = (
    "SELECT ON adcp_schema",
    "SELECT, UPDATE (context_key) ON adcp_queue",
    "INSERT ON adcp_intake",
    "SELECT, INSERT, UPDATE (queue) ON adcp_destination",
    "SELECT, INSERT, UPDATE, DELETE ON adcp_context",
)
"""What docs/howto/several-machines.md gives an application that doesn't deliver."""


def _create_user(url: str, rights: Iterable[str]) -> str:
    """Create a user with some rights on a database, and return its URL."""
    name = f"shop_{url.partition('?')[0].rpartition('_')[2]}"
    with Database(url).transaction() as cursor:
        if url.startswith("mysql"):
            user = f"{name}@localhost"
            cursor.execute(f"CREATE USER {user} IDENTIFIED BY 'p@ss'")
        else:
            user = name
            cursor.execute(f"CREATE ROLE {user} LOGIN")
        for each in rights:
            cursor.execute(f"GRANT {each} TO {user}")
    return f"{url.partition('://')[0]}://{name}:p%40ss@{url.partition('@')[2]}"


def test_an_application_needs_few_rights(url: str) -> None:
    """It adds events and contexts, and can neither read events nor steer delivery."""
    application = _create_user(url, APPLICATION_RIGHTS)
    shopper = RequestContext(client_ip="203.0.113.9", client_user_agent="Mozilla/5.0")
    with Tracker([RecordingDestination()], queue=application, uploader="external") as shop:
        shop.contexts.remember("A-1", context=shopper)
        event = shop.track_purchase(order(1))
        assert event.user_match.client_ip == "203.0.113.9"  # type: ignore[union-attr]
        assert shop.stats().in_memory == 0
    seller = RecordingDestination()
    with Tracker([seller], queue=url) as worker:
        worker.flush(30)
    assert [event.event_id for event in seller.events] == ["A-1"]
    with pytest.raises(DatabaseError, match="its rights on the tables"):
        DatabaseStore(application).used_bytes()


def test_a_wrong_password_is_not_repeated(url: str) -> None:
    """A message says where, and what to look at."""
    wrong = url.partition("://")[0] + "://nobody:s3cret@" + url.partition("@")[2]
    with pytest.raises(DatabaseError) as caught:
        DatabaseStore(wrong).prepare()
    assert "s3cret" not in str(caught.value)
    assert "check the user and password" in str(caught.value)


@pytest.mark.parametrize(
    "wrong", ["mysql://u:s3cret@[::/shop", "mysql://u:s3cret@h", "mysql://u:s3cret@h/shop?ssl=1"]
)
def test_an_invalid_url_is_not_repeated(wrong: str) -> None:
    """It says what is expected, without the password."""
    with pytest.raises(ConfigurationError, match="queue: expected a URL") as caught:
        DatabaseStore(wrong)
    assert "s3cret" not in str(caught.value)
