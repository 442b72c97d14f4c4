"""Clocks and what is made of their readings."""

from __future__ import annotations

import gc
import threading
import time
from array import array
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Item = TypeVar("Item")

_NS_PER_US = 1_000
_PAUSE_S = 0.0005


def time_calls(call: Callable[[Item], object], items: Sequence[Item]) -> array[int]:
    """Time each call on its own, in nanoseconds."""
    clock = time.perf_counter_ns
    samples = array("q", bytes(8 * len(items)))
    for index, item in enumerate(items):
        start = clock()
        call(item)
        samples[index] = clock() - start
    return samples


def time_bursts(
    call: Callable[[Item], object], items: Sequence[Item], burst: int, limit_s: float
) -> array[int]:
    """Time the calls in bursts, each after a short sleep, until `limit_s` has passed.

    So does a thread of a server that wakes up for a request, tracks, and waits for the next:
    each burst begins just after the thread was given the interpreter lock.
    """
    samples = array("q")
    deadline = time.perf_counter() + limit_s
    for first in range(0, len(items), burst):
        if time.perf_counter() > deadline:
            break
        time.sleep(_PAUSE_S)
        samples.extend(time_calls(call, items[first : first + burst]))
    return samples


def _clock_overhead() -> int:
    clock = time.perf_counter_ns
    samples = []
    for _ in range(2_001):
        start = clock()
        samples.append(clock() - start)
    return sorted(samples)[1_000]


def percentile(ordered: Sequence[int], share: float) -> float:
    """Give the sample that `share` of all are not above, in µs (nearest rank)."""
    rank = max(0, min(len(ordered) - 1, -int(-share * len(ordered) // 1) - 1))
    return ordered[rank] / _NS_PER_US


def summarize(samples: Sequence[int]) -> dict[str, float]:
    """Reduce samples in ns, less what the clock costs, to their median, tails and mean, in µs."""
    overhead = _clock_overhead()
    ordered = sorted(max(0, sample - overhead) for sample in samples)
    return {
        "p50": percentile(ordered, 0.50),
        "p99": percentile(ordered, 0.99),
        "p99.9": percentile(ordered, 0.999),
        "mean": sum(ordered) / len(ordered) / _NS_PER_US,
        "calls": float(len(ordered)),
    }


def settle_heap() -> None:
    """Put what was prepared out of the collector's sight.

    The collector stays on, as in production;
    it is only kept from walking the benchmark's own inputs at the measured call's expense.
    """
    gc.collect()
    gc.freeze()


@contextmanager
def cpu_bound_threads(count: int) -> Iterator[None]:
    """Keep `count` threads computing in Python for as long as the block runs."""
    stop = threading.Event()
    threads = [threading.Thread(target=_compute, args=(stop,), daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def _compute(stop: threading.Event) -> None:
    total = 0
    while not stop.is_set():
        for number in range(5_000):
            total += number * number
