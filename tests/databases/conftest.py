"""Servers of the tests' own."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import TYPE_CHECKING

import django
import pytest

from tests.support.mysql import run_mariadb
from tests.support.postgres import run_postgres

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.mysql import MySQLServer
    from tests.support.postgres import PostgresServer

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.integrations.django.shop.settings")
django.setup()

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


@pytest.fixture(params=["postgres", "mariadb"])
def any_server(request: pytest.FixtureRequest) -> PostgresServer | MySQLServer:
    """Return a server of each kind."""
    server: PostgresServer | MySQLServer = request.getfixturevalue(request.param)
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
    """Let PyMySQL 1.2 leave Unix sockets open that it could not connect, as it does."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(
                pytest.mark.filterwarnings(
                    r"ignore:unclosed <socket\.socket fd=\d+, family=1,:ResourceWarning"
                )
            )
