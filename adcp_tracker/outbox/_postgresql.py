"""PostgreSQL 13 and newer, by psycopg 3 (extra ``postgresql``)."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg.conninfo import conninfo_to_dict

from adcp_tracker.exceptions import ConfigurationError
from adcp_tracker.outbox.schema import MIGRATE, RIGHTS, Condition

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from typing_extensions import Self

    from adcp_tracker.outbox.schema import Connection, Cursor

_CONNECT_SECONDS: Final = 10
_DEADLOCKS: Final = {"40001", "40P01"}
_HINTS: Final = {"42P01": MIGRATE, "42501": RIGHTS, "28000": RIGHTS, "28P01": RIGHTS}

_BEGIN: Final = (
    "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL work_mem = '32MB'; "
    "SET LOCAL idle_in_transaction_session_timeout = '10s'; "
)

_COLLECT: Final = """
WITH near AS MATERIALIZED (
    SELECT id, records, piece, size + octet_length(data) AS size FROM adcp_intake
    WHERE queue = %(queue)s AND id >= %(low)s ORDER BY id LIMIT %(rows)s
), placed AS (
    SELECT *, sum(size) OVER ids AS stop,
        2 * count(piece) OVER ids - (piece IS NOT NULL)::integer AS run
    FROM near WINDOW ids AS (ORDER BY id)
), runs AS MATERIALIZED (
    SELECT min(id) AS first, max(id) AS last, max(piece) AS piece,
        sum(records)::integer AS records, min(stop - size) AS start, max(stop)::integer AS stop
    FROM placed WHERE stop - size < %(size)s GROUP BY run
), taken AS (
    DELETE FROM adcp_intake
    WHERE queue = %(queue)s AND id >= %(low)s AND id <= (SELECT max(last) FROM runs)
    RETURNING id, data
), kept AS (
    INSERT INTO adcp_log (queue, segment, start, stop, records, piece, data)
    SELECT %(queue)s, %(segment)s, %(start)s + start, %(start)s + stop, records, piece,
        (SELECT string_agg(data, ''::bytea ORDER BY id) FROM taken WHERE id BETWEEN first AND last)
    FROM runs
)
SELECT max(stop), sum(records)::integer, max(last) FROM runs HAVING count(*) > 0
"""
"""A run is a piece, or what stands between two of them. Its data is sorted once."""

_OLD_SNAPSHOT_SECONDS: Final = 300.0
_MANY_DEAD_ROWS: Final = 1_000_000
_RIGHTS: Final = """
SELECT coalesce(string_agg(wanted.name || ' on ' || tables.tablename, ', '), '')
FROM pg_tables AS tables,
    (VALUES ('SELECT'), ('INSERT'), ('UPDATE'), ('DELETE')) AS wanted (name)
WHERE tables.schemaname = current_schema AND tables.tablename LIKE 'adcp\\_%'
    AND NOT has_table_privilege(quote_ident(tables.tablename), wanted.name)
