"""What ``import`` costs a fresh interpreter, in time and in memory."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from tests.bench.tasks import Task

_ASKED_FOR = {"adcp_tracker": ("Interchange", "Order", "Tracker")}
"""Names that are asked for as well, so that nothing is gained by loading them late."""

_PROGRAM = """
import importlib, json, sys, time
from tests.bench.resident import memory
before = memory()["VmRSS"]
start = time.perf_counter()
module = importlib.import_module(sys.argv[1])
for name in sys.argv[2:]:
    getattr(module, name)
seconds = time.perf_counter() - start
print(json.dumps([seconds * 1e3, memory()["VmRSS"] - before]))
"""


def run(task: Task, directory: Path) -> dict[str, float]:
    """Import ``repeats`` times over, each in a new interpreter, and take the medians.

    One more comes first and is not counted: it writes the bytecode, to a folder of its own,
    so that everything measured is read from bytecode as in production.
    """
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(directory / "bytecode")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [sys.executable, "-c", _PROGRAM, task.key.subject]
    command += _ASKED_FOR.get(task.key.subject, ())
    readings = [
        json.loads(subprocess.check_output(command, env=environment))
        for _ in range(1 + task.size("repeats"))
    ][1:]
    return {
        "ms": statistics.median(milliseconds for milliseconds, _ in readings),
        "rss": statistics.median(size for _, size in readings),
    }
