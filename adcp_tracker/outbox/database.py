"""A queue in a database, which any number of machines can share.

Producers add rows to one intake table, in a transaction of the shop's own or in one of theirs.
The leader moves them to a log of segments, which work like the segment files of a directory:
bytes are appended, never moved, and a segment is deleted as a whole once it is delivered.
Every write of a leader begins by checking its term in the same transaction.

What differs between databases is in their :class:`.Dialect`; no driver is imported before a
database is opened.
"""

from __future__ import annotations

import contextlib
import copy
import os
import secrets
import socket
import threading
import time
import weakref
from collections import Counter, deque
from contextlib import contextmanager
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any, Final, TypeVar

import attrs

from adcp_tracker._logging import logger
from adcp_tracker._platform import reraise_interruption
from adcp_tracker.exceptions import ConfigurationError, LeadLostError, OutboxError
from adcp_tracker.journal.records import (
    EVENT,
    UNDECRYPTED,
    Record,
    encode_record,
    erase_record,
    parse,
)
from adcp_tracker.outbox.dead_letters import DeadLetterKey, decode_letters, encode_letter
from adcp_tracker.outbox.schema import (
    INSERT_RECORD,
    SCHEMA_VERSION,
    WORDS,
    Condition,
    describe_error,
    queue_of,
    schema_statements,
)
from adcp_tracker.outbox.storage import Shards

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from adcp_tracker._platform import Clock
    from adcp_tracker.journal.encryption import Encryption
    from adcp_tracker.journal.records import CorruptSpan
    from adcp_tracker.outbox.dead_letters import DeadLetter
    from adcp_tracker.outbox.schema import Connection, Cursor, Dialect, TransactionalOutbox
    from adcp_tracker.outbox.storage import Queue, Store

T = TypeVar("T")

_FIRST: Final = Shards()
LEASE_SECONDS: Final = 15.0
_MARGIN_SECONDS: Final = 5.0
_RENEW_PART: Final = 3
_REQUEST_SECONDS: Final = 5.0
_LOOK_SECONDS: Final = 0.2
_POLL_SECONDS: Final = 0.05
_COLLECT_ROWS: Final = 10_000
_COLLECT_BYTES: Final = 8 * 1024 * 1024
_SEGMENT_BYTES: Final = 8 * 1024 * 1024
_LEAST_AHEAD_BYTES: Final = 64 * 1024
_IDLE_SEGMENT_SECONDS: Final = 60.0
_IDLE_CONNECTIONS: Final = 2
_FRESH_SECONDS: Final = 1.0
_LOOK_SHARE: Final = 100
_LONGEST_HIDDEN_SECONDS: Final = 60.0
_LONGEST_INSERT_SECONDS: Final = 10.0
_TRIES: Final = 4
_QUARANTINE_BYTES: Final = 1024 * 1024
_KEY_BYTES: Final = 32
_MOST_UNSURE: Final = 1000
_SILENT_SECONDS: Final = 300.0
_LEFT_SECONDS: Final = 0.5
_LATE_SECONDS: Final = 0.01
_PROCESS: Final = secrets.token_hex(6)
"""Tells processes of equal ids on equally named machines apart, as in containers."""
_MICROSECONDS: Final = 1_000_000
"""A new segment is numbered by the time, so that no other queue, database or backup has its like.

Batches are identified by their places in segments. So are terms: a standby that takes over may
not have heard of the last ones.
"""
_EXTRAS: Final = {
    "postgresql": "postgresql",
    "postgres": "postgresql",
    "mysql": "mysql",
    "mariadb": "mysql",
}
"""Which extra has the driver, by scheme."""

_CHECK_SERVER: Final = "check the user and password, and that it runs; it is tried again"
_MOST_ROWS: Final = 2**62
_REVISION: Final = "revision"
_REVISION_BYTES: Final = 8

_TEXTS: Final = {
    "adcp_intake": "data",
    "adcp_log": "data",
    "adcp_state": "value",
    "adcp_dead_letter": "record",
    "adcp_quarantine": "data",
    "adcp_context": "data",
    "adcp_queue": "stats",
}
"""Where a text of an event could stand."""

_LEASE: Final = """
SELECT until - {now}, holder = %(holder)s FROM adcp_queue WHERE queue = %(queue)s
"""

_ACQUIRE: Final = """
UPDATE adcp_queue SET
    term = CASE WHEN holder = %(holder)s THEN term
        ELSE greatest(term + 1, floor({now} * %(microseconds)s)) END,
    holder = %(holder)s,
    until = {now} + %(lease)s
WHERE queue = %(queue)s AND (until < {now} OR holder = %(holder)s)
"""

_OWN_TERM: Final = "SELECT term FROM adcp_queue WHERE queue = %(queue)s AND holder = %(holder)s"

_IS_THERE: Final = """
SELECT 1 FROM adcp_intake WHERE queue = %(queue)s AND data = %(data)s
UNION ALL
SELECT 1 FROM (
    SELECT data FROM adcp_log WHERE queue = %(queue)s ORDER BY segment DESC, start DESC LIMIT 20
) AS latest WHERE position(%(data)s IN data) > 0
"""

_SILENT_RELAYS: Final = """
SELECT host, directory, {now} - seen FROM adcp_relay
WHERE seen < {now} - %(seconds)s AND NOT is_closed ORDER BY host, directory
"""

_LEADS: Final = """
SELECT queue, holder, {now} - until, wanted > {now} - %(seconds)s FROM adcp_queue ORDER BY queue
"""

_FENCE: Final = "SELECT 1 FROM adcp_queue WHERE queue = {queue} AND term = {term} FOR UPDATE"

_LOOK: Final = """
SELECT term = %(term)s, segment, size, begun < {now} - %(seconds)s,
    EXISTS (SELECT 1 FROM adcp_intake WHERE queue = %(queue)s AND id >= %(low)s)
FROM adcp_queue WHERE queue = %(queue)s
"""

_STATE_REVISION: Final = "SELECT value FROM adcp_state WHERE queue = %(queue)s AND name = %(name)s"

_LOG_END: Final = """
SELECT segment, size, begun < {now} - %(seconds)s, {now} FROM adcp_queue WHERE queue = %(queue)s
"""

_MOVE_LOG_END: Final = """
UPDATE adcp_queue SET segment = %(segment)s,
    begun = CASE WHEN %(start)s = 0 THEN {now} ELSE begun END, size = %(stop)s
WHERE queue = %(queue)s
"""

_OVERLAPPING: Final = """
FROM adcp_log WHERE queue = %(queue)s AND segment = %(segment)s
    AND stop > %(start)s AND start < %(stop)s
"""

_READ: Final = """
SELECT substring(data FROM greatest(%(start)s - start, 0) + 1
    FOR least(stop, %(stop)s) - greatest(start, %(start)s))
FROM adcp_log WHERE queue = %(queue)s AND segment = %(segment)s
    AND stop > %(start)s AND start < %(stop)s ORDER BY start
"""

_KNOW_GATE: Final = "INSERT INTO adcp_gate VALUES (%(destination)s, 0) "

