"""From a queue that is full to the last event's arrival at each of several destinations."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tests.bench.adapters import DESTINATIONS, load_queue
from tests.bench.sink_process import running_sink
from tests.bench.timing import settle_heap, summarize, time_calls

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.bench.adapters import Spent
    from tests.bench.tasks import Task


def run(task: Task, directory: Path) -> dict[str, float]:
    """Put ``events`` events into the queue, ``size`` at once, and have them delivered.

    Figures of calls are for one event; a rate is of events that arrived everywhere.
    """
    queue = load_queue(task.key.subject)
    events, size = task.size("events"), task.size("size")
    pieces = [range(start, min(start + size, events)) for start in range(0, events, size)]
    with (
        running_sink(queue.MARKER, directory) as sink,
        queue.opened(directory, sink.url) as waiting,
    ):
        settle_heap()
        spent = [waiting.spent()]
        samples = time_calls(waiting.put, pieces)
        waiting.settle()
        spent.append(waiting.spent())
        start = time.perf_counter()
        waiting.drain()
        arrived = sink.wait_for(events * DESTINATIONS)
        received = sink.received()
        spent.append(waiting.spent())
    calls = summarize([round(sample / size) for sample in samples])
    return (
        {f"put {name}": value for name, value in calls.items()}
        | spending(spent, events)
        | {
            "rate": received.events / DESTINATIONS / (arrived - start),
            "share": received.events / DESTINATIONS / events,
            "requests": float(received.requests),
        }
    )


def spending(spent: Sequence[Spent | None], events: int) -> dict[str, float]:
    """Give what the server spent to take each event, and until it was delivered."""
    before, put, done = spent
    if before is None or put is None or done is None:
        return {}
    return put.since(before, "put", events) | done.since(before, "all", events)
