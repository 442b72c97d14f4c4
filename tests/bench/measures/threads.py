"""How many calls a second several threads make together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.bench.adapters import load_client
from tests.bench.racing import race
from tests.bench.timing import settle_heap, time_calls

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tests.bench.tasks import Task

_WARM_UP = 1_000


def run(task: Task, directory: Path) -> dict[str, float]:
    """Let ``threads`` threads make ``calls`` calls between them."""
    client = load_client(task.key.subject)
    session = client.idle(directory)
    time_calls(session.track, [client.sale(number) for number in range(_WARM_UP)])
    count, threads = task.size("calls"), task.size("threads")
    sales = [client.sale(number) for number in range(_WARM_UP, _WARM_UP + count)]
    shares = [sales[first::threads] for first in range(threads)]
    settle_heap()
    return {"rate": count / race([_caller(session.track, share) for share in shares])}


def _caller(track: Callable[[object], object], sales: Sequence[object]) -> Callable[[], None]:
    def call_all() -> None:
        for sale in sales:
            track(sale)

    return call_all
