"""System calls that fail: strace answers them with an error in the kernel's place."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TRACEE = "tracee"
"""The file in a case's folder in which a victim says who it is, and waits to be traced."""

CALLS = {
    "write": "ENOSPC",
    "pwrite64": "ENOSPC",
    "ftruncate": "ENOSPC",
    "mkdir": "ENOSPC",
    "rename": "ENOSPC",
    "fdatasync": "EIO",
    "fsync": "EIO",
    "unlink": "EROFS",
}
"""The calls by which anything gets on the disk, and how each fails when the disk will not."""

_LOG = "failing.strace"
_INJECTED = "(INJECTED)"
_ATTACH_S = 20.0


@attrs.frozen
class Failure:
    """A kind of call that fails a few times in each thread.

    Attributes:
        call: The call's name.
        error: What it fails with.
        first: The first time that it fails, from 1, counted in each thread.
        times: How often in a row it does.
    """

    call: str
    error: str
    first: int = 1
    times: int = 1

    def __str__(self) -> str:
        last = self.first + self.times - 1
        return f"{self.error} at {self.call} {self.first}–{last}"


@contextmanager
def failing(folder: Path, failure: Failure | None) -> Iterator[None]:
    """Trace the victim that waits for it, and have its calls fail; ``None`` only counts."""
    with subprocess.Popen(_command(folder, failure), stderr=subprocess.DEVNULL) as strace:
        yield
        strace.wait(_ATTACH_S)


def has_failed(folder: Path) -> bool:
    """Say whether a call was made to fail."""
    return _INJECTED in (folder / _LOG).read_text()


def counts(folder: Path) -> Counter[str]:
    """Return how often each call was made, by the thread that made it most."""
    by_thread: Counter[tuple[str, str]] = Counter()
    for line in (folder / _LOG).read_text().splitlines():
        thread, _, call = line.partition(" ")
        name, opened, _ = call.strip().partition("(")
        if opened and name.isidentifier():
            by_thread[thread, name] += 1
    most: Counter[str] = Counter()
    for (_, name), count in by_thread.items():
        most[name] = max(most[name], count)
    return most


def await_tracer(folder: Path) -> None:
    """Wait, in a victim, until it is traced."""
    named = folder / f".{TRACEE}"
    named.write_text(str(os.getpid()))
    named.rename(folder / TRACEE)
    status = Path("/proc/self/status")
    _wait_until(lambda: "TracerPid:\t0\n" not in status.read_text())


def _command(folder: Path, failure: Failure | None) -> list[str]:
    tracee = folder / TRACEE
    _wait_until(tracee.exists)
    options = ["-f", "-qq", "-o", str(folder / _LOG), "-p", tracee.read_text()]
    if failure is None:
        return [str(shutil.which("strace")), *options, "-e", "trace=" + ",".join(CALLS)]
    when = f"{failure.first}..{failure.first + failure.times - 1}"
    inject = f"inject={failure.call}:error={failure.error}:when={when}"
    return [str(shutil.which("strace")), *options, "-e", f"trace={failure.call}", "-e", inject]


def _wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _ATTACH_S
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("expected a victim and its tracer to find each other")
        time.sleep(0.001)