_HOLD: Final = """
UPDATE adcp_gate SET not_before = greatest(not_before, {now} + %(seconds)s)
WHERE destination = %(destination)s
"""

_HELD: Final = "SELECT destination, not_before - {now} FROM adcp_gate WHERE not_before > {now}"


class DatabaseError(OutboxError, OSError):
    """The database can't be reached or refuses a statement; it is tried again."""


class DeadlockError(DatabaseError):
    """Transactions stood in each other's way, and this one was given up. Nothing has changed."""


def _dialect(url: str) -> Dialect:
    """Return the dialect of a URL.

    Raises:
        ConfigurationError: If the URL is invalid, or its driver isn't installed.
    """
    scheme = url.partition("://")[0]
    extra = _EXTRAS.get(scheme)
    if extra is None:
        raise ConfigurationError(
            "queue: expected a URL such as 'postgresql://user@host/database' or "
            "'mysql://user@host/database', got another one"
        )
    try:
        if extra == "postgresql":
            from adcp_tracker.outbox._postgresql import PostgreSQL  # noqa: PLC0415 - an extra

            return PostgreSQL(url)
        from adcp_tracker.outbox._mysql import MySQL  # noqa: PLC0415 - an extra

        return MySQL(url)
    except ImportError as error:
        raise ConfigurationError(
            f"queue: the driver {error.name!r} is not installed. Run "
            f"pip install 'adcp-tracker[{extra}]'."
        ) from None


def migrate(url: str, queues: int = 1) -> None:
    """Create the tables of queues ``0`` to ``queues - 1``, or bring them up to date.

    Raises:
        DatabaseError: If the database can't be reached, or its user may not create tables.
    """
    database = Database(url)

    def create(cursor: Cursor) -> None:
        database.dialect.lock_schema(cursor)
        for statement in schema_statements(database.dialect.name, queues):
            cursor.execute(statement)

    database.run(create)


class Database:
    """Connections to one database. Nothing in a session is relied on, so poolers may be used.

    Args:
        url: How to connect, such as ``postgresql://user@host/database``.

    Raises:
        ConfigurationError: If the URL is invalid, or its driver isn't installed.
    """

    def __init__(self, url: str) -> None:
        self.dialect = _dialect(url)
        self.location = self.dialect.location
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._idle: list[tuple[float, Connection]] = []
        self.close = weakref.finalize(self, _close_all, self._idle, self._pid)

    def run(self, work: Callable[[Cursor], T], first: str = "", *, is_single: bool = False) -> T:
        """Return what some work returns, in one transaction; after a deadlock it is run again.

        Args:
            work: Runs statements.
            first: The first statement, whose rows the work can fetch.
            is_single: Whether the work is one statement, which is a transaction by itself.

        Raises:
            DatabaseError: If a statement fails; then nothing has changed.
        """
        begin = partial(self.transaction, first, is_single=is_single)
        for _ in range(_TRIES - 1):
            with contextlib.suppress(DeadlockError), begin() as cursor:
                return work(cursor)
        with begin() as cursor:
            return work(cursor)

    @contextmanager
    def transaction(self, first: str = "", *, is_single: bool = False) -> Iterator[Cursor]:
        """Run statements in one transaction, on a connection that no other thread uses.

        Args:
            first: As for :meth:`run`.
            is_single: Likewise.

        Raises:
            DatabaseError: If one of them fails; then nothing has changed.
        """
        connection = self._take()
        try:
            with contextlib.closing(connection.cursor()) as cursor:
                if not is_single:
                    self.dialect.begin(cursor, first)
                yield cursor
            connection.commit()
        except self.dialect.errors as error:
            self._discard(connection)
            raise self._error(error) from None
        except BaseException:
            self._discard(connection)
            raise
        if len(self._idle) < _IDLE_CONNECTIONS:
            self._idle.append((time.monotonic(), connection))
        else:
            self._discard(connection)

    def _take(self) -> Connection:
        if self._pid != os.getpid():
            self.dialect.close_inherited([connection for _, connection in self._idle])
            self.close.detach()
            self._begin()
        while self._idle:
            with contextlib.suppress(IndexError):  # another thread took the last
                used_at, connection = self._idle.pop()
                if time.monotonic() - used_at < _FRESH_SECONDS or self._is_alive(connection):
                    return connection
        try:
            return self.dialect.connect()
        except self.dialect.errors as error:
            raise self._error(error, _CHECK_SERVER) from None

    def _is_alive(self, connection: Connection) -> bool:
        """Return whether the server still knows a connection; if not, close it."""
        try:
            connection.cursor().execute("SELECT 1")
            connection.commit()
        except self.dialect.errors:
            self._discard(connection)
            return False
        return True

    def _discard(self, connection: Connection) -> None:
        with contextlib.suppress(*self.dialect.errors):
            connection.close()

    def _error(self, error: Exception, hint: str = "it is tried again") -> DatabaseError:
        """Return an error without the statement's values, which could be personal data."""
        code = self.dialect.code(error)
        hint = self.dialect.hints.get(code, hint)
        kind = DeadlockError if self.dialect.is_deadlock(error) else DatabaseError
        return kind(f"{self.location}: the database failed with {code}; {hint}")


def _close_all(connections: list[tuple[float, Connection]], pid: int) -> None:
    while connections and pid == os.getpid():
        with contextlib.suppress(Exception):  # one that is broken has ended already
            connections.pop()[1].close()


@attrs.frozen
class Tables:
    """The tables of one queue, as one process may use them.

    Attributes:
        database: The database.
        queue: Which of its queues.
        term: The term of the leader; 0 if this process doesn't lead.
    """

    database: Database
    queue: int
    term: int = 0

    def query(self, statement: str, **values: object) -> list[tuple[Any, ...]]:
        """Return the rows of a statement, in a transaction of its own.

        Raises:
            DatabaseError: If it fails.
        """
        return self.database.run(
            lambda cursor: self.run(cursor, statement, **values), is_single=True
        )

    def run(self, cursor: Cursor, statement: str, **values: object) -> list[tuple[Any, ...]]:
        """Return the rows of a statement in a transaction."""
        statement = statement.format_map(WORDS[self.database.dialect.name])
        cursor.execute(statement, {"queue": self.queue, **values})
        return list(cursor.fetchall()) if cursor.description else []

    def run_each(
        self, cursor: Cursor, statement: str, column: str, values: Iterable[object]
    ) -> int:
        """Run a statement with each of the values of a column; return how many rows it met."""
        rows = [{"queue": self.queue, column: value} for value in values]
        if not rows:
            return 0
        cursor.executemany(statement, rows)
        return cursor.rowcount

    def write(self, work: Callable[[Cursor], T]) -> T:
        """Return what a leader's work returns, in one transaction.

        Raises:
            LeadLostError: If this term is over; then nothing has changed.
            DatabaseError: If a statement fails; then nothing has changed.
        """

        def fenced(cursor: Cursor) -> T:
            if not cursor.fetchall():
                raise self.lead_lost()
            return work(cursor)

        return self.database.run(fenced, _FENCE.format(queue=self.queue, term=self.term))

    def lead_lost(self) -> LeadLostError:
        """Return the error that this term is over."""
        return LeadLostError(
            f"{self.database.location} queue {self.queue}: another process leads by now"
        )

    def update(self, statement: str, **values: object) -> list[tuple[Any, ...]]:
        """Return the rows of a statement in a leader's transaction of its own."""
        return self.write(lambda cursor: self.run(cursor, statement, **values))


