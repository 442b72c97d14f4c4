"""Run the plan: one process per measurement, and everything once before anything twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.results import Results
from tests.bench.subjects import CLIENTS, IMPORTS, SITES, STORES
from tests.bench.worker import FIGURES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.bench.plan import Section
    from tests.bench.tasks import Figures, Task

ROOT = Path(__file__).parents[2]
_TIMEOUT_S = 600
_TOLD = 300


class MeasurementError(RuntimeError):
    """A measurement's process failed; the message is the last line of its stderr."""


def run(plan: Iterable[Section], progress: Callable[[str], None]) -> Results:
    """Make every measurement of `plan`, the rounds of a section interleaved.

    Each round begins with another subject, so that none is always the first.
    A subject that is not installed, or fails, is noted and not tried again.
    """
    results = Results()
    for section in plan:
        for number in range(section.rounds):
            progress(f"{section.name}: round {number + 1} of {section.rounds}")
            turn = number % len(section.tasks)
            for task in (*section.tasks[turn:], *section.tasks[:turn]):
                _measure_into(results, task, number)
    return results


def _measure_into(results: Results, task: Task, number: int) -> None:
    if task.key in results.problems:
        return
    if not _installed(task):
        results.fail(task.key, "not installed")
        return
    try:
        results.add(task.key, number, measure(task))
    except (MeasurementError, subprocess.TimeoutExpired) as error:
        results.fail(task.key, f"failed: {error}")


def _installed(task: Task) -> bool:
    pool = IMPORTS if task.key.section == "imports" else (*CLIENTS, *STORES, *SITES)
    subject = next(subject for subject in pool if subject.name == task.key.subject)
    return subject.installed() is not None


def measure(task: Task) -> Figures:
    """Make one measurement in a process and a directory of its own.

    Raises:
        MeasurementError: If the process fails.
    """
    with tempfile.TemporaryDirectory(prefix="adcp-bench-") as directory:
        command = [sys.executable, "-m", "tests.bench.worker", task.dumps(), directory]
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=_TIMEOUT_S,
        )
        if done.returncode:
            told = done.stderr.decode(errors="replace").strip().splitlines() or ["it said nothing"]
            raise MeasurementError(f"exit {done.returncode}: {told[-1][:_TOLD]}")
        figures: Figures = json.loads((Path(directory) / FIGURES).read_text())
        return figures


def _environment() -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith("ADCP_")}
    return own | {"NO_PROXY": "*", "no_proxy": "*"}
