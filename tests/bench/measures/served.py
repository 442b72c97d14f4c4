"""What a request costs the process that answers it, under the server that a site runs on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.bench.measures.middleware import in_turns
from tests.bench.sites.requests import BARE_QUERY, QUERY
from tests.bench.sites.serving import Worker, serving
from tests.bench.sites.shop import BUY, PAGE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.bench.tasks import Task

_BLOCK = 100
_WARM_UP = 500


def run(task: Task, directory: Path) -> dict[str, float]:
    """Serve the bare site and the tracked one, and ask both in turns, in blocks of 100.

    One worker has both, so that they share whatever else makes a process slow or quick, and
    chooses by the query. What is counted is its processor time.
    """
    with serving(task.key.subject, directory) as worker:
        ways = {
            "bare": _asking(worker, f"{PAGE}?{BARE_QUERY}"),
            "quiet": _asking(worker, f"{PAGE}?{QUERY}"),
            "event": _asking(worker, f"{BUY}?{QUERY}"),
        }
        for ask in ways.values():
            for _ in range(_WARM_UP // _BLOCK):
                ask()
        return in_turns(ways, task.size("calls") // _BLOCK)


def _asking(worker: Worker, target: str) -> Callable[[], float]:
    def ask() -> float:
        start = worker.cpu_us()
        worker.browser.ask(target, _BLOCK)
        return (worker.cpu_us() - start) / _BLOCK

    return ask
