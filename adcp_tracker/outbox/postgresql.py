"""A queue in PostgreSQL, which any number of machines can share (extra ``postgresql``).

Producers add rows to one intake table, in a transaction of the shop's own or in one of theirs.
The leader moves them to a log of segments, which work like the segment files of a directory:
bytes are appended, never moved, and a segment is deleted as a whole once it is delivered.
Every write of a leader begins by checking its term in the same transaction.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import threading
import weakref
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg.conninfo import conninfo_to_dict

from adcp_tracker.exceptions import ConfigurationError, LeadLostError, OutboxError
from adcp_tracker.journal.records import (
    EVENT,
    UNDECRYPTED,
    Record,
    encode_record,
    erase_record,
    parse,
)
from adcp_tracker.outbox.dead_letters import decode_letters, encode_letter

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from adcp_tracker._clock import Clock
    from adcp_tracker.journal.encryption import Encryption
    from adcp_tracker.journal.records import CorruptSpan
    from adcp_tracker.outbox.dead_letters import DeadLetter

    Connection = psycopg.Connection[tuple[Any, ...]]
    Cursor = psycopg.Cursor[tuple[Any, ...]]

SCHEMA_VERSION: Final = 1
LEASE_SECONDS: Final = 15.0
_MARGIN_SECONDS: Final = 5.0
_RENEW_PART: Final = 3
_REQUEST_SECONDS: Final = 5.0
_LOOK_SECONDS: Final = 0.2
_POLL_SECONDS: Final = 0.05
_COLLECT_ROWS: Final = 10_000
_COLLECT_BYTES: Final = 8 * 1024 * 1024
_SEGMENT_BYTES: Final = 8 * 1024 * 1024
_IDLE_SEGMENT_SECONDS: Final = 60.0
_CONNECT_SECONDS: Final = 10
_IDLE_CONNECTIONS: Final = 2
_QUARANTINE_BYTES: Final = 1024 * 1024

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS adcp_schema (version integer NOT NULL);
CREATE TABLE IF NOT EXISTS adcp_queue (
    queue   integer PRIMARY KEY,
    term    bigint NOT NULL DEFAULT 0,
    holder  text NOT NULL DEFAULT '',
    until   timestamptz NOT NULL DEFAULT 'epoch',
    wanted  timestamptz NOT NULL DEFAULT 'epoch',
    segment bigint NOT NULL DEFAULT 1,
    begun   timestamptz NOT NULL DEFAULT 'epoch',
    size    bigint NOT NULL DEFAULT 0,
    stats   bytea NOT NULL DEFAULT ''
) WITH (fillfactor = 50);
CREATE TABLE IF NOT EXISTS adcp_intake (
    id      bigint GENERATED ALWAYS AS IDENTITY,
    queue   integer NOT NULL,
    records integer NOT NULL DEFAULT 1,
    data    bytea NOT NULL,
    PRIMARY KEY (queue, id)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000,
        autovacuum_vacuum_cost_delay = 0);
ALTER TABLE adcp_intake ALTER data SET STORAGE EXTERNAL;
CREATE TABLE IF NOT EXISTS adcp_log (
    queue   integer NOT NULL,
    segment bigint NOT NULL,
    start   bigint NOT NULL,
    stop    bigint NOT NULL,
    records integer NOT NULL,
    data    bytea NOT NULL,
    PRIMARY KEY (queue, segment, start)
);
ALTER TABLE adcp_log ALTER data SET STORAGE EXTERNAL;
CREATE TABLE IF NOT EXISTS adcp_state (
    queue integer, key text, value bytea NOT NULL, PRIMARY KEY (queue, key)
) WITH (fillfactor = 50);
CREATE TABLE IF NOT EXISTS adcp_dead_letter (
    queue integer, id text, number bigint GENERATED ALWAYS AS IDENTITY, record bytea NOT NULL,
    PRIMARY KEY (queue, id)
);
CREATE TABLE IF NOT EXISTS adcp_destination (
    queue integer, name text, PRIMARY KEY (queue, name)
);
CREATE TABLE IF NOT EXISTS adcp_quarantine (
    queue integer NOT NULL, place text NOT NULL, data bytea NOT NULL
);
"""
"""Every statement can be run again. What is older than PostgreSQL 13 isn't supported."""

_TEXTS: Final = {
    "adcp_intake": "data",
    "adcp_log": "data",
    "adcp_state": "value",
    "adcp_dead_letter": "record",
    "adcp_quarantine": "data",
    "adcp_queue": "stats",
}
"""Where a text of an event could stand."""

