"""Celery over Redis: a task for each destination, of one event or of many.

Redis writes to its disk once a second, as is usual. A worker of two processes acknowledges late.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

import celery
import httpx

from tests.bench.adapters import DESTINATIONS, EVENT_MARKER, Waiting, body

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MARKER = EVENT_MARKER
_QUEUE = "events"
_IDLE_QUEUE = "idle"
_STARTING_S = 60

app = celery.Celery("bench", broker=os.environ.get("BENCH_BROKER"))
app.conf.update(task_acks_late=True, task_ignore_result=True, task_default_queue=_QUEUE)
app.conf.update(worker_enable_remote_control=True, broker_connection_retry_on_startup=True)


@cache
def _sender() -> httpx.Client:
    return httpx.Client(timeout=60)


@app.task(name="send")
def send(destination: int, events: str) -> None:
    """Send events to one destination."""
    _sender().post(f"{os.environ['BENCH_SINK']}/{destination}", content=events).raise_for_status()


@contextmanager
def opened(directory: Path, url: str) -> Iterator[Waiting]:
    """Open a queue in a server of its own; its worker waits to be told to begin."""
    work = [sys.executable, "-m", "celery", "-A", __name__, "worker", "-Q", _IDLE_QUEUE]
    work += ["--concurrency", "2", "--loglevel", "ERROR"]
    quiet = subprocess.DEVNULL
    with running_broker(directory) as broker:
        environ = os.environ | {"BENCH_BROKER": broker, "BENCH_SINK": url}
        with subprocess.Popen(work, env=environ, stdout=quiet, stderr=quiet) as worker:
            try:
                _wait_for_worker()
                yield Waiting(_put, _begin)
            finally:
                worker.kill()


@contextmanager
def running_broker(directory: Path) -> Iterator[str]:
    """Run a Redis server that tasks go to; give its address."""
    socket = directory / "redis.sock"
    command = ["redis-server", "--port", "0", "--unixsocket", str(socket), "--dir", str(directory)]
    command += ["--appendonly", "yes", "--appendfsync", "everysec", "--save", ""]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        try:
            while not socket.exists():
                assert server.poll() is None
            app.conf.broker_url = f"redis+socket://{socket}"
            yield app.conf.broker_url
        finally:
            server.kill()


def _wait_for_worker() -> None:
    for _ in range(_STARTING_S):
        if app.control.ping(timeout=1.0):
            return
    raise RuntimeError("the worker did not start")


def _put(numbers: range) -> None:
    events = body(numbers)
    for destination in range(DESTINATIONS):
        send.delay(destination, events)


def _begin() -> None:
    app.control.add_consumer(_QUEUE)
