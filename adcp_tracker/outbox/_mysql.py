"""MariaDB 10.6 and MySQL 8, and newer, by PyMySQL or mysqlclient (extra ``mysql``)."""

from __future__ import annotations

import contextlib
import traceback
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

from adcp_tracker.exceptions import ConfigurationError
from adcp_tracker.outbox.schema import MIGRATE, RIGHTS, Condition

try:
    import pymysql as _driver
except ImportError:
    import MySQLdb as _driver  # noqa: N813 - either of two

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from adcp_tracker.outbox.schema import Connection, Cursor

    _Row = tuple[int | None, int, int, bytes]
    """A piece, how many records there are, a size, and the data."""

_CONNECT_SECONDS: Final = 10
_ANSWER_SECONDS: Final = 30
_PACKET_BYTES: Final = 16 * 1024 * 1024
_PORT: Final = 3306
_DEADLOCK: Final = "1213"
_NO_PLUGIN: Final = 2059
_HINTS: Final = {
    "1146": MIGRATE,
    "1665": "set the server's binlog_format to ROW",
    "2059": "the driver can't log in by this user's plugin: for PyMySQL, install "
    "'adcp-tracker[mysql]', which has cryptography",
    "3159": "the server asks for TLS: add ssl_ca= to the URL",
} | dict.fromkeys(("1044", "1045", "1142", "1143"), RIGHTS)
_OPTIONS: Final = ("unix_socket", "ssl_ca", "ssl_cert", "ssl_key")
_INHERITED: list[Connection] = []
"""A parent's connections, kept for ever: to close one would end the parent's session."""

_SESSION: Final = (
    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
    "SET SESSION wait_timeout = 10, innodb_lock_wait_timeout = 10",
)
"""A process that stops in the middle of a transaction doesn't keep others from the lead."""

_ROW_BYTES: Final = 4 * 1024 * 1024
"""A driver may write each byte as two characters, and a statement has to fit into a packet."""

_LOCK_SCHEMA: Final = "SELECT GET_LOCK('adcp_tracker', 60)"

_SIZES: Final = """
SELECT id, size + octet_length(data) FROM adcp_intake
WHERE queue = %(queue)s AND id >= %(low)s ORDER BY id LIMIT %(rows)s FOR UPDATE SKIP LOCKED
"""

_TAKE: Final = """
SELECT piece, records, size, data FROM adcp_intake
WHERE queue = %(queue)s AND id IN %(ids)s ORDER BY id
"""

_DELETE: Final = "DELETE FROM adcp_intake WHERE queue = %(queue)s AND id IN %(ids)s"

_APPEND: Final = """
INSERT INTO adcp_log (queue, segment, start, stop, records, piece, data)
VALUES (%(queue)s, %(segment)s, %(start)s, %(stop)s, %(records)s, %(piece)s, %(data)s)
"""

_MAY_DELETE: Final = "DELETE FROM adcp_log WHERE 1 = 0"
_LONGEST: Final = """
SELECT coalesce(max(timestampdiff(SECOND, trx_started, now())), 0)
FROM information_schema.innodb_trx
"""
_LONG_SECONDS: Final = 300


