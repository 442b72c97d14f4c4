"""What a web framework's request costs bare, with the middleware, and with an event too."""

from __future__ import annotations

import importlib
import statistics
import time
from typing import TYPE_CHECKING

from tests.bench.timing import settle_heap

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.bench.tasks import Task

_BLOCK = 100
_WARM_UP = 300


def run(task: Task, directory: Path) -> dict[str, float]:
    """Time each way in blocks of 100 requests, in turns, so that drift meets them all alike.

    The three are in one process, and a ratio is the median of those within a turn.
    """
    site = importlib.import_module(f"tests.bench.sites.{task.key.subject}")
    ways: dict[str, Callable[[int], None]] = site.ways(directory)
    for ask in ways.values():
        ask(_WARM_UP)
    settle_heap()
    turns = [_turn(ways, number) for number in range(task.size("calls") // _BLOCK)]
    figures = {name: statistics.median(turn[name] for turn in turns) for name in ways}
    ratios = {
        f"{name}/bare": statistics.median(turn[name] / turn["bare"] for turn in turns)
        for name in ("quiet", "event")
    }
    return figures | ratios


def _turn(ways: dict[str, Callable[[int], None]], number: int) -> dict[str, float]:
    """Time a block of each way; another one is the first in the next turn."""
    names = list(ways)
    first = number % len(names)
    return {name: _block(ways[name]) for name in (*names[first:], *names[:first])}


def _block(ask: Callable[[int], None]) -> float:
    start = time.process_time()
    ask(_BLOCK)
    return (time.process_time() - start) / _BLOCK * 1e6
