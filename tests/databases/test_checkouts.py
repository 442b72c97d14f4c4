"""Committed means delivered: checkouts with random ends, in shops that are killed.

A share of it runs here. All of it: ``CHECKOUTS=10000 python -m pytest -n0 -s -m databases
--database-points all tests/databases/test_checkouts.py``.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import psycopg
import pytest

from adcp_tracker import Tracker
from adcp_tracker.outbox.database import migrate
from adcp_tracker.testing import RecordingDestination
from tests.support import checkouts
from tests.support.destinations import wait_until
from tests.support.seller import ADVERTISER, SOURCE, TOKEN

if TYPE_CHECKING:
    from tests.support.seller import SellerProcess

COUNT = int(os.environ.get("CHECKOUTS", "100"))
LONGEST_S = 60.0 + COUNT * 0.1


@pytest.mark.timeout(LONGEST_S + 120)
@pytest.mark.parametrize("kind", list(checkouts.SHOPS))
def test_exactly_the_committed_orders_arrive_once_each(
    kind: str, database: str, seller_process: SellerProcess
) -> None:
    """With rollbacks, savepoints and SIGKILL at random moments, of shops and of workers."""
    migrate(database)
    with psycopg.connect(database) as connection:
        connection.execute(checkouts.CREATE)
    seed = random.randrange(1_000_000)  # noqa: S311 - no secret
    environ = os.environ | {
        "ADCP_QUEUE": database,
        "ADCP_BASE_URL": seller_process.url,
        "ADCP_ADVERTISER_ID": ADVERTISER,
        "ADCP_EVENT_SOURCE_ID": SOURCE,
        "ADCP_API_KEY": TOKEN,
        "ADCP_FLUSH_INTERVAL": "0.1",
    }
    command = [sys.executable, "-m", "adcp_tracker", "worker"]
    workers = [subprocess.Popen(command, env=environ) for _ in range(1 if COUNT < 1000 else 2)]
    started = time.monotonic()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "tests.support.checkouts", kind, str(COUNT), str(seed)],
            env=os.environ | {"SHOP_DATABASE": database, "PYTHONPATH": "integrations"},
            capture_output=True,
            text=True,
            check=False,
            timeout=LONGEST_S,
        )
        assert done.returncode == 0, f"seed {seed}: {done.stderr}"
        if len(workers) > 1:  # one of them may lead
            workers[0].kill()
            workers[0].wait()
        orders = set(checkouts.bought(database))
        wait_until(lambda: seller_process.counts["good"] >= len(orders), LONGEST_S)
        wait_until(lambda: _waiting(database) == 0, LONGEST_S)
    finally:
        for worker in workers:
            worker.terminate()
            worker.wait()

    assert int(done.stdout) > 0, seed
    assert len(orders) > COUNT / 10, seed
    events = seller_process.event_ids
    assert (sorted(events), seller_process.counts["duplicates"]) == (sorted(orders), 0), seed
    seconds = time.monotonic() - started
    sys.stdout.write(
        f"\n{kind}: {COUNT} checkouts, {int(done.stdout)} shops killed, {len(orders)} orders, "
        f"{len(events)} delivered, {seconds:.0f} s\n"
    )


@pytest.mark.timeout(0)
@pytest.mark.parametrize("kind", list(checkouts.SHOPS))
def test_an_order_and_its_event_share_their_fate_at_every_line(
    kind: str, database: str, pytestconfig: pytest.Config
) -> None:
    """Wherever a shop is killed in a checkout: what was committed is delivered, nothing else."""
    migrate(database)
    with psycopg.connect(database) as connection:
        connection.execute(checkouts.CREATE)
    wanted = str(pytestconfig.getoption("--database-points", default="share"))
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.checkouts", kind, "lines", wanted],
        env=os.environ | {"SHOP_DATABASE": database, "PYTHONPATH": "integrations"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    orders = checkouts.bought(database)
    seller = RecordingDestination()
    with Tracker([seller], queue=database) as worker:
        assert worker.flush(LONGEST_S).pending == 0
    assert sorted(event.event_id for event in seller.events) == sorted(orders)
    after = set(orders).intersection(figures["killed"])
    sys.stdout.write(
        f"\n{kind}: {len(figures['killed'])} shops killed in {figures['lines']} lines, "
        f"{len(after)} of them after the commit, {time.monotonic() - started:.0f} s\n"
    )
    assert len(figures["killed"]) > len(after) > 0


def _waiting(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT count(*) FROM adcp_intake").fetchone()
    assert row is not None
    return int(row[0])
