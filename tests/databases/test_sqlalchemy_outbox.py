"""SQLAlchemy: an event is committed or rolled back with its order, in one transaction."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from sqlalchemy import Connection, Engine, NullPool, String, create_engine, event, text
from sqlalchemy.exc import IntegrityError, ProgrammingError
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    async_scoped_session,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, scoped_session, sessionmaker

from adcp_tracker import ConfigurationError, Tracker
from adcp_tracker.journal.records import parse
from adcp_tracker.metrics import render
from adcp_tracker.outbox.database import Database, migrate
from adcp_tracker.outbox.schema import insert_statement
from adcp_tracker.testing import RecordingDestination
from adcp_tracker_sqlalchemy import SessionOutbox, create_tables, intake, is_queue_table

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy.orm import Session

    from tests.support.postgres import PostgresServer


class Base(DeclarativeBase):
    """All tables."""


class Order(Base):
    """What a shop keeps of an order."""

    __tablename__ = "orders"
    id: Mapped[str] = mapped_column(String(20), primary_key=True)


class Stock(Base):
    """What another database keeps."""

    __tablename__ = "stock"
    id: Mapped[str] = mapped_column(String(20), primary_key=True)


class ChangedMindError(Exception):
    """Somebody rolls back."""


ASYNCHRONOUS = {"postgresql": ("psycopg", "asyncpg"), "mysql": ("asyncmy",)}
ONLY_POSTGRES = pytest.mark.parametrize("kind", ["postgres"], indirect=True)


@pytest.fixture
def database(any_database: str) -> str:
    """Return the URL of an empty database; each test runs over every kind."""
    return any_database


def by(driver: str, url: str) -> str:
    """Return the URL of a database for a driver of SQLAlchemy."""
    return url.replace(":", f"+{driver}:", 1)


@pytest.fixture
def engine(database: str) -> Iterator[Engine]:
    """A shop's database, with the queue's tables."""
    engine = create_engine(by("pymysql" if database.startswith("mysql") else "psycopg", database))
    with engine.begin() as connection:
        Base.metadata.create_all(connection)
        create_tables(connection)
    yield engine
    engine.dispose()


@pytest.fixture
def sessions(engine: Engine) -> sessionmaker[Session]:
    """What a shop makes its sessions with."""
    return sessionmaker(engine)


@pytest.fixture
def tracker(sessions: sessionmaker[Session]) -> Iterator[Tracker]:
    """A tracker that inserts events in those sessions' transactions, without a directory."""
    with Tracker(transactional_outbox=SessionOutbox(sessions)) as tracker:
        yield tracker


def buy(tracker: Tracker, *order_ids: str) -> None:
    """Track purchases."""
    for each in order_ids:
        tracker.track_purchase({"id": each, "total": 1, "currency": "EUR"})


def _ids(data: bytes) -> list[str]:
    events = [record.unpack()[1] for record in parse(data)[0]]
    return [each.partition(b'"event_id":"')[2].partition(b'"')[0].decode() for each in events]


def inserted(url: str) -> list[str]:
    """Return the ids of the events in the intake, as another session sees them."""
    return _ids(b"".join(_column(url, "SELECT data FROM adcp_intake ORDER BY id")))


def orders(url: str) -> list[str]:
    """Return the ids of the orders."""
    return _column(url, "SELECT id FROM orders ORDER BY id")


def _column(url: str, query: str) -> list[Any]:
    with Database(url).transaction() as cursor:
        cursor.execute(query)
        return [row[0] for row in cursor.fetchall()]


def journaled(directory: Path) -> list[str]:
    """Return the ids of the events in the directory."""
    return _ids(b"".join(each.read_bytes() for each in sorted(directory.glob("segments/*"))))


@contextmanager
def rolled_back(session: Session) -> Iterator[None]:
    """Open a savepoint, and roll it back."""
    with suppress(ChangedMindError), session.begin_nested():
        yield
        raise ChangedMindError


def test_an_event_is_committed_or_rolled_back_with_its_order(
    tracker: Tracker, sessions: sessionmaker[Session], database: str
) -> None:
    """Before the commit, nobody else sees either; afterwards, everybody sees both."""
    with sessions() as session:
        session.add(Order(id="A-1"))
        buy(tracker, "A-1")
        session.flush()
        assert inserted(database) == []
        session.commit()
        assert inserted(database) == orders(database) == ["A-1"]
        session.add(Order(id="A-2"))
        buy(tracker, "A-2")
        session.rollback()
    with suppress(ChangedMindError), sessions.begin() as session:
        session.add(Order(id="A-3"))
        buy(tracker, "A-3")
        raise ChangedMindError
    assert inserted(database) == orders(database) == ["A-1"]


