"""What one durable append costs: alone, beside CPU-bound threads, in threads, in processes."""

from __future__ import annotations

import multiprocessing
import time
from functools import partial
from typing import TYPE_CHECKING

from tests.bench.adapters import load_store
from tests.bench.racing import race
from tests.bench.sales import record
from tests.bench.timing import cpu_bound_threads, settle_heap, summarize, time_bursts, time_calls

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection
    from multiprocessing.synchronize import Barrier, Lock
    from pathlib import Path

    from tests.bench.tasks import Task

_WARM_UP = 200
_BETWEEN_LOOKS = 50
_BURST = 5


def run(task: Task, directory: Path) -> dict[str, float]:
    """Measure the store in the way the task's ``mode`` says."""
    return _MODES[task.key.variant.partition("-")[0]](task, directory)


def _alone(task: Task, directory: Path) -> dict[str, float]:
    append = load_store(task.key.subject).appender(directory)
    time_calls(append, [record(number) for number in range(_WARM_UP)])
    records = [record(number) for number in range(task.size("appends"))]
    settle_heap()
    deadline = time.perf_counter() + task.options["seconds"]
    samples = time_calls(append, records[:_WARM_UP])
    for first in range(_WARM_UP, len(records), _WARM_UP):
        if time.perf_counter() > deadline:
            break
        samples.extend(time_calls(append, records[first : first + _WARM_UP]))
    return summarize(samples)


def _beside(task: Task, directory: Path) -> dict[str, float]:
    append = load_store(task.key.subject).appender(directory)
    time_calls(append, [record(number) for number in range(_WARM_UP)])
    records = [record(number) for number in range(task.size("appends"))]
    settle_heap()
    with cpu_bound_threads(task.size("burners")):
        samples = time_bursts(append, records, _BURST, task.options["seconds"])
    return summarize(samples)


def _threads(task: Task, directory: Path) -> dict[str, float]:
    append = load_store(task.key.subject).appender(directory)
    counts: list[int] = []
    work = partial(_append_for, append, task.options["seconds"])
    elapsed = race([lambda: counts.append(work())] * task.size("workers"))
    return {"rate": sum(counts) / elapsed}


def _processes(task: Task, directory: Path) -> dict[str, float]:
    context = multiprocessing.get_context("fork")
    workers = task.size("workers")
    turn, gate = context.Lock(), context.Barrier(workers)
    ends = [context.Pipe(duplex=False) for _ in range(workers)]
    children = [
        context.Process(target=_append_in_child, args=(task, directory, turn, gate, sender))
        for _, sender in ends
    ]
    for child in children:
        child.start()
    for _, sender in ends:
        sender.close()  # a child that dies is then the end of its pipe, not a wait for ever
    rates: list[float] = [receiver.recv() for receiver, _ in ends]
    for child in children:
        child.join()
    return {"rate": sum(rates)}


def _append_in_child(
    task: Task, directory: Path, turn: Lock, gate: Barrier, sender: Connection
) -> None:
    try:
        with turn:  # some stores cannot be made by two at once, and making is not measured
            append = load_store(task.key.subject).appender(directory)
            append(record(0))
    except BaseException:
        gate.abort()
        raise
    gate.wait()
    start = time.perf_counter()
    count = _append_for(append, task.options["seconds"])
    sender.send(count / (time.perf_counter() - start))


def _append_for(append: Callable[[bytes], object], seconds: float) -> int:
    data = record(1)
    deadline = time.perf_counter() + seconds
    count = 0
    while time.perf_counter() < deadline:
        for _ in range(_BETWEEN_LOOKS):
            append(data)
        count += _BETWEEN_LOOKS
    return count


_MODES = {"alone": _alone, "beside": _beside, "threads": _threads, "processes": _processes}
