"""What settings of MariaDB and MySQL do to a queue, and how one logs in there."""

from __future__ import annotations

import itertools
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from adcp_tracker._platform import SystemClock
from adcp_tracker.outbox import _mysql
from adcp_tracker.outbox.database import Database, DatabaseError, migrate
from adcp_tracker.outbox.database_store import DatabaseStore
from tests.store.contract import NOW_MS, body

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.mysql import MySQLServer

_NUMBERS = itertools.count()
MIB = 1024 * 1024


@pytest.fixture
def name(any_mysql: MySQLServer) -> str:
    """Return the name of a new queue's database."""
    name = f"own_{next(_NUMBERS)}"
    migrate(any_mysql.create(name))
    return name


@contextmanager
def changed(server: MySQLServer, **variables: object) -> Iterator[None]:
    """Change global variables meanwhile."""
    before = {name: server.execute(f"SELECT @@GLOBAL.{name}")[0][0] for name in variables}
    _set(server, variables)
    try:
        yield
    finally:
        _set(server, before)


def _set(server: MySQLServer, variables: dict[str, object]) -> None:
    server.execute(*(f"SET GLOBAL {name} = {value!r}" for name, value in variables.items()))


def _create_user(server: MySQLServer, database: str, *rights: str) -> str:
    """Create a user with rights on tables, and return its URL over the network."""
    user = f"user_{database}"
    grants = [f"GRANT {right} TO {user}" for right in rights]
    server.execute(f"USE {database}", f"CREATE USER {user} IDENTIFIED BY 'p@ss'", *grants)
    return f"mysql://{user}:p%40ss@127.0.0.1:{server.port}/{database}"


def _check(url: str) -> str:
    return "\n".join(f"{each.level} {each.message}" for each in DatabaseStore(url).conditions())


def test_each_server_is_what_it_is_called(any_mysql: MySQLServer) -> None:
    """Debian's mysqld is MariaDB: what passes here for MySQL ran over MySQL."""
    ((version,),) = any_mysql.execute("SELECT version()")
    assert ("MariaDB" in version) == any_mysql.is_mariadb
    assert int(version.partition(".")[0]) >= 8


def test_a_user_with_a_password_comes_over_the_network(any_mysql: MySQLServer, name: str) -> None:
    """By the plugin that the server gives to new users."""
    url = _create_user(any_mysql, name, f"ALL ON {name}.*")
    migrate(url)
    DatabaseStore(url).journal_writer().append(body(1), NOW_MS)
    assert DatabaseStore(url).count_uncollected() == 1
    with pytest.raises(DatabaseError, match="check the user and password"):
        DatabaseStore(url.replace("p%40ss", "wrong")).prepare()


@contextmanager
def without_tls(server: MySQLServer) -> Iterator[None]:
    """Take TLS from a server of MySQL; MariaDB has none here."""
    if server.is_mariadb:
        yield
        return
    with changed(server, tls_version=""):
        server.execute("ALTER INSTANCE RELOAD TLS NO ROLLBACK ON ERROR", "FLUSH PRIVILEGES")
        yield
    server.execute("ALTER INSTANCE RELOAD TLS")