_COLLECT: Final = """
WITH near AS MATERIALIZED (
    SELECT id, octet_length(data) AS size FROM adcp_intake
    WHERE queue = %(queue)s ORDER BY id LIMIT %(rows)s
), fits AS (
    SELECT id FROM (SELECT id, size, sum(size) OVER (ORDER BY id) AS upto FROM near) AS sized
    WHERE upto - size < %(bytes)s
), taken AS (
    DELETE FROM adcp_intake WHERE queue = %(queue)s AND id IN (SELECT id FROM fits)
    RETURNING id, records, data
)
SELECT string_agg(data, ''::bytea ORDER BY id), sum(records)::int FROM taken
"""

_ACQUIRE: Final = """
UPDATE adcp_queue SET
    term = term + (holder <> %(holder)s)::int,
    holder = %(holder)s,
    until = clock_timestamp() + %(lease)s * interval '1 second'
WHERE queue = %(queue)s AND (until < clock_timestamp() OR holder = %(holder)s)
RETURNING term
"""

_FENCE: Final = "SELECT 1 FROM adcp_queue WHERE queue = %s AND term = %s FOR SHARE"


class DatabaseError(OutboxError, OSError):
    """The database can't be reached or refuses a statement; it is tried again."""


def migrate(url: str, queues: int = 1) -> None:
    """Create the tables of queues ``0`` to ``queues - 1``, or bring them up to date.

    Raises:
        DatabaseError: If the database can't be reached, or its user may not create tables.
    """
    database = Database(url)
    with database.transaction() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext('adcp_tracker'))")
        cursor.execute(SCHEMA)
        cursor.execute("DELETE FROM adcp_schema")
        cursor.execute("INSERT INTO adcp_schema VALUES (%s)", (SCHEMA_VERSION,))
        cursor.execute(
            "INSERT INTO adcp_queue (queue) SELECT generate_series(0, %s) ON CONFLICT DO NOTHING",
            (queues - 1,),
        )


class Database:
    """Connections to one database. Nothing in a session is relied on, so poolers may be used.

    Args:
        url: How to connect, as libpq takes it.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        try:
            parts = conninfo_to_dict(url)
        except psycopg.Error:  # its words would show the password
            message = "queue: expected a URL such as 'postgresql://user@host/database'"
            raise ConfigurationError(message) from None
        self.location = f"postgresql://{parts.get('host', '')}/{parts.get('dbname', '')}"
        self._lock = threading.Lock()
        self._idle: list[Connection] = []
        self._pid = os.getpid()
        self.close = weakref.finalize(self, _close_all, self._idle)

    @contextmanager
    def transaction(self) -> Iterator[Cursor]:
        """Run statements in one transaction, on a connection that no other thread uses.

        Raises:
            DatabaseError: If one of them fails; then nothing has changed.
        """
        try:
            connection = self._take()
        except psycopg.Error as error:
            raise self._error(error) from None
        try:
            with connection.transaction(), connection.cursor() as cursor:
                yield cursor
        except psycopg.Error as error:
            connection.close()
            raise self._error(error) from None
        except BaseException:
            connection.close()
            raise
        self._give_back(connection)

    @contextmanager
    def statement(self) -> Iterator[Cursor]:
        """Run a statement that can't be in a transaction, such as ``VACUUM``."""
        connection = self._take()
        try:
            with connection.cursor() as cursor:
                yield cursor
        finally:
            connection.close()

    def _take(self) -> Connection:
        with self._lock:
            if self._pid != os.getpid():  # psycopg leaves the parent's sockets alone
                self._idle.clear()
                self._pid = os.getpid()
            if self._idle:
                return self._idle.pop()
        return psycopg.connect(
            self._url,
            autocommit=True,
            prepare_threshold=None,
            connect_timeout=_CONNECT_SECONDS,
            application_name="adcp_tracker",
            keepalives_idle=10,
            tcp_user_timeout=20_000,
        )

    def _give_back(self, connection: Connection) -> None:
        with self._lock:
            if len(self._idle) < _IDLE_CONNECTIONS and not connection.closed:
                self._idle.append(connection)
                return
        connection.close()

    def _error(self, error: psycopg.Error) -> DatabaseError:
        """Return an error without the statement's values, which could be personal data."""
        code = error.sqlstate or type(error).__name__
        hint = (
            "run adcp-tracker queue migrate" if error.sqlstate == "42P01" else "it is tried again"
        )
        return DatabaseError(f"{self.location}: the database failed with {code}; {hint}")


