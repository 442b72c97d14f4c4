"""The tables of a queue in a database, what differs between databases, and TransactionalOutbox.

No driver is needed here: an application's own migration can create the tables, and its own
connection add records. Statements take words in braces from :data:`WORDS`, such as ``{now}``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Protocol

import attrs

from adcp_tracker.exceptions import AdcpTrackerError, ConfigurationError
from adcp_tracker.journal.records import crc32

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence


SCHEMA_VERSION: Final = 3
"""A newer version only adds, so that an older release goes on working beside it."""

OLDEST_VERSION: Final = 3
"""The first release's. What checkouts had before is not brought up to date."""

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS adcp_schema (version integer PRIMARY KEY) {plain};
CREATE TABLE IF NOT EXISTS adcp_queue (
    queue   integer PRIMARY KEY,
    term    bigint NOT NULL DEFAULT 0,
    holder  {name} NOT NULL,
    until   double precision NOT NULL DEFAULT 0,
    wanted  double precision NOT NULL DEFAULT 0,
    segment bigint NOT NULL DEFAULT 1,
    begun   double precision NOT NULL DEFAULT 0,
    size    integer NOT NULL DEFAULT 0,
    stats   {bytes},
    context_key {bytes}
) {hot};
CREATE TABLE IF NOT EXISTS adcp_intake (
    id      {identity},
    queue   integer NOT NULL,
    records integer NOT NULL DEFAULT 1,
    piece   bigint,
    size    integer NOT NULL DEFAULT 0,
    data    {bytes} NOT NULL,
    PRIMARY KEY (queue, id)
) {intake};
CREATE TABLE IF NOT EXISTS adcp_piece (
    queue integer, piece bigint, content {bytes} NOT NULL, PRIMARY KEY (queue, piece)
) {plain};
CREATE TABLE IF NOT EXISTS adcp_log (
    queue   integer NOT NULL,
    segment bigint NOT NULL,
    start   integer NOT NULL,
    stop    integer NOT NULL,
    records integer NOT NULL,
    piece   bigint,
    data    {bytes} NOT NULL,
    PRIMARY KEY (queue, segment, start)
) {plain};
CREATE TABLE IF NOT EXISTS adcp_state (
    queue integer, name {name}, value {bytes} NOT NULL, PRIMARY KEY (queue, name)
) {hot};
CREATE TABLE IF NOT EXISTS adcp_dead_letter (
    queue integer, name {name}, number {identity}, record {bytes} NOT NULL,
    PRIMARY KEY (queue, name)
) {plain};
CREATE TABLE IF NOT EXISTS adcp_destination (
    queue integer, name {name}, PRIMARY KEY (queue, name)
) {plain};
CREATE TABLE IF NOT EXISTS adcp_context (
    queue integer, name {name}, data {bytes} NOT NULL, kept_at double precision NOT NULL,
    PRIMARY KEY (queue, name)
) {plain};
CREATE TABLE IF NOT EXISTS adcp_quarantine (
    queue integer NOT NULL, place {name} NOT NULL, data {bytes} NOT NULL, number {identity},
    PRIMARY KEY (queue, number)
) {plain};
CREATE TABLE IF NOT EXISTS adcp_gate (
    destination {name} PRIMARY KEY, not_before double precision NOT NULL
) {hot};
CREATE TABLE IF NOT EXISTS adcp_origin (
    queue integer, origin {name}, shipped bigint NOT NULL DEFAULT 0, ended double precision,
    PRIMARY KEY (queue, origin)
) {plain};
CREATE TABLE IF NOT EXISTS adcp_relay (
    directory {name} PRIMARY KEY,
    host      {name} NOT NULL,
    stats     {bytes},
    seen      double precision NOT NULL DEFAULT 0,
    emptied   double precision NOT NULL DEFAULT 0,
    is_closed boolean NOT NULL DEFAULT false
) {hot};
"""
"""Every statement can be run again. Times are seconds since 1970, by the database's clock.

The records of a row stand in ``data``, or in the piece that it names; ``size`` is the piece's.
"""

WORDS: Final = {
    "postgresql": {
        "now": "date_part('epoch', clock_timestamp())",
        "name": "text",
        "bytes": "bytea",
        "identity": "bigint GENERATED ALWAYS AS IDENTITY",
        "plain": "",
        "hot": "WITH (fillfactor = 50)",
        "intake": "WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000,"
        " autovacuum_vacuum_cost_delay = 0)",
    },
    "mysql": {
        "now": "(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) / 1e6)",
        "name": "varchar(500) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
        "bytes": "longblob",
        "identity": "bigint NOT NULL AUTO_INCREMENT UNIQUE",
        "plain": "ENGINE = InnoDB",
        "hot": "ENGINE = InnoDB",
        "intake": "ENGINE = InnoDB",
    },
}
"""What stands for the words in braces, by dialect."""

_COMPRESS: Final = """DO $$ BEGIN
    EXECUTE 'ALTER TABLE {table} ALTER {column} SET COMPRESSION lz4,
        ALTER {column} SET STORAGE EXTENDED';