def test_without_tls_a_password_needs_cryptography(
    any_mysql: MySQLServer, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is encrypted then, by a package that the extra has; without it, an error says so."""
    url = _create_user(any_mysql, name, f"ALL ON {name}.*")
    with without_tls(any_mysql):
        monkeypatch.setattr("pymysql._auth._have_cryptography", False)
        if not any_mysql.is_mariadb:
            with pytest.raises(DatabaseError, match=r"failed with 2059; .*adcp-tracker\[mysql\]"):
                DatabaseStore(url).prepare()
        monkeypatch.undo()
        DatabaseStore(url).prepare()


def test_a_server_that_asks_for_tls_says_so(any_mysql: MySQLServer, name: str) -> None:
    """A client that has none is told how to get it; MariaDB says that access is denied."""
    told = "1045; check the user" if any_mysql.is_mariadb else "3159; .*ssl_ca="
    url = _create_user(any_mysql, name, f"ALL ON {name}.*")
    with (
        without_tls(any_mysql),
        changed(any_mysql, require_secure_transport=1),
        pytest.raises(DatabaseError, match=f"failed with {told}"),
    ):
        DatabaseStore(url).prepare()


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("innodb_flush_log_at_trx_commit", 2, "warning innodb_flush_log_at_trx_commit is 2."),
        ("max_allowed_packet", MIB, "error max_allowed_packet is 1,048,576 bytes."),
        ("sync_binlog", 0, "warning sync_binlog is 0."),
        ("binlog_format", "STATEMENT", "error binlog_format is STATEMENT"),
    ],
)
def test_a_check_names_the_settings_that_lose_events(
    any_mysql: MySQLServer, name: str, variable: str, value: object, words: str
) -> None:
    """Those of the binary log count if there is one, as there is in MySQL."""
    ((has_log,),) = any_mysql.execute("SELECT @@GLOBAL.log_bin")
    url = any_mysql.url(name)
    assert "ok A commit is on the server's disk before it returns." in _check(url)
    assert words not in _check(url)
    with changed(any_mysql, **{variable: value}):
        assert (words in _check(url)) == (bool(has_log) or "bin" not in variable)


def test_statements_that_the_binary_log_refuses_name_the_setting(
    any_mysql: MySQLServer, name: str
) -> None:
    """Nothing is lost: events wait in memory until it is mended."""
    with changed(any_mysql, binlog_format="STATEMENT"):
        store = DatabaseStore(any_mysql.url(name))
        if any_mysql.execute("SELECT @@GLOBAL.log_bin")[0][0]:
            with pytest.raises(DatabaseError, match=r"failed with 1665; set .* to ROW"):
                store.journal_writer().append(body(1), NOW_MS)
        else:
            store.journal_writer().append(body(1), NOW_MS)


def test_a_check_names_transactions_that_stay_open_to_who_may_see_them(
    any_mysql: MySQLServer, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That takes the right PROCESS; without it, and with few others, the rest is checked."""
    monkeypatch.setattr(_mysql, "_LONG_SECONDS", -1)
    url = any_mysql.url(name)
    with Database(url).transaction() as cursor:
        cursor.execute("SELECT * FROM adcp_queue FOR UPDATE")
        assert "warning A transaction is open for" in _check(url)
    found = _check(_create_user(any_mysql, name, "SELECT ON adcp_schema", "SELECT ON adcp_queue"))
    assert "warning This user lacks the right DELETE on adcp_log." in found
    assert "A commit is on the server's disk" in found
    assert "A transaction is open" not in found


def test_a_server_that_insists_on_primary_keys_takes_the_tables(any_mysql: MySQLServer) -> None:
    """As hosts of MySQL set it, and as its group replication needs them."""
    variable = "innodb_force_primary_key" if any_mysql.is_mariadb else "sql_require_primary_key"
    with changed(any_mysql, **{variable: 1}):
        url = any_mysql.create(f"keyed_{next(_NUMBERS)}")
        migrate(url)
        migrate(url)
    DatabaseStore(url).prepare()


def test_large_records_are_collected_and_erased_in_the_least_packets(
    any_mysql: MySQLServer, name: str
) -> None:
    """A driver may write a byte as two characters, and MariaDB takes 16 MiB by default."""
    with changed(any_mysql, max_allowed_packet=16 * MIB):
        store = DatabaseStore(any_mysql.url(name))
        writer = store.journal_writer()
        bodies = [body(number) + b'"' * MIB for number in range(12)]
        for each in bodies:
            writer.append(each, NOW_MS)
        lock = store.leader_lock(SystemClock())
        assert lock.try_acquire()
        segments = store.open(lock.term).segments
        found = []
        for segment, size in segments.sizes().items():
            records = segments.parse(segments.read(segment, 0, size), 0)[0]
            assert segments.count(segment, 0, size) == len(records)
            found += [each.body for each in records]
            segments.erase(segment, records[:2])
        assert found == bodies
