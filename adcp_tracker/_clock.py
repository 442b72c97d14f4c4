"""The clock, injected so that tests can control it."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """The clock of the queue and the flusher."""

    def now(self) -> float:
        """Return the seconds since the epoch."""

    def monotonic(self) -> float:
        """Return seconds that never run backwards."""

    def sleep(self, seconds: float) -> None:
        """Wait for `seconds`."""


class SystemClock:
    """The machine's own clock.

    The functions that tell the time are bound once, here: a test that freezes event times by
    patching :mod:`time` must not freeze the flusher too. Sleeping is looked up at each call,
    since gevent may replace it later.
    """

    now = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)

    @staticmethod
    def sleep(seconds: float) -> None:
        """Wait for `seconds`."""
        time.sleep(seconds)
