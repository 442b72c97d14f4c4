"""What the library needs of its platform: a supported system, the clock, and signals.

Imported first of all: where the library can't work, it fails at import with the remedy.
"""

from __future__ import annotations

import importlib
import sys
import time
from inspect import CO_VARARGS
from types import FrameType
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator


def _is_subinterpreter() -> bool:
    for name in ("_interpreters", "_xxsubinterpreters"):  # Python 3.13 and later, and before
        try:
            interpreters = importlib.import_module(name)
        except ImportError:
            continue
        return bool(interpreters.get_current() != interpreters.get_main())
    return False


if sys.platform == "win32":
    raise ImportError(
        "adcp_tracker doesn't run on Windows: its queue needs the file locks, signals and "
        "atomic appends of a POSIX system. Run your application in WSL (Windows Subsystem for "
        "Linux), with the queue's directory inside of WSL."
    )
if _is_subinterpreter():
    raise ImportError(
        "adcp_tracker doesn't run in a subinterpreter: there are no background threads, exit "
        "hooks or signals to rely on. Under mod_wsgi, run the application in the main "
        "interpreter with: WSGIApplicationGroup %{GLOBAL}"
    )


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


def raised_by_signal_handler(error: BaseException) -> bool:
    """Return whether an exception came out of a signal handler that interrupted our code.

    Such as Celery's soft time limit: it is meant for the host, so it must not be handled here.
    Python calls a handler with the signal's number and the interrupted frame, and hardly any
    other function is given a frame.
    """
    trace = error.__traceback__
    while trace is not None:
        if any(isinstance(value, FrameType) for value in _arguments(trace.tb_frame)):
            return True
        trace = trace.tb_next
    return False


def reraise_interruption(error: Exception) -> None:
    """Raise an exception again if it came out of a signal handler of the host's."""
    if raised_by_signal_handler(error):
        raise error


def _arguments(frame: FrameType) -> Iterator[object]:
    """Return the values of a frame's parameters: its arguments, unless they were rebound."""
    code, values = frame.f_code, frame.f_locals
    extra = bool(code.co_flags & CO_VARARGS)
    for name in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount + extra]:
        value = values.get(name)
        yield from value if extra and isinstance(value, tuple) else (value,)
