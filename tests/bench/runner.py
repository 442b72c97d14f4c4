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
from tests.bench.subjects import CHECKOUTS, CLIENTS, IMPORTS, QUEUES, SITES, STORES
from tests.bench.tasks import OTHER
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


def run(
    plan: Iterable[Section], progress: Callable[[str], None], other: Path | None = None
) -> Results:
    """Make every measurement of `plan`, the rounds of a section interleaved.

    Each round begins with another subject, so that none is always the first.
    A subject that is not installed, or fails, is noted and not tried again.

    Args:
        plan: What is measured.
        progress: Told what is being done.
        other: Another checkout, whose library is measured where a task asks for it.
    """
    results = Results()
    for section in plan:
        for number in range(section.rounds):
            progress(f"{section.name}: round {number + 1} of {section.rounds}")
            turn = number % len(section.tasks)
            for task in (*section.tasks[turn:], *section.tasks[:turn]):
                _measure_into(results, task, number, other)
    return results


def _measure_into(results: Results, task: Task, number: int, other: Path | None) -> None:
    if task.key in results.problems:
        return
    if not _installed(task):
        results.fail(task.key, "not installed")
        return
    try:
        library = other if task.key.variant == OTHER else None
        results.add(task.key, number, measure(task, library))
    except (MeasurementError, subprocess.TimeoutExpired) as error:
        results.fail(task.key, f"failed: {error}")


def _installed(task: Task) -> bool:
    others = (*CLIENTS, *STORES, *SITES, *QUEUES, *CHECKOUTS)
    pool = IMPORTS if task.key.section == "imports" else others
    subject = next(subject for subject in pool if subject.name == task.key.subject)
    return subject.installed() is not None


def measure(task: Task, other: Path | None = None) -> Figures:
    """Make one measurement in a process and a directory of its own.

    Args:
        task: What is measured.
        other: The checkout whose library is measured, by the measures of this one; left out,
            this one.

    Raises:
        MeasurementError: If the process fails.
    """
    with tempfile.TemporaryDirectory(prefix="adcp-bench-") as directory:
        command = [sys.executable, "-m", "tests.bench.worker", task.dumps(), directory]
        place = ROOT if other is None else _beside(Path(directory), other)
        done = subprocess.run(
            command,
            cwd=place,
            env=_environment(place),
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


def _beside(directory: Path, other: Path) -> Path:
    """Return a folder in which the packages of another checkout are, and nothing else of it."""
    folder = directory / "library"
    folder.mkdir()
    for package in (other / "adcp_tracker", *(other / "integrations").glob("adcp_tracker_*")):
        (folder / package.name).symlink_to(package.resolve())
    return folder


def _environment(place: Path) -> dict[str, str]:
    """Return the environment of a measurement, in which packages in `place` come first."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("ADCP_")}
    path = os.pathsep.join(map(str, (place, ROOT, ROOT / "integrations")))
    return own | {"NO_PROXY": "*", "no_proxy": "*", "PYTHONPATH": path}