def _close_all(connections: list[Connection]) -> None:
    while connections:
        connections.pop().close()


class PostgresStore:
    """Keeps a queue in PostgreSQL.

    Args:
        url: How to connect, as libpq takes it, such as ``postgresql://user@host/database``.
        queue: Which of the database's queues.
        encryption: Encrypts and decrypts events.
        lease_seconds: How long a leader keeps the lead without renewing it.
    """

    is_shared = True

    def __init__(
        self,
        url: str,
        queue: int = 0,
        encryption: Encryption | None = None,
        lease_seconds: float = LEASE_SECONDS,
    ) -> None:
        self.database = Database(url)
        self.queue = queue
        self.encryption = encryption
        self.location = f"{self.database.location} queue {queue}"
        self._lease_seconds = lease_seconds

    def prepare(self) -> None:
        """Check that the tables are there.

        Raises:
            DatabaseError: If they aren't, or the database can't be reached.
        """
        with self.database.transaction() as cursor:
            cursor.execute("SELECT version FROM adcp_schema")
            row = cursor.fetchone()
            cursor.execute("SELECT 1 FROM adcp_queue WHERE queue = %s", (self.queue,))
            there = cursor.fetchone()
        if row is None or row[0] != SCHEMA_VERSION or there is None:
            raise DatabaseError(
                f"{self.location}: expected tables of version {SCHEMA_VERSION}, got "
                f"{'others' if there else 'no such queue'}; run adcp-tracker queue migrate"
            )

    def open(self, term: int = 0) -> PostgresQueue:
        """Return the queue for the leader of this term; for others, to read only."""
        return PostgresQueue(self.database, self.queue, self.encryption, term)

    def journal_writer(self, **options: Any) -> PostgresWriter:  # noqa: ANN401 - passed on
        """Return what adds this process's records, each in a transaction of its own."""
        return PostgresWriter(self.database, self.queue, self.encryption, **options)

    def leader_lock(self, clock: Clock) -> LeaseLock:
        """Return this process's claim to lead."""
        return LeaseLock(self.database, self.queue, clock, self._lease_seconds)

    def destination_names(self, own: Iterable[str], clock: Clock) -> DatabaseNames:
        """Return the names of all destinations."""
        del clock
        return DatabaseNames(self.database, self.queue, own)

    def read_stats(self) -> bytes:
        """Return the counts that the leader last published; empty if there are none."""
        try:
            with self.database.transaction() as cursor:
                cursor.execute("SELECT stats FROM adcp_queue WHERE queue = %s", (self.queue,))
                row = cursor.fetchone()
        except DatabaseError:
            return b""
        return row[0] if row else b""

    def used_bytes(self) -> int:
        """Return the size of the queue: what was not collected yet, and the log."""
        with self.database.transaction() as cursor:
            cursor.execute(
                "SELECT coalesce(sum(octet_length(data)), 0)::bigint FROM adcp_intake "
                "WHERE queue = %s",
                (self.queue,),
            )
            intake = cursor.fetchone()
            cursor.execute(
                "SELECT coalesce(sum(stop - start), 0)::bigint FROM adcp_log WHERE queue = %s",
                (self.queue,),
            )
            log = cursor.fetchone()
        return int((intake or (0,))[0]) + int((log or (0,))[0])


