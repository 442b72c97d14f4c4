"""Connections to a database that holds a queue, transactions, and who leads the queue.

What differs between databases is in their :class:`.Dialect`; no driver is imported before a
database is opened. Every write of a leader begins by checking its term in the same transaction.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import threading
import time
import weakref
from collections import Counter
from contextlib import contextmanager
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any, Final, TypeVar

import attrs

from adcp_tracker._logging import logger
from adcp_tracker.exceptions import ConfigurationError, LeadLostError, OutboxError
from adcp_tracker.outbox.schema import OLDEST_VERSION, RIGHTS, WORDS, schema_statements

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from adcp_tracker._platform import Clock
    from adcp_tracker.outbox.schema import Connection, Cursor, Dialect

T = TypeVar("T")

_MARGIN_SECONDS: Final = 5.0
_RENEW_PART: Final = 3
_REQUEST_SECONDS: Final = 5.0
_LOOK_SECONDS: Final = 0.2
_POLL_SECONDS: Final = 0.05
_IDLE_CONNECTIONS: Final = 2
_FRESH_SECONDS: Final = 1.0
_TRIES: Final = 4
_LEFT_SECONDS: Final = 0.5
_LATE_SECONDS: Final = 0.01

_PROCESS: Final = secrets.token_hex(6)
"""Tells processes of equal ids on equally named machines apart, as in containers."""

MICROSECONDS: Final = 1_000_000
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

_LEADS: Final = """
SELECT queue, holder, {now} - until, wanted > {now} - %(seconds)s FROM adcp_queue ORDER BY queue
"""

_FENCE: Final = "SELECT 1 FROM adcp_queue WHERE queue = {queue} AND term = {term} FOR UPDATE"


class DatabaseError(OutboxError, OSError):
    """The database can't be reached or refuses a statement; it is tried again."""


class RightsError(DatabaseError):
    """The database's user may not do this."""


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
        DatabaseError: If the database can't be reached, its user may not create tables, or the
            tables are from before the first release.
    """
    database = Database(url)

    def create(cursor: Cursor) -> None:
        database.dialect.lock_schema(cursor)
        first, *others = schema_statements(database.dialect.name, queues)
        cursor.execute(first)
        cursor.execute("SELECT version FROM adcp_schema")
        if any(version < OLDEST_VERSION for (version,) in cursor.fetchall()):
            raise DatabaseError(
                f"{database.location}: expected tables of version {OLDEST_VERSION} or newer, or "
                f"none, got those of a checkout; drop all tables adcp_* and migrate again"
            )
        for statement in others:
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
        kind = RightsError if hint == RIGHTS else DatabaseError
        kind = DeadlockError if self.dialect.is_deadlock(error) else kind
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


def went_back(tables: Tables, what: str) -> LeadLostError:
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


@attrs.frozen
class Lead:
    """Who leads a queue.

    Attributes:
        queue: Which queue.
        worker: The process that leads it, or did last; empty if none ever did.
        is_live: Whether its lease has not run out.
        free_seconds: For how long the queue has had no leader; negative while it has one.
        is_wanted: Whether somebody asks for it.
    """

    queue: int
    worker: str
    is_live: bool
    free_seconds: float
    is_wanted: bool


def choose(leads: Sequence[Lead], queue: int, worker: str) -> str:
    """Return what a worker that doesn't lead a queue does about it: take it, ask for it or wait.

    A worker takes a free queue if it leads less than its share, and any queue that has been free
    for half a second. It asks for a queue whose leader leads at least two more than itself. Only
    one queue is handed over at a time, so that none changes hands for nothing.

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
            "microseconds": MICROSECONDS,
        }
        for left, is_own in self._tables.query(_LEASE, **values):
            if left >= 0 and not is_own:  # waiting locks nothing
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