"""
_OLDEST_SNAPSHOT: Final = """
SELECT coalesce(max(date_part('epoch', now() - xact_start)), 0)
FROM pg_stat_activity WHERE backend_xmin IS NOT NULL AND datname = current_database()
"""
_DEAD_ROWS: Final = """
SELECT coalesce(sum(n_dead_tup), 0) FROM pg_stat_user_tables WHERE relname LIKE 'adcp\\_%'
"""
_STANDBYS: Final = """
SELECT count(*), count(*) FILTER (WHERE sync_state IN ('sync', 'quorum')) FROM pg_stat_replication
"""


class _Cursor(psycopg.Cursor[tuple[Any, ...]]):
    """A cursor that gets bytes as they are, where the server would write them in hexadecimal."""

    def execute(
        self,
        query: Any,  # noqa: ANN401 - as psycopg takes it
        params: Any = None,  # noqa: ANN401 - likewise
        *,
        prepare: bool | None = None,
        binary: bool | None = None,
    ) -> Self:
        """Run a statement; one with values has binary results."""
        binary = params is not None if binary is None else binary
        return super().execute(query, params, prepare=prepare, binary=binary)


class PostgreSQL:
    """The dialect of PostgreSQL.

    Args:
        url: How to connect, as libpq takes it.
    """

    errors: tuple[type[Exception], ...] = (psycopg.Error,)
    hints: Mapping[str, str] = _HINTS
    name = "postgresql"

    def __init__(self, url: str) -> None:
        self._url = url
        try:
            parts = conninfo_to_dict(url)
        except psycopg.Error:  # its words would show the password
            message = "queue: expected a URL such as 'postgresql://user@host/database'"
            raise ConfigurationError(message) from None
        self.location = f"postgresql://{parts.get('host', '')}/{parts.get('dbname', '')}"

    def connect(self) -> Connection:
        """Return a new connection."""
        connection: psycopg.Connection[tuple[Any, ...]] = psycopg.connect(
            self._url,
            cursor_factory=_Cursor,
            prepare_threshold=None,
            connect_timeout=_CONNECT_SECONDS,
            application_name="adcp_tracker",
            keepalives_idle=10,
            tcp_user_timeout=20_000,
        )
        connection.autocommit = True
        return connection

    def begin(self, cursor: Cursor, first: str) -> None:
        """Begin a transaction, which the server ends if this process is paused or cut off in it.

        So its locks are gone before its lease is, and another process can lead.
        """
        cursor.execute(_BEGIN + first)
        while cursor.nextset():
            pass

    def code(self, error: Exception) -> str:
        """Return the SQLSTATE of an error."""
        return getattr(error, "sqlstate", None) or type(error).__name__

    def is_deadlock(self, error: Exception) -> bool:
        """Return whether the same transaction can succeed when it is run again."""
        return self.code(error) in _DEADLOCKS

    def on_conflict(self, key: str, *columns: str) -> str:
        """Return the end of an INSERT whose row may be there."""
        if not columns:
            return f"ON CONFLICT ({key}) DO NOTHING"
        new = ", ".join(f"{column} = excluded.{column}" for column in columns)
        return f"ON CONFLICT ({key}) DO UPDATE SET {new}"

    def collect(self, cursor: Cursor, values: Mapping[str, object]) -> tuple[int, int, int]:
        """Move the oldest rows of the intake to the log, in one statement."""
        cursor.execute(_COLLECT, values)
        rows = cursor.fetchall()
        return rows[0] if rows else (0, 0, 0)

    def lock_schema(self, cursor: Cursor) -> None:
        """Let only one process at a time create tables, until it commits."""
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext('adcp_tracker'))")

    def compact(self, tables: Collection[str]) -> None:
        """Free what rows of an earlier version still hold, on a connection of its own."""
        with contextlib.suppress(psycopg.Error), psycopg.connect(self._url) as connection:
            connection.autocommit = True
            connection.execute(f"VACUUM {', '.join(tables)}".encode())

    def close_inherited(self, connections: Sequence[Connection]) -> None:
        """Do nothing: psycopg leaves a parent's sockets alone."""

    def condition(self, cursor: Cursor) -> Iterator[Condition]:
        """Look at rights, durability, standbys, old snapshots and dead rows."""

        def value(statement: str) -> Any:  # noqa: ANN401 - of any column
            cursor.execute(statement)
            return cursor.fetchall()[0][0]

        missing = value(_RIGHTS)
        if missing:
            yield Condition(
                "warning",
                f"This user lacks the rights {missing}.",
                "A worker needs them all; the application INSERT alone.",
            )
        else:
            yield Condition("ok", "This user may read and write all tables, as a worker must.")
        yield self._durability(value("SHOW synchronous_commit"), value("SHOW fsync"))
        cursor.execute(_STANDBYS)
        ((standbys, synchronous),) = cursor.fetchall()
        if standbys and not synchronous:
            yield Condition(
                "warning",
                f"All {standbys} standbys are asynchronous.",
                "A failover loses orders and events that they have not received.",
            )
        seconds = float(value(_OLDEST_SNAPSHOT))
        if seconds > _OLD_SNAPSHOT_SECONDS:
            yield Condition(
                "warning",
                f"A transaction is open for {seconds:,.0f} s.",
                "It keeps VACUUM from freeing rows, which slows the queue. "
                "See pg_stat_activity, and set idle_in_transaction_session_timeout.",
            )
        dead = int(value(_DEAD_ROWS))
        if dead > _MANY_DEAD_ROWS:
            yield Condition(
                "warning", f"The tables have {dead:,} dead rows.", "See that autovacuum runs."
            )

    def _durability(self, commit: str, fsync: str) -> Condition:
        if commit == "off" or fsync == "off":
            return Condition(
                "warning",
                f"synchronous_commit is {commit}, and fsync is {fsync}.",
                "A crash of the server loses orders and events of the last moments.",
            )
        return Condition("ok", "A commit is on the server's disk before it returns.")
