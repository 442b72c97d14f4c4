"""A queue in a database keeps the contract of stores, and what a shared one needs besides."""

from __future__ import annotations

import math
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

import pytest

from adcp_tracker._platform import SystemClock
from adcp_tracker.exceptions import LeadLostError
from adcp_tracker.journal.buffer import WriteBuffer
from adcp_tracker.journal.encryption import Encryption
from adcp_tracker.outbox import database_log
from adcp_tracker.outbox.database import Database, DatabaseError, Tables, migrate
from adcp_tracker.outbox.database_log import LowestId
from adcp_tracker.outbox.database_store import DatabaseStore
from adcp_tracker.outbox.schema import INSERT_PIECE, INSERT_RECORDS
from adcp_tracker.outbox.storage import Shards
from tests.store.contract import NOW_MS, StoreContract, body
from tests.support.destinations import HandClock

if TYPE_CHECKING:
    from collections.abc import Callable

    from adcp_tracker.outbox.database_store import DatabaseQueue
    from adcp_tracker.outbox.schema import Cursor
    from adcp_tracker.outbox.storage import Store

T = TypeVar("T")


@pytest.fixture
def database(any_database: str) -> str:
    """Return the URL of an empty database; each test runs over every kind."""
    return any_database


def _change(database: str, *statements: str) -> None:
    with Database(database).transaction() as cursor:
        for statement in statements:
            cursor.execute(statement)


class _StoreOfPieces(DatabaseStore):
    """Adds every other record as a piece, which the log refers to."""

    _count = 0

    def insert(self, record: bytes, queue: int) -> None:
        self._count += 1
        if self._count % 2:
            super().insert(record, queue)
            return
        values = {"piece": self._count, "size": len(record), "content": record, "records": 1}
        tables = self.tables(queue)
        tables.query(INSERT_PIECE, **values)
        tables.query(INSERT_RECORDS, data=b"", **values)


class TestDatabaseStore(StoreContract):
    """A database, with plain events, encrypted ones, and pieces among them."""

    @pytest.fixture(params=["plain", "encrypted", "pieces"])
    def form(self, request: pytest.FixtureRequest) -> str:
        """Return how events are kept."""
        form: str = request.param
        return form

    @pytest.fixture
    def encryption(self, form: str) -> Encryption | None:
        """Return the encryption of both views."""
        return Encryption(b"k" * 32) if form == "encrypted" else None

    def let_time_pass(self, store: Store) -> None:
        """A segment is closed by the leader, once nothing was added for a while."""
        with store.database.transaction() as cursor:  # type: ignore[attr-defined]
            cursor.execute("UPDATE adcp_queue SET begun = 0")

    @pytest.fixture
    def store(self, database: str, form: str, encryption: Encryption | None) -> DatabaseStore:
        """Return one process's view."""
        migrate(database)
        return (_StoreOfPieces if form == "pieces" else DatabaseStore)(database, encryption)

    @pytest.fixture
    def other(self, database: str, encryption: Encryption | None) -> DatabaseStore:
        """Return another's."""
        return DatabaseStore(database, encryption)


@pytest.fixture
def store(database: str) -> DatabaseStore:
    """Return a store."""
    migrate(database)
    return DatabaseStore(database, lease_seconds=1.0)


def _lead(store: DatabaseStore) -> DatabaseQueue:
    lock = store.leader_lock(SystemClock())
    assert lock.try_acquire()
    return store.open(lock.term)


def test_a_database_without_tables_says_what_to_run(database: str) -> None:
    """Nothing is created on the quiet."""
    with pytest.raises(DatabaseError, match="adcp-tracker queue migrate"):
        DatabaseStore(database).prepare()


def test_migrating_again_changes_nothing(database: str, store: DatabaseStore) -> None:
    """A deployment can run it each time."""
    store.journal_writer().append(body(1), NOW_MS)
    migrate(database, queues=4)
    assert sum(_lead(store).segments.sizes().values()) > 0


def test_tables_from_before_the_first_release_are_not_migrated(
    store: DatabaseStore, database: str
) -> None:
    """They lack columns, so they aren't given the number of a version that has them."""
    _change(database, "UPDATE adcp_schema SET version = 2")
    with pytest.raises(DatabaseError, match="drop all tables"):
        migrate(database)
    with pytest.raises(DatabaseError, match="expected tables of version"):
        store.prepare()


