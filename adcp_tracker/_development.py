"""What differs in development and in tests.

In development, trackers report to the local seller's page what happens to events before they
are sent, if all their destinations are on this machine. Nothing waits for that: reports are kept
in memory, sent by the flusher's thread, and dropped if no seller takes them. Tracking an event
makes no system call for its report: paths are shortened when reports are sent.

In tests, a capture can take events, so that they are neither recorded nor sent.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import warnings
from collections import deque
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol
from urllib.parse import urlsplit

from adcp_tracker._platform import reraise_interruption
from adcp_tracker._process import fork_detector
from adcp_tracker.destinations.validation import is_loopback

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import FrameType

    from adcp_tracker.events.event import Event
    from adcp_tracker.exceptions import FieldError


_PATH: Final = "/_sandbox/reports"
_MAX_PENDING: Final = 200
_MAX_TRACKED: Final = 20
_TIMEOUT_SECONDS: Final = 0.5
_PAUSE_SECONDS: Final = 10.0
_OK: Final = 200
_LIBRARY: Final = os.path.dirname(os.path.abspath(__file__)) + os.sep  # noqa: PTH100, PTH120 - str
_DEMO: Final = _LIBRARY + "cli" + os.sep
_INTEGRATIONS: Final = "adcp_tracker_"


class RejectedEventWarning(UserWarning):
    """An event was rejected while all destinations are on this machine."""


class _Origin(NamedTuple):
    """Where an event was tracked."""

    path: str
    line: int
    function: str

    @property
    def short_path(self) -> str:
        """The path from the working directory, if the file is below it."""
        try:
            path = os.path.relpath(self.path)
        except OSError:  # the working directory was removed
            return self.path
        return self.path if path.startswith("..") else path

    def format(self) -> str:
        return f"{self.short_path}:{self.line} in {self.function}"


class DevelopmentReporter:
    """Reports rejected, trimmed and dropped events, and where events were tracked.

    Args:
        origins: The origins of the local sellers, as host and port.
    """

    def __init__(self, origins: Iterable[tuple[str, int]]) -> None:
        self._origins = set(origins)
        self._pending: deque[dict[str, Any]] = deque(maxlen=_MAX_PENDING)
        self._process = fork_detector()
        self._lock = threading.Lock()
        self._paused_until = 0.0
        self._tracked = 0

    def tracked(self, event: Event) -> None:
        """Report where an event was tracked, for some events per flush interval."""
        if event.omissions:
            reasons = ", ".join(f"{each.field}: {each.reason}" for each in event.omissions)
            self._add("trimmed", event.event_id, event.event_type.value, reason=reasons)
        elif self._tracked < _MAX_TRACKED:
            self._tracked += 1
            self._add("tracked", event.event_id, event.event_type.value)

    def dropped(self, event: Event, reason: str) -> None:
        """Report an event that was dropped."""
        self._add("dropped", event.event_id, event.event_type.value, reason=reason)

    def rejected(
        self, event_id: str, event_type: str, errors: Iterable[FieldError], event: bytes
    ) -> None:
        """Report an invalid event, as far as its dead letter shows it."""
        listed = [
            {"path": each.path, "message": f"expected {each.expected}, got {each.got}"}
            for each in errors
        ]
        self._add(
            "invalid",
            event_id,
            event_type,
            reason="INVALID_EVENT",
            errors=listed,
            event=json.loads(event),
        )
        self._warn(event_id, event_type, errors)

    def _warn(self, event_id: str, event_type: str, errors: Iterable[FieldError]) -> None:
        """Warn of a rejected event on the developer's terminal, however logging is set up."""
        lines = [
            f"{event_type} {event_id!r} was rejected and won't be sent:",
            *(f"  {each}" for each in errors),
            "It is kept as a dead letter, see: adcp-tracker dead list",
        ]
        try:
            origin = _find_origin(sys._getframe(1))  # noqa: SLF001 - as logging does
            place = ("adcp_tracker", 0) if origin is None else (origin.short_path, origin.line)
            warnings.warn_explicit("\n".join(lines), RejectedEventWarning, *place)
        except Exception as error:  # noqa: BLE001 - nothing may break a checkout
            reraise_interruption(error)

    def _add(self, outcome: str, event_id: str, event_type: str, **more: object) -> None:
        try:
            origin = _find_origin(sys._getframe(2))  # noqa: SLF001 - as logging does
            if not self._process[0]:
                self._process = fork_detector()
            names = {"outcome": outcome, "event_id": event_id, "event_type": event_type}
            self._pending.append({**names, **more, "origin": origin, "process": self._process})
        except Exception as error:  # noqa: BLE001 - nothing may break a checkout
            reraise_interruption(error)

    def send(self) -> None:
        """Send what is pending; pause for a while if a seller doesn't take it."""
        self._tracked = 0
        if not self._pending or time.monotonic() < self._paused_until:
            return
        with self._lock:
            body = json.dumps(self._take_reports())
            self._origins = {each for each in self._origins if self._post(each, body)}

    def _take_reports(self) -> list[dict[str, object]]:
        reports = []
        while self._pending:
            report = self._pending.popleft()
            process, origin = report.pop("process"), report["origin"]
            if process[0]:  # else the parent of a fork sends it
                reports.append({**report, "origin": "" if origin is None else origin.format()})
        return reports

    def _post(self, origin: tuple[str, int], body: str) -> bool:
        """Send to one seller; return whether it may be asked again."""
        from http.client import HTTPConnection, HTTPException  # noqa: PLC0415 - loads much

        host, port = origin
        connection = HTTPConnection(host, port, timeout=_TIMEOUT_SECONDS)
        try:
            connection.request("POST", _PATH, body, {"Content-Type": "application/json"})
            return connection.getresponse().status == _OK
        except (OSError, HTTPException):
            self._paused_until = time.monotonic() + _PAUSE_SECONDS
            return True
        finally:
            connection.close()