class PostgresWriter:
    """Adds this process's records to the intake, each in a transaction of its own.

    Args:
        database: The database.
        queue: Which of its queues.
        encryption: Encrypts events.
        on_begin: Called before the first record.
        on_fork: Called by the first append in a child process.
        **options: What only a writer of files needs.
    """

    path = None

    def __init__(
        self,
        database: Database,
        queue: int,
        encryption: Encryption | None,
        *,
        on_begin: Callable[[], None] | None = None,
        on_fork: Callable[[], None] | None = None,
        **options: object,
    ) -> None:
        del options
        self._database = database
        self._queue = queue
        self._encryption = encryption
        self._on_begin = on_begin
        self._on_fork = on_fork
        self._has_begun = False
        self._pid = os.getpid()

    def append(self, body: bytes, accepted_ms: int) -> None:
        """Add a plain event.

        Raises:
            DatabaseError: If the database doesn't take it.
        """
        self.append_record(body, accepted_ms, EVENT)

    def append_record(self, body: bytes, accepted_ms: int, kind: bytes) -> None:
        """Add a record of any kind; raises like :meth:`append`."""
        self.check_fork()
        if not self._has_begun and self._on_begin is not None:
            self._on_begin()
        self._has_begun = True
        kept, kind = self.encode_for_disk(body, accepted_ms, kind)
        record = encode_record(kept, accepted_ms, kind)
        with self._database.transaction() as cursor:
            cursor.execute(INSERT_RECORD, (self._queue, record))

    def encode_for_disk(self, body: bytes, accepted_ms: int, kind: bytes) -> tuple[bytes, bytes]:
        """Return a record's body and kind as they may be kept."""
        if self._encryption is None:
            return body, kind
        return self._encryption.encode_for_disk(body, accepted_ms, kind)

    def decode(self, body: bytes, accepted_ms: int, kind: bytes) -> Record:
        """Return the record of what is kept as :meth:`encode_for_disk` says."""
        if self._encryption is None:
            return Record(0, 0, kind, body)
        return self._encryption.decode(body, accepted_ms, kind)

    def roll(self, older_than: float = 0.0) -> None:
        """Have nothing to close: each record is committed."""

    def freeze(self) -> None:
        """Have nothing to hold across a fork."""

    def unfreeze(self) -> None:
        """Have nothing to resume."""

    def close_inherited(self) -> None:
        """Start anew in a child made by a fork."""
        self._has_begun = False
        self._pid = os.getpid()

    def check_fork(self) -> None:
        """Reset in a child whose fork did not run Python's hooks."""
        if self._pid != os.getpid():
            self.close_inherited()
            if self._on_fork is not None:
                self._on_fork()


INSERT_RECORD: Final = "INSERT INTO adcp_intake (queue, data) VALUES (%s, %s)"
"""Adds one record; the one statement of producers."""


class PostgresQueue:
    """A queue as one leader sees it.

    Args:
        database: The database.
        queue: Which of its queues.
        encryption: Decrypts events.
        term: The leader's term; 0 for who only reads.

    Attributes:
        segments: Its segments.
        dead_letters: Its dead letters.
    """

    def __init__(
        self, database: Database, queue: int, encryption: Encryption | None, term: int
    ) -> None:
        self._database = database
        self._queue = queue
        write = partial(_leading, database, queue, term)
        self._write = write
        self.segments = PostgresSegments(database, queue, encryption, write, leads=bool(term))
        self.dead_letters = PostgresDeadLetters(database, queue, encryption, write)

    def open_outbox(self) -> PostgresOutbox:
        """Open its state."""
        return PostgresOutbox(self._database, self._queue, self._write)

    def quarantine_state(self) -> str:
        """Set a damaged state aside, and return where it is kept."""
        place = f"state-{secrets.token_hex(4)}"
        with self._write() as cursor:
            cursor.execute(
                "INSERT INTO adcp_quarantine SELECT queue, %s, value FROM adcp_state "
                "WHERE queue = %s",
                (place, self._queue),
            )
            cursor.execute("DELETE FROM adcp_state WHERE queue = %s", (self._queue,))
        return f"adcp_quarantine, place {place}"

    def write_stats(self, data: bytes) -> None:
        """Publish counts for other processes."""
        with self._write() as cursor:
            cursor.execute("UPDATE adcp_queue SET stats = %s WHERE queue = %s", (data, self._queue))

    def compact_state(self) -> None:
        """Free what rows of an earlier version still hold. Write-ahead logs keep their time."""
        with self._database.statement() as cursor, contextlib.suppress(psycopg.Error):
            cursor.execute(f"VACUUM {', '.join(_TEXTS)}")

    def places_with(self, texts: frozenset[str]) -> tuple[str, ...]:
        """Return the tables that contain one of some case-folded texts."""
        return tuple(sorted(table for table in _TEXTS if self._contains(table, texts)))

    def state_contains(self, texts: frozenset[str]) -> bool:
        """Return whether a row of the state contains one of some texts."""
        return self._contains("adcp_state", texts)

    def discard_quarantined(self) -> int:
        """Delete quarantined bytes and states; return how many there were."""
        with self._write() as cursor:
            cursor.execute(
                "WITH gone AS (DELETE FROM adcp_quarantine WHERE queue = %s RETURNING place) "
                "SELECT count(DISTINCT place) FROM gone",
                (self._queue,),
            )
            return _one(cursor)

    def _contains(self, table: str, texts: frozenset[str]) -> bool:
        with self._database.transaction() as cursor:
            cursor.execute(f"SELECT {_TEXTS[table]} FROM {table} WHERE queue = %s", (self._queue,))  # noqa: S608 - both are constants
            return any(
                text in bytes(row[0]).decode(errors="replace").casefold()
                for row in cursor
                for text in texts
            )


