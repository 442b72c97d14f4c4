"""From the first call until the last event has arrived at the sink."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tests.bench.adapters import load_client
from tests.bench.resident import memory, process_cpu_s
from tests.bench.sink_process import running_sink
from tests.bench.timing import settle_heap, summarize, time_calls

if TYPE_CHECKING:
    from pathlib import Path

    from tests.bench.tasks import Task


def run(task: Task, directory: Path) -> dict[str, float]:
    """Track ``events`` events as fast as the calls return, flush, and wait for their arrival.

    The CPU is that of this process with all its threads, for calls and delivery together.
    """
    client = load_client(task.key.subject)
    events = task.size("events")
    with running_sink(client.MARKER, directory) as sink:
        session = client.live(directory, sink.url)
        sales = [client.sale(number) for number in range(events)]
        settle_heap()
        cpu_before, start = process_cpu_s(), time.perf_counter()
        samples = time_calls(session.track, sales)
        called = time.perf_counter()
        session.flush()
        arrived = sink.wait_for(events)
        cpu_s = process_cpu_s() - cpu_before
        received = sink.received()
    seconds = max(arrived, called) - start
    return summarize(samples) | {
        "rate": received.events / seconds,
        "cpu": cpu_s / events * 1e6,
        "share": received.events / events,
        "requests": float(received.requests),
        "bytes": received.body_bytes / max(1, received.events),
        "sink_busy": received.cpu_ns / 1e9 / seconds,
        "peak": memory()["VmHWM"],
    }