def make_reporter(destinations: Iterable[object]) -> DevelopmentReporter | None:
    """Return a reporter if every destination is on this machine, else ``None``."""
    origins = [_local_origin(each) for each in destinations]
    known = [each for each in origins if each is not None]
    return DevelopmentReporter(known) if known and len(known) == len(origins) else None


def _local_origin(destination: object) -> tuple[str, int] | None:
    url = getattr(destination, "base_url", None) or getattr(destination, "url", None)
    parts = urlsplit(url) if isinstance(url, str) else None
    if parts is None or parts.scheme != "http" or not is_loopback(parts.hostname or ""):
        return None
    return parts.hostname or "", parts.port or 80


def _find_origin(frame: FrameType | None) -> _Origin | None:
    """Return where the first caller outside of the library is."""
    caller = _find_caller(frame)
    if caller is None:
        return None
    return _Origin(caller.f_code.co_filename, caller.f_lineno, caller.f_code.co_name)


def _find_caller(frame: FrameType | None) -> FrameType | None:
    while frame is not None:
        if not _is_library(frame.f_code.co_filename):
            return frame
        frame = frame.f_back
    return None


def _is_library(path: str) -> bool:
    """Return whether a file is part of the library, except for the demo's shop."""
    return _INTEGRATIONS in path or (path.startswith(_LIBRARY) and not path.startswith(_DEMO))


class Capture(Protocol):
    """Takes the events that trackers of this process track."""

    strict: bool
    """Whether an event that breaks a rule raises."""

    def takes(self, *, remote: bool) -> bool:
        """Return whether it takes a tracker's events; `remote` if those leave this machine."""

    def add(self, event: Event) -> None:
        """Take an event."""


active: Capture | None = None
"""What takes events now. Outside of tests, nothing does: see :mod:`adcp_tracker.testing`."""


def capture_for(*, remote: bool) -> Capture | None:
    """Return what takes a tracker's events now; ``None`` if they are recorded as usual."""
    return active if active is not None and active.takes(remote=remote) else None
