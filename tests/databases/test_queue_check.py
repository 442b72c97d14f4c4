"""``adcp-tracker queue check``, and the rights that it and a shop need."""

from __future__ import annotations

import json
import re
import uuid
from pathlib import Path

import psycopg
import pytest

from adcp_tracker import Tracker
from adcp_tracker.outbox.database import migrate
from adcp_tracker.testing import RecordingDestination
from tests.cli.program import run

ORDER = {"id": "A-1", "total": "59.90", "currency": "EUR"}


@pytest.fixture
def url(database: str) -> str:
    """Return the URL of a new queue in PostgreSQL."""
    migrate(database)
    return database


def test_a_check_names_what_may_lose_or_slow_events(url: str) -> None:
    """Who delivers, rights, durability and transactions that stay open; each with a remedy."""
    alone = run("queue", "check", "--queue", url)
    assert (alone.code, alone.err) == (1, "")
    assert "warning queue: Nobody delivers queue 0.\n       Start adcp-tracker" in alone.out
    assert "A commit is on the server's disk before it returns." in alone.out

    with Tracker([RecordingDestination()], queue=url) as worker:
        worker.track_purchase(ORDER)
        worker.flush(30)
        well = run("queue", "check", "--queue", url, "--json")
        assert {each["level"] for each in json.loads(well.out)["findings"]} == {"ok"}
        assert well.code == 0

    shop = _shop_user(url)
    lacking = run("queue", "check", "--queue", shop, PGOPTIONS="-c synchronous_commit=off")
    assert lacking.code == 1
    text = " ".join(lacking.out.split())
    assert "DELETE on adcp_log" in text
    assert "synchronous_commit is off" in text
    with Tracker([], queue=shop) as tracker:  # and yet it may do what a shop does
        tracker.track_purchase({**ORDER, "id": "A-2"})
        assert tracker.stats().in_memory == 0


def _shop_user(url: str) -> str:
    """Return the URL of a user with the rights that the docs give to a shop."""
    page = Path(__file__).parents[2] / "docs" / "howto" / "several-machines.md"
    grants = re.findall(r"^(GRANT .*) TO shop;$", page.read_text(encoding="utf-8"), re.MULTILINE)
    name = f"shop_{uuid.uuid4().hex}"
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in (f"CREATE ROLE {name} LOGIN", *(f"{each} TO {name}" for each in grants)):
            connection.execute(statement.encode())
    return url.replace("postgres@", f"{name}@")
