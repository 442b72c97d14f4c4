"""Telling the host's interruptions from our own errors."""

from __future__ import annotations

from inspect import CO_VARARGS
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


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
    """Return what a function was called with, as far as it's still bound to the parameters."""
    code, values = frame.f_code, frame.f_locals
    extra = bool(code.co_flags & CO_VARARGS)
    for name in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount + extra]:
        value = values.get(name)
        yield from value if extra and isinstance(value, tuple) else (value,)
