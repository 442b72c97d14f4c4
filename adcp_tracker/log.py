"""The library's own log: structlog around the standard logger ``adcp_tracker``.

It configures neither structlog nor logging for the host. An entry is an event name with
dots and key=value pairs, and never holds personal data or a secret.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from adcp_tracker.clock import Clock

logging.getLogger("adcp_tracker").addHandler(logging.NullHandler())

logger: structlog.stdlib.BoundLogger = structlog.wrap_logger(
    logging.getLogger("adcp_tracker"),
    processors=[
        structlog.stdlib.filter_by_level,
        structlog.processors.KeyValueRenderer(key_order=["event"]),
    ],
    wrapper_class=structlog.stdlib.BoundLogger,
)


class Occasionally:
    """Says the same thing once per interval, with how often it has happened since.

    Args:
        clock: Where the time is read.
        interval: Seconds between two entries of one cause.
    """

    def __init__(self, clock: Clock, interval: float = 60.0) -> None:
        self._clock = clock
        self._interval = interval
        self._last: dict[str, float] = {}
        self._unsaid: dict[str, int] = {}

    def warning(self, event: str, **details: object) -> None:
        """Log a warning, unless the same one was logged within the interval."""
        now = self._clock.monotonic()
        last = self._last.get(event)
        if last is not None and now - last < self._interval:
            self._unsaid[event] = self._unsaid.get(event, 0) + 1
            return
        self._last[event] = now
        logger.warning(event, **details, unsaid=self._unsaid.pop(event, 0))
