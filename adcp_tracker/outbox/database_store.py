"""A queue in a database, which any number of machines can share.

Producers add rows to one intake table, in a transaction of the shop's own or in one of theirs.
The leader moves them to the queue's log (``database_log.py``), and delivers from there.
"""

from __future__ import annotations

import contextlib
import copy
import os
import secrets
from math import inf
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import attrs

from adcp_tracker._platform import reraise_interruption
from adcp_tracker.journal.records import EVENT, UNDECRYPTED, Record, encode_record, parse
from adcp_tracker.outbox.database import (
    Database,
    DatabaseError,
    LeaseLock,
    RightsError,
    Tables,
    went_back,
)
from adcp_tracker.outbox.database_log import DatabaseSegments
from adcp_tracker.outbox.dead_letters import DeadLetterKey, decode_letters, encode_letter
from adcp_tracker.outbox.schema import (
    INSERT_RECORD,
    SCHEMA_VERSION,
    Condition,
    describe_error,
    queue_of,
)
from adcp_tracker.outbox.storage import Shards

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from adcp_tracker._platform import Clock
    from adcp_tracker.journal.encryption import Encryption
    from adcp_tracker.outbox.dead_letters import DeadLetter
    from adcp_tracker.outbox.schema import Cursor, TransactionalOutbox
    from adcp_tracker.outbox.storage import Queue, Store

_FIRST: Final = Shards()
LEASE_SECONDS: Final = 15.0
_KEY_BYTES: Final = 32
_MOST_FAILED: Final = 2000
_SILENT_SECONDS: Final = 300.0
_MOST_ROWS: Final = 2**62
_REVISION: Final = "revision"
_REVISION_BYTES: Final = 8

_TEXTS: Final = {
    "adcp_intake": "data",
    "adcp_log": "data",
    "adcp_piece": "content",
    "adcp_state": "value",
    "adcp_dead_letter": "record",
    "adcp_quarantine": "data",
    "adcp_context": "data",
    "adcp_queue": "stats",
}
"""Where a text of an event could stand."""

_IS_THERE: Final = """
SELECT 1 FROM adcp_intake WHERE queue = %(queue)s AND data = %(data)s
UNION ALL
SELECT 1 FROM adcp_log INNER JOIN (
    SELECT DISTINCT segment FROM adcp_log WHERE queue = %(queue)s ORDER BY segment DESC LIMIT 2
) AS latest USING (segment) WHERE queue = %(queue)s AND position(%(data)s IN data) > 0
"""

_SILENT_RELAYS: Final = """
SELECT host, directory, {now} - seen FROM adcp_relay
WHERE seen < {now} - %(seconds)s AND NOT is_closed ORDER BY host, directory
"""

_STATE_REVISION: Final = "SELECT value FROM adcp_state WHERE queue = %(queue)s AND name = %(name)s"

_KNOW_GATE: Final = "INSERT INTO adcp_gate VALUES (%(destination)s, 0) "

_HOLD: Final = """
UPDATE adcp_gate SET not_before = greatest(not_before, {now} + %(seconds)s)
WHERE destination = %(destination)s
"""

_HELD: Final = "SELECT destination, not_before - {now} FROM adcp_gate WHERE not_before > {now}"


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
        return DatabaseWriter(self, self.encryption, queues=self._shards.numbers, **options)

    def insert(self, record: bytes, queue: int) -> None:
        """Insert a record in one of its queues."""
        attrs.evolve(self._tables, queue=queue).query(INSERT_RECORD, data=record)

    def is_there(self, record: bytes, queue: int) -> bool:
        """Return whether a queue has a record, as far as this user may know."""
        try:
            return bool(attrs.evolve(self._tables, queue=queue).query(_IS_THERE, data=record))
        except RightsError:  # this user may not read
            return False

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
        rows = self._tables.query("SELECT stats FROM adcp_queue WHERE queue = %(queue)s")
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
            "SELECT (SELECT coalesce(sum(size + octet_length(data)), 0) FROM adcp_intake "
            "WHERE queue = %(queue)s) + (SELECT coalesce(sum(stop - start), 0) FROM adcp_log "
            "WHERE queue = %(queue)s)"
        )
        return int(size)


class _Insert(NamedTuple):
    """A record to be inserted. Once that failed, it may be there all the same.

    An event is encrypted once for all tries: encrypted again, it would look like another.

    Attributes:
        body: As it was given first.
        kept: As it is written, which may be encrypted.
        kind: The kind of record that it is then.
        queue: Where it belongs, which an encrypted one doesn't say.
    """

    body: bytes
    kept: bytes
    kind: bytes
    queue: int