@contextmanager
def _leading(database: Database, queue: int, term: int) -> Iterator[Cursor]:
    """Run a leader's transaction, which does nothing once another process leads.

    Raises:
        LeadLostError: If this term is over.
    """
    with database.transaction() as cursor:
        cursor.execute(_FENCE, (queue, term))
        if cursor.fetchone() is None:
            raise LeadLostError(f"{database.location} queue {queue}: another process leads by now")
        yield cursor


def _one(cursor: Cursor) -> int:
    row = cursor.fetchone()
    return 0 if row is None or row[0] is None else int(row[0])


class PostgresSegments:
    """The log of a queue, as segments.

    Args:
        database: The database.
        queue: Which of its queues.
        encryption: Decrypts events.
        write: Begins a transaction of the leader.
        leads: Whether it belongs to a leader, who collects what producers added.

    Attributes:
        parse: Parses whole records, decrypted as far as there are keys.
    """

    def __init__(
        self,
        database: Database,
        queue: int,
        encryption: Encryption | None,
        write: Callable[[], contextlib.AbstractContextManager[Cursor]],
        *,
        leads: bool,
    ) -> None:
        self.parse = parse if encryption is None else encryption.parse
        self._database = database
        self._queue = queue
        self._write = write
        self._leads = leads

    def sizes(self) -> dict[str, int]:
        """Return the size of each segment in bytes by its name, oldest first."""
        while self._leads and self._collect():
            pass
        with self._database.transaction() as cursor:
            cursor.execute(
                "SELECT segment, max(stop) FROM adcp_log WHERE queue = %s "
                "GROUP BY segment ORDER BY segment",
                (self._queue,),
            )
            return {_name(segment): size for segment, size in cursor}

    def _collect(self) -> bool:
        """Move records from the intake to the log; return whether there may be more."""
        values = {"queue": self._queue, "rows": _COLLECT_ROWS, "bytes": _COLLECT_BYTES}
        with self._write() as cursor:
            cursor.execute(_COLLECT, values)
            data, records = cursor.fetchone() or (None, 0)
            cursor.execute(
                "SELECT segment, size, begun < clock_timestamp() - %s * interval '1 second' "
                "FROM adcp_queue WHERE queue = %s",
                (_IDLE_SEGMENT_SECONDS, self._queue),
            )
            segment, size, is_old = cursor.fetchone() or (1, 0, False)
            if size and (size >= _SEGMENT_BYTES or (is_old and data is None)):
                segment, size = segment + 1, 0
                self._move_end(cursor, segment, 0)
            if data is None:
                return False
            cursor.execute(
                "INSERT INTO adcp_log VALUES (%s, %s, %s, %s, %s, %s)",
                (self._queue, segment, size, size + len(data), records, data),
            )
            self._move_end(cursor, segment, size + len(data))
        return len(data) >= _COLLECT_BYTES or records >= _COLLECT_ROWS

    def _move_end(self, cursor: Cursor, segment: int, size: int) -> None:
        cursor.execute(
            "UPDATE adcp_queue SET segment = %s, size = %s, "
            "begun = CASE WHEN size = 0 THEN clock_timestamp() ELSE begun END WHERE queue = %s",
            (segment, size, self._queue),
        )

    def read(self, name: str, start: int, length: int) -> bytes:
        """Return up to `length` bytes of a segment from `start` on."""
        with self.reading(name) as read:
            return read(start, length)

    @contextmanager
    def reading(self, name: str) -> Iterator[Callable[[int, int], bytes]]:
        """Open a segment for several reads."""
        segment = _number(name)
        with self._database.transaction() as cursor:

            def read(start: int, length: int) -> bytes:
                cursor.execute(
                    "SELECT substring(data FROM greatest(%(start)s - start, 0)::int + 1 "
                    "FOR (least(stop, %(stop)s) - greatest(start, %(start)s))::int) "
                    "FROM adcp_log WHERE queue = %(queue)s AND segment = %(segment)s "
                    "AND stop > %(start)s AND start < %(stop)s ORDER BY start",
                    {
                        "queue": self._queue,
                        "segment": segment,
                        "start": start,
                        "stop": start + length,
                    },
                )
                return b"".join(row[0] for row in cursor)

            yield read

    def count(self, name: str, start: int, stop: int) -> int:
        """Return how many records there are between two offsets."""
        with self._database.transaction() as cursor:
            cursor.execute(
                "SELECT coalesce(sum(records), 0)::int FROM adcp_log WHERE queue = %s "
                "AND segment = %s AND start >= %s AND stop <= %s",
                (self._queue, _number(name), start, stop),
            )
            whole = _one(cursor)
            cursor.execute(
                "SELECT start, stop, data FROM adcp_log WHERE queue = %(queue)s "
                "AND segment = %(segment)s AND start < %(stop)s AND stop > %(start)s "
                "AND NOT (start >= %(start)s AND stop <= %(stop)s)",
                {"queue": self._queue, "segment": _number(name), "start": start, "stop": stop},
            )
            for first, last, data in cursor:
                part = data[max(start - first, 0) : min(stop, last) - first]
                whole += part.count(b"\n")
        return whole

    def is_closed(self, name: str) -> bool:
        """Return whether nothing is appended to the segment anymore."""
        with self._database.transaction() as cursor:
            cursor.execute("SELECT segment FROM adcp_queue WHERE queue = %s", (self._queue,))
            return _number(name) < _one(cursor)

    def delete(self, name: str, size: int) -> bool:
        """Delete a segment if it is closed and still of that size; return whether it is gone."""
        if not self.is_closed(name):
            return False
        with self._write() as cursor:
            cursor.execute(
                "SELECT max(stop) FROM adcp_log WHERE queue = %s AND segment = %s",
                (self._queue, _number(name)),
            )
            if _one(cursor) not in {0, size}:
                return False
            cursor.execute(
                "DELETE FROM adcp_log WHERE queue = %s AND segment = %s",
                (self._queue, _number(name)),
            )
        return True

    def erase(self, name: str, records: Iterable[Record]) -> None:
        """Overwrite records, so that nothing of their content is left."""
        with self._write() as cursor:
            for record in records:
                old = self._piece(cursor, name, record.start, record.stop)
                only = record.unpack()[0].get("only")
                self._overwrite(cursor, name, record.start, erase_record(old, only))

    def blank(self, name: str, spans: Iterable[CorruptSpan]) -> None:
        """Overwrite bytes that are no records, keeping their number of lines."""
        with self._write() as cursor:
            for span in spans:
                self._overwrite(cursor, name, span.start, b" " * len(span.data))

    def _piece(self, cursor: Cursor, name: str, start: int, stop: int) -> bytes:
        """Return a record, which is always in one row."""
        cursor.execute(
            "SELECT substring(data FROM (%(start)s - start)::int + 1 FOR %(length)s) FROM adcp_log "
            "WHERE queue = %(queue)s AND segment = %(segment)s AND start <= %(start)s "
            "AND stop > %(start)s",
            {
                "queue": self._queue,
                "segment": _number(name),
                "start": start,
                "length": stop - start,
            },
        )
        row = cursor.fetchone()
        return bytes(row[0]) if row else b""

    def _overwrite(self, cursor: Cursor, name: str, start: int, data: bytes) -> None:
        cursor.execute(
            "UPDATE adcp_log SET data = overlay(data PLACING %(data)s "
            "FROM (%(start)s - start)::int + 1) WHERE queue = %(queue)s "
            "AND segment = %(segment)s AND start <= %(start)s AND stop > %(start)s",
            {"queue": self._queue, "segment": _number(name), "start": start, "data": data},
        )

    def quarantine(self, name: str, data: bytes) -> None:
        """Keep bytes that were no record, up to a limit."""
        with self._write() as cursor:
            cursor.execute(
                "SELECT coalesce(sum(octet_length(data)), 0) FROM adcp_quarantine "
                "WHERE queue = %s AND place = %s",
                (self._queue, name),
            )
            kept = data[: max(_QUARANTINE_BYTES - _one(cursor), 0)]
            cursor.execute(
                "INSERT INTO adcp_quarantine VALUES (%s, %s, %s)", (self._queue, name, kept)
            )

    def sync(self) -> None:
        """Have nothing to do: a commit is durable."""

    def remove_stale(self) -> None:
        """Have nothing to do: a transaction leaves nothing behind."""