def test_a_leader_that_was_replaced_can_write_nothing(store: DatabaseStore, database: str) -> None:
    """Each of its writes finds out in its own transaction."""
    old = _lead(store)
    _change(database, "UPDATE adcp_queue SET until = 0")
    new = _lead(DatabaseStore(database))
    new.open_outbox().apply({"a": b"new"}, [])
    for write in (
        lambda: old.open_outbox().apply({"a": b"old"}, []),
        lambda: old.write_stats(b"old"),
        lambda: old.dead_letters.remove(["x"]),
        lambda: old.segments.quarantine("1", b"old"),
        old.segments.sizes,
        old.quarantine_state,
        old.discard_quarantined,
    ):
        with pytest.raises(LeadLostError):
            write()
    assert new.open_outbox().load() == {"a": b"new"}


def test_a_leader_stops_if_the_database_goes_back(store: DatabaseStore, database: str) -> None:
    """What a standby lacks that took over too early, isn't put together with what it has."""
    outbox = _lead(store).open_outbox()
    outbox.load()
    outbox.apply({"cursor": b"1"}, [])
    _change(database, "CREATE TABLE earlier AS SELECT * FROM adcp_state")
    outbox.apply({"cursor": b"2"}, [])
    outbox.apply({}, ["cursor"])
    back = "INSERT INTO adcp_state SELECT * FROM earlier"
    _change(database, "DELETE FROM adcp_state", back)
    with pytest.raises(LeadLostError, match="expected the state as this process left it"):
        outbox.apply({"cursor": b"3"}, [])
    assert outbox.load() == {"cursor": b"1"}
    outbox.apply({"cursor": b"2"}, [])
    assert outbox.load() == {"cursor": b"2"}