class DatabaseStore:
    """Keeps a queue in a database.

    Args:
        url: How to connect, such as ``postgresql://user@host/database``.
        encryption: Encrypts and decrypts events.
        shards: Which of the database's queues this process works on.
        lease_seconds: How long a leader keeps the lead without renewing it.
    """

    is_shared = True

    def __init__(
        self,
        url: str,
        encryption: Encryption | None = None,
        shards: Shards = _FIRST,
        lease_seconds: float = LEASE_SECONDS,
    ) -> None:
        self.database = Database(url)
        self.encryption = encryption
        self._lease_seconds = lease_seconds
        self._unsure: set[bytes] = set()
        self._choose(shards)

    def _choose(self, shards: Shards) -> None:
        self._shards = shards
        queue = shards.numbers[0]
        self.location = f"{self.database.location} queue {queue}"
        self._tables = Tables(self.database, queue)

    def prepare(self) -> None:
        """Check that the tables are there.

        Raises:
            DatabaseError: If they aren't, or the database can't be reached.
        """
        versions = self._tables.query(
            "SELECT version FROM adcp_schema, adcp_queue WHERE queue = %(queue)s"
        )
        if not versions or versions[0][0] < SCHEMA_VERSION:
            got = f"version {versions[0][0]}" if versions else "no such queue"
            raise DatabaseError(
                f"{self.location}: expected tables of version {SCHEMA_VERSION}, got {got}; "
                f"run adcp-tracker queue migrate"
            )

    def conditions(self) -> list[Condition]:
        """Return what matters to the queue about its database.

        Raises:
            DatabaseError: If the tables aren't there, or the database can't be reached.
        """
        self.prepare()
        found = [Condition("ok", f"The tables have version {SCHEMA_VERSION} or newer.")]
        look = self.database.dialect.condition
        found += self.database.run(lambda cursor: list(look(cursor)))
        shards = self.shards()
        found += [shard._leadership() for shard in shards]  # noqa: SLF001 - its own class
        with contextlib.suppress(DatabaseError):  # this user may not read them, as was said
            waiting = sum(shard.count_uncollected() for shard in shards)
            size = sum(shard.used_bytes() for shard in shards)
            found += self._relays()
            found.append(Condition("ok", f"{waiting:,} new events wait; {size:,} bytes are used."))
        return found

    def _relays(self) -> list[Condition]:
        """Return which relays are silent, although they have not shipped all."""
        rows = self._tables.query(_SILENT_RELAYS, seconds=_SILENT_SECONDS)
        return [
            Condition(
                "warning",
                f"The relay on {host} ({directory[:8]}) has been silent for {seconds:,.0f} s.",
                "Events may be left there: start it, or adcp-tracker worker beside it.",
            )
            for host, directory, seconds in rows
        ]

    def _leadership(self) -> Condition:
        ((left,),) = self._tables.query(
            "SELECT until - {now} FROM adcp_queue WHERE queue = %(queue)s"
        )
        number = self._tables.queue
        if left > 0:
            return Condition("ok", f"Queue {number} is delivered.")
        return Condition(
            "warning", f"Nobody delivers queue {number}.", "Start adcp-tracker worker."
        )

    def shards(self) -> tuple[DatabaseStore, ...]:
        """Return the store of each of its queues; itself if it has one."""
        if len(self._shards.numbers) == 1:
            return (self,)
        return tuple(map(self._shard, self._shards.numbers))

    def _shard(self, number: int) -> DatabaseStore:
        shard = copy.copy(self)  # the connections are shared
        shard._choose(Shards((number,)))  # noqa: SLF001 - its own class
        return shard

    def tables(self, number: int) -> Tables:
        """Return the tables of one of its queues, chosen by any number."""
        numbers = self._shards.numbers
        return attrs.evolve(self._tables, queue=numbers[number % len(numbers)])

    def open(self, term: int = 0) -> DatabaseQueue:
        """Return the queue for the leader of this term; for others, to read only."""
        return DatabaseQueue(attrs.evolve(self._tables, term=term), self.encryption)

    def journal_writer(self, **options: Any) -> DatabaseWriter:  # noqa: ANN401 - passed on
        """Return what adds this process's records, each in a transaction of its own."""
        return DatabaseWriter(self._insert, self.encryption, queues=self._shards.numbers, **options)

    def _insert(self, record: bytes, queue: int) -> None:
        """Insert a record, unless it was committed by a try whose answer was lost."""
        tables = attrs.evolve(self._tables, queue=queue)
        if record in self._unsure:
            with contextlib.suppress(DatabaseError):  # this user may not read
                if tables.query(_IS_THERE, data=record):
                    self._unsure.discard(record)
                    return
        try:
            tables.query(INSERT_RECORD, data=record)
        except DatabaseError:
            if len(self._unsure) < _MOST_UNSURE:
                self._unsure.add(record)
            raise
        self._unsure.discard(record)

    def leader_lock(self, clock: Clock) -> LeaseLock:
        """Return this process's claim to lead."""
        return LeaseLock(self._tables, clock, self._lease_seconds, self._shards.fleet)

    def destination_names(self, own: Iterable[str], clock: Clock) -> DatabaseNames:
        """Return the names of all destinations."""
        del clock
        return DatabaseNames(self._tables, own)

    def contexts(self, clock: Clock) -> DatabaseContexts:
        """Return the contexts that are remembered for orders, on every machine."""
        return DatabaseContexts(self._tables, clock)

    def read_stats(self) -> bytes:
        """Return the counts that the leader last published; empty if there are none."""
        try:
            rows = self._tables.query("SELECT stats FROM adcp_queue WHERE queue = %(queue)s")
        except DatabaseError:
            return b""
        return bytes(rows[0][0] or b"") if rows else b""

    def count_uncollected(self) -> int:
        """Return how many records are in no segment yet, until a leader collects them."""
        ((count,),) = self._tables.query(
            "SELECT coalesce(sum(records), 0) FROM adcp_intake WHERE queue = %(queue)s"
        )
        return int(count)

    def used_bytes(self) -> int:
        """Return the size of the queue: what was not collected yet, and the log."""
        ((size,),) = self._tables.query(
            "SELECT (SELECT coalesce(sum(octet_length(data)), 0) FROM adcp_intake "
            "WHERE queue = %(queue)s) + (SELECT coalesce(sum(stop - start), 0) FROM adcp_log "
            "WHERE queue = %(queue)s)"
        )
        return int(size)


