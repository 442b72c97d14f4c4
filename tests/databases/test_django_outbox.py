"""Django: an event is committed or rolled back with its order, in one transaction."""

from __future__ import annotations

import asyncio
import unittest
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pymysql
import pytest
from asgiref.sync import sync_to_async
from django.core import mail
from django.core.management import call_command
from django.db import connections, transaction
from django.http import HttpResponse
from django.test import AsyncClient, Client, TestCase, override_settings
from django.urls import path

from adcp_tracker import ConfigurationError, OutsideTransactionError
from adcp_tracker.journal.records import parse
from adcp_tracker.metrics import render
from adcp_tracker.outbox.database import migrate
from adcp_tracker.testing import RecordingDestination
from adcp_tracker_django import get_tracker
from adcp_tracker_django.testing import capture_transaction_events
from tests.integrations.django.shop.models import Order
from tests.support.destinations import wait_until
from tests.support.mysql import MySQLServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from django.http import HttpRequest

    from tests.support.postgres import PostgresServer

ALIASES = ("orders", "stock")
ONLY_POSTGRES = pytest.mark.parametrize("kind", ["postgres"], indirect=True)


class ChangedMindError(Exception):
    """Somebody rolls back."""


def _settings(server: PostgresServer | MySQLServer) -> dict[str, str]:
    """Return how Django connects to a server; to MySQL on a driver of the shop's choice."""
    engine = "django.db.backends."
    if not isinstance(server, MySQLServer):
        return {"ENGINE": f"{engine}postgresql", "USER": "postgres", "HOST": str(server.directory)}
    pymysql.version_info = (2, 2, 7, "final", 0)  # what Django asks of mysqlclient
    pymysql.install_as_MySQLdb()
    return {"ENGINE": f"{engine}mysql", "USER": "root", "HOST": server.socket}


@pytest.fixture(scope="module")
def _databases(any_server: PostgresServer | MySQLServer) -> Iterator[None]:
    """Add two databases to the shop's own, migrated."""
    known = connections.settings
    added = {alias: {**_settings(any_server), "NAME": f"shop_{alias}"} for alias in ALIASES}
    for alias, given in connections.configure_settings({"default": {}, **added}).items():
        if alias in ALIASES:
            any_server.create(f"shop_{alias}")
            known[alias] = given
            call_command("migrate", "adcp_tracker", verbosity=0, database=alias)
            with connections[alias].schema_editor() as editor:
                editor.create_model(Order)
    yield
    forget(*ALIASES)
    for alias in ALIASES:
        del known[alias]


def forget(*aliases: str) -> None:
    """Close this thread's connections, and have the next ones be made by the settings of then."""
    for alias in aliases:
        connections[alias].close()
        del connections[alias]


@pytest.fixture
def _empty(_databases: None) -> Iterator[None]:
    yield
    for alias in ALIASES:
        Order.objects.using(alias).delete()
        with connections[alias].cursor() as cursor:
            cursor.execute("DELETE FROM adcp_intake")


pytestmark = pytest.mark.usefixtures("_empty")


@contextmanager
def configured(**changes: object) -> Iterator[None]:
    """Configure the site to insert events in transactions of the database ``orders``."""
    options = {"QUEUE": "transaction", "USING": "orders", "DESTINATIONS": [], **changes}
    with override_settings(ADCP_TRACKER=options):
        yield


@pytest.fixture
def site() -> Iterator[None]:
    """A site without a directory, whose tracker only inserts."""
    mail.outbox = []  # as in a test run of Django's
    with configured():
        yield
    del mail.outbox


@pytest.fixture
def with_directory(tmp_path: Path) -> Iterator[Path]:
    """A site with a directory, too."""
    with configured(DIRECTORY=tmp_path / "queue"):
        yield tmp_path / "queue"


@contextmanager
def rolled_back(using: str = "orders") -> Iterator[None]:
    """Open a transaction, or a savepoint in one, and roll it back."""
    with suppress(ChangedMindError), transaction.atomic(using):
        yield
        raise ChangedMindError