def _name(segment: int) -> str:
    return f"{segment:016d}"


def _number(name: str) -> int:
    return int(name)


class PostgresOutbox:
    """The state of a queue.

    Args:
        database: The database.
        queue: Which of its queues.
        write: Begins a transaction of the leader.
    """

    def __init__(
        self,
        database: Database,
        queue: int,
        write: Callable[[], contextlib.AbstractContextManager[Cursor]],
    ) -> None:
        self._database = database
        self._queue = queue
        self._write = write

    def load(self) -> dict[str, bytes]:
        """Return everything in it."""
        with self._database.transaction() as cursor:
            cursor.execute("SELECT key, value FROM adcp_state WHERE queue = %s", (self._queue,))
            return dict(cursor.fetchall())

    def apply(self, puts: Mapping[str, bytes], removes: Collection[str]) -> None:
        """Set and remove keys, all or none of them."""
        with self._write() as cursor:
            cursor.execute(
                "DELETE FROM adcp_state WHERE queue = %s AND key = ANY(%s)",
                (self._queue, list(removes)),
            )
            cursor.executemany(
                "INSERT INTO adcp_state VALUES (%s, %s, %s) "
                "ON CONFLICT (queue, key) DO UPDATE SET value = excluded.value",
                [(self._queue, key, value) for key, value in puts.items()],
            )

    def close(self) -> None:
        """Have nothing to close: connections belong to the database."""