def test_savepoints_take_their_own_events_along(
    tracker: Tracker, sessions: sessionmaker[Session], database: str
) -> None:
    """Nested, released, rolled back, and left open at the end."""
    with sessions.begin() as session:
        session.add(Order(id="A-1"))
        buy(tracker, "A-1")
        with rolled_back(session):
            session.add(Order(id="A-2"))
            with session.begin_nested():
                session.add(Order(id="A-3"))
                buy(tracker, "A-2", "A-3")
        with session.begin_nested(), session.begin_nested():
            session.add(Order(id="A-4"))
            buy(tracker, "A-4")
        session.begin_nested()
        session.begin_nested()
        session.add(Order(id="A-5"))
        buy(tracker, "A-5")
    assert inserted(database) == orders(database) == ["A-1", "A-4", "A-5"]


@ONLY_POSTGRES
@pytest.mark.parametrize("savepoint", [True, False])
def test_the_table_has_the_schema_that_a_session_gives_it(
    engine: Engine, database: str, *, savepoint: bool
) -> None:
    """Where names are translated, as for tenants, the event goes to the tenant's table."""
    with engine.begin() as connection:
        connection.execute(text("CREATE SCHEMA tenant"))
        for table in ("orders", "adcp_intake"):
            connection.execute(text(f"CREATE TABLE tenant.{table} (LIKE {table} INCLUDING ALL)"))
    sessions = sessionmaker(engine.execution_options(schema_translate_map={None: "tenant"}))
    outbox = SessionOutbox(sessions)
    with (
        Tracker(transactional_outbox=outbox, savepoint=savepoint) as tracker,
        sessions.begin() as session,
    ):
        session.add(Order(id="A-1"))
        buy(tracker, "A-1", "A-2")
    assert inserted(database) == []
    with engine.begin() as connection:
        assert connection.scalar(text("SELECT count(*) FROM tenant.adcp_intake")) == 2


def test_what_fails_at_the_commit_takes_the_event_along(
    tracker: Tracker, sessions: sessionmaker[Session], database: str
) -> None:
    """An order that can't be flushed isn't bought."""
    with sessions.begin() as session:
        session.add(Order(id="A-1"))
    with sessions() as session:
        session.add(Order(id="A-1"))
        buy(tracker, "A-1")
        with pytest.raises(IntegrityError):
            session.commit()
    assert inserted(database) == []


def test_an_event_of_a_flush_is_in_the_same_commit(
    tracker: Tracker, sessions: sessionmaker[Session], database: str, tmp_path: Path
) -> None:
    """Handlers track where orders are flushed, which the commit does last."""

    def track(session: Session, *_: object) -> None:
        buy(tracker, *[each.id for each in session.new if isinstance(each, Order)])

    event.listen(sessions, "after_flush", track)
    with sessions.begin() as session:
        session.add(Order(id="A-1"))
    assert inserted(database) == ["A-1"]
    assert journaled(tmp_path) == []


def test_scoped_sessions_are_known(engine: Engine, database: str) -> None:
    """As Flask's have it."""
    scoped = scoped_session(sessionmaker(engine))
    with Tracker(transactional_outbox=SessionOutbox(scoped)) as tracker:
        scoped.add(Order(id="A-1"))
        buy(tracker, "A-1")
        scoped.commit()
        scoped.add(Order(id="A-2"))
        buy(tracker, "A-2")
        scoped.remove()
    assert inserted(database) == orders(database) == ["A-1"]


@pytest.mark.parametrize("scoped", [False, True])
def test_asynchronous_sessions_insert_as_well(
    engine: Engine, database: str, *, scoped: bool
) -> None:
    """Two tasks at once, savepoints, rollbacks; and one event outside of a transaction."""

    async def shop(engine: AsyncEngine) -> None:
        maker = async_sessionmaker(engine)
        sessions = async_scoped_session(maker, asyncio.current_task) if scoped else maker
        tracker = Tracker(transactional_outbox=SessionOutbox(sessions))

        async def checkout(number: int) -> None:
            async with maker.begin() as session:
                session.add(Order(id=f"A-{number}"))
                buy(tracker, f"A-{number}")
                with suppress(ChangedMindError):
                    async with session.begin_nested():
                        session.add(Order(id=f"B-{number}"))
                        await session.flush()
                        buy(tracker, f"B-{number}")
                        raise ChangedMindError
                await asyncio.sleep(0)
                if number % 2:
                    raise ChangedMindError

        await asyncio.gather(*map(checkout, range(4)), return_exceptions=True)
        buy(tracker, "C-1")
        await tracker.aclose()
        await engine.dispose()

    for driver in ASYNCHRONOUS[engine.dialect.name]:
        with engine.begin() as connection:
            for table in ("orders", "adcp_intake"):
                connection.execute(text(f"DELETE FROM {table}"))  # noqa: S608 - constants
        asyncio.run(shop(create_async_engine(by(driver, database), poolclass=NullPool)))
        assert orders(database) == ["A-0", "A-2"]
        assert sorted(inserted(database)) == ["A-0", "A-2", "C-1"]


