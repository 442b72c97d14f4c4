"""Servers of the tests' own."""

from __future__ import annotations

import itertools
import os
from typing import TYPE_CHECKING

import django
import pytest

from tests.support.postgres import run_postgres

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.postgres import PostgresServer

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.integrations.django.shop.settings")
django.setup()

_NUMBERS = itertools.count()


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """Run a PostgreSQL server."""
    with run_postgres() as server:
        yield server


@pytest.fixture
def database(postgres: PostgresServer) -> str:
    """Return the URL of an empty database."""
    return postgres.create(f"test_{next(_NUMBERS)}")
