"""Where a run took place: figures without it mean nothing."""

from __future__ import annotations

import os
import platform
import re
import sqlite3
from pathlib import Path

from tests.bench.subjects import CLIENTS, SITES, STORES


def describe() -> dict[str, str]:
    """Name the processor, the system, the Python and the version of everything measured."""
    versions = {
        subject.distribution: subject.installed() or "not installed"
        for subject in (*CLIENTS, *STORES, *SITES)
        if subject.distribution
    }
    return {
        "cpu": f"{os.cpu_count()} × {_processor()}",
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "sqlite": sqlite3.sqlite_version,
        **versions,
    }


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    told = path.read_text() if path.exists() else ""
    named = re.search(r"^model name\s*:\s*(.+)$", told, re.MULTILINE)
    return named[1] if named else platform.processor() or platform.machine()