class DatabaseWriter:
    """Adds this process's records to the intake, each in a transaction of its own.

    Args:
        insert: Inserts a record in a queue.
        encryption: Encrypts events.
        queues: The queues that events are spread over.
        on_begin: Called before the first record.
        on_fork: Called by the first append in a child process.
        **options: What only a writer of files needs.
    """

    def __init__(
        self,
        insert: Callable[[bytes, int], object],
        encryption: Encryption | None,
        *,
        queues: Sequence[int],
        on_begin: Callable[[], None] | None = None,
        on_fork: Callable[[], None] | None = None,
        **options: object,
    ) -> None:
        del options
        self._insert = insert
        self._encryption = encryption
        self._queues = queues
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
        queue = queue_of(body, self._queues)
        kept, kind = self.encode_for_disk(body, accepted_ms, kind)
        self._insert(encode_record(kept, accepted_ms, kind), queue)

    def append_reserved(self, body: bytes, accepted_ms: int, kind: bytes) -> None:
        """Append a record; a database keeps no reserve of its own."""
        self.append_record(body, accepted_ms, kind)

    def encode_for_disk(self, body: bytes, accepted_ms: int, kind: bytes) -> tuple[bytes, bytes]:
        """Return a record's body and kind as they may be kept."""
        if self._encryption is None:
            return body, kind
        return self._encryption.encode_for_disk(body, accepted_ms, kind)

    def decode(self, body: bytes, accepted_ms: int, kind: bytes) -> Record:
        """Return the record of what :meth:`encode_for_disk` returned."""
        if self._encryption is None:
            return Record(0, 0, kind, body, accepted_ms)
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


class DatabaseQueue:
    """A queue as one leader sees it.

    Args:
        tables: The queue's tables, with the leader's term.
        encryption: Decrypts events.

    Attributes:
        segments: Its segments.
        dead_letters: Its dead letters.
    """

    def __init__(self, tables: Tables, encryption: Encryption | None) -> None:
        self._tables = tables
        self.segments = DatabaseSegments(tables, encryption)
        self.dead_letters = DatabaseDeadLetters(tables, encryption)

    def open_outbox(self) -> DatabaseOutbox:
        """Open its state."""
        return DatabaseOutbox(self._tables)

    def has_state(self) -> bool:
        """Return whether a leader ever kept state; opening it changes nothing here."""
        return True

    def quarantine_state(self) -> str:
        """Set a damaged state aside, and return where it is kept."""
        place = f"state-{secrets.token_hex(4)}"

        def move(cursor: Cursor) -> None:
            self._tables.run(
                cursor,
                "INSERT INTO adcp_quarantine "
                "SELECT queue, %(place)s, value FROM adcp_state WHERE queue = %(queue)s",
                place=place,
            )
            self._tables.run(cursor, "DELETE FROM adcp_state WHERE queue = %(queue)s")

        self._tables.write(move)
        return f"adcp_quarantine, place {place}"

    def write_stats(self, data: bytes) -> None:
        """Publish counts for other processes."""
        self._tables.update(
            "UPDATE adcp_queue SET stats = %(data)s WHERE queue = %(queue)s", data=data
        )

    def hold(self, destination: str, seconds: float) -> None:
        """Have every leader wait before the next request to a destination."""
        know = _KNOW_GATE + self._tables.database.dialect.on_conflict("destination")

        def hold(cursor: Cursor) -> None:
            self._tables.run(cursor, know, destination=destination)
            self._tables.run(cursor, _HOLD, destination=destination, seconds=seconds)

        self._tables.database.run(hold)

    def held(self) -> dict[str, float]:
        """Return for how many seconds each destination is to be left alone."""
        return dict(self._tables.query(_HELD))

    def compact_state(self) -> None:
        """Free what rows of an earlier version still hold. Write-ahead logs keep their time."""
        self._tables.database.dialect.compact(_TEXTS)

    def places_with(self, texts: frozenset[str]) -> tuple[str, ...]:
        """Return the tables that contain one of some case-folded texts."""
        return tuple(sorted(table for table in _TEXTS if self._contains(table, texts)))

    def state_contains(self, texts: frozenset[str]) -> bool:
        """Return whether a row of the state contains one of some texts."""
        return self._contains("adcp_state", texts)

    def discard_quarantined(self) -> int:
        """Delete quarantined bytes and states; return how many there were."""

        def discard(cursor: Cursor) -> int:
            where = "FROM adcp_quarantine WHERE queue = %(queue)s"
            ((count,),) = self._tables.run(cursor, f"SELECT count(DISTINCT place) {where}")
            self._tables.run(cursor, f"DELETE {where}")
            return int(count)

        return self._tables.write(discard)

    def _contains(self, table: str, texts: frozenset[str]) -> bool:
        column = _TEXTS[table]
        rows = self._tables.query(f"SELECT {column} FROM {table} WHERE queue = %(queue)s")  # noqa: S608 - both are constants
        contents = (bytes(row[0] or b"").decode(errors="replace").casefold() for row in rows)
        return any(text in content for content in contents for text in texts)


def _went_back(tables: Tables, what: str) -> LeadLostError:
    """Log that the database lost what this leader committed, and return the error to raise."""
    logger.error(
        "queue.went_back",
        queue=tables.queue,
        remedy="the database lost what it had committed: use a synchronous standby",
    )
    return LeadLostError(
        f"{tables.database.location} queue {tables.queue}: expected the {what} as this process "
        f"left it, got an earlier one"
    )


def _number(segment: str) -> int:
    """Return the number of a segment; its name ends with its queue, but for the first queue."""
    return int(segment.partition("-")[0])