class PostgresDeadLetters:
    """The dead letters of a queue.

    Args:
        database: The database.
        queue: Which of its queues.
        encryption: Encrypts and decrypts them.
        write: Begins a transaction of the leader.
    """

    def __init__(
        self,
        database: Database,
        queue: int,
        encryption: Encryption | None,
        write: Callable[[], contextlib.AbstractContextManager[Cursor]],
    ) -> None:
        self._database = database
        self._queue = queue
        self._encryption = encryption
        self._parse = parse if encryption is None else encryption.parse_dead_letters
        self._write = write

    def __iter__(self) -> Iterator[DeadLetter]:
        return iter([letter for _, letter in decode_letters(self._records())])

    def add(self, letters: Iterable[DeadLetter], now: float) -> None:
        """Write dead letters; one that is there already is left as it is."""
        del now
        rows = [(self._queue, each.id, encode_letter(each, self._encryption)) for each in letters]
        with self._write() as cursor:
            cursor.executemany(
                "INSERT INTO adcp_dead_letter (queue, id, record) VALUES (%s, %s, %s) "
                "ON CONFLICT DO NOTHING",
                rows,
            )

    def remove(self, ids: Collection[str]) -> int:
        """Erase dead letters; return how many there were."""
        with self._write() as cursor:
            cursor.execute(
                "DELETE FROM adcp_dead_letter WHERE queue = %s AND id = ANY(%s)",
                (self._queue, list(ids)),
            )
            return cursor.rowcount

    def undecrypted(self) -> int:
        """Return how many can't be decrypted because their key is missing."""
        return sum(record.kind in UNDECRYPTED for record in self._records())

    def is_empty(self) -> bool:
        """Return whether there are none."""
        with self._database.transaction() as cursor:
            cursor.execute("SELECT count(*) FROM adcp_dead_letter WHERE queue = %s", (self._queue,))
            return not _one(cursor)

    def _records(self) -> list[Record]:
        with self._database.transaction() as cursor:
            cursor.execute(
                "SELECT record FROM adcp_dead_letter WHERE queue = %s ORDER BY number",
                (self._queue,),
            )
            return self._parse(b"".join(row[0] for row in cursor), 0)[0]


class DatabaseNames:
    """The names of all destinations that events are kept for.

    Args:
        database: The database.
        queue: Which of its queues.
        own: The names of this process's destinations.
    """

    def __init__(self, database: Database, queue: int, own: Iterable[str]) -> None:
        self.own = tuple(own)
        self._database = database
        self._queue = queue

    def __iter__(self) -> Iterator[str]:
        with self._database.transaction() as cursor:
            cursor.execute(
                "SELECT name FROM adcp_destination WHERE queue = %s ORDER BY name", (self._queue,)
            )
            return iter([row[0] for row in cursor])

    def add(self, names: Iterable[str]) -> None:
        """Add names."""
        with self._database.transaction() as cursor:
            cursor.executemany(
                "INSERT INTO adcp_destination VALUES (%s, %s) ON CONFLICT DO NOTHING",
                [(self._queue, name) for name in names],
            )

    def add_own(self) -> None:
        """Add this process's names."""
        self.add(self.own)

    add_own_synced = add_own

    def remove(self, name: str) -> None:
        """Remove a name."""
        with self._database.transaction() as cursor:
            cursor.execute(
                "DELETE FROM adcp_destination WHERE queue = %s AND name = %s", (self._queue, name)
            )

    def remove_stale(self) -> None:
        """Have nothing to remove: a transaction leaves nothing behind."""