EXCEPTION WHEN syntax_error OR feature_not_supported THEN
    ALTER TABLE {table} ALTER {column} SET STORAGE EXTERNAL;
END $$"""
"""The server compresses many records together if it is PostgreSQL 14 or newer and built with lz4.
Without it they stay as they are, so that ``substring()`` reads no more than its part."""

_TUNING: Final = {
    "postgresql": [
        _COMPRESS.format(table=table, column=column)
        for table, column in (
            ("adcp_intake", "data"),
            ("adcp_log", "data"),
            ("adcp_piece", "content"),
        )
    ],
    "mysql": [],
}

_EVENT_ID: Final = re.compile(rb'"event_id":"([^"]*)"')

INSERT_RECORD: Final = "INSERT INTO adcp_intake (queue, data) VALUES (%(queue)s, %(data)s)"
"""Adds one record; the one statement of producers."""


INSERT_RECORDS: Final = (
    "INSERT INTO adcp_intake (queue, records, piece, size, data) "
    "VALUES (%(queue)s, %(records)s, %(piece)s, %(size)s, %(data)s)"
)
"""Adds several records that follow each other, or the piece that has them."""

INSERT_PIECE: Final = "INSERT INTO adcp_piece VALUES (%(queue)s, %(piece)s, %(content)s)"


SAVEPOINT: Final = "SAVEPOINT adcp_tracker"
RELEASE: Final = "RELEASE SAVEPOINT adcp_tracker"
ROLLBACK: Final = "ROLLBACK TO SAVEPOINT adcp_tracker"
"""The savepoint that an insert in an application's transaction stands in."""


def insert_statement(records: Iterable[tuple[int, bytes]], *, savepoint: bool) -> str:
    """Return what inserts records in PostgreSQL, with their values in hexadecimal.

    Drivers take several statements at once, as a savepoint needs, only without values beside them.

    Args:
        records: The queue of each, and its bytes.
        savepoint: Whether to insert them in a savepoint.
    """
    rows = ", ".join(f"({queue:d}, E'\\\\x{data.hex()}')" for queue, data in records)
    statement = f"INSERT INTO adcp_intake (queue, data) VALUES {rows}"  # noqa: S608 - digits
    return f"{SAVEPOINT}; {statement}; {RELEASE}" if savepoint else statement


def schema_statements(dialect: str, queues: int = 1) -> list[str]:
    """Return the statements that create the tables of queues ``0`` to ``queues - 1``.

    They can be run again, and need no driver of this library's own.

    Args:
        dialect: ``"postgresql"`` or ``"mysql"``.
        queues: How many queues there are.
    """
    tables = SCHEMA.format_map(WORDS[dialect]).split(";\n")[:-1]
    rows = [
        f"INSERT INTO adcp_queue (queue, holder) SELECT {queue}, '' FROM adcp_schema "  # noqa: S608 - a number
        f"WHERE NOT EXISTS (SELECT 1 FROM adcp_queue WHERE queue = {queue})"
        for queue in range(queues)
    ]
    version = f"INSERT INTO adcp_schema VALUES ({SCHEMA_VERSION})"  # noqa: S608 - a number
    return [*tables, *_TUNING[dialect], "DELETE FROM adcp_schema", version, *rows]


class Condition(NamedTuple):
    """Something about a database that matters to a queue.

    Attributes:
        level: ``"ok"``, ``"warning"`` or ``"error"``.
        message: What was found.
        remedy: What to do about it; empty if nothing.
    """

    level: Literal["ok", "warning", "error"]
    message: str
    remedy: str = ""


MIGRATE: Final = "run adcp-tracker queue migrate"
RIGHTS: Final = "check the user and password, and its rights on the tables"


class Cursor(Protocol):
    """What runs statements, as in PEP 249."""

    description: Any
    rowcount: int

    def execute(self, statement: Any, values: Any = ..., /) -> Any:  # noqa: ANN401
        """Run a statement."""

    def executemany(self, statement: Any, values: Any, /) -> Any:  # noqa: ANN401
        """Run a statement with each of some values."""

    def fetchall(self) -> Any:  # noqa: ANN401
        """Return the rows of the last statement."""

    def nextset(self) -> Any:  # noqa: ANN401
        """Go on to the rows of the next of several statements."""


