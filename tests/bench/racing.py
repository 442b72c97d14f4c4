"""Start several threads at once and take the time until the last is done."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def race(runners: Sequence[Callable[[], object]]) -> float:
    """Run each of `runners` in a thread of its own.

    Returns:
        The seconds from the common start to the last one's end.
    """
    gate = threading.Barrier(len(runners) + 1)

    def wait_and_run(runner: Callable[[], object]) -> None:
        gate.wait()
        runner()

    threads = [threading.Thread(target=wait_and_run, args=(runner,)) for runner in runners]
    for thread in threads:
        thread.start()
    gate.wait()
    start = time.perf_counter()
    for thread in threads:
        thread.join()
    return time.perf_counter() - start
