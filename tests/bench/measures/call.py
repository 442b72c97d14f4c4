"""What one call costs its caller, with nothing being delivered meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.bench.adapters import load_client
from tests.bench.resident import process_cpu_s
from tests.bench.timing import settle_heap, summarize, time_calls

if TYPE_CHECKING:
    from pathlib import Path

    from tests.bench.tasks import Task

_WARM_UP = 1_000


def run(task: Task, directory: Path) -> dict[str, float]:
    """Time ``calls`` calls one by one."""
    client = load_client(task.key.subject)
    session = client.idle(directory)
    calls = task.size("calls")
    time_calls(session.track, [client.sale(number) for number in range(_WARM_UP)])
    sales = [client.sale(number) for number in range(_WARM_UP, _WARM_UP + calls)]
    settle_heap()
    cpu_before = process_cpu_s()
    samples = time_calls(session.track, sales)
    cpu_s = process_cpu_s() - cpu_before
    return summarize(samples) | {"cpu": cpu_s / calls * 1e6}