class LowestId:
    """From where in the intake a leader looks for new rows, so as to pass over few dead ones.

    While somebody holds an old snapshot, no row that was collected since can be freed. But ids are
    drawn before the commit, so a row can appear below those that were collected. So the lowest id
    is one of ten seconds ago, and all is looked through again and again: at once if that is quick,
    and in a hundredth of the time otherwise.

    Args:
        monotonic: Returns the time in seconds.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._all_at = 0.0
        self._low = self._top = 0
        self._top_at = -inf

    def get(self) -> int:
        """Return the id to begin with; 0 if all is to be looked through."""
        return self._low if self._monotonic() < self._all_at else 0

    def note_look(self, seconds: float) -> None:
        """Note that all was looked through, and how long that took."""
        wait = min(seconds * _LOOK_SHARE, _LONGEST_HIDDEN_SECONDS)
        self._all_at = self._monotonic() + wait

    def note_top(self, top: int) -> None:
        """Note the highest id that was collected."""
        now = self._monotonic()
        if now - self._top_at >= _LONGEST_INSERT_SECONDS:
            self._low, self._top, self._top_at = self._top, top, now


class DatabaseSegments:
    """The log of a queue, as segments. Who leads collects what producers added.

    Args:
        tables: The queue's tables.
        encryption: Decrypts events.

    Attributes:
        parse: Parses whole records, decrypted as far as there are keys.
        lowest_id: From where it looks for new rows.
    """

    def __init__(self, tables: Tables, encryption: Encryption | None) -> None:
        self.parse = parse if encryption is None else encryption.parse
        self._tables = tables
        self._end: tuple[int, int] | None = None
        self._near: deque[tuple[str, int, bytes]] = deque(maxlen=2)
        self._near_at = 0.0
        self.lowest_id = LowestId()

    def sizes(self, *, is_complete: bool = True) -> dict[str, int]:
        """Return the size of each segment in bytes by its name, oldest first."""
        if time.monotonic() - self._near_at > _FRESH_SECONDS:
            self._near.clear()
        low = 0 if is_complete else self.lowest_id.get()
        while self._tables.term and self._is_behind(low) and self._collect(low) and is_complete:
            pass
        rows = self._tables.query(
            "SELECT segment, max(stop) FROM adcp_log WHERE queue = %(queue)s "
            "GROUP BY segment ORDER BY segment"
        )
        suffix = f"-{self._tables.queue}" if self._tables.queue else ""
        return {f"{segment:016d}{suffix}": size for segment, size in rows}

    def _is_behind(self, low: int) -> bool:
        """Return whether there is something to do for the log. Whoever looks locks nothing."""
        began = time.monotonic()
        rows = self._tables.query(
            _LOOK, term=self._tables.term, seconds=_IDLE_SEGMENT_SECONDS, low=low
        )
        if not low:
            self.lowest_id.note_look(time.monotonic() - began)
        if not rows or not rows[0][0]:
            raise self._tables.lead_lost()
        _, segment, size, is_old, waits = rows[0]
        self._check_end(segment, size)
        return bool(waits or (size and (is_old or size >= _SEGMENT_BYTES)))

    def _collect(self, low: int) -> bool:
        """Move records from the intake to the log; return whether there may be more."""
        run, dialect = self._tables.run, self._tables.database.dialect

        def move(cursor: Cursor) -> tuple[tuple[int, int], bool] | None:
            ((last, end, is_old, now),) = run(cursor, _LOG_END, seconds=_IDLE_SEGMENT_SECONDS)
            self._check_end(last, end)
            new, is_full = max(last + 1, int(now * _MICROSECONDS)), end >= _SEGMENT_BYTES
            goes_on = end and not is_full and self._end is not None
            segment, start = (last, end) if goes_on else (new, 0)
            place: dict[str, Any] = {"segment": segment, "start": start}
            values = {"rows": _COLLECT_ROWS, "size": _COLLECT_BYTES, "low": low}
            size, records, top = dialect.collect(
                cursor, {"queue": self._tables.queue, **values, **place}
            )
            if size:
                self.lowest_id.note_top(top)
                run(cursor, _MOVE_LOG_END, stop=start + size, **place)
                more = size >= _COLLECT_BYTES or records >= _COLLECT_ROWS
                return (segment, start + size), more
            if end and (is_full or is_old):
                run(cursor, _MOVE_LOG_END, segment=new, start=0, stop=0)
                return (new, 0), False
            return None

        moved = self._tables.write(move)
        if moved is None:
            return False
        self._end, may_be_more = moved
        return may_be_more

    def _check_end(self, segment: int, stop: int) -> None:
        """Check that the log ends where this leader left it.

        Raises:
            LeadLostError: If it ends before, as in a standby that took over too early. A new
                leader begins from what is there.
        """
        if self._end is not None and (segment, stop) < self._end:
            raise _went_back(self._tables, "log")

    def read(self, name: str, start: int, length: int) -> bytes:
        """Return up to `length` bytes of a segment from `start` on."""
        self._near_at = time.monotonic()
        for near, first, data in self._near:
            if near == name and first <= start and start + length <= first + len(data):
                return data[start - first : start - first + length]
        # Several destinations read the same, each one piece after the other.
        ahead = length if length < _LEAST_AHEAD_BYTES else max(length, _COLLECT_BYTES)
        place = {"segment": _number(name), "start": start, "stop": start + ahead}
        data = b"".join(row[0] for row in self._tables.query(_READ, **place))
        if ahead > length:
            self._near.append((name, start, data))
        return data[:length]

    @contextmanager
    def reading(self, name: str) -> Iterator[Callable[[int, int], bytes]]:
        """Open a segment for several reads."""
        yield partial(self.read, name)

    def count(self, name: str, start: int, stop: int) -> int:
        """Return how many records there are between two offsets."""
        place = {"segment": _number(name), "start": start, "stop": stop}
        inside = "start >= %(start)s AND stop <= %(stop)s"
        ((whole,),) = self._tables.query(
            f"SELECT coalesce(sum(records), 0) {_OVERLAPPING} AND {inside}", **place
        )
        edges = self._tables.query(f"SELECT start, data {_OVERLAPPING} AND NOT ({inside})", **place)
        parts = (data[max(start - first, 0) : stop - first] for first, data in edges)
        inner: int = sum(part.count(b"\n") for part in parts)
        return int(whole) + inner

    def is_closed(self, name: str) -> bool:
        """Return whether nothing is appended to the segment anymore."""
        if self._end is not None:  # nobody else moves the end
            return _number(name) < self._end[0]
        return bool(
            self._tables.query(
                "SELECT 1 FROM adcp_queue WHERE queue = %(queue)s AND segment > %(segment)s",
                segment=_number(name),
            )
        )

    def delete(self, name: str, size: int) -> bool:
        """Delete a segment if it is closed and still of that size; return whether it is gone."""
        place = {"segment": _number(name), "start": 0, "stop": size}
        if not self.is_closed(name):
            return False

        def delete(cursor: Cursor) -> bool:
            ((end,),) = self._tables.run(cursor, f"SELECT max(stop) {_OVERLAPPING}", **place)
            if end is not None and end != size:
                return False
            self._tables.run(cursor, f"DELETE {_OVERLAPPING}", **place)
            return True

        return self._tables.write(delete)

    def erase(self, name: str, records: Iterable[Record]) -> None:
        """Overwrite records, so that nothing of their content is left."""
        records = list(records)

        def overwrite(cursor: Cursor) -> None:
            patches = []
            for record in records:
                place = {"segment": _number(name), "start": record.start, "stop": record.stop}
                ((old,),) = self._tables.run(cursor, _READ, **place)
                only = record.unpack()[0].get("only")
                patches.append((record.start, erase_record(bytes(old), only)))
            self._patch(cursor, _number(name), patches)

        self._tables.write(overwrite)

    def blank(self, name: str, spans: Iterable[CorruptSpan]) -> None:
        """Overwrite bytes that are no records, keeping their number of lines."""
        patches = [(span.start, b" " * len(span.data)) for span in spans]
        self._tables.write(lambda cursor: self._patch(cursor, _number(name), patches))

    def _patch(self, cursor: Cursor, segment: int, patches: list[tuple[int, bytes]]) -> None:
        """Put bytes in place of others. A row is read and written once, whatever changes in it."""
        self._near.clear()
        rows = self._tables.run(
            cursor,
            "SELECT start, stop FROM adcp_log WHERE queue = %(queue)s AND segment = %(segment)s",
            segment=segment,
        )
        for start, stop in rows:
            inside = [each for each in patches if each[0] < stop and start < each[0] + len(each[1])]
            if not inside:
                continue
            place = {"segment": segment, "start": start, "stop": stop}
            ((data,),) = self._tables.run(cursor, f"SELECT data {_OVERLAPPING}", **place)
            self._tables.run(
                cursor,
                "UPDATE adcp_log SET data = %(data)s "
                "WHERE queue = %(queue)s AND segment = %(segment)s AND start = %(start)s",
                data=_patched(data, start, inside),
                **place,
            )

    def quarantine(self, name: str, data: bytes) -> None:
        """Keep bytes that were no record, up to a limit."""
        values = {"place": name, "data": data[:_QUARANTINE_BYTES]}

        def keep(cursor: Cursor) -> None:
            ((size,),) = self._tables.run(
                cursor,
                "SELECT coalesce(sum(octet_length(data)), 0) FROM adcp_quarantine "
                "WHERE queue = %(queue)s AND place = %(place)s",
                **values,
            )
            if size < _QUARANTINE_BYTES:
                self._tables.run(
                    cursor,
                    "INSERT INTO adcp_quarantine VALUES (%(queue)s, %(place)s, %(data)s)",
                    **values,
                )

        self._tables.write(keep)

    def sync(self) -> None:
        """Have nothing to do: a commit is durable."""

    def remove_stale(self) -> None:
        """Have nothing to do: a transaction leaves nothing behind."""


def _patched(data: bytes, first: int, patches: Iterable[tuple[int, bytes]]) -> bytes:
    """Return a row's data with other bytes at some places, which may reach beyond it."""
    content = bytearray(data)
    for place, new in patches:
        start = max(place - first, 0)
        stop = min(place - first + len(new), len(content))
        content[start:stop] = new[start - place + first : stop - place + first]
    return bytes(content)