def buy(number: int, using: str = "orders") -> None:
    """Keep an order, and track its purchase."""
    Order.objects.using(using).create(number=f"A-{number}")
    get_tracker().track_purchase({"order_id": f"A-{number}", "total": 1, "currency": "EUR"})


def _ids(data: bytes) -> list[str]:
    events = [record.unpack()[1] for record in parse(data)[0] if record.kind in {b"E", b"S"}]
    return [each.partition(b'"event_id":"')[2].partition(b'"')[0].decode() for each in events]


def inserted(using: str = "orders") -> list[str]:
    """Return the ids of the events in the intake, as another session sees them."""
    with connections.create_connection(using).cursor() as cursor:
        cursor.execute("SELECT data FROM adcp_intake ORDER BY id")
        found = _ids(b"".join(bytes(row[0]) for row in cursor.fetchall()))
        cursor.db.close()
    return found


def journaled(directory: Path) -> list[str]:
    """Return the ids of the events in the directory."""
    return _ids(b"".join(each.read_bytes() for each in sorted(directory.glob("segments/*"))))


def orders(using: str = "orders") -> list[str]:
    """Return the numbers of the orders."""
    return list(Order.objects.using(using).order_by("id").values_list("number", flat=True))


@pytest.mark.usefixtures("site")
def test_an_event_is_committed_with_its_order() -> None:
    """Before the commit, nobody else sees either; afterwards, everybody sees both."""
    with transaction.atomic("orders"):
        buy(1)
        assert inserted() == []
    assert inserted() == orders() == ["A-1"]


@pytest.mark.usefixtures("site")
def test_an_event_is_rolled_back_with_its_order() -> None:
    """By an error, by a savepoint's error, and by hand."""
    with rolled_back():
        buy(1)
    with transaction.atomic("orders"):
        buy(2)
        with rolled_back():
            buy(3)
            with transaction.atomic("orders"):
                buy(4)
        with transaction.atomic("orders"):
            buy(5)
        point = transaction.savepoint("orders")
        buy(6)
        transaction.savepoint_rollback(point, "orders")
    with transaction.atomic("orders"):
        buy(7)
        transaction.set_rollback(rollback=True, using="orders")
    assert inserted() == orders() == ["A-2", "A-5"]


@pytest.mark.usefixtures("site")
def test_a_transaction_without_autocommit_counts_too() -> None:
    """A site that manages transactions by hand has its events in them."""
    transaction.set_autocommit(autocommit=False, using="orders")
    try:
        buy(1)
        transaction.rollback("orders")
        buy(2)
        transaction.commit("orders")
    finally:
        transaction.set_autocommit(autocommit=True, using="orders")
    assert inserted() == orders() == ["A-2"]


@pytest.mark.usefixtures("site")
def test_only_the_queues_database_counts() -> None:
    """With several databases, an event is in the transaction of the one that has the queue."""
    with transaction.atomic("orders"), rolled_back("stock"):
        buy(1)
    with transaction.atomic("stock"), rolled_back("orders"):
        buy(2)
    with rolled_back("stock"):
        buy(3, "stock")  # no transaction of the queue's own: it waits for the other's commit
    assert inserted() == ["A-1"]
    assert inserted("stock") == []


def test_other_events_wait_for_the_commit_in_the_journal(with_directory: Path) -> None:
    """A page view costs the shop's database no row."""
    with transaction.atomic("orders"):
        buy(1)
        get_tracker().track_page_view(event_id="view", event_source_url="https://shop.example/")
        assert journaled(with_directory) == []
    with rolled_back():
        get_tracker().track_page_view(event_id="gone", event_source_url="https://shop.example/")
    assert (inserted(), journaled(with_directory)) == (["A-1"], ["view"])


