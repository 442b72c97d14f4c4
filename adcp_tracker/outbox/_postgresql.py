"""PostgreSQL 13 and newer, by psycopg 3 (extra ``postgresql``)."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg.conninfo import conninfo_to_dict

from adcp_tracker.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from adcp_tracker.outbox.schema import Connection, Cursor

_CONNECT_SECONDS: Final = 10
_DEADLOCKS: Final = {"40001", "40P01"}
_MISSING_TABLE: Final = "42P01"

_COLLECT: Final = """
WITH near AS MATERIALIZED (
    SELECT id, octet_length(data) AS size FROM adcp_intake
    WHERE queue = %(queue)s ORDER BY id LIMIT %(rows)s
), fits AS (
    SELECT id FROM (SELECT id, size, sum(size) OVER (ORDER BY id) AS upto FROM near) AS sized
    WHERE upto - size < %(size)s
), taken AS (
    DELETE FROM adcp_intake WHERE queue = %(queue)s AND id IN (SELECT id FROM fits)
    RETURNING id, records, data
)
SELECT coalesce(string_agg(data, ''::bytea ORDER BY id), ''), coalesce(sum(records), 0) FROM taken
"""


class PostgreSQL:
    """The dialect of PostgreSQL.

    Args:
        url: How to connect, as libpq takes it.
    """

    errors: tuple[type[Exception], ...] = (psycopg.Error,)
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
            prepare_threshold=None,
            connect_timeout=_CONNECT_SECONDS,
            application_name="adcp_tracker",
            keepalives_idle=10,
            tcp_user_timeout=20_000,
        )
        connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
        return connection

    def code(self, error: Exception) -> str:
        """Return the SQLSTATE of an error."""
        return getattr(error, "sqlstate", None) or type(error).__name__

    def is_deadlock(self, error: Exception) -> bool:
        """Return whether the same transaction can succeed when it is run again."""
        return self.code(error) in _DEADLOCKS

    def is_missing_table(self, error: Exception) -> bool:
        """Return whether a table isn't there."""
        return self.code(error) == _MISSING_TABLE

    def on_conflict(self, key: str, *columns: str) -> str:
        """Return the end of an INSERT whose row may be there."""
        if not columns:
            return f"ON CONFLICT ({key}) DO NOTHING"
        new = ", ".join(f"{column} = excluded.{column}" for column in columns)
        return f"ON CONFLICT ({key}) DO UPDATE SET {new}"

    def collect(self, cursor: Cursor, queue: int, rows: int, size: int) -> tuple[bytes, int]:
        """Take the oldest rows out of the intake, in one statement."""
        cursor.execute(_COLLECT, {"queue": queue, "rows": rows, "size": size})
        ((data, records),) = cursor.fetchall()
        return data, int(records)

    def lock_schema(self, cursor: Cursor) -> None:
        """Let only one process at a time create tables, until it commits."""
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext('adcp_tracker'))")

    def compact(self, tables: Collection[str]) -> None:
        """Free what rows of an earlier version still hold, on a connection of its own."""
        with contextlib.suppress(psycopg.Error), psycopg.connect(self._url) as connection:
            connection.autocommit = True
            connection.execute(f"VACUUM {', '.join(tables)}".encode())

    def close_inherited(self, connections: Sequence[Connection]) -> None:
        """Have nothing to do: psycopg leaves a parent's sockets alone."""
