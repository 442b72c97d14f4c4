"""Make one measurement in a fresh process, so that none disturbs another.

Run as ``python -m tests.bench.worker TASK DIRECTORY``;
it leaves the figures in ``figures.json`` inside the directory.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path

from tests.bench.tasks import loads

FIGURES = "figures.json"


def main(task_text: str, directory: Path) -> None:
    """Measure, and write the figures down."""
    task = loads(task_text)
    measure = importlib.import_module(f"tests.bench.measures.{task.measure}")
    figures = measure.run(task, directory)
    (directory / FIGURES).write_text(json.dumps(figures))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
    # What clients do at exit, such as waiting for a network that is not there, is not measured.
    os._exit(0)
