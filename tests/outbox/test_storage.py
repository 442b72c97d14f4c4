"""The contract of an outbox, and what diskcache's must withstand beside it.

Another implementation joins by being added to ``OPENERS``.
"""

from __future__ import annotations

import pickle
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import diskcache
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adcp_tracker.exceptions import OutboxError
from adcp_tracker.outbox._diskcache import DiskcacheOutbox
from adcp_tracker.outbox.storage import DamagedOutboxError, Outbox
from tests.support.descriptors import open_beneath

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

OPENERS: list[Callable[[Path], Outbox]] = [DiskcacheOutbox]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a private folder."""
    path = tmp_path / "state"
    path.mkdir(mode=0o700)
    return path


@pytest.fixture(params=OPENERS)
def opener(request: pytest.FixtureRequest) -> Callable[[Path], Outbox]:
    """Return each way to open an outbox."""
    chosen: Callable[[Path], Outbox] = request.param
    return chosen


def test_a_new_outbox_is_empty(opener: Callable[[Path], Outbox], folder: Path) -> None:
    """Nothing is in it before something is put."""
    with closing(opener(folder)) as outbox:
        assert outbox.load() == {}


def test_what_was_applied_is_loaded_by_the_next(
    opener: Callable[[Path], Outbox], folder: Path
) -> None:
    """Puts and removes outlive the process that made them."""
    with closing(opener(folder)) as outbox:
        outbox.load()
        outbox.apply({"a": b"1", "b": b"\x00\xff"}, [])
        outbox.apply({"b": b"2", "c": b""}, ["a"])
    with closing(opener(folder)) as outbox:
        assert outbox.load() == {"b": b"2", "c": b""}


def test_removing_what_is_not_there_is_nothing(
    opener: Callable[[Path], Outbox], folder: Path
) -> None:
    """A remove says how it should be, not how it was."""
    with closing(opener(folder)) as outbox:
        outbox.load()
        outbox.apply({}, ["never"])
        assert outbox.load() == {}


@pytest.mark.slow
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    max_examples=25,
)
@given(
    st.lists(
        st.tuples(
            st.dictionaries(st.text(min_size=1, max_size=5), st.binary(max_size=50), max_size=4),
            st.lists(st.text(min_size=1, max_size=5), max_size=2),
        ),
        max_size=5,
    )
)
def test_it_behaves_as_a_dictionary(
    opener: Callable[[Path], Outbox],
    tmp_path_factory: pytest.TempPathFactory,
    changes: list[tuple[dict[str, bytes], list[str]]],
) -> None:
    """Any sequence of changes gives what a dictionary would hold."""
    folder = tmp_path_factory.mktemp("state", numbered=True)
    folder.chmod(0o700)
    model: dict[str, bytes] = {}
    with closing(opener(folder)) as outbox:
        outbox.load()
        for puts, removes in changes:
            kept = [key for key in removes if key not in puts and key != "sum"]
            wanted = {key: value for key, value in puts.items() if key != "sum"}
            outbox.apply(wanted, kept)
            model.update(wanted)
            for key in kept:
                model.pop(key, None)
    with closing(opener(folder)) as outbox:
        assert outbox.load() == model


@pytest.mark.slow
def test_a_failed_change_changes_nothing(folder: Path) -> None:
    """While another holds the database, a change fails whole, in bounded time, and clearly."""
    with closing(DiskcacheOutbox(folder)) as outbox:
        outbox.load()
        outbox.apply({"a": b"1"}, [])
        with closing(sqlite3.connect(folder / "cache.db", isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            with pytest.raises(OutboxError, match="cannot be written"):
                outbox.apply({"a": b"2"}, [])
            other.execute("ROLLBACK")
        assert outbox.load() == {"a": b"1"}


class Bomb:
    """An object that makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (self.path, "w")


