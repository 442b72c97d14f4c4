"""The library's log: structlog around the standard logger ``adcp_tracker``.

It configures neither structlog nor logging for the host. An entry is a dotted event name
with key=value pairs, and never contains personal data or secrets.
"""

from __future__ import annotations

import functools
import logging
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import structlog

    from adcp_tracker._clock import Clock

_KEY_FIELDS = ("reason", "destination", "segment", "error")
_VARIABLE_PARTS = re.compile(r"\S*\d\S*")
_MAX_CAUSES = 200

_standard = logging.getLogger("adcp_tracker")
_standard.addHandler(logging.NullHandler())


@functools.cache
def _bound() -> structlog.stdlib.BoundLogger:
    # Imported with the first entry, since structlog takes as long to import as the rest.
    import structlog  # noqa: PLC0415 - see above

    logger: structlog.stdlib.BoundLogger = structlog.wrap_logger(
        _standard,
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.processors.KeyValueRenderer(key_order=["event"]),
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    return logger


def _say(level: int, event: str, details: dict[str, object]) -> None:
    """Log an entry, with the standard logger alone if structlog can't be imported.

    A process that has run out of file descriptors can't import anything.
    """
    try:
        bound = _bound()
    except Exception:  # noqa: BLE001 - see above
        _standard.log(
            level, "event=%r %s", event, " ".join(f"{k}={v!r}" for k, v in details.items())
        )
        return
    bound.log(level, event, **details)


class Logger:
    """Logs named events with details."""

    def debug(self, event: str, **details: object) -> None:
        """Log a detail for debugging."""
        if _standard.isEnabledFor(logging.DEBUG):
            _say(logging.DEBUG, event, details)

    def info(self, event: str, **details: object) -> None:
        """Log normal operation."""
        if _standard.isEnabledFor(logging.INFO):
            _say(logging.INFO, event, details)

    def warning(self, event: str, **details: object) -> None:
        """Log a problem that an operator should look at."""
        _say(logging.WARNING, event, details)

    def error(self, event: str, **details: object) -> None:
        """Log a problem that an operator must fix."""
        _say(logging.ERROR, event, details)


logger = Logger()


class ThrottledLogger:
    """Log the same problem once per interval, with how often it was suppressed since.

    Two entries are the same if their name, reason, destination, segment and error are, not
    counting words with digits in the error.

    Args:
        clock: Where the time is read.
        interval: Seconds between two entries of one cause.
    """

    def __init__(self, clock: Clock, interval: float = 60.0) -> None:
        self._clock = clock
        self._interval = interval
        self._last: dict[str, float] = {}
        self._suppressed: dict[str, int] = {}

    def warning(self, event: str, **details: object) -> None:
        """Log a warning, unless the same one was logged within the interval."""
        cause = _cause(event, details)
        now = self._clock.monotonic()
        last = self._last.pop(cause, None)
        if last is not None and now - last < self._interval:
            self._last[cause] = last
            self._suppressed[cause] = self._suppressed.get(cause, 0) + 1
            return
        self._last[cause] = now
        if len(self._last) > _MAX_CAUSES:
            longest_silent = next(iter(self._last))
            del self._last[longest_silent]
            self._suppressed.pop(longest_silent, None)
        logger.warning(event, **details, suppressed=self._suppressed.pop(cause, 0))


def _cause(event: str, details: dict[str, object]) -> str:
    telling = [event, *(str(details.get(name, "")) for name in _KEY_FIELDS)]
    telling[-1] = _VARIABLE_PARTS.sub("#", telling[-1])  # sizes, offsets, names of files
    return " ".join(telling)