def test_what_is_in_the_directory_can_be_relayed(
    with_directory: Path,
    any_server: PostgresServer | MySQLServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Then all events are in one queue, those of orders by their transactions."""
    monkeypatch.setenv("ADCP_QUEUE", any_server.url("shop_orders"))
    with configured(DIRECTORY=with_directory, FLUSH_INTERVAL=0.05):
        with transaction.atomic("orders"):
            buy(1)
            get_tracker().track_page_view(event_id="view", event_source_url="https://shop.example/")
        get_tracker().flush(20)
        wait_until(lambda: sorted(inserted()) == ["A-1", "view"])


def test_the_types_of_events_can_be_chosen(with_directory: Path) -> None:
    """And a wrong one is named."""
    with (
        configured(DIRECTORY=with_directory, TRANSACTIONAL_EVENTS=["lead"]),
        transaction.atomic("orders"),
    ):
        buy(1)
        get_tracker().track_lead("L-1")
    assert (len(inserted()), journaled(with_directory)) == (1, ["A-1"])
    with configured(TRANSACTIONAL_EVENTS=["sale"]), pytest.raises(ConfigurationError, match="sale"):
        get_tracker()


def test_outside_of_a_transaction_there_are_three_ways(with_directory: Path) -> None:
    """The journal where there is a directory; a transaction of its own; or not at all."""
    buy(1)
    assert (inserted(), journaled(with_directory)) == ([], ["A-1"])
    with configured(DIRECTORY=with_directory, OUTSIDE_TRANSACTION="commit"):
        buy(2)
        assert (inserted(), journaled(with_directory)) == (["A-2"], ["A-1"])
    with configured(DIRECTORY=with_directory, OUTSIDE_TRANSACTION="refuse", STRICT=True):
        with pytest.raises(OutsideTransactionError, match="purchase: expected an open"):
            buy(3)
        with transaction.atomic("orders"):
            buy(4)
    dropped: list[str] = []
    with configured(DIRECTORY=with_directory, OUTSIDE_TRANSACTION="refuse", ON_DROP=dropped.append):
        buy(5)
    assert dropped == ["outside_transaction"]
    assert (inserted(), journaled(with_directory)) == (["A-2", "A-4"], ["A-1"])


@pytest.mark.usefixtures("site")
def test_without_a_directory_an_event_outside_is_committed_by_itself() -> None:
    """Also one that the database refuses at first, and one from an event loop."""
    buy(1)

    async def track() -> None:
        get_tracker().track_purchase({"id": "A-2", "total": 1, "currency": "EUR"})

    asyncio.run(track())
    with missing_table():
        get_tracker().track_purchase({"id": "A-3", "total": 1, "currency": "EUR"})
        assert get_tracker().stats().in_memory == 1
    get_tracker().flush()
    assert inserted() == ["A-1", "A-2", "A-3"]


@contextmanager
def missing_table() -> Iterator[None]:
    """Take the intake away meanwhile."""
    with connections["orders"].cursor() as cursor:
        cursor.execute("ALTER TABLE adcp_intake RENAME TO adcp_away")
    yield
    with connections["orders"].cursor() as cursor:
        cursor.execute("ALTER TABLE adcp_away RENAME TO adcp_intake")


@contextmanager
def missing_right() -> Iterator[None]:
    """Act as a user who may write orders, and no events."""
    with connections["orders"].cursor() as cursor:
        cursor.execute("CREATE ROLE clerk; GRANT ALL ON shop_order, shop_order_id_seq TO clerk")
        cursor.execute("SET ROLE clerk")
    yield
    with connections["orders"].cursor() as cursor:
        cursor.execute("RESET ROLE; DROP OWNED BY clerk; DROP ROLE clerk")


def test_an_insert_that_fails_leaves_the_checkout_whole(with_directory: Path) -> None:
    """The order is committed, its event is in the journal after that, and the loss is counted."""
    _check_checkouts(missing_table, with_directory)


@ONLY_POSTGRES
@pytest.mark.parametrize("trouble", [missing_table, missing_right])
@pytest.mark.parametrize("server_side", [False, True])
def test_it_does_however_the_insert_fails(
    trouble: Any,  # noqa: ANN401 - a context manager
    with_directory: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    server_side: bool,
) -> None:
    """For lack of a table or a right, in one statement or in three."""
    options = connections["orders"].settings_dict["OPTIONS"]
    monkeypatch.setitem(options, "server_side_binding", server_side)
    connections["orders"].close()
    _check_checkouts(trouble, with_directory)
    connections["orders"].close()


def _check_checkouts(trouble: Any, directory: Path) -> None:  # noqa: ANN401 - a context manager
    """Buy while events can't be inserted, and after that."""
    with trouble():
        with transaction.atomic("orders"):
            buy(1)
            assert journaled(directory) == []
            with rolled_back():
                buy(2)
            buy(3)
        with rolled_back():
            buy(4)
        assert orders() == journaled(directory) == ["A-1", "A-3"]
        assert get_tracker().stats().failed_inserts == 4
        assert "\nadcp_events_not_inserted_total 4\n" in render(get_tracker().stats())
    with transaction.atomic("orders"):
        buy(5)
    assert inserted() == ["A-5"]


@pytest.mark.usefixtures("site")
def test_an_insert_that_fails_without_a_directory_waits_in_memory() -> None:
    """It is inserted when the database takes it."""
    with missing_table():
        with transaction.atomic("orders"):
            buy(1)
        assert (orders(), get_tracker().stats().in_memory) == (["A-1"], 1)
    get_tracker().flush()
    assert inserted() == ["A-1"]


def test_without_a_savepoint_an_insert_that_fails_takes_the_order_along(
    with_directory: Path,
) -> None:
    """Whoever turns it off never commits one of the two alone."""
    with configured(DIRECTORY=with_directory, SAVEPOINT=False):
        with transaction.atomic("orders"):
            buy(1)
        with (
            missing_table(),
            pytest.raises(Exception, match="adcp_intake"),
            transaction.atomic("orders"),
        ):
            buy(2)
        assert (inserted(), orders(), journaled(with_directory)) == (["A-1"], ["A-1"], [])


@ONLY_POSTGRES
@pytest.mark.usefixtures("site")
def test_a_transaction_that_is_lost_already_takes_the_event_along() -> None:
    """Nothing can be inserted after an error that the shop has swallowed."""
    with transaction.atomic("orders"):
        Order.objects.using("orders").create(number="A-1")
        with suppress(Exception), connections["orders"].cursor() as cursor:
            cursor.execute("SELECT 1 / 0")
        get_tracker().track_purchase({"id": "A-1", "total": 1, "currency": "EUR"})
    assert inserted() == orders() == []


def test_a_producer_needs_one_right(any_server: PostgresServer | MySQLServer) -> None:
    """A shop's web process that may only insert can neither read nor steer."""
    if isinstance(any_server, MySQLServer):
        web = "web@localhost"
        statements = [f"CREATE USER {web}", f"GRANT ALL ON shop_order TO {web}"]
        end = [f"DROP USER {web}"]
    else:
        web = "web"
        statements = ["CREATE ROLE web LOGIN", "GRANT ALL ON shop_order, shop_order_id_seq TO web"]
        end = ["DROP OWNED BY web", "DROP ROLE web"]
    _execute(*statements, f"GRANT INSERT ON adcp_intake TO {web}")
    known = connections.settings
    known["web"] = {**known["orders"], "USER": "web"}
    mail.outbox = []
    try:
        with configured(USING="web"):
            with transaction.atomic("web"):
                buy(1, "web")
            buy(2, "web")
    finally:
        del mail.outbox
        forget("web")
        del known["web"]
    _execute(*end)
    assert inserted() == ["A-1", "A-2"]


def _execute(*statements: str) -> None:
    with connections["orders"].cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def test_what_is_inserted_is_delivered() -> None:
    """Without a directory, the site's own process can deliver, over connections of its own."""
    seller = RecordingDestination()
    with configured(DESTINATIONS=[seller], FLUSH_INTERVAL=0.05):
        with transaction.atomic("orders"):
            buy(1)
        buy(2)
        assert not get_tracker().flush(20).pending
    assert sorted(event.event_id for event in seller.events) == ["A-1", "A-2"]
    tables = ("adcp_log", "adcp_state", "adcp_destination")
    _execute(*(f"DELETE FROM {table}" for table in tables))  # noqa: S608 - constants


def checkout(_: HttpRequest, number: int) -> HttpResponse:
    """Keep an order and track it; every third is refused at the end."""
    buy(number)
    if number % 3 == 0:
        raise ChangedMindError
    return HttpResponse()


async def checkout_async(request: HttpRequest, number: int) -> HttpResponse:
    """Do so from an asynchronous view, in a thread as Django has it."""

    def work() -> HttpResponse:
        with transaction.atomic("orders"):
            return checkout(request, number)

    return await sync_to_async(work)()


urlpatterns = [
    path("checkout/<int:number>", checkout),
    path("async/checkout/<int:number>", checkout_async),
]


@pytest.mark.usefixtures("site")
def test_atomic_requests_have_their_events_in_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """A view that fails has placed no order, and no event says that it has."""
    monkeypatch.setitem(connections.settings["orders"], "ATOMIC_REQUESTS", 1)
    with override_settings(ROOT_URLCONF=__name__):
        client = Client(raise_request_exception=False)
        codes = [client.get(f"/checkout/{number}").status_code for number in range(1, 5)]
    assert codes == [200, 200, 500, 200]
    assert inserted() == orders() == ["A-1", "A-2", "A-4"]


@pytest.mark.usefixtures("site")
def test_asynchronous_views_have_their_events_in_transactions() -> None:
    """Django runs transactions in a thread; so it does what is tracked in them."""

    async def ask() -> list[int]:
        client = AsyncClient(raise_request_exception=False)
        found = [await client.get(f"/async/checkout/{number}") for number in range(1, 5)]
        await sync_to_async(forget)("orders")
        return [each.status_code for each in found]

    with override_settings(ROOT_URLCONF=__name__):
        codes = asyncio.run(ask())
    assert codes == [200, 200, 500, 200]
    assert inserted() == orders() == ["A-1", "A-2", "A-4"]


@pytest.mark.usefixtures("site")
def test_a_test_case_sees_what_would_be_committed() -> None:
    """Its transaction never ends, so it looks into it."""

    class Checkout(TestCase):  # type: ignore[misc]  # it has no types
        databases = ("orders",)

        def test_it(self) -> None:
            with capture_transaction_events("orders") as events:
                buy(1)
                with rolled_back():
                    buy(2)
            events.assert_tracked("purchase", order_id="A-1")
            events.assert_not_tracked("purchase", order_id="A-2")

    result = unittest.TestResult()
    unittest.TestSuite([Checkout("test_it")]).run(result)
    assert not [*result.errors, *result.failures], [*result.errors, *result.failures]
    assert inserted() == []


def test_a_database_that_holds_no_queue_is_named() -> None:
    """At the start, and not at the first checkout."""
    with configured(USING="default"), pytest.raises(ConfigurationError, match="got sqlite"):
        get_tracker()
    with configured(USING="ordres"), pytest.raises(ConfigurationError, match="got 'ordres'"):
        get_tracker()
    with (
        override_settings(ADCP_TRACKER={"DIRECTORY": "x", "USING": "orders"}),
        pytest.raises(ConfigurationError, match="using: expected with QUEUE"),
    ):
        get_tracker()


@ONLY_POSTGRES
def test_the_migration_creates_what_queue_migrate_creates(database: str) -> None:
    """There is one description of the tables."""
    import psycopg  # noqa: PLC0415 - here alone

    query = (
        "SELECT table_name, column_name, data_type, is_nullable FROM information_schema.columns "
        "WHERE table_name LIKE 'adcp_%' ORDER BY 1, 2"
    )
    migrate(database)
    with psycopg.connect(database) as connection:
        expected = connection.execute(query).fetchall()
    with connections["orders"].cursor() as cursor:
        cursor.execute(query)
        assert cursor.fetchall() == expected
    call_command("makemigrations", "adcp_tracker", check=True, dry_run=True, verbosity=0)