class Connection(Protocol):
    """A connection, as in PEP 249."""

    def cursor(self) -> Any:  # noqa: ANN401
        """Return a new cursor."""

    def commit(self) -> None:
        """Commit."""

    def close(self) -> None:
        """Close it, and roll back what was not committed."""


def queue_of(body: bytes, queues: Sequence[int]) -> int:
    """Return the queue of an event's record: the same for the same event id."""
    if len(queues) == 1:
        return queues[0]
    found = _EVENT_ID.search(body)
    return queues[crc32(body if found is None else found[1]) % len(queues)]


class Dialect(Protocol):
    """What differs between databases."""

    location: str
    """What messages call the database; without a password."""

    errors: tuple[type[Exception], ...]
    """What its driver raises."""

    hints: Mapping[str, str]
    """What to do about an error, by its code; any other is tried again."""

    name: str
    """Its name in :data:`WORDS`."""

    def connect(self) -> Connection:
        """Return a new connection, which isolates transactions as ``READ COMMITTED``."""

    def begin(self, cursor: Cursor, first: str) -> None:
        """Begin a transaction with a statement, whose rows can be fetched; empty for none."""

    def code(self, error: Exception) -> str:
        """Return the database's code for an error."""

    def is_deadlock(self, error: Exception) -> bool:
        """Return whether the same transaction can succeed when it is run again."""

    def on_conflict(self, key: str, *columns: str) -> str:
        """Return the end of an INSERT whose row may be there.

        Args:
            key: The columns of the table's primary key.
            *columns: What takes the new values; without any, the row stays as it is.
        """

    def collect(self, cursor: Cursor, values: Mapping[str, object]) -> tuple[int, int, int]:
        """Move the oldest rows of the intake to the log: those without a piece as one row.

        Args:
            cursor: In the leader's transaction.
            values: The ``queue``, how many ``rows`` and about which ``size`` at most from which id
                on (``low``), and the ``segment`` and the ``start`` of what is added.

        Returns:
            The number of bytes and of records, and the last id.
        """

    def lock_schema(self, cursor: Cursor) -> None:
        """Let only one process at a time create tables."""

    def compact(self, tables: Collection[str]) -> None:
        """Free what rows of an earlier version still hold."""

    def close_inherited(self, connections: Sequence[Connection]) -> None:
        """Drop a parent's connections in a forked child; the parent goes on with them."""

    def condition(self, cursor: Cursor) -> Iterator[Condition]:
        """Look at what the server's settings and state mean for a queue."""


@attrs.frozen(eq=False)
class PendingRecord:
    """A record that is to be inserted in a transaction.

    Attributes:
        record: The record, as a journal has it.
        queue: The number of the queue that it belongs to.
        savepoint: Whether to insert it in a savepoint.
        write: Writes the event to the journal. Called after the commit if the insert failed.
        failed: Called at once with the error of an insert that failed.
    """

    record: bytes
    queue: int
    savepoint: bool
    write: Callable[[], None]
    failed: Callable[[Exception], None]


class TransactionalOutbox(Protocol):
    """Inserts events through the connection of the application's transaction."""

    location: str
    """What messages call the database; never a password."""

    def insert(self, pending: PendingRecord) -> bool:
        """Insert a record in the open transaction; return ``False`` if none is open.

        If the insert fails, the transaction has to stay usable, and :attr:`PendingRecord.write`
        is called after its commit.
        """

    def commit(self, record: bytes, queue: int) -> None:
        """Insert a record in a transaction of its own."""

    def defer(self, write: Callable[[], None]) -> bool:
        """Call `write` after the commit of the open transaction; ``False`` if none is open."""


def check_dialect(option: str, name: str) -> None:
    """Check that a database can hold a queue.

    Args:
        option: What says which database it is.
        name: What the framework calls its kind.

    Raises:
        ConfigurationError: If it can't.
    """
    if name not in WORDS:
        raise ConfigurationError(
            f"{option}: expected a database of kind {' or '.join(WORDS)}, which a transactional "
            f"outbox needs, got {name}; keep events in a directory instead"
        )


def describe_error(error: Exception) -> str:
    """Return the kind of a database's error; its words could be personal data."""
    if isinstance(error, (AdcpTrackerError, OSError)):
        return str(error)
    causes: list[BaseException | None] = [error, error.__cause__, getattr(error, "orig", None)]
    codes = [
        getattr(each, name, None) for each in causes for name in ("sqlstate", "pgcode", "errno")
    ]
    code = next((str(each) for each in codes if each), "")
    return f"{type(error).__name__} {code}".rstrip()
