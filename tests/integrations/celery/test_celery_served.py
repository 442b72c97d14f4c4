"""Celery's pools: events of tasks in children that are forked, recycled and green."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.integrations.servers import ROOT, SCRIPTS, shop_environment

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.seller import SellerProcess

TASKS = "tests.integrations.celery.celery_tasks"
ORDERS = 500
_SECONDS = 500.0
_STOP_SECONDS = 20.0

_SEND = f"""
from {TASKS} import paid
for number in range({ORDERS}):
    order = {{"id": f"o-{{number}}", "total": "1.00", "currency": "EUR"}}
    paid.delay({{**order, "email": "a@shop.example"}})
"""


@pytest.mark.parametrize(
    ("options", "tasks_per_child"),
    [
        (["--pool", "prefork", "--concurrency", "2"], "0"),
        # Celery replaces children about once a second, however many have ended.
        (["--pool", "prefork", "--concurrency", "8"], "1"),
        (["--pool", "gevent", "--concurrency", "20"], "0"),
    ],
    ids=["prefork", "one-task-per-child", "gevent"],
)
def test_every_task_is_delivered(
    options: list[str], tasks_per_child: str, tmp_path: Path, seller_process: SellerProcess
) -> None:
    """500 tasks make 500 events, also where each child ends after its first task."""
    broker = tmp_path / "broker"
    for folder in (broker, tmp_path / "broker-control"):
        folder.mkdir()
    environment = shop_environment(
        tmp_path / "queue",
        seller_process,
        SHOP_BROKER=str(broker),
        SHOP_TASKS_PER_CHILD=tasks_per_child,
        PYTHONWARNINGS="default",
    )
    quiet = ["--loglevel", "WARNING", "--without-gossip", "--without-mingle", "--without-heartbeat"]
    command = [str(SCRIPTS / "celery"), "-A", TASKS, "worker", *quiet, *options]
    subprocess.run([sys.executable, "-c", _SEND], cwd=ROOT, env=environment, check=True)
    log = tmp_path / "worker.log"
    with log.open("wb") as output:
        worker = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=output)
    try:
        _await_tasks(broker, worker)
        seller_process.wait_for(ORDERS, timeout=20)
        assert {event["event_id"] for event in seller_process.events} == {
            f"o-{number}" for number in range(ORDERS)
        }
        assert seller_process.counts["duplicates"] == 0
    finally:
        worker.terminate()
        try:
            worker.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()
    assert "Traceback" not in log.read_text()


def _await_tasks(broker: Path, worker: subprocess.Popen[bytes]) -> None:
    """Wait until the broker has no task left."""
    deadline = time.monotonic() + _SECONDS
    while any(broker.iterdir()):
        assert worker.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