class DatabaseOutbox:
    """The state of a queue.

    Each change has a random revision. A database that has none of those that it may have, as a
    standby that lagged behind, is not gone on with from memory.

    Args:
        tables: The queue's tables.
    """

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._revisions = {b""}

    def load(self) -> dict[str, bytes]:
        """Return everything in it."""
        rows = self._tables.query("SELECT name, value FROM adcp_state WHERE queue = %(queue)s")
        state = {name: bytes(value) for name, value in rows}
        self._revisions = {state.pop(_REVISION, b"")}
        return state

    def apply(self, puts: Mapping[str, bytes], removes: Collection[str]) -> None:
        """Set and remove keys, all or none of them.

        Raises:
            LeadLostError: If the state isn't the one that this process left.
            DatabaseError: If the database can't be reached.
        """
        end = self._tables.database.dialect.on_conflict("queue, name", "value")
        revision = secrets.token_bytes(_REVISION_BYTES)
        puts = {**puts, _REVISION: revision}

        def change(cursor: Cursor) -> None:
            found = self._tables.run(cursor, _STATE_REVISION, name=_REVISION)
            if (bytes(found[0][0]) if found else b"") not in self._revisions:
                raise _went_back(self._tables, "state")
            self._tables.run_each(
                cursor,
                "DELETE FROM adcp_state WHERE queue = %(queue)s AND name = %(name)s",
                "name",
                removes,
            )
            cursor.executemany(
                f"INSERT INTO adcp_state (queue, name, value) VALUES (%s, %s, %s) {end}",  # noqa: S608 - a constant
                [(self._tables.queue, name, value) for name, value in puts.items()],
            )

        try:
            self._tables.write(change)
        except DatabaseError:  # it may have been committed all the same
            self._revisions.add(revision)
            raise
        self._revisions = {revision}

    def close(self) -> None:
        """Have nothing to close: connections belong to the database."""


class DatabaseDeadLetters:
    """The dead letters of a queue.

    Args:
        tables: The queue's tables.
        encryption: Encrypts and decrypts them.
    """

    def __init__(self, tables: Tables, encryption: Encryption | None) -> None:
        self._tables = tables
        self._encryption = encryption
        self._parse = parse if encryption is None else encryption.parse_dead_letters

    def __iter__(self) -> Iterator[DeadLetter]:
        return iter([letter for _, letter in decode_letters(self._records())])

    def keys(self) -> Iterator[DeadLetterKey]:
        """Yield the key of each dead letter that can be read, oldest first."""
        for each in self:
            yield DeadLetterKey(each.destination, each.segment, each.offset, len(each.event))

    def add(self, letters: Iterable[DeadLetter], now: float) -> None:
        """Write dead letters; one that is there already is left as it is."""
        del now
        rows = [
            (self._tables.queue, each.id, encode_letter(each, self._encryption)) for each in letters
        ]
        end = self._tables.database.dialect.on_conflict("queue, name")
        if rows:
            self._tables.write(
                lambda cursor: cursor.executemany(
                    "INSERT INTO adcp_dead_letter (queue, name, record) "  # noqa: S608 - a constant
                    f"VALUES (%s, %s, %s) {end}",
                    rows,
                )
            )

    def remove(self, ids: Collection[str]) -> int:
        """Erase dead letters; return how many there were."""
        statement = "DELETE FROM adcp_dead_letter WHERE queue = %(queue)s AND name = %(name)s"
        return self._tables.write(
            lambda cursor: self._tables.run_each(cursor, statement, "name", ids)
        )

    def undecrypted(self) -> int:
        """Return how many can't be decrypted because their key is missing."""
        return sum(record.kind in UNDECRYPTED for record in self._records())

    def is_empty(self) -> bool:
        """Return whether there are none."""
        return not self._tables.query(
            "SELECT 1 FROM adcp_dead_letter WHERE queue = %(queue)s LIMIT 1"
        )

    def _records(self) -> list[Record]:
        rows = self._tables.query(
            "SELECT record FROM adcp_dead_letter WHERE queue = %(queue)s ORDER BY number"
        )
        return self._parse(b"".join(row[0] for row in rows), 0)[0]


class DatabaseNames:
    """The names of all destinations that events are kept for.

    Args:
        tables: The queue's tables.
        own: The names of this process's destinations.
    """

    def __init__(self, tables: Tables, own: Iterable[str]) -> None:
        self.own = tuple(own)
        self._tables = tables

    def __iter__(self) -> Iterator[str]:
        rows = self._tables.query(
            "SELECT name FROM adcp_destination WHERE queue = %(queue)s ORDER BY name"
        )
        return iter([row[0] for row in rows])

    def add(self, names: Iterable[str]) -> None:
        """Add names."""
        end = self._tables.database.dialect.on_conflict("queue, name")
        statement = f"INSERT INTO adcp_destination VALUES (%(queue)s, %(name)s) {end}"  # noqa: S608 - a constant
        names = sorted(set(names))
        self._tables.database.run(
            lambda cursor: self._tables.run_each(cursor, statement, "name", names)
        )

    def add_own(self) -> None:
        """Add this process's names."""
        self.add(self.own)

    add_own_synced = add_own

    def remove(self, name: str) -> None:
        """Remove a name."""
        self._tables.query(
            "DELETE FROM adcp_destination WHERE queue = %(queue)s AND name = %(name)s", name=name
        )

    def remove_stale(self) -> None:
        """Have nothing to remove: a transaction leaves nothing behind."""


