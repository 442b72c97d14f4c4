"""How much memory a process needs to carry, and to deliver, a backlog that another one left."""

from __future__ import annotations

import multiprocessing
from typing import TYPE_CHECKING

from tests.bench.adapters import load_client
from tests.bench.resident import memory
from tests.bench.sink_process import running_sink

if TYPE_CHECKING:
    from pathlib import Path

    from tests.bench.tasks import Task

_NOBODY = "http://127.0.0.1:9"
_BLOCK = 10_000


def run(task: Task, directory: Path) -> dict[str, float]:
    """Leave ``events`` events behind in another process, then open the queue in this one.

    ``down``: nobody listens at the seller's address. ``drain``: the sink takes everything.
    """
    events = task.size("events")
    queue = directory / "queue"
    queue.mkdir(mode=0o700)
    filler = multiprocessing.get_context("fork").Process(
        target=_fill, args=(task.key.subject, queue, events)
    )
    filler.start()
    filler.join()
    if task.key.variant.startswith("down"):
        return _carry(task.key.subject, queue, events)
    return _drain(task.key.subject, queue, events, directory)


def _fill(subject: str, queue: Path, events: int) -> None:
    client = load_client(subject)
    session = client.idle(queue)
    for number in range(events):
        session.track(client.sale(number))


def _carry(subject: str, queue: Path, events: int) -> dict[str, float]:
    client = load_client(subject)
    session = client.live(queue, _NOBODY)
    session.track(client.sale(events))
    session.flush()
    return memory()


def _drain(subject: str, queue: Path, events: int, directory: Path) -> dict[str, float]:
    client = load_client(subject)
    with running_sink(client.MARKER, directory) as sink:
        session = client.live(queue, sink.url)
        session.track(client.sale(events))
        session.flush()
        sink.wait_for(events + 1)
        return memory() | {"share": sink.received().events / (events + 1)}
