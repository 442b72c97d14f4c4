"""What one call costs its caller while other threads compute in Python."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.bench.adapters import load_client
from tests.bench.timing import cpu_bound_threads, settle_heap, summarize, time_bursts, time_calls

if TYPE_CHECKING:
    from pathlib import Path

    from tests.bench.tasks import Task

_WARM_UP = 1_000
BURST = 5


def run(task: Task, directory: Path) -> dict[str, float]:
    """Time calls in bursts beside ``burners`` threads, for ``seconds`` at most."""
    client = load_client(task.key.subject)
    session = client.idle(directory)
    time_calls(session.track, [client.sale(number) for number in range(_WARM_UP)])
    last = _WARM_UP + task.size("calls")
    sales = [client.sale(number) for number in range(_WARM_UP, last)]
    settle_heap()
    with cpu_bound_threads(task.size("burners")):
        samples = time_bursts(session.track, sales, BURST, task.options["seconds"])
    return summarize(samples)