def test_with_several_databases_the_queues_counts(
    engine: Engine, database: str, tmp_path: Path
) -> None:
    """A session says where by its ``binds``, or the outbox by its ``bind``."""
    other = create_engine(f"sqlite:///{tmp_path / 'stock.db'}")
    Base.metadata.create_all(other)
    binds: dict[Any, Engine] = {Order: engine, Stock: other}
    first = sessionmaker(binds={**binds, intake: engine})
    second = sessionmaker(binds=binds)
    with pytest.raises(ConfigurationError, match="pass bind="):
        SessionOutbox(first)
    for number, sessions in enumerate([first, second]):
        outbox = SessionOutbox(sessions, bind=engine)
        with Tracker(transactional_outbox=outbox) as tracker, sessions.begin() as session:
            session.add_all([Order(id=f"A-{number}"), Stock(id=f"S-{number}")])
            buy(tracker, f"A-{number}")
    assert inserted(database) == ["A-0", "A-1"]
    other.dispose()


def test_other_events_and_those_outside_go_to_the_journal(
    sessions: sessionmaker[Session], database: str, tmp_path: Path
) -> None:
    """Where there is a directory; a page view then waits for the commit."""
    outbox = SessionOutbox(sessions)
    with Tracker(transactional_outbox=outbox, directory=tmp_path / "queue") as tracker:
        buy(tracker, "A-0")
        with sessions.begin() as session:
            session.add(Order(id="A-1"))
            buy(tracker, "A-1")
            tracker.track_page_view(event_id="view", event_source_url="https://shop.example/")
            assert journaled(tmp_path / "queue") == ["A-0"]
        with suppress(ChangedMindError), sessions.begin() as session:
            session.add(Order(id="A-2"))
            tracker.track_page_view(event_id="gone", event_source_url="https://shop.example/")
            raise ChangedMindError
    assert (inserted(database), journaled(tmp_path / "queue")) == (["A-1"], ["A-0", "view"])


@contextmanager
def missing_table(engine: Engine) -> Iterator[None]:
    """Take the intake away meanwhile."""
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE adcp_intake RENAME TO adcp_away"))
    yield
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE adcp_away RENAME TO adcp_intake"))


def test_an_insert_that_fails_leaves_the_checkout_whole(
    sessions: sessionmaker[Session], engine: Engine, database: str, tmp_path: Path
) -> None:
    """The order is committed, its event is in the journal after that, and the loss is counted."""
    outbox = SessionOutbox(sessions)
    with Tracker(transactional_outbox=outbox, directory=tmp_path / "queue") as tracker:
        with missing_table(engine):
            with sessions.begin() as session:
                session.add(Order(id="A-1"))
                buy(tracker, "A-1")
                with rolled_back(session):
                    session.add(Order(id="A-2"))
                    buy(tracker, "A-2")
            with suppress(ChangedMindError), sessions.begin() as session:
                session.add(Order(id="A-3"))
                buy(tracker, "A-3")
                raise ChangedMindError
        assert tracker.stats().failed_inserts == 1
        assert "\nadcp_events_not_inserted_total 1\n" in render(tracker.stats())
        assert orders(database) == journaled(tmp_path / "queue") == ["A-1"]


def test_an_insert_that_fails_without_a_directory_waits_in_memory(
    tracker: Tracker, sessions: sessionmaker[Session], engine: Engine, database: str
) -> None:
    """It is inserted when the database takes it."""
    with missing_table(engine):
        with sessions.begin() as session:
            session.add(Order(id="A-1"))
            buy(tracker, "A-1")
        assert tracker.stats().in_memory == 1
    tracker.flush()
    assert inserted(database) == orders(database) == ["A-1"]


def test_without_a_savepoint_an_insert_that_fails_takes_the_order_along(
    sessions: sessionmaker[Session], engine: Engine, database: str
) -> None:
    """The commit raises, and nothing is committed alone."""
    outbox = SessionOutbox(sessions)
    with Tracker(transactional_outbox=outbox, savepoint=False) as tracker, missing_table(engine):
        with sessions() as session:
            session.add(Order(id="A-1"))
            buy(tracker, "A-1")
            with pytest.raises(ProgrammingError):
                session.commit()
        assert (orders(database), tracker.stats().in_memory) == ([], 0)


