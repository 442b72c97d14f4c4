"""What this process has open."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path


def open_beneath(folder: Path) -> list[Path]:
    """Return where the open descriptors that lead into a folder lead to."""
    found = []
    for each in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the one that lists them, or closed meanwhile
            found.append(each.readlink())
    return [path for path in found if path.is_relative_to(folder)]
