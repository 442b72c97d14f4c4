"""Servers of the tests' own."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import TYPE_CHECKING

import django
import pytest

from tests.support.mysql import find_mysqld, run_mariadb, run_mysql
from tests.support.postgres import run_postgres

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.mysql import MySQLServer
    from tests.support.postgres import PostgresServer

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.integrations.django.shop.settings")
django.setup()

KINDS = ["postgres", "mariadb", *(["mysql"] if find_mysqld() else [])]
"""What tests run over. Few machines have MySQL, as Debian's own is MariaDB."""

_NUMBERS = itertools.count()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the tests that end processes and servers."""
    group = parser.getgroup("databases", "tests with database servers")
    group.addoption(
        "--database-points", default="share", help="points where a process ends: a number or all"
    )
    group.addoption(
        "--database-rounds", type=int, default=3, help="how often a server under load is killed"
    )
    words = "fail where MySQL is not installed, and the tests would leave it out"
    group.addoption("--require-mysql", action="store_true", help=words)


def pytest_configure(config: pytest.Config) -> None:
    """Fail at once where MySQL was insisted on and is not there."""
    if "mysql" not in KINDS and config.getoption("--require-mysql", default=False):
        raise pytest.UsageError(
            "--require-mysql: expected MySQL's mysqld on PATH or in MYSQLD, got none or MariaDB's"
        )


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """Run a PostgreSQL server."""
    with run_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MySQLServer]:
    """Run a MariaDB server."""
    with run_mariadb() as server:
        yield server


@pytest.fixture(scope="session")
def mysql() -> Iterator[MySQLServer]:
    """Run a MySQL server."""
    with run_mysql() as server:
        yield server


@pytest.fixture(scope="session", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Return each kind of server."""
    return str(request.param)


@pytest.fixture(scope="session")
def any_server(kind: str, request: pytest.FixtureRequest) -> PostgresServer | MySQLServer:
    """Return a server of each kind."""
    server: PostgresServer | MySQLServer = request.getfixturevalue(kind)
    return server


@pytest.fixture(scope="session", params=KINDS[1:])
def any_mysql(request: pytest.FixtureRequest) -> MySQLServer:
    """Return a server of each kind that the dialect of MySQL is for."""
    server: MySQLServer = request.getfixturevalue(request.param)
    return server


@pytest.fixture
def any_database(any_server: PostgresServer | MySQLServer) -> str:
    """Return the URL of an empty database of each kind."""
    return any_server.create(f"test_{next(_NUMBERS)}")


@pytest.fixture
def database(postgres: PostgresServer) -> str:
    """Return the URL of an empty database."""
    return postgres.create(f"test_{next(_NUMBERS)}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what runs over MySQL, and let PyMySQL 1.2 leave sockets open, as it does."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            call = getattr(item, "callspec", None)
            if call is not None and "mysql" in call.params.values():
                item.add_marker("mysql")
            item.add_marker(
                pytest.mark.filterwarnings(
                    r"ignore:unclosed <socket\.socket fd=\d+, family=1,:ResourceWarning"
                )
            )
