"""A process whose main thread waits for a traced thread that has it leave.

Run as ``python -m tests.support.crashing.awaited END``. The wait is for a buffer's lock, from
which no signal wakes main: it takes note of the signal, and waits on.
"""

from __future__ import annotations

import contextlib
import io
import sys
import threading
import time

from tests.support.crashing.killpoints import ENDS, HostError, Tracer, prepare

_SOON_S = 0.2


class _Slow(io.RawIOBase):
    """A file whose writer asks main to leave while main waits for it, and goes on working."""

    def __init__(self, end: str) -> None:
        super().__init__()
        self._end = end
        self.is_written_to = threading.Event()

    def writable(self) -> bool:
        """Say that it is."""
        return True

    def write(self, data: object) -> int:
        """Take one byte, in two lots of time: until main waits, and until it knows."""
        del data
        self.is_written_to.set()
        time.sleep(_SOON_S)
        ENDS[self._end]()
        until = time.monotonic() + _SOON_S
        while time.monotonic() < until:
            _work()
        return 1


def _work() -> None:
    """Be a function that is entered."""


def main() -> None:
    """Wait for the writer, and say that the end has come."""
    raw = _Slow(sys.argv[1])
    file = io.BufferedWriter(raw)

    def fill() -> None:
        file.write(b"-")
        file.flush()

    prepare()
    Tracer(None, lambda: None).install()
    threading.Thread(target=fill, daemon=True).start()
    with contextlib.suppress(SystemExit, HostError, KeyboardInterrupt):
        raw.is_written_to.wait()
        file.flush()
        while True:  # the signal is handled at the latest here
            time.sleep(_SOON_S)
    sys.stdout.write("ended")


if __name__ == "__main__":
    main()