@pytest.mark.parametrize("where", ["value", "key"])
def test_a_planted_pickle_never_runs(folder: Path, tmp_path: Path, where: str) -> None:
    """Whoever can write the database still cannot run code in the host's process."""
    with closing(DiskcacheOutbox(folder)) as outbox:
        outbox.load()
        outbox.apply({"a": b"1"}, [])
    planted = pickle.dumps(Bomb(tmp_path / "ran"))
    change = {
        "value": "UPDATE Cache SET mode = 4, value = ?",
        "key": "UPDATE Cache SET raw = 0, key = ? WHERE key = 'a'",
    }[where]
    with closing(sqlite3.connect(folder / "cache.db")) as connection, connection:
        connection.execute(change, (planted,))
    with closing(DiskcacheOutbox(folder)) as outbox, pytest.raises(DamagedOutboxError):
        outbox.load()
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE Cache SET value = x'3030303030303030' || x'ff' WHERE key = 'a'",
        "DELETE FROM Cache WHERE key = 'a'",
        "DELETE FROM Cache WHERE key = 'sum'",
        "UPDATE Cache SET key = 'z' WHERE key = 'a'",
        "UPDATE Cache SET filename = 'x.val', mode = 2 WHERE key = 'a'",
    ],
)
def test_rows_that_are_not_as_written_are_noticed(folder: Path, damage: str) -> None:
    """A changed, lost, renamed or spilled row is damage, not state."""
    with closing(DiskcacheOutbox(folder)) as outbox:
        outbox.load()
        outbox.apply({"a": b"1", "b": b"2"}, [])
    with closing(sqlite3.connect(folder / "cache.db")) as connection, connection:
        connection.execute(damage)
    with closing(DiskcacheOutbox(folder)) as outbox, pytest.raises(DamagedOutboxError):
        outbox.load()


def _planted(folder: Path, *statements: str) -> None:
    """Make an outbox that holds something, and plant in its database."""
    with closing(DiskcacheOutbox(folder)) as outbox:
        outbox.load()
        outbox.apply({"a": b"1"}, [])
    with closing(sqlite3.connect(folder / "cache.db", isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def test_a_database_that_names_a_file_has_none_removed(folder: Path, tmp_path: Path) -> None:
    """It would go together with the row that names it."""
    precious = tmp_path / "precious"
    precious.write_bytes(b"what the owner of this file would miss")
    _planted(folder, "UPDATE Cache SET filename = '../precious'")
    with closing(DiskcacheOutbox(folder)) as outbox:
        outbox.apply({"a": b"2"}, [])
        outbox.apply({}, ["a"])
    assert precious.exists()


PLANT = "INSERT INTO sqlite_master VALUES ('table', 'a', 'a', 0, {})"
ENDLESS = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x, x FROM c"


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "statements",
    [
        ["CREATE TRIGGER z AFTER UPDATE ON Cache BEGIN UPDATE Cache SET filename = '../x'; END"],
        ["CREATE TRIGGER z AFTER UPDATE ON Settings BEGIN DELETE FROM Cache; END"],
        [
            "DROP TRIGGER Settings_count_insert",
            "CREATE TRIGGER Settings_count_insert AFTER INSERT ON Cache BEGIN SELECT 1; END",
        ],
        ["CREATE TABLE more (value)"],
        ["CREATE INDEX more ON Cache (value)"],
        ["CREATE VIEW more AS SELECT value FROM Cache"],
        ["DROP TABLE Settings", f"CREATE VIEW Settings (key, value) AS {ENDLESS}"],
        ["DROP TABLE Settings"],
        ["PRAGMA writable_schema = ON", PLANT.format("'CREATE VIRTUAL TABLE a USING b'")],
        ["PRAGMA writable_schema = ON", PLANT.format("CAST('CREATE TABLE a (b)' AS BLOB)")],
    ],
    ids=lambda statements: statements[-1].partition(" AS")[0],
)
def test_what_diskcache_did_not_make_in_the_database_is_damage(
    folder: Path, statements: list[str]
) -> None:
    """A trigger, view or table that somebody planted is not run, and the outbox is set aside."""
    _planted(folder, *statements)
    with pytest.raises(DamagedOutboxError):
        DiskcacheOutbox(folder)


@pytest.mark.slow
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    max_examples=50,
    deadline=None,
)
@given(
    key=st.one_of(
        st.sampled_from([*diskcache.DEFAULT_SETTINGS, *diskcache.core.METADATA]),
        st.sampled_from(["_sql_retry", "close", "sqlite_", "disk_", "_directory"]),
        st.text(st.characters(exclude_categories=["Cs"])),
        st.binary(),
    ),
    value=st.one_of(
        st.none(),
        st.integers(-(1 << 63), (1 << 63) - 1),
        st.floats(),
        st.sampled_from(["off", "1; DROP TABLE Cache", "exclusive", "x"]),
        st.text(st.characters(exclude_categories=["Cs"])),
        st.binary(),
    ),
)
def test_any_setting_in_the_database_is_put_right_or_damage(
    tmp_path_factory: pytest.TempPathFactory, key: object, value: object
) -> None:
    """None is carried out, and none keeps the outbox from being opened or set aside."""
    folder = tmp_path_factory.mktemp("state", numbered=True)
    folder.chmod(0o700)
    _planted(folder)
    with closing(sqlite3.connect(folder / "cache.db")) as connection, connection:
        connection.execute("INSERT OR REPLACE INTO Settings VALUES (?, ?)", (key, value))
    try:
        outbox = DiskcacheOutbox(folder)
    except DamagedOutboxError:
        assert key not in {*diskcache.DEFAULT_SETTINGS, *diskcache.core.METADATA}
        return
    with closing(outbox):
        assert outbox.load() == {"a": b"1"}
        outbox.apply({"b": b"2"}, ["a"])
    with closing(DiskcacheOutbox(folder)) as outbox:
        assert outbox.load() == {"b": b"2"}


