"""The sink as the measuring process sees it: an address and counters that cost nothing to read."""

from __future__ import annotations

import mmap
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import attrs

from tests.bench.sink import COUNTERS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_POLL_S = 0.001
_STALLED_S = 5.0


@attrs.frozen
class Received:
    """What the sink has counted so far."""

    requests: int
    events: int
    body_bytes: int
    cpu_ns: int


@attrs.frozen
class Sink:
    """A running sink."""

    url: str
    _memory: mmap.mmap

    def received(self) -> Received:
        """Read the counters."""
        return Received(*COUNTERS.unpack_from(self._memory))

    def wait_for(self, events: int) -> float:
        """Wait until `events` have arrived, or none has for five seconds.

        Returns:
            When the last of them was seen to arrive, on the clock of ``time.perf_counter``.
        """
        last_count, last_seen = -1, time.perf_counter()
        while True:
            count, now = self.received().events, time.perf_counter()
            if count != last_count:
                last_count, last_seen = count, now
            if count >= events or now - last_seen > _STALLED_S:
                return last_seen
            time.sleep(_POLL_S)


@contextmanager
def running_sink(marker: bytes, directory: Path) -> Iterator[Sink]:
    """Start a sink that counts `marker`, and stop it at the end of the block."""
    counters = directory / "sink.counters"
    counters.write_bytes(bytes(COUNTERS.size))
    command = [sys.executable, "-m", "tests.bench.sink", marker.hex(), str(counters)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            if process.stdout is None:
                raise RuntimeError("the sink has no standard output to read its port from")
            port = int(process.stdout.readline())
            with counters.open("r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
                yield Sink(f"http://127.0.0.1:{port}", memory)
        finally:
            process.kill()
