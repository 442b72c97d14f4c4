"""What a call costs, and what memory it leaves behind, as more and more events wait."""

from __future__ import annotations

import statistics
import tracemalloc
from typing import TYPE_CHECKING

from tests.bench.adapters import load_client
from tests.bench.resident import memory
from tests.bench.timing import settle_heap, summarize, time_calls

if TYPE_CHECKING:
    from pathlib import Path

    from tests.bench.adapters import Client, Session
    from tests.bench.tasks import Task

_BLOCK = 500
_FIRST = 1_000


def run(task: Task, directory: Path) -> dict[str, float]:
    """Queue up to ``events`` events, with a reading at 1,000, 10,000 and so on.

    The caller's objects live only as long as their block of 500 calls.
    The first 500 events, which open files and fill caches, come before all readings.
    """
    client = load_client(task.key.subject)
    session = client.idle(directory)
    _queue(client, session, 0, _BLOCK)
    settle_heap()
    if task.key.variant == "heap":
        return _traced(client, session, task.size("events"))
    return _resident(client, session, task.size("events"))


def _resident(client: Client, session: Session, events: int) -> dict[str, float]:
    figures: dict[str, float] = {}
    before = memory()["RssAnon"]
    reached, queued = _FIRST, 0
    while reached <= events:
        blocks = _queue(client, session, queued + _BLOCK, reached - queued)
        queued = reached
        grown = memory()["RssAnon"] - before
        figures[f"p50@{reached}"] = statistics.median(block["p50"] for block in blocks)
        figures[f"mean@{reached}"] = statistics.mean(block["mean"] for block in blocks)
        figures[f"grown@{reached}"] = grown / reached
        reached *= 10
    return figures


def _traced(client: Client, session: Session, events: int) -> dict[str, float]:
    tracemalloc.start()
    _queue(client, session, _BLOCK, _BLOCK)
    before, _ = tracemalloc.get_traced_memory()
    _queue(client, session, 2 * _BLOCK, events)
    after, _ = tracemalloc.get_traced_memory()
    return {"heap": (after - before) / events}


def _queue(client: Client, session: Session, first: int, events: int) -> list[dict[str, float]]:
    blocks = []
    for start in range(first, first + events, _BLOCK):
        sales = [client.sale(number) for number in range(start, start + _BLOCK)]
        blocks.append(summarize(time_calls(session.track, sales)))
    return blocks