class DatabaseContexts:
    """Contexts that any machine remembers for a purchase to come, under hidden names.

    Args:
        tables: The queue's tables.
        clock: Where the time is read.
    """

    def __init__(self, tables: Tables, clock: Clock) -> None:
        self._tables = tables
        self._clock = clock

    def key(self) -> bytes:
        """Return the signing key that all processes of the queue share; make it if needed."""
        new = secrets.token_bytes(_KEY_BYTES)

        def make(cursor: Cursor) -> list[tuple[Any, ...]]:
            self._tables.run(
                cursor,
                "UPDATE adcp_queue SET context_key = coalesce(context_key, %(new)s) "
                "WHERE queue = %(queue)s",
                new=new,
            )
            return self._tables.run(
                cursor, "SELECT context_key FROM adcp_queue WHERE queue = %(queue)s"
            )

        rows = self._tables.database.run(make)
        if not rows:
            raise DatabaseError(f"{self._tables.database.location}: run adcp-tracker queue migrate")
        return bytes(rows[0][0])

    def is_there(self) -> bool:
        """Return whether a context was ever remembered."""
        try:
            return bool(
                self._tables.query("SELECT 1 FROM adcp_context WHERE queue = %(queue)s LIMIT 1")
            )
        except DatabaseError:  # to look for one fails then, and is logged
            return True

    def read(self, name: str) -> bytes | None:
        """Return what is kept under a name."""
        rows = self._tables.query(
            "SELECT data FROM adcp_context WHERE queue = %(queue)s AND name = %(name)s", name=name
        )
        return bytes(rows[0][0]) if rows else None

    def write(self, name: str, data: bytes) -> None:
        """Keep data under a name, in place of what was there."""
        end = self._tables.database.dialect.on_conflict("queue, name", "data", "kept_at")
        self._tables.query(
            f"INSERT INTO adcp_context VALUES (%(queue)s, %(name)s, %(data)s, %(now)s) {end}",  # noqa: S608 - a constant
            name=name,
            data=data,
            now=self._clock.now(),
        )

    def __iter__(self) -> Iterator[tuple[str, bytes]]:
        rows = self._tables.query(
            "SELECT name, data FROM adcp_context WHERE queue = %(queue)s ORDER BY name"
        )
        return iter([(name, bytes(data)) for name, data in rows])

    def remove(self, names: Iterable[str]) -> None:
        """Delete what is kept under some names."""
        statement = "DELETE FROM adcp_context WHERE queue = %(queue)s AND name = %(name)s"
        names = list(names)
        self._tables.database.run(
            lambda cursor: self._tables.run_each(cursor, statement, "name", names)
        )

    def remove_old(self, max_age: float, most: int) -> bool:
        """Delete what is too old, and the oldest beyond `most`; return whether it was too much."""
        self._tables.query(
            "DELETE FROM adcp_context WHERE queue = %(queue)s AND kept_at < %(oldest)s",
            oldest=self._clock.now() - max_age,
        )
        beyond = self._tables.query(
            "SELECT name FROM adcp_context WHERE queue = %(queue)s "
            "ORDER BY kept_at DESC, name LIMIT %(rest)s OFFSET %(most)s",
            rest=_MOST_ROWS,
            most=most,
        )
        self.remove(name for (name,) in beyond)
        return bool(beyond)


@attrs.frozen
class Lead:
    """Who leads a queue.

    Attributes:
        queue: Which queue.
        worker: The process that leads it, or did last; empty if none ever did.
        is_live: Whether its lease has not run out.
        free_seconds: Since when nobody leads.
        is_wanted: Whether somebody asks for it.
    """

    queue: int
    worker: str
    is_live: bool
    free_seconds: float
    is_wanted: bool