class MySQL:
    """The dialect of MariaDB and MySQL.

    Args:
        url: How to connect, such as ``mysql://user@host/database``.
    """

    name = "mysql"
    errors: tuple[type[Exception], ...] = (_driver.Error,)
    hints: Mapping[str, str] = _HINTS

    def __init__(self, url: str) -> None:
        self._options = _connect_options(url)
        host = self._options.get("unix_socket") or self._options["host"]
        self.location = f"mysql://{host}/{self._options['database']}"

    def connect(self) -> Connection:
        """Return a new connection."""
        try:
            connection: Connection = _driver.connect(
                **self._options,
                charset="utf8mb4",
                sql_mode="TRADITIONAL",
                connect_timeout=_CONNECT_SECONDS,
                read_timeout=_ANSWER_SECONDS,
                write_timeout=_ANSWER_SECONDS,
                autocommit=False,
                binary_prefix=True,
            )
        except RuntimeError as error:  # PyMySQL's, for a package that it lacks
            raise _driver.OperationalError(_NO_PLUGIN, str(error)) from None
        except _driver.Error as error:
            # PyMySQL 1.2 leaves a Unix socket open that it could not connect. Its error keeps it.
            traceback.clear_frames(error.__traceback__)
            raise
        cursor = connection.cursor()
        for statement in _SESSION:
            cursor.execute(statement)
        return connection

    def begin(self, cursor: Cursor, first: str) -> None:
        """Run the first statement, which begins a transaction."""
        if first:
            cursor.execute(first)

    def code(self, error: Exception) -> str:
        """Return the number of an error; the rest of its text may hold values."""
        number = error.args[0] if error.args else None
        return str(number) if isinstance(number, int) and number else type(error).__name__

    def is_deadlock(self, error: Exception) -> bool:
        """Return whether the same transaction can succeed when it is run again."""
        return self.code(error) == _DEADLOCK

    def on_conflict(self, key: str, *columns: str) -> str:
        """Return the end of an INSERT whose row may be there."""
        first = key.partition(",")[0]
        new = ", ".join(f"{column} = VALUES({column})" for column in columns)
        return f"ON DUPLICATE KEY UPDATE {new or f'{first} = {first}'}"

    def collect(self, cursor: Cursor, values: Mapping[str, object]) -> tuple[int, int, int]:
        """Move the oldest rows of the intake that no other transaction still adds."""
        cursor.execute(_SIZES, values)
        ids, total, most = [], 0, int(str(values["size"]))
        for number, length in cursor.fetchall():
            if total >= most:
                break
            ids.append(number)
            total += length
        if not ids:
            return 0, 0, 0
        cursor.execute(_TAKE, {**values, "ids": ids})
        taken = cursor.fetchall()
        cursor.execute(_DELETE, {**values, "ids": ids})
        start = stop = int(str(values["start"]))
        for piece, count, length, data in _rows(taken):
            row = {"start": stop, "stop": stop + length, "records": count, "piece": piece}
            cursor.execute(_APPEND, {**values, **row, "data": data})
            stop += length
        return stop - start, sum(count for _, count, _, _ in taken), ids[-1]

    def lock_schema(self, cursor: Cursor) -> None:
        """Let only one process at a time create tables, until its connection is closed."""
        cursor.execute(_LOCK_SCHEMA)

    def compact(self, tables: Collection[str]) -> None:
        """Do nothing: InnoDB purges old versions of rows by itself."""

    def close_inherited(self, connections: Sequence[Connection]) -> None:
        """Leave a parent's connections as they are."""
        _INHERITED.extend(connections)

    def condition(self, cursor: Cursor) -> Iterator[Condition]:
        """Look at rights, durability and transactions that stay open."""
        try:
            cursor.execute(_MAY_DELETE)
            yield Condition("ok", "This user may read and write all tables, as a worker must.")
        except _driver.Error:
            yield Condition(
                "warning",
                "This user lacks the right DELETE on adcp_log.",
                "A worker needs all rights; the application INSERT alone.",
            )
        cursor.execute("SHOW VARIABLES")
        found = dict(cursor.fetchall())
        yield self._durability(found)
        most = int(found["max_allowed_packet"])
        if most < _PACKET_BYTES:
            yield Condition(
                "error",
                f"max_allowed_packet is {most:,} bytes.",
                f"Set it to {_PACKET_BYTES:,} or more, which the leader's rows need.",
            )
        if found["log_bin"] == "ON" and found.get("binlog_format") == "STATEMENT":
            yield Condition(
                "error",
                "binlog_format is STATEMENT, which refuses what is READ COMMITTED.",
                "Set it to ROW, its default.",
            )
        with contextlib.suppress(_driver.Error):  # few may look at others' transactions
            cursor.execute(_LONGEST)
            ((seconds,),) = cursor.fetchall()
            if seconds > _LONG_SECONDS:
                yield Condition(
                    "warning",
                    f"A transaction is open for {seconds:,} s.",
                    "It keeps old versions of rows from being purged. See SHOW PROCESSLIST.",
                )

    def _durability(self, found: Mapping[str, str]) -> Condition:
        """Look at what a commit waits for: a crash undoes what the binary log doesn't have."""
        wanted = ["innodb_flush_log_at_trx_commit"]
        wanted += ["sync_binlog"] if found["log_bin"] == "ON" else []
        weak = [f"{name} is {found[name]}" for name in wanted if found[name] != "1"]
        if weak:
            return Condition(
                "warning",
                f"{', and '.join(weak)}.",
                "A crash of the server loses orders and events of the last moments.",
            )
        return Condition("ok", "A commit is on the server's disk before it returns.")


def _rows(taken: Iterable[_Row]) -> Iterator[_Row]:
    """Yield the rows of the log that several of the intake make: one for each piece."""
    parts: list[bytes] = []
    last, records, length = None, 0, 0
    for piece, count, size, data in taken:
        if parts and (piece != last or length + len(data) > _ROW_BYTES):
            yield last, records, length, b"".join(parts)
            parts, records, length = [], 0, 0
        parts.append(data)
        last, records, length = piece, records + count, length + size + len(data)
    yield last, records, length, b"".join(parts)


def _connect_options(url: str) -> dict[str, Any]:
    """Return what a URL says, as both drivers take it.

    Raises:
        ConfigurationError: If it is invalid. No part of it is repeated, as it holds a password.
    """
    try:
        parts = urlsplit(url)
        given = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        port = parts.port or _PORT
    except ValueError:
        given, port = {"": ""}, 0
    database = unquote(parts.path.removeprefix("/")) if port else ""
    if not database or not given.keys() <= set(_OPTIONS):
        raise ConfigurationError(
            "queue: expected a URL such as 'mysql://user:password@host/database', with no other "
            f"options than {', '.join(_OPTIONS)}"
        )
    options: dict[str, Any] = {"database": database, "port": port, "host": parts.hostname or ""}
    if "unix_socket" in given:
        options["unix_socket"] = given["unix_socket"]
    ssl = {name.removeprefix("ssl_"): path for name, path in given.items() if "ssl" in name}
    return options | {
        "user": unquote(parts.username or ""),
        "password": unquote(parts.password or ""),
        **({"ssl": ssl} if ssl else {}),
    }