@ONLY_POSTGRES
def test_a_transaction_that_is_lost_already_takes_the_event_along(
    tracker: Tracker, sessions: sessionmaker[Session], database: str
) -> None:
    """PostgreSQL rolls back what is committed after an error that the shop has swallowed."""
    with sessions.begin() as session:
        session.add(Order(id="A-1"))
        session.flush()
        with suppress(Exception):
            session.connection().execute(text("SELECT 1 / 0"))
        buy(tracker, "A-1")
    assert (orders(database), inserted(database), tracker.stats().in_memory) == ([], [], 0)


def test_what_is_inserted_is_delivered(sessions: sessionmaker[Session], database: str) -> None:
    """By a tracker that has the queue's URL, too, or by any worker."""
    seller = RecordingDestination()
    outbox = SessionOutbox(sessions)
    with Tracker([seller], queue=database, transactional_outbox=outbox) as tracker:
        with sessions.begin() as session:
            session.add(Order(id="A-1"))
            buy(tracker, "A-1")
        buy(tracker, "A-2")
        assert not tracker.flush(20).pending
    assert sorted(each.event_id for each in seller.events) == ["A-1", "A-2"]


@pytest.mark.parametrize("conforming", ["on", "off"])
def test_every_byte_is_inserted_as_it_is(postgres: PostgresServer, conforming: str) -> None:
    """Also in a server that reads backslashes in plain text."""
    url, data = postgres.create(f"conforming-{conforming}"), bytes(range(256))
    migrate(url)
    with psycopg.connect(url) as connection:
        connection.execute(f"SET standard_conforming_strings = {conforming}".encode())
        for savepoint in (True, False):
            statement = insert_statement([(0, data), (1, data)], savepoint=savepoint)
            connection.execute(statement.encode())
        kept = connection.execute("SELECT queue, data FROM adcp_intake ORDER BY id").fetchall()
    assert kept == [(0, data), (1, data)] * 2


def test_a_session_of_a_test_inserts_in_the_tests_transaction(
    engine: Engine, database: str
) -> None:
    """Bound to a connection that is rolled back in the end, it leaves nothing behind."""
    with engine.connect() as connection:
        connection.begin()
        sessions = sessionmaker(connection, join_transaction_mode="create_savepoint")
        with Tracker(transactional_outbox=SessionOutbox(sessions)) as tracker:
            with sessions.begin() as session:
                session.add(Order(id="A-1"))
                buy(tracker, "A-1")
            buy(tracker, "A-2")
        assert _seen(connection) == ["A-1", "A-2"]
        connection.rollback()
    assert inserted(database) == orders(database) == []


def _seen(connection: Connection) -> list[str]:
    rows = connection.execute(intake.select()).all()
    return _ids(b"".join(row.data for row in rows))


def test_a_database_that_holds_no_queue_is_named() -> None:
    """At the start, and not at the first checkout."""
    sqlite = create_engine("sqlite://")
    with pytest.raises(ConfigurationError, match="got sqlite"):
        SessionOutbox(sessionmaker(sqlite))
    with pytest.raises(ConfigurationError, match="got sqlite"), sqlite.connect() as connection:
        create_tables(connection)
    with pytest.raises(ConfigurationError, match="got int"):
        SessionOutbox(5)  # type: ignore[arg-type]  # what is none
    sqlite.dispose()


def test_migrations_of_the_shop_can_leave_the_queue_alone() -> None:
    """Alembic asks for each table that it finds."""
    assert is_queue_table("adcp_intake", "table", {})
    assert not is_queue_table("orders", "table", {})
    assert not is_queue_table("adcp_x", "column", {})


def test_an_event_that_is_rejected_beside_an_open_session_asks_for_no_second_connection(
    engine: Engine, database: str
) -> None:
    """A pool that is used up can't make a checkout wait: its dead letter comes with the commit."""
    small = create_engine(engine.url, pool_size=1, max_overflow=0, pool_timeout=60)
    sessions = sessionmaker(small)
    with Tracker(transactional_outbox=SessionOutbox(sessions)) as tracker:
        with sessions.begin() as session:
            session.add(Order(id="A-1"))
            session.flush()
            tracker.track_purchase({"id": "A-1", "total": "much", "currency": "EUR"})
        assert orders(database) == ["A-1"]
        assert inserted(database) == ["A-1"]
    small.dispose()
