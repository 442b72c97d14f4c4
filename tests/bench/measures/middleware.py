"""What a web framework's request costs bare, with the middleware, and with an event too."""

from __future__ import annotations

import importlib
import statistics
import time
from typing import TYPE_CHECKING

from tests.bench.timing import settle_heap

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tests.bench.tasks import Task

    Ways = Mapping[str, Callable[[], float]]

_BLOCK = 100
_OTHERS = ("event", "quiet", "capture")
_WARM_UP = 300


def run(task: Task, directory: Path) -> dict[str, float]:
    """Time each way in blocks of 100 requests, all of them in one process."""
    site = importlib.import_module(f"tests.bench.sites.{task.key.subject}")
    ways: dict[str, Callable[[int], None]] = site.ways(directory)
    for ask in ways.values():
        ask(_WARM_UP)
    settle_heap()
    asked = {name: _timed(ask) for name, ask in ways.items()}
    return in_turns(asked, task.size("calls") // _BLOCK)


def in_turns(ways: Ways, count: int) -> dict[str, float]:
    """Measure blocks of the bare site and of another way in turns, so that drift meets both alike.

    Each other way is measured with a block of the bare one of its own, and the ways take turns,
    so that a machine that is busy for a while is busy for all of them.

    Args:
        ways: Each asks one block of requests, and returns what one of them took, in µs:
            ``bare``, ``quiet`` with the middleware, ``event`` with an event as well, and
            ``capture`` with a peer's event in a bare site.
        count: How many turns.

    Returns:
        The medians, and those of the ratios to ``bare`` and of what is over it within a turn.
    """
    figures: dict[str, float] = {}
    measured: dict[str, list[tuple[float, float]]] = {each: [] for each in _OTHERS if each in ways}
    for number in range(count):
        for name, turns in measured.items():
            turns.append(_turn(ways["bare"], ways[name], number))
    for name, turns in measured.items():
        figures["bare"] = statistics.median(bare for bare, _ in turns)
        figures[name] = statistics.median(other for _, other in turns)
        figures[f"{name}/bare"] = statistics.median(other / bare for bare, other in turns)
        figures[f"{name}-bare"] = statistics.median(other - bare for bare, other in turns)
    if figures.get("capture-bare"):
        figures["event/capture"] = figures["event-bare"] / figures["capture-bare"]
    return figures


def _turn(
    bare: Callable[[], float], other: Callable[[], float], number: int
) -> tuple[float, float]:
    """Measure a block of each, the other one first in every second turn."""
    if number % 2:
        second = other()
        return bare(), second
    return bare(), other()


def _timed(ask: Callable[[int], None]) -> Callable[[], float]:
    def block() -> float:
        start = time.process_time()
        ask(_BLOCK)
        return (time.process_time() - start) / _BLOCK * 1e6

    return block