@pytest.mark.parametrize("content", [b"no database at all, but long enough to look", b"\0" * 9000])
def test_a_file_that_is_no_database_is_noticed(folder: Path, content: bytes) -> None:
    """Garbage in place of the database is damage, told when it is opened or read."""
    (folder / "cache.db").write_bytes(content)
    (folder / "cache.db").chmod(0o600)
    with pytest.raises(DamagedOutboxError):
        DiskcacheOutbox(folder)


def test_the_database_never_evicts_syncs_and_maps_nothing(folder: Path) -> None:
    """The settings that would lose rows or safety are off, whatever was stored before."""
    with closing(DiskcacheOutbox(folder)) as outbox:
        outbox.load()
        cache = outbox._cache  # noqa: SLF001 - the settings have no other face
        assert cache.eviction_policy == "none"
        assert cache.cull_limit == 0
        ((synchronous,),) = cache._sql("PRAGMA synchronous").fetchall()  # noqa: SLF001 - as above
        ((mapped,),) = cache._sql("PRAGMA mmap_size").fetchall()  # noqa: SLF001 - as above
        assert (synchronous, mapped) == (2, 0)
        large = {f"k{number}": bytes(70_000) for number in range(5)}
        outbox.apply(large, [])
    assert {path.name for path in folder.iterdir()} == {"cache.db"}


def test_database_files_are_ours_alone(folder: Path) -> None:
    """The database and its journal have no rights for others, whatever the umask."""
    with closing(DiskcacheOutbox(folder)) as outbox:
        outbox.load()
        outbox.apply({"a": b"1"}, [])
        names = {path.name for path in folder.iterdir()}
        assert "cache.db-wal" in names
        assert all(path.stat().st_mode & 0o077 == 0 for path in folder.iterdir())


def test_what_cannot_be_opened_is_not_left_open(folder: Path) -> None:
    """The database's files are let go of, so that the next can set them aside and begin anew."""
    with closing(sqlite3.connect(folder / "cache.db")) as database:
        database.execute("CREATE TABLE Settings (something_else)")
    (folder / "cache.db").chmod(0o600)
    with pytest.raises(OutboxError, match="OperationalError") as caught:
        DiskcacheOutbox(folder)
    assert not open_beneath(folder), caught.value


def test_opening_again_writes_nothing(folder: Path) -> None:
    """What diskcache would write anew each time stands there already, as it would be written."""
    with closing(DiskcacheOutbox(folder)) as outbox:
        outbox.load()
        outbox.apply({"a": b"1"}, [])
    before = (folder / "cache.db").read_bytes()
    with closing(DiskcacheOutbox(folder)) as outbox:
        assert outbox.load() == {"a": b"1"}
    assert (folder / "cache.db").read_bytes() == before


def test_another_setting_is_put_right(folder: Path) -> None:
    """A database that would let go of rows by itself does not, once it is opened here."""
    with closing(DiskcacheOutbox(folder)):
        pass
    with closing(sqlite3.connect(folder / "cache.db")) as connection, connection:
        connection.execute("UPDATE Settings SET value = 10 WHERE key = 'cull_limit'")
    with closing(DiskcacheOutbox(folder)):
        pass
    with closing(sqlite3.connect(folder / "cache.db")) as connection:
        found = connection.execute("SELECT value FROM Settings WHERE key = 'cull_limit'")
        assert found.fetchall() == [(0,)]