def test_a_change_whose_commit_was_not_heard_of_is_made_again(
    store: DatabaseStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it was committed or not, the leader goes on."""
    outbox = _lead(store).open_outbox()
    write = Tables.write

    def commit_and_fail(tables: Tables, work: Callable[[Cursor], object]) -> None:
        write(tables, work)
        raise DatabaseError("the connection broke")

    def fail(tables: Tables, work: Callable[[Cursor], object]) -> None:
        del tables, work
        raise DatabaseError("the connection broke")

    for number, broken in enumerate([commit_and_fail, fail, commit_and_fail, commit_and_fail]):
        monkeypatch.setattr(Tables, "write", broken)
        with pytest.raises(DatabaseError):
            outbox.apply({"cursor": b"%d" % number}, [])
    monkeypatch.undo()
    outbox.apply({"cursor": b"new"}, [])
    assert outbox.load() == {"cursor": b"new"}


def test_few_dead_rows_are_passed_over_and_late_ones_are_found(
    store: DatabaseStore, database: str
) -> None:
    """A row can be committed below those that were collected: where that is quick, at once."""
    clock, writer = HandClock(), store.journal_writer()
    segments = _lead(store).segments
    segments.lowest_id = LowestId(clock.monotonic)

    def new(*, is_complete: bool = False) -> int:
        return sum(segments.sizes(is_complete=is_complete).values())

    insert, one = "INSERT INTO adcp_intake (queue, data) VALUES (0, 'late')", Database(database)
    with one.transaction() as later:
        later.execute(insert)
        with one.transaction() as late:
            late.execute(insert)
            for _ in range(3):
                writer.append(body(1), NOW_MS)
                size = new()
                clock.time += 10.0
        segments.lowest_id.note_look(2.0)  # as with many dead rows
        assert new() == size
        assert new(is_complete=True) == size + len("late")
    segments.lowest_id.note_look(2.0)
    assert new() == size + len("late")
    clock.time += 60.0
    assert new() == size + 2 * len("late")


def test_a_process_that_waits_knows_when_the_lease_ends(
    store: DatabaseStore, database: str
) -> None:
    """So that it looks again right then, however long it sleeps between two looks."""
    clock, patient = HandClock(), DatabaseStore(database, lease_seconds=60.0)
    second = patient.leader_lock(clock)
    assert second.free_in == math.inf
    assert patient.leader_lock(clock).try_acquire()
    assert not second.try_acquire()
    assert 20.0 < second.free_in < 60.1
    clock.time += 61.0
    assert second.free_in == math.inf
    _change(database, "UPDATE adcp_queue SET until = 0")
    assert second.try_acquire()
    assert store.leader_lock(clock).free_in == math.inf


def test_a_term_is_never_used_again(store: DatabaseStore, database: str) -> None:
    """Not even by a standby that has not heard of the last ones."""
    lock = store.leader_lock(SystemClock())
    assert lock.try_acquire()
    _change(database, "UPDATE adcp_queue SET term = 0, until = 0, holder = ''")
    other = DatabaseStore(database).leader_lock(SystemClock())
    assert other.try_acquire()
    assert other.term > lock.term
    with pytest.raises(LeadLostError):
        store.open(lock.term).write_stats(b"old")


def test_a_lead_ends_by_its_own_clock_before_the_lease(store: DatabaseStore, database: str) -> None:
    """A process that can't renew stops before another can take over."""

    class Clock(SystemClock):
        ahead = 0.0

        def monotonic(self) -> float:
            return 1000.0 + self.ahead

    clock = Clock()
    lock = store.leader_lock(clock)
    assert lock.try_acquire()
    _change(database, "ALTER TABLE adcp_queue RENAME TO adcp_away")
    clock.ahead = 0.5
    assert lock.renew()
    clock.ahead = 0.8
    assert not lock.renew()


def test_a_round_collects_a_part_and_whoever_needs_all_collects_all(
    store: DatabaseStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So the first events are sent before all that wait are collected."""
    monkeypatch.setattr(database_log, "_COLLECT_ROWS", 2)
    writer = store.journal_writer()
    for number in range(7):
        writer.append(body(number), NOW_MS)
    segments = _lead(store).segments
    for left in (5, 3):
        segments.sizes(is_complete=False)
        assert store.count_uncollected() == left
    ((name, size),) = segments.sizes().items()
    assert store.count_uncollected() == 0
    records, _ = segments.parse(segments.read(name, 0, size), 0)
    assert [record.body for record in records] == [body(number) for number in range(7)]


def test_what_was_read_ahead_ends_where_the_segment_did(store: DatabaseStore) -> None:
    """Records that are added to a segment after its end was read are read like any other."""
    writer = store.journal_writer()
    segments = _lead(store).segments
    sizes = []
    for number in range(3):
        writer.append(body(number) + b" " * 70_000, NOW_MS)
        ((name, size),) = segments.sizes().items()
        sizes.append(size)
        with segments.reading(name) as read:
            first = sizes[-2] if number else 0
            assert segments.parse(read(first, size - first), first)[0][0].body.startswith(
                body(number)
            )
            assert len(read(0, size)) == size


def test_an_error_shows_no_value(store: DatabaseStore) -> None:
    """Statements carry events; a message names the place and the kind of error."""
    with pytest.raises(DatabaseError) as caught, store.database.transaction() as cursor:
        cursor.execute("INSERT INTO adcp_schema VALUES (%s)", ("alice@example.com",))
    assert "alice" not in str(caught.value)
    assert re.search("failed with (22P02|1366);", str(caught.value))


def test_no_two_segments_of_a_database_or_its_copy_have_the_same_name(database: str) -> None:
    """A batch's idempotency key comes of its place, so no other events may ever stand there."""
    migrate(database, queues=2)
    names: list[str] = []
    for number in (0, 1, 0):
        shard = DatabaseStore(database, shards=Shards((number,)))
        shard.journal_writer().append(body(number), NOW_MS)
        _change(database, "UPDATE adcp_queue SET until = 0")
        names += _lead(shard).segments.sizes()
    assert len(set(names)) == 3
    assert [name.partition("-")[2] for name in names] == ["", "1", "", ""]


def test_a_log_that_went_back_ends_the_lead(store: DatabaseStore, database: str) -> None:
    """A standby that lacked the end of the log is begun from what it has."""
    queue = _lead(store)
    for _ in range(2):
        store.journal_writer().append(body(1), NOW_MS)
        queue.segments.sizes()
    _change(
        database, "DELETE FROM adcp_log WHERE start > 0", "UPDATE adcp_queue SET size = size / 2"
    )
    with pytest.raises(LeadLostError):
        queue.segments.sizes()


def test_a_wait_that_a_seller_asks_for_is_kept_by_all_queues(database: str) -> None:
    """The longest counts, until it is over."""
    migrate(database, queues=2)
    store = DatabaseStore(database)
    store.open().hold("seller", 30.0)
    store.open().hold("seller", 5.0)
    store.open().hold("other", 0.0)
    (held,) = DatabaseStore(database, shards=Shards((1,))).open().held().items()
    assert held[0] == "seller"
    assert 20.0 < held[1] <= 30.0


def test_a_deadlock_is_run_again(store: DatabaseStore, database: str) -> None:
    """Two transactions that lock the same rows in turns both happen."""
    migrate(database, queues=2)
    both_began = threading.Barrier(2)
    tries: list[int] = []

    def change(first: int, second: int) -> None:
        is_first_try = True

        def work(cursor: Cursor) -> None:
            nonlocal is_first_try
            tries.append(first)
            add = "UPDATE adcp_queue SET term = term + 1 WHERE queue = %s"
            cursor.execute(add, (first,))
            if is_first_try:
                is_first_try = False
                both_began.wait(60)
            cursor.execute(add, (second,))

        store.database.run(work)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(change, (0, 1), (1, 0)))
    with store.database.transaction() as cursor:
        cursor.execute("SELECT term FROM adcp_queue ORDER BY queue")
        assert [row[0] for row in cursor.fetchall()] == [2, 2]
    assert len(tries) == 3


def test_a_record_whose_commit_was_not_heard_of_is_not_added_again(
    store: DatabaseStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is looked for first, where producers add it and where leaders move it to."""
    writer = store.journal_writer()
    run = store.database.run

    def run_and_be_cut_off(work: object, **how: bool) -> None:
        run(work, **how)  # type: ignore[arg-type]  # a transaction's work
        raise DatabaseError("cut off")

    for number in (1, 2):
        with monkeypatch.context() as cut:
            cut.setattr(store.database, "run", run_and_be_cut_off)
            with pytest.raises(DatabaseError, match="cut off"):
                writer.append(body(number), NOW_MS)
        if number == 2:
            segments = _lead(store).segments
            ((name, size),) = segments.sizes().items()
        writer.append(body(number), NOW_MS)
    assert store.count_uncollected() == 0
    assert segments.count(name, 0, size) == 2
    writer.append(body(2), NOW_MS)
    assert store.count_uncollected() == 1


class LosingDatabase(Database):
    """A database whose answers are lost, as a script says.

    Attributes:
        script: What becomes of the next: ``"lost"`` after the commit, or ``"refused"``.
    """

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.script: list[str] = []

    def run(self, work: Callable[[Cursor], T], first: str = "", *, is_single: bool = False) -> T:
        """Run some work, and raise if the answer is to be lost."""
        fate = self.script.pop(0) if self.script else ""
        if fate == "refused":
            raise DatabaseError("the database is starting up")
        found = super().run(work, first, is_single=is_single)
        if fate == "lost":
            raise DatabaseError("the connection is closed")
        return found


@pytest.mark.parametrize("is_collected", [False, True])
@pytest.mark.parametrize("keys", [None, b"k" * 32], ids=["plain", "encrypted"])
def test_a_record_whose_commit_was_not_heard_of_is_not_inserted_again(
    database: str, keys: bytes | None, *, is_collected: bool
) -> None:
    """Nor while nobody can say whether it is there."""
    migrate(database, queues=16)
    store = DatabaseStore(database, shards=Shards(tuple(range(16))))
    losing = LosingDatabase(database)
    producer = DatabaseStore(database, None if keys is None else Encryption(keys))
    producer.database = losing
    producer._choose(Shards(tuple(range(16))))  # noqa: SLF001 - as its __init__ does
    buffer = WriteBuffer(producer.journal_writer(), HandClock())
    losing.script = ["lost"]
    buffer.append(body(1), NOW_MS)
    if is_collected:
        assert sum(sum(_lead(each).segments.sizes().values()) for each in store.shards()) > 0
    losing.script = ["refused"]
    buffer.flush()
    assert buffer.in_memory == 1
    buffer.flush()
    assert buffer.in_memory == 0
    found = [each.count_uncollected() for each in store.shards()]
    assert sum(found) == (0 if is_collected else 1)
