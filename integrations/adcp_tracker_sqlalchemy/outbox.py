"""Insert events in the transaction of a SQLAlchemy session.

Events are held until the session commits, and inserted then, in one statement. So it is the same
for asynchronous sessions, which can't run a statement where ``track_purchase()`` is called.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

import attrs
from sqlalchemy import Column, Connection, Integer, LargeBinary, MetaData, Table, event, insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from adcp_tracker.exceptions import ConfigurationError
from adcp_tracker.outbox.schema import (
    INSERT_RECORD,
    RELEASE,
    ROLLBACK,
    PendingRecord,
    check_dialect,
    describe_error,
    insert_statement,
    schema_statements,
)
from adcp_tracker_sqlalchemy.on_commit import SessionCommitHook

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeAlias

    from sqlalchemy import Engine
    from sqlalchemy.orm import Session

    from adcp_tracker_sqlalchemy.on_commit import Sessions

    Bind: TypeAlias = "Engine | Connection | AsyncEngine | AsyncConnection"
    Row = dict[str, Any]

intake: Final = Table(
    "adcp_intake", MetaData(), Column("queue", Integer), Column("data", LargeBinary)
)
"""The table that events are inserted in, for the ``binds`` of a session with several databases."""

_INSERT: Final = insert(intake).inline()
_DIALECTS: Final = {"mariadb": "mysql"}
"""Dialects that are another one under their own name."""


def create_tables(connection: Connection, queues: int = 1) -> None:
    """Create the queue's tables, or bring them up to date, in the connection's transaction.

    Call it in a migration of Alembic's, as ``create_tables(op.get_bind())``, or beside your own
    ``metadata.create_all(connection)``. It does what ``adcp-tracker queue migrate`` does.

    Args:
        connection: The connection; of an asynchronous one, by ``await
            connection.run_sync(create_tables)``.
        queues: How many queues there are.

    Raises:
        ConfigurationError: If the database can't hold a queue.
    """
    name = _dialect("connection", connection)
    for statement in schema_statements(name, queues):
        connection.exec_driver_sql(statement)


def is_queue_table(name: str | None, kind: str = "table", *_: object) -> bool:
    """Return whether a table is one of the queue's, so that Alembic can leave it alone.

    In ``env.py``: ``include_name=lambda *given: not is_queue_table(*given)``.
    """
    return kind == "table" and name is not None and name.startswith("adcp_")


@attrs.frozen(eq=False)
class _HeldRecord:
    """A record that is inserted when its session commits.

    Called after the commit, which happens only if it wasn't inserted, it writes the event to the
    journal.

    Attributes:
        pending: The record.
    """

    pending: PendingRecord

    def __call__(self) -> None:
        self.pending.write()

    @property
    def row(self) -> Row:
        """What is inserted."""
        return {"queue": self.pending.queue, "data": self.pending.record}


class SessionOutbox:
    """Inserts events in the transactions of some sessions, for ``transactional_outbox``.

    An event that is tracked while a session of this request, task or thread has a transaction is
    inserted when the session commits. A rollback drops it, also one to a savepoint.

    Args:
        sessions: The application's ``sessionmaker``, ``scoped_session``, the asynchronous version
            of either, or a single session. Make the outbox before sessions are made.
        bind: The engine of the database that has the queue; left out, that of the sessions.

    Raises:
        ConfigurationError: If `sessions` is anything else, has no engine, or its database can't
            hold a queue.
    """

    def __init__(self, sessions: Sessions, *, bind: Bind | None = None) -> None:
        self._hook = SessionCommitHook(sessions)
        self._bind = None if bind is None else _sync_bind(bind)
        self._engine = _sync_bind(_bind_of(sessions) if bind is None else bind)
        _dialect("sessions", self._engine)
        self.location = f"the database {self._engine.engine.url.database!r}"
        event.listen(self._hook.target, "before_commit", self._before_commit)

    def insert(self, pending: PendingRecord) -> bool:
        """Have a record inserted by the open session; return ``False`` if none is open."""
        return self._hook(_HeldRecord(pending))

    def commit(self, record: bytes, queue: int) -> None:
        """Insert a record in a transaction of its own, or with the session that is open.

        A second connection beside an open session's could wait for others that wait for one, too.
        """
        alone = partial(self._commit_alone, {"queue": queue, "data": record})
        pending = PendingRecord(record, queue, savepoint=True, write=alone, failed=_ignore)
        if not self._hook(_HeldRecord(pending)):
            alone()

    def _commit_alone(self, row: Row) -> None:
        try:
            if isinstance(self._engine, Connection):  # as tests bind sessions to one
                with self._engine.begin_nested():
                    self._engine.execute(_INSERT, row)
            elif self._engine.dialect.is_async:
                with ThreadPoolExecutor(1) as pool:
                    pool.submit(asyncio.run, _commit_async(self._engine, row)).result()
            else:
                with self._engine.begin() as connection:
                    connection.execute(_INSERT, row)
        except Exception as error:  # noqa: BLE001 - each driver has its own
            raise OSError(f"{self.location}: {describe_error(error)}") from None

    def defer(self, write: Callable[[], None]) -> bool:
        """Call `write` after the commit of the open session; ``False`` if none is open."""
        return self._hook(write)

    def _before_commit(self, session: Session) -> None:
        pending = self._hook.pending(session)
        if pending is None or not pending.is_final_commit(session.get_nested_transaction()):
            return
        if not pending.holds(_HeldRecord):
            return
        session.flush()  # what is tracked by handlers of a flush belongs to this commit
        held = pending.take(_HeldRecord)
        failed = self._insert(session, held)
        if failed:
            transaction = session.get_nested_transaction() or session.get_transaction()
            for each in failed:
                pending.add(cast("Any", transaction), each)

    def _insert(self, session: Session, held: Sequence[_HeldRecord]) -> Sequence[_HeldRecord]:
        """Insert records; return those to write after the commit because that failed."""
        given = {"clause": intake} if self._bind is None else {"bind": self._bind}
        rows = [each.row for each in held]
        try:
            connection = session.connection(bind_arguments=given)
            if not held[0].pending.savepoint:
                _insert_plainly(connection, rows)
                return ()
            savepoint = _OneTrip.begin(connection) or connection.begin_nested()
        except Exception as error:
            _report(held, error)
            if not held[0].pending.savepoint:
                raise
            return ()  # the transaction is lost, and what was tracked in it goes with it
        try:
            if isinstance(savepoint, _OneTrip):
                savepoint.insert(rows)
            else:
                connection.execute(_INSERT, rows)
                savepoint.commit()
        except Exception as error:  # noqa: BLE001 - nothing may break a checkout
            _report(held, error)
            return held if _is_rolled_back(savepoint) else ()
        return ()


@attrs.frozen
class _OneTrip:
    """Inserts records in a savepoint, in one round trip instead of three.

    Attributes:
        cursor: The driver's, which takes several statements at once and prepares none.
    """

    cursor: Any

    @classmethod
    def begin(cls, connection: Connection) -> _OneTrip | None:
        """Return one for a connection, if its driver can do that."""
        if connection.dialect.is_async or not _takes_our_text(connection):
            return None
        from psycopg import ClientCursor  # noqa: PLC0415 - the application has it

        return cls(ClientCursor(cast("Any", connection.connection.driver_connection)))

    def insert(self, rows: Sequence[Row]) -> None:
        """Insert records."""
        records = [(row["queue"], row["data"]) for row in rows]
        self.cursor.execute(insert_statement(records, savepoint=True))

    def rollback(self) -> None:
        """Roll back to the savepoint."""
        self.cursor.execute(f"{ROLLBACK}; {RELEASE}")


def _takes_our_text(connection: Connection) -> bool:
    """Return whether a statement need not be compiled: its names and marks for values fit."""
    translates = "schema_translate_map" in connection.get_execution_options()
    return connection.dialect.driver == "psycopg" and not translates


def _insert_plainly(connection: Connection, rows: list[Row]) -> None:
    if len(rows) == 1 and _takes_our_text(connection):
        connection.exec_driver_sql(INSERT_RECORD, rows[0])
    else:
        connection.execute(_INSERT, rows)


def _ignore(error: Exception) -> None:
    """Leave an error to the insert that is made after the commit."""


def _report(held: Sequence[_HeldRecord], error: Exception) -> None:
    for each in held:
        each.pending.failed(error)


def _is_rolled_back(savepoint: Any) -> bool:  # noqa: ANN401 - a NestedTransaction
    """Roll a savepoint back; return whether the transaction is usable again."""
    try:
        savepoint.rollback()
    except Exception:  # noqa: BLE001 - whatever it is, the transaction is lost
        return False
    return True


async def _commit_async(engine: Engine, row: Row) -> None:
    """Insert a row in an event loop of its own, where the engine's connections can't be used."""
    own = create_async_engine(engine.url, pool=engine.pool.recreate())
    try:
        async with own.begin() as connection:
            await connection.execute(_INSERT, row)
    finally:
        await own.dispose()


def _dialect(option: str, bind: Engine | Connection) -> str:
    name = _DIALECTS.get(bind.dialect.name, bind.dialect.name)
    check_dialect(option, name)
    return name


def _bind_of(sessions: Any) -> Bind:  # noqa: ANN401 - any of Sessions, or what is none
    """Return what sessions are bound to.

    Raises:
        ConfigurationError: If that isn't known yet.
    """
    maker = getattr(sessions, "session_factory", sessions)
    bind = maker.kw.get("bind") if hasattr(maker, "kw") else getattr(maker, "bind", None)
    if bind is None:
        raise ConfigurationError(
            "sessions: expected sessions with an engine, got some without; pass bind="
        )
    return cast("Bind", bind)


def _sync_bind(bind: Bind) -> Engine | Connection:
    if isinstance(bind, AsyncEngine):
        return bind.sync_engine
    if isinstance(bind, AsyncConnection):
        return bind.sync_connection  # type: ignore[return-value]  # it is open
    return bind