class LeaseLock:
    """A process's claim to lead a queue: a lease, by the database's clock.

    A process that was paused or cut off gives up by its own clock before the lease ends.

    Args:
        database: The database.
        queue: Which of its queues.
        clock: Where the monotonic time is read.
        lease_seconds: How long the lead lasts without being renewed.
    """

    def __init__(self, database: Database, queue: int, clock: Clock, lease_seconds: float) -> None:
        self._database = database
        self._queue = queue
        self._clock = clock
        self._lease_seconds = lease_seconds
        self._safe_seconds = lease_seconds - min(_MARGIN_SECONDS, lease_seconds / _RENEW_PART)
        self._reset()

    def _reset(self) -> None:
        self._name = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(6)}"
        self._term = 0
        self._renewed_at = 0.0
        self._looked_at = 0.0
        self._is_requested = False
        self._holder: threading.Thread | None = None

    @property
    def is_held(self) -> bool:
        """Whether this process leads."""
        return bool(self._term)

    @property
    def term(self) -> int:
        """Which leader this is, counted from the first; 0 if it doesn't lead."""
        return self._term

    def try_acquire(self) -> bool:
        """Take the lead if it is free; return whether this thread has it."""
        if self.is_held and self._holder is not threading.current_thread():
            return False
        asked_at = self._clock.monotonic()
        values = {"queue": self._queue, "holder": self._name, "lease": self._lease_seconds}
        with self._database.transaction() as cursor:
            cursor.execute(_ACQUIRE, values)
            term = _one(cursor)
        self._term = term
        if term:
            self._renewed_at = asked_at
            self._holder = threading.current_thread()
        return bool(term)

    def acquire(self, timeout: float) -> bool:
        """Ask the leader to step down, and take the lead within `timeout` seconds."""
        if self.try_acquire():
            return True
        deadline = self._clock.monotonic() + timeout
        while self._clock.monotonic() < deadline:
            self._set_wanted(wanted=True)
            if self.try_acquire():
                self._set_wanted(wanted=False)
                return True
            self._clock.sleep(_POLL_SECONDS)
        return False

    def renew(self) -> bool:
        """Keep the lead; return whether this process still has it."""
        if not self.is_held:
            return False
        age = self._clock.monotonic() - self._renewed_at
        if age < self._lease_seconds / _RENEW_PART:
            return True
        # An outage shorter than the lease costs nothing.
        with contextlib.suppress(DatabaseError):
            return self._renew()
        if age >= self._safe_seconds:
            self._term = 0
        return self.is_held

    def _renew(self) -> bool:
        before = self._term
        # A new term means that somebody else led in between.
        if not self.try_acquire() or self._term != before:
            self._term = 0
        return self.is_held

    def is_requested(self) -> bool:
        """Return whether another process asks for the lead."""
        now = self._clock.monotonic()
        if now - self._looked_at >= _LOOK_SECONDS:
            self._looked_at = now
            with self._database.transaction() as cursor:
                cursor.execute(
                    "SELECT (wanted > clock_timestamp() - %s * interval '1 second')::int "
                    "FROM adcp_queue WHERE queue = %s",
                    (_REQUEST_SECONDS, self._queue),
                )
                self._is_requested = bool(_one(cursor))
        return self._is_requested

    def release(self) -> None:
        """Give the lead back. If the database can't be told, the lease runs out."""
        term, self._term = self._term, 0
        if term:
            with contextlib.suppress(DatabaseError), self._database.transaction() as cursor:
                cursor.execute(
                    "UPDATE adcp_queue SET until = 'epoch' WHERE queue = %s AND term = %s "
                    "AND holder = %s",
                    (self._queue, term, self._name),
                )

    def close_inherited(self) -> None:
        """Drop the parent's claim, in a child made by a fork; the parent keeps it."""
        self._reset()

    def _set_wanted(self, *, wanted: bool) -> None:
        with self._database.transaction() as cursor:
            cursor.execute(
                "UPDATE adcp_queue SET wanted = CASE WHEN %s THEN clock_timestamp() "
                "ELSE 'epoch' END WHERE queue = %s",
                (wanted, self._queue),
            )
