"""What the tests' own database servers have in common: a directory, and a life in it."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class DatabaseServer(Protocol):
    """A server that keeps everything in a directory."""

    directory: Path

    def start(self) -> None:
        """Start it, and wait until it takes connections."""

    def stop(self) -> None:
        """Stop it."""


Server = TypeVar("Server", bound=DatabaseServer)


def new_directory(kind: str, user: str | None) -> Path:
    """Make a directory that a user may write to."""
    directory = Path(tempfile.mkdtemp(prefix=f"adcp-{kind}-"))
    if user is not None:
        shutil.chown(directory, user)
    return directory


@contextmanager
def running(server: Server, make: Sequence[str], user: str | None) -> Iterator[Server]:
    """Run a server whose data a program makes first; remove its directory in the end."""
    try:
        made = subprocess.run(make, check=False, capture_output=True, text=True, user=user)
        assert made.returncode == 0, made.stderr
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(server.directory)