class DatabaseWriter:
    """Adds this process's records to the intake, each in a transaction of its own.

    Args:
        store: Inserts the records.
        encryption: Encrypts events.
        queues: The queues that events are spread over.
        on_begin: Called before the first record.
        on_fork: Called by the first append in a child process.
        **options: What only a writer of files needs.
    """

    def __init__(
        self,
        store: DatabaseStore | ProducerStore,
        encryption: Encryption | None,
        *,
        queues: Sequence[int],
        on_begin: Callable[[], None] | None = None,
        on_fork: Callable[[], None] | None = None,
        **options: object,
    ) -> None:
        del options
        self._store = store
        self._encryption = encryption
        self._queues = queues
        self._on_begin = on_begin
        self._on_fork = on_fork
        self._has_begun = False
        self._pid = os.getpid()
        self._failed: dict[tuple[bytes, int], _Insert] = {}

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
        failed = self._failed.get((body, accepted_ms))
        found = failed or _Insert(
            body, *self.encode_for_disk(body, accepted_ms, kind), queue_of(body, self._queues)
        )
        record = encode_record(found.kept, accepted_ms, found.kind)
        forms = {(found.body, accepted_ms), (found.kept, accepted_ms)}
        try:
            # The answer to a commit can be lost. While that can't be checked, nothing is inserted.
            if failed is None or not self._store.is_there(record, found.queue):
                self._store.insert(record, found.queue)
        except DatabaseError:
            if len(self._failed) < _MOST_FAILED:
                self._failed |= dict.fromkeys(forms, found)
            raise
        for each in forms:
            self._failed.pop(each, None)

    def append_reserved(self, body: bytes, accepted_ms: int, kind: bytes) -> None:
        """Append a record; a database keeps no reserve of its own."""
        self.append_record(body, accepted_ms, kind)

    def encode_for_disk(self, body: bytes, accepted_ms: int, kind: bytes) -> tuple[bytes, bytes]:
        """Return a record's body and kind as they may be kept, and as they were if that failed."""
        if self._encryption is None:
            return body, kind
        found = self._failed.get((body, accepted_ms))
        if found is not None:
            return found.kept, found.kind
        return self._encryption.encode_for_disk(body, accepted_ms, kind)

    def decode(self, body: bytes, accepted_ms: int, kind: bytes) -> Record:
        """Return the record of what :meth:`encode_for_disk` returned."""
        if self._encryption is None:
            return Record(0, 0, kind, body, accepted_ms)
        return self._encryption.decode(body, accepted_ms, kind)

    def roll(self, older_than: float = 0.0) -> None:
        """Do nothing: each record is committed."""

    def freeze(self) -> None:
        """Do nothing: no file is open across a fork."""

    def unfreeze(self) -> None:
        """Do nothing, as in :meth:`freeze`."""

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
                "INSERT INTO adcp_quarantine (queue, place, data) "
                "SELECT queue, %(place)s, value FROM adcp_state WHERE queue = %(queue)s",
                place=place,
            )
            self._tables.run(cursor, "DELETE FROM adcp_state WHERE queue = %(queue)s")

        self._tables.write(move)
        return f"adcp_quarantine, place {place}"

    def write_stats(self, data: bytes) -> None:
        """Publish counts for other processes."""
        statement = "UPDATE adcp_queue SET stats = %(data)s WHERE queue = %(queue)s"
        self._tables.write(lambda cursor: self._tables.run(cursor, statement, data=data))

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


class DatabaseOutbox:
    """The state of a queue.

    Each change has a random revision. If the database has another than this process left there, as
    a standby that lagged behind, the process gives up the lead.

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
                raise went_back(self._tables, "state")
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
        """Do nothing: connections belong to the database."""


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
        """Do nothing: a transaction leaves nothing behind."""


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
        """Return the data of a name."""
        rows = self._tables.query(
            "SELECT data FROM adcp_context WHERE queue = %(queue)s AND name = %(name)s", name=name
        )
        return bytes(rows[0][0]) if rows else None

    def write(self, name: str, data: bytes) -> None:
        """Store the data of a name, replacing older data."""
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
        """Delete some names with their data."""
        statement = "DELETE FROM adcp_context WHERE queue = %(queue)s AND name = %(name)s"
        names = list(names)
        self._tables.database.run(
            lambda cursor: self._tables.run_each(cursor, statement, "name", names)
        )

    def remove_old(self, max_age: float, most: int) -> bool:
        """Delete old data, and the oldest beyond `most`; return whether there was more."""
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
        """Do nothing: migrations do."""

    def open(self, term: int = 0) -> Queue:
        """Raise an error: this process can't read the queue.

        Raises:
            DatabaseError: Always.
        """
        del term
        raise self._error()

    def journal_writer(self, **options: Any) -> DatabaseWriter:  # noqa: ANN401 - passed on
        """Return what inserts records outside of the application's transactions."""
        return DatabaseWriter(self, self._encryption, queues=self._shards.numbers, **options)

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

    def is_there(self, record: bytes, queue: int) -> bool:
        """Return ``False``: it may not read."""
        del record, queue
        return False

    def insert(self, record: bytes, queue: int) -> None:
        """Insert a record in a transaction of its own.

        Raises:
            DatabaseError: If the database doesn't take it.
        """
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
        """Do nothing: the lock is never held."""

    def close_inherited(self) -> None:
        """Do nothing, likewise."""


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
        """Do nothing: workers know the names."""

    def add_own(self) -> None:
        """Do nothing: workers know the names."""

    add_own_synced = add_own

    def remove(self, name: str) -> None:
        """Do nothing, likewise."""

    def remove_stale(self) -> None:
        """Do nothing, likewise."""


@attrs.frozen
class NoContexts:
    """Keeps no contexts. Tokens work, with ``context_keys``.

    Attributes:
        error: Makes the error that says so.
    """

    error: Callable[[], OSError]

    def key(self) -> bytes:
        """Raise the error."""
        raise self.error()

    def is_there(self) -> bool:
        """Return ``False``."""
        return False

    def read(self, name: str) -> bytes | None:
        """Return ``None``."""
        del name
        return None

    def write(self, name: str, data: bytes) -> None:
        """Raise the error."""
        del name, data
        raise self.error()

    def __iter__(self) -> Iterator[tuple[str, bytes]]:
        return iter(())

    def remove(self, names: Iterable[str]) -> None:
        """Do nothing: no context is kept."""

    def remove_old(self, max_age: float, most: int) -> bool:
        """Do nothing: no context is kept."""
        del max_age, most
        return False
