"""Events that wait for the end of a database transaction, with real databases."""

from __future__ import annotations

import asyncio
import gc
import threading
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import create_engine, insert, select
from sqlalchemy.ext.asyncio import (
    AsyncSession,
    async_scoped_session,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, scoped_session, sessionmaker
from sqlalchemy.pool import NullPool

from adcp_tracker import ConfigurationError, QueueFullError, RequestContext, Tracker, bind_context
from adcp_tracker_sqlalchemy import on_session_commit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sqlalchemy import Engine
    from sqlalchemy.orm import Session

    from adcp_tracker_sqlalchemy import Sessions


class Base(DeclarativeBase):
    """All tables."""


class Order(Base):
    """What a shop keeps of an order."""

    __tablename__ = "orders"
    id: Mapped[str] = mapped_column(primary_key=True)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """A database with one empty table."""
    engine = create_engine(f"sqlite:///{tmp_path / 'shop.db'}", poolclass=NullPool)
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def sessions(engine: Engine) -> sessionmaker[Session]:
    """What a shop makes its sessions with."""
    return sessionmaker(engine)


@pytest.fixture
def tracker(sessions: sessionmaker[Session], tmp_path: Path) -> Tracker:
    """A tracker whose events wait for those sessions."""
    return Tracker(directory=tmp_path / "queue", on_commit=on_session_commit(sessions))


def on_disk(tmp_path: Path) -> list[str]:
    """Return the ids of the orders whose events are on disk."""
    text = b"".join(path.read_bytes() for path in sorted((tmp_path / "queue").glob("segments/*")))
    ids = [line.partition(b'"event_id":"')[2].partition(b'"')[0] for line in text.splitlines()]
    return sorted(each.decode() for each in ids)


def buy(tracker: Tracker, order_id: str) -> None:
    """Track a purchase."""
    tracker.track_purchase({"id": order_id, "total": 1, "currency": "EUR", "email": "a@b.example"})


def test_a_commit_writes_and_a_rollback_drops(
    tracker: Tracker, sessions: sessionmaker[Session], tmp_path: Path
) -> None:
    """An event is on disk once its order is in the database, and not before."""
    with sessions() as session:
        session.add(Order(id="kept"))
        buy(tracker, "kept")
        assert on_disk(tmp_path) == []
        session.commit()
        assert on_disk(tmp_path) == ["kept"]
        session.add(Order(id="lost"))
        buy(tracker, "lost")
        session.rollback()
        buy(tracker, "outside")
    assert on_disk(tmp_path) == ["kept", "outside"]


def test_an_error_in_a_begin_block_drops(
    tracker: Tracker, sessions: sessionmaker[Session], tmp_path: Path
) -> None:
    """Also before anything is written: the block's work is one."""
    with pytest.raises(LookupError), sessions.begin():
        _buy_and_fail(tracker)
    with pytest.raises(LookupError), sessions() as session:
        _buy_and_fail(tracker, session)
    assert on_disk(tmp_path) == []


def _buy_and_fail(tracker: Tracker, session: Session | None = None) -> None:
    if session is not None:
        session.add(Order(id="lost"))
    buy(tracker, "lost")
    raise LookupError


@pytest.mark.parametrize("work", ["add", "flush", "insert"])
def test_a_transaction_left_open_with_writes_drops(
    work: str, tracker: Tracker, sessions: sessionmaker[Session], tmp_path: Path
) -> None:
    """Closing a session takes what it wrote with it, whichever way it wrote."""
    with sessions() as session:
        if work == "insert":
            session.execute(insert(Order).values(id="lost"))
        else:
            session.add(Order(id="lost"))
        if work == "flush":
            session.flush()
        buy(tracker, "lost")
    assert on_disk(tmp_path) == []


def test_a_transaction_that_was_only_read_in_writes(
    tracker: Tracker, sessions: sessionmaker[Session], tmp_path: Path
) -> None:
    """A page that looks something up and never commits still has its events."""
    with sessions() as session:
        session.scalars(select(Order)).all()
        buy(tracker, "seen")
        assert on_disk(tmp_path) == []
    assert on_disk(tmp_path) == ["seen"]


def test_savepoints_share_the_fate_of_what_surrounds_them(
    tracker: Tracker, sessions: sessionmaker[Session], tmp_path: Path
) -> None:
    """A savepoint that is rolled back takes its own; one released goes on with the outer."""
    with sessions() as session:
        session.add(Order(id="outer"))
        buy(tracker, "outer")
        with session.begin_nested():
            session.add(Order(id="inner"))
            buy(tracker, "inner")
            with session.begin_nested() as innermost:
                session.add(Order(id="innermost"))
                buy(tracker, "innermost")
                session.flush()
                innermost.rollback()
        assert on_disk(tmp_path) == []
        buy(tracker, "after")
        session.commit()
        assert on_disk(tmp_path) == ["after", "inner", "outer"]
        with session.begin_nested():
            buy(tracker, "released")
        session.rollback()
    assert on_disk(tmp_path) == ["after", "inner", "outer"]


def test_a_commit_inside_a_savepoint_writes_everything(
    tracker: Tracker, sessions: sessionmaker[Session], tmp_path: Path
) -> None:
    """Committing the session commits whatever savepoints are open in it."""
    with sessions() as session:
        session.begin_nested()
        session.add(Order(id="inner"))
        buy(tracker, "inner")
        session.commit()
        assert on_disk(tmp_path) == ["inner"]


def test_a_failed_flush_and_its_rollback_drop(
    tracker: Tracker, sessions: sessionmaker[Session], tmp_path: Path
) -> None:
    """What the database refuses was not bought."""
    with sessions() as session:
        session.add(Order(id="twice"))
        session.commit()
        session.add(Order(id="twice"))
        buy(tracker, "twice")
        with pytest.raises(Exception, match="UNIQUE"):
            session.commit()
        session.rollback()
    assert on_disk(tmp_path) == []


def test_other_threads_do_not_wait_for_it(
    tracker: Tracker, sessions: sessionmaker[Session], tmp_path: Path
) -> None:
    """A transaction holds the events of its own thread only, outside of requests."""
    with sessions() as session:
        session.add(Order(id="held"))
        buy(tracker, "held")
        thread = threading.Thread(target=buy, args=(tracker, "elsewhere"))
        thread.start()
        thread.join()
        assert on_disk(tmp_path) == ["elsewhere"]


def test_threads_that_serve_one_request_share_its_session(
    tracker: Tracker, sessions: sessionmaker[Session], tmp_path: Path
) -> None:
    """A framework may make the session in one thread and run the view in another."""
    request, other = RequestContext(), RequestContext()
    session = sessions()

    def in_request(context: RequestContext, work: Callable[[], object]) -> None:
        def run() -> None:
            with bind_context(context):
                work()

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()

    in_request(request, lambda: session.add(Order(id="held")))
    in_request(request, lambda: buy(tracker, "held"))
    in_request(other, lambda: buy(tracker, "other"))
    assert on_disk(tmp_path) == ["other"]
    session.commit()
    assert on_disk(tmp_path) == ["held", "other"]
    session.close()


def test_of_two_sessions_the_last_used_one_holds(
    tracker: Tracker, sessions: sessionmaker[Session], tmp_path: Path
) -> None:
    """An event is about what was done just before it."""
    with sessions() as first, sessions() as second:
        first.scalars(select(Order)).all()
        second.add(Order(id="second"))
        buy(tracker, "second")
        first.commit()
        assert on_disk(tmp_path) == []
        second.commit()
        assert on_disk(tmp_path) == ["second"]


def test_a_session_forgotten_without_an_end_holds_nothing_up(
    tracker: Tracker, sessions: sessionmaker[Session], tmp_path: Path
) -> None:
    """Sessions are known weakly; one that is gone is nobody's."""
    session = sessions()
    session.begin()
    del session
    gc.collect()
    buy(tracker, "free")
    assert on_disk(tmp_path) == ["free"]


def test_a_full_queue_does_not_make_a_commit_fail(
    sessions: sessionmaker[Session], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The database has the order; an error there would have it bought twice."""
    tracker = Tracker(
        directory=tmp_path / "queue",
        max_bytes=1,
        when_full="raise",
        on_commit=on_session_commit(sessions),
    )
    buy(tracker, "fits")
    tracker.close()
    with pytest.raises(QueueFullError):
        buy(tracker, "too much")
    with sessions() as session:
        session.add(Order(id="1"))
        buy(tracker, "1")
        session.commit()
        assert session.get(Order, "1") is not None
    assert "event.dropped" in caplog.text


def test_scoped_and_single_sessions(sessions: sessionmaker[Session], tmp_path: Path) -> None:
    """The way Flask-SQLAlchemy makes sessions, and a script that has just one."""
    scoped = scoped_session(sessions)
    single = sessions()
    targets: list[tuple[Sessions, Session]] = [(scoped, scoped()), (single, single)]
    for number, (target, session) in enumerate(targets):
        tracker = Tracker(directory=tmp_path / "queue", on_commit=on_session_commit(target))
        session.add(Order(id=str(number)))
        buy(tracker, str(number))
        assert len(on_disk(tmp_path)) == number
        session.commit()
        assert len(on_disk(tmp_path)) == number + 1
    scoped.remove()
    single.close()


@pytest.mark.parametrize("kind", ["maker", "scoped", "session", "maker of a sync maker"])
def test_async_sessions(kind: str, engine: Engine, tmp_path: Path) -> None:
    """The same holds for a database that is awaited, and for tasks beside each other."""

    async def shop() -> None:
        aengine = create_async_engine(
            f"sqlite+aiosqlite:///{engine.url.database}", poolclass=NullPool
        )
        maker = async_sessionmaker(aengine)
        if kind == "maker of a sync maker":
            maker = async_sessionmaker(aengine, sync_session_class=sessionmaker())
        scoped = async_scoped_session(maker, asyncio.current_task)
        single = maker()
        targets: dict[str, Sessions] = {"scoped": scoped, "session": single}
        targets["maker"] = targets["maker of a sync maker"] = maker
        hold = on_session_commit(targets[kind])
        tracker = Tracker(directory=tmp_path / "queue", on_commit=hold)
        await _buy_beside(tracker, single if kind == "session" else maker())
        await single.close()
        await aengine.dispose()

    async def _buy_beside(tracker: Tracker, session: AsyncSession) -> None:
        async with session:
            session.add(Order(id="kept"))
            buy(tracker, "kept")
            await asyncio.create_task(_elsewhere(tracker))
            assert on_disk(tmp_path) == ["elsewhere"]
            await session.commit()
            assert on_disk(tmp_path) == ["elsewhere", "kept"]
            session.add(Order(id="lost"))
            await session.flush()
            buy(tracker, "lost")
            await session.rollback()
        assert on_disk(tmp_path) == ["elsewhere", "kept"]

    async def _elsewhere(tracker: Tracker) -> None:
        buy(tracker, "elsewhere")

    asyncio.run(shop())


def test_it_can_be_switched_off_and_refuses_what_it_cannot_listen_to(
    sessions: sessionmaker[Session], engine: Engine, tmp_path: Path
) -> None:
    """Without it, events are on disk at once; an engine is no session."""
    tracker = Tracker(
        directory=tmp_path / "queue", on_commit=on_session_commit(sessions, enabled=False)
    )
    with sessions() as session:
        session.add(Order(id="1"))
        buy(tracker, "1")
        assert on_disk(tmp_path) == ["1"]
    with pytest.raises(ConfigurationError, match=r"sessions: expected a session, .* got Engine"):
        on_session_commit(engine)  # type: ignore[arg-type]  # the mistake
