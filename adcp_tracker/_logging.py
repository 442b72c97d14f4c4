"""The library's log: structlog around the standard logger ``adcp_tracker``.

It configures neither structlog nor logging for the host. An entry is a dotted event name
with key=value pairs, and never contains personal data or secrets.
"""

from __future__ import annotations

import functools
import logging
import re
from typing import TYPE_CHECKING

from adcp_tracker._platform import raised_by_signal_handler

if TYPE_CHECKING:
    from collections.abc import Mapping

    import structlog
    from structlog.typing import EventDict

    from adcp_tracker._platform import Clock

_KEY_FIELDS = ("field", "reason", "destination", "segment", "kind", "attribute", "error")
_VARIABLE_PARTS = re.compile(r"\S*\d\S*")
_MAX_CAUSES = 200

_CALLER = 6  # frames between structlog's call of the standard logger and ours of Logger
_RESERVED = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}

_standard = logging.getLogger("adcp_tracker")


@functools.cache
def _bound() -> structlog.stdlib.BoundLogger:
    # Imported with the first entry, since structlog takes as long to import as the rest.
    import structlog  # noqa: PLC0415 - see above

    render = structlog.processors.KeyValueRenderer(key_order=["event"])

    def as_record(log: object, method: str, entry: EventDict) -> tuple[tuple[str], EventDict]:
        text = render(log, method, dict(entry))
        return (text,), {"extra": _attributes(entry), "stacklevel": _CALLER}

    logger: structlog.stdlib.BoundLogger = structlog.wrap_logger(
        _standard,
        processors=[structlog.stdlib.filter_by_level, as_record],
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    return logger


def _attributes(fields: Mapping[str, object]) -> dict[str, object]:
    """Return an entry's fields as attributes of its log record, for JSON formatters."""
    return {f"{name}_" if name in _RESERVED else name: value for name, value in fields.items()}


def _log(level: int, event: str, fields: dict[str, object]) -> None:
    """Log an entry, and never raise: the host's handlers and filters may do anything.

    A process that has run out of file descriptors can't import structlog. Then the standard
    logger alone has to do.
    """
    try:
        try:
            bound = _bound()
        except Exception:  # noqa: BLE001 - see above
            text = " ".join(f"{name}={value!r}" for name, value in fields.items())
            extra = _attributes({"event": event, **fields})
            _standard.log(level, "event=%r %s", event, text, extra=extra)
        else:
            bound.log(level, event, **fields)
    except Exception as error:
        if raised_by_signal_handler(error):
            raise


class Logger:
    """Logs named events with details."""

    def debug(self, event: str, **fields: object) -> None:
        """Log a detail for debugging."""
        if _standard.isEnabledFor(logging.DEBUG):
            _log(logging.DEBUG, event, fields)

    def info(self, event: str, **fields: object) -> None:
        """Log normal operation."""
        if _standard.isEnabledFor(logging.INFO):
            _log(logging.INFO, event, fields)

    def warning(self, event: str, **fields: object) -> None:
        """Log a problem that an operator should look at."""
        _log(logging.WARNING, event, fields)

    def error(self, event: str, **fields: object) -> None:
        """Log a problem that an operator must fix."""
        _log(logging.ERROR, event, fields)


logger = Logger()


class ThrottledLogger:
    """Log the same problem once per interval, with how often it was suppressed since.

    Two entries are the same if their name, field, reason, destination, segment, kind, attribute
    and error are, not counting words with digits in the error.

    Args:
        clock: Where the time is read.
        interval: Seconds between two entries of one cause.
    """

    def __init__(self, clock: Clock, interval: float = 60.0) -> None:
        self._clock = clock
        self._interval = interval
        self._last: dict[str, float] = {}
        self._suppressed: dict[str, int] = {}

    def warning(self, event: str, **fields: object) -> None:
        """Log a warning, unless the same one was logged within the interval."""
        cause = _cause(event, fields)
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
        logger.warning(event, **fields, suppressed=self._suppressed.pop(cause, 0))


def _cause(event: str, fields: dict[str, object]) -> str:
    telling = [event, *(str(fields.get(name, "")) for name in _KEY_FIELDS)]
    telling[-1] = _VARIABLE_PARTS.sub("#", telling[-1])  # sizes, offsets, names of files
    return " ".join(telling)