def choose(leads: Sequence[Lead], queue: int, worker: str) -> str:
    """Return what a worker that doesn't lead a queue does about it: take it, ask for it or wait.

    Each worker takes up to its share of the queues; what nobody takes for half a second is taken by
    anybody. One that leads less than another by two asks for one of that one's queues. Only one
    queue is handed over at a time, so that none changes hands for nothing.

    Args:
        leads: Who leads the queues that this worker may lead.
        queue: Which queue.
        worker: This worker.
    """
    held = Counter(each.worker for each in leads if each.is_live)
    lead = next(each for each in leads if each.queue == queue)
    share = -(-len(leads) // len(held.keys() | {worker}))
    if not lead.is_live:
        is_left = lead.free_seconds > _LEFT_SECONDS
        return "take" if held[worker] < share or is_left else "wait"
    is_over = held[lead.worker] >= held[worker] + 2
    return "ask" if is_over and not any(each.is_wanted for each in leads) else "wait"


class LeaseLock:
    """A process's claim to lead a queue: a lease, by the database's clock.

    A process that was paused or cut off gives up by its own clock before the lease ends.

    Args:
        tables: The queue's tables.
        clock: Where the monotonic time is read.
        lease_seconds: How long the lead lasts without being renewed.
        fleet: The queues that workers share fairly; empty if this process shares none.
    """

    def __init__(
        self, tables: Tables, clock: Clock, lease_seconds: float, fleet: Sequence[int] = ()
    ) -> None:
        self._tables = tables
        self._fleet = frozenset(fleet)
        self._clock = clock
        self._lease_seconds = lease_seconds
        self._safe_seconds = lease_seconds - min(_MARGIN_SECONDS, lease_seconds / _RENEW_PART)
        self._reset()

    def _reset(self) -> None:
        self._worker = f"{socket.gethostname()}:{os.getpid()}:{_PROCESS}"
        self._name = f"{self._worker}:{secrets.token_hex(6)}"
        self._asked_at = -_REQUEST_SECONDS
        self._term = 0
        self._renewed_at = 0.0
        self._looked_at = 0.0
        self._free_at = 0.0
        self._is_requested = False
        self._holder: threading.Thread | None = None

    @property
    def is_held(self) -> bool:
        """Whether this process leads."""
        return bool(self._term)

    @property
    def term(self) -> int:
        """Which leader this is; later ones have greater terms. 0 if it doesn't lead."""
        return self._term

    @property
    def free_in(self) -> float:
        """In how many seconds the lead may be free; infinity if that isn't known."""
        left = self._free_at - self._clock.monotonic()
        return left if left > 0 else inf

    def try_acquire(self) -> bool:
        """Take the lead if it is free and within this worker's share; return whether it has it."""
        if not self._fleet or self.is_held:
            return self._take()
        leads = self._leads()
        choice = choose(leads, self._tables.queue, self._worker)
        free = next(each for each in leads if each.queue == self._tables.queue).free_seconds
        self._note_free(-free if free < 0 else _LEFT_SECONDS - free)
        if choice == "ask":
            self._asked_at = self._clock.monotonic()
            self._set_wanted(wanted=True)
        return choice == "take" and self._take()

    def _leads(self) -> list[Lead]:
        rows = self._tables.query(_LEADS, seconds=_REQUEST_SECONDS)
        return [
            Lead(queue, holder.rpartition(":")[0], free < 0, free, bool(is_wanted))
            for queue, holder, free, is_wanted in rows
            if queue in self._fleet
        ]

    def _note_free(self, seconds: float) -> None:
        self._free_at = self._clock.monotonic() + seconds + _LATE_SECONDS

    def _take(self) -> bool:
        """Take the lead if it is free; return whether this thread has it."""
        if self.is_held and self._holder is not threading.current_thread():
            return False
        asked_at = self._clock.monotonic()
        self._term = self._acquire()
        if self._term:
            self._renewed_at = asked_at
            self._holder = threading.current_thread()
            if self._has_asked():
                self._asked_at = -_REQUEST_SECONDS
                self._set_wanted(wanted=False)
        return bool(self._term)

    def _has_asked(self) -> bool:
        return self._clock.monotonic() - self._asked_at < _REQUEST_SECONDS

    def _acquire(self) -> int:
        """Return the term if the lead is free or this process's; 0 otherwise."""
        values = {
            "holder": self._name,
            "lease": self._lease_seconds,
            "microseconds": _MICROSECONDS,
        }
        for left, is_own in self._tables.query(_LEASE, **values):
            if left >= 0 and not is_own:  # whoever waits locks nothing
                self._note_free(left)
                return 0

        def take(cursor: Cursor) -> int:
            self._tables.run(cursor, _ACQUIRE, **values)
            rows = self._tables.run(cursor, _OWN_TERM, **values)
            return int(rows[0][0]) if rows else 0

        return self._tables.database.run(take)

    def acquire(self, timeout: float) -> bool:
        """Ask the leader to step down, and take the lead within `timeout` seconds."""
        if self._take():
            return True
        deadline = self._clock.monotonic() + timeout
        while self._clock.monotonic() < deadline:
            self._set_wanted(wanted=True)
            if self._take():
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
        if not self._take() or self._term != before:
            self._term = 0
        return self.is_held

    def is_requested(self) -> bool:
        """Return whether another process asks for the lead."""
        if not self.is_held and self._has_asked():
            return False
        now = self._clock.monotonic()
        if now - self._looked_at >= _LOOK_SECONDS:
            self._looked_at = now
            self._is_requested = bool(
                self._tables.query(
                    "SELECT 1 FROM adcp_queue WHERE queue = %(queue)s "
                    "AND wanted > {now} - %(seconds)s",
                    seconds=_REQUEST_SECONDS,
                )
            )
        return self._is_requested

    def release(self) -> None:
        """Give the lead back. If the database can't be told, the lease runs out."""
        term, self._term = self._term, 0
        if term:
            with contextlib.suppress(DatabaseError):
                self._tables.query(
                    "UPDATE adcp_queue SET until = {now} "
                    "WHERE queue = %(queue)s AND term = %(term)s AND holder = %(holder)s",
                    term=term,
                    holder=self._name,
                )

    def close_inherited(self) -> None:
        """Drop the parent's claim, in a child made by a fork; the parent keeps it."""
        self._reset()

    def _set_wanted(self, *, wanted: bool) -> None:
        value = "{now}" if wanted else "0"
        self._tables.query(f"UPDATE adcp_queue SET wanted = {value} WHERE queue = %(queue)s")  # noqa: S608 - a constant


class ProducerStore:
    """The store of a process that only inserts events, and has neither directory nor ``queue``.

    Workers deliver what it inserts. It reads nothing back, so it needs no other right.

    Args:
        outbox: Inserts the records.
        encryption: Encrypts events.
        shards: Which queues events are spread over.
    """

    is_shared = True

    def __init__(
        self, outbox: TransactionalOutbox, encryption: Encryption | None, shards: Shards
    ) -> None:
        self._outbox = outbox
        self._shards = shards
        self._encryption = encryption
        self.location = outbox.location

    def prepare(self) -> None:
        """Have nothing to create: migrations do."""

    def open(self, term: int = 0) -> Queue:
        """Refuse: this process can't read the queue.

        Raises:
            DatabaseError: Always.
        """
        del term
        raise self._error()

    def journal_writer(self, **options: Any) -> DatabaseWriter:  # noqa: ANN401 - passed on
        """Return what inserts records outside of the application's transactions."""
        return DatabaseWriter(
            self._insert, self._encryption, queues=self._shards.numbers, **options
        )

    def leader_lock(self, clock: Clock) -> NoLock:
        """Return a lock that this process never gets."""
        del clock
        return NoLock()

    def destination_names(self, own: Iterable[str], clock: Clock) -> NoNames:
        """Return no names: workers know them."""
        del clock
        return NoNames(tuple(own))

    def contexts(self, clock: Clock) -> NoContexts:
        """Return a store that keeps no contexts."""
        del clock
        return NoContexts(self._error)

    def read_stats(self) -> bytes:
        """Return no counts: workers have them."""
        return b""

    def used_bytes(self) -> int:
        """Return 0: it isn't known here."""
        return 0

    def count_uncollected(self) -> int:
        """Return 0: it isn't known here."""
        return 0

    def shards(self) -> Sequence[Store]:
        """Return this store alone."""
        return [self]

    def _insert(self, record: bytes, queue: int) -> None:
        try:
            self._outbox.commit(record, queue)
        except Exception as error:  # noqa: BLE001 - each driver has its own
            reraise_interruption(error)
            raise DatabaseError(
                f"{self.location}: the event wasn't inserted, {describe_error(error)}; it is "
                f"tried again"
            ) from None

    def _error(self) -> OSError:
        return DatabaseError(
            f"{self.location}: expected a queue that can be read, got one that this process only "
            f"inserts into; set queue= to its URL"
        )


class NoLock:
    """The leader lock of a process that can't lead."""

    is_held = False
    term = 0
    free_in = inf

    def try_acquire(self) -> bool:
        """Return ``False``."""
        return False

    def acquire(self, timeout: float) -> bool:
        """Return ``False``."""
        del timeout
        return False

    def renew(self) -> bool:
        """Return ``False``."""
        return False

    def is_requested(self) -> bool:
        """Return ``False``."""
        return False

    def release(self) -> None:
        """Have nothing to release."""

    def close_inherited(self) -> None:
        """Have nothing to close."""


@attrs.define
class NoNames:
    """The destinations of a process that doesn't write down their names.

    Attributes:
        own: The names of this process's destinations.
    """

    own: tuple[str, ...]

    def __iter__(self) -> Iterator[str]:
        return iter(self.own)

    def add(self, names: Iterable[str]) -> None:
        """Have nothing to add to."""

    def add_own(self) -> None:
        """Have nothing to add to."""

    add_own_synced = add_own

    def remove(self, name: str) -> None:
        """Have nothing to remove."""

    def remove_stale(self) -> None:
        """Have nothing to remove."""


@attrs.frozen
class NoContexts:
    """Keeps no contexts. Tokens work, with ``context_keys``.

    Attributes:
        error: Makes the error that says so.
    """

    error: Callable[[], OSError]

    def key(self) -> bytes:
        """Refuse."""
        raise self.error()

    def is_there(self) -> bool:
        """Return ``False``."""
        return False

    def read(self, name: str) -> bytes | None:
        """Return ``None``."""
        del name
        return None

    def write(self, name: str, data: bytes) -> None:
        """Refuse."""
        del name, data
        raise self.error()

    def __iter__(self) -> Iterator[tuple[str, bytes]]:
        return iter(())

    def remove(self, names: Iterable[str]) -> None:
        """Have nothing to delete."""

    def remove_old(self, max_age: float, most: int) -> bool:
        """Have nothing to delete."""
        del max_age, most
        return False
