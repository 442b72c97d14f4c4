"""Ending a process at a chosen line of the library, without the library knowing.

A tracer counts the lines that are executed. Asked for the n-th time that one line is
about to run, in whichever thread, it ends the process there: before that line, and after
the one before it.
"""

from __future__ import annotations

import contextlib
import linecache
import os
import signal
import sys
import threading
import time
from _thread import start_new_thread
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import adcp_tracker

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType, FrameType

    from _typeshed import TraceFunction

LIBRARY = Path(adcp_tracker.__file__).parent
_SUPPORT = Path(__file__).parent
UNTRACED = (
    "__init__.py",
    "__main__.py",
    "_platform.py",
    "_formatting.py",
    "_logging.py",
    "cli",
    "context.py",
    "destinations",
    "event_sources",
    "events",
    "exceptions.py",
    "importing",
    "orders",
    "sandbox",
    "settings.py",
    "testing.py",
    "web",
)
"""What has no points, at the top of the library: it writes nothing to a queue.

All else has, so a package that is moved or added is traced without being named here.
"""


def _is_traced(path: Path) -> bool:
    return path.relative_to(LIBRARY).parts[0] not in UNTRACED


TRACED = (*filter(_is_traced, sorted(LIBRARY.rglob("*.py"))), _SUPPORT / "ledger.py")
_TRUE = "/bin/true"
_EXIT_STATUS = 70
CONTAINER_STOP = "container stop"
FORK = "fork"
OUTLIVED = "fork, and the child lives on"
SAY_WHERE = signal.SIGUSR2
_PATIENCE_S = 0.05
_TURN_S = 0.01
_SAYING_S = 0.2
_USER_TICKS, _SYSTEM_TICKS = 10, 11  # of what follows a thread's state in its ``stat``


class Point(NamedTuple):
    """A place in a run.

    Attributes:
        file: The module's file, its last two parts.
        line: The line that is about to run.
        time: For the how many-th time, from 1.
    """

    file: str
    line: int
    time: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line} #{self.time}"


class Tracer:
    """Counts lines, and calls something at one point.

    Args:
        point: Where to call; ``None`` only counts.
        at_point: What to call, in the thread that stands there.

    Attributes:
        counts: How often each line was executed, by file and line.
        is_armed: Whether lines count at all.
    """

    def __init__(self, point: Point | None, at_point: Callable[[], None]) -> None:
        self._names = {str(path): "/".join(path.parts[-2:]) for path in TRACED}
        self._point = point
        self._at_point = at_point
        self._holding: dict[CodeType, bool] = {}
        self.is_armed = True
        self.counts: dict[tuple[str, int], int] = {}

    def install(self) -> None:
        """Trace this thread from its next call on, and every thread that starts later."""
        threading.settrace(self._enter)
        sys.settrace(self._enter)

    def arm(self) -> None:
        """Let lines count from now on."""
        self.is_armed = True

    def _enter(self, frame: FrameType, event: str, argument: object) -> TraceFunction | None:
        del event, argument
        code = frame.f_code
        if (holds := self._holding.get(code)) is None:
            holds = self._holding[code] = self._holds(code)
        return self._step if holds else None

    def _holds(self, code: CodeType) -> bool:
        """Say whether what runs in a piece of code is to be counted: its lines, or the one."""
        name = self._names.get(code.co_filename)
        if self._point is None or name is None:
            return name is not None
        lines = {line for _, _, line in code.co_lines()}
        return name == self._point.file and self._point.line in lines

    def _step(self, frame: FrameType, event: str, argument: object) -> TraceFunction:
        del argument
        if event == "line" and self.is_armed:
            place = self._names[frame.f_code.co_filename], frame.f_lineno
            count = self.counts[place] = self.counts.get(place, 0) + 1
            if self._point == (*place, count):
                self._at_point()
        return self._step


class HostError(BaseException):
    """Something in the host went wrong that nobody handles, nor may a library."""


def _raise_in_main(error: BaseException) -> None:
    """Have the main thread raise an error wherever it stands."""
    if threading.current_thread() is threading.main_thread():
        raise error

    _errors.append(error)
    _send(signal.SIGUSR1)


_errors: list[BaseException] = []


def _raise(number: int, frame: object) -> None:
    del number, frame
    raise _errors.pop()


def _send(number: int) -> None:
    """Send this process a signal that its main thread handles.

    CPython 3.11 comes to a standstill by tracing and signals together. A traced thread that
    enters a function while a signal waits for main enters it again and again, until another
    thread asks for its turn; if main waits for a lock of that thread, nobody ever does
    (``DO_TRACING`` in ``Python/ceval.c``; 3.10, 3.12 and 3.13 know nothing of it). So one does.
    """
    if threading.current_thread() is not threading.main_thread():
        start_new_thread(_take_turns, ())  # a plain one: neither traced nor counted
    os.kill(os.getpid(), number)


def _take_turns() -> None:
    while True:
        time.sleep(_TURN_S)


def ask_where(process: int, log: Path) -> None:
    """Write into the log of a process that hangs where each of its threads stands.

    The kernel is asked first: it answers too if the process is stuck, or gets no processor.
    """
    with log.open("a") as file:
        file.write(_as_the_kernel_has_it(process))
    os.kill(process, SAY_WHERE)
    time.sleep(_SAYING_S)  # there is nothing to wait for: it may be too stuck to answer


def _as_the_kernel_has_it(process: int) -> str:
    """Return each thread's state, processor time, and what it waits for; and the machine's load."""
    lines = [f"load: {Path('/proc/loadavg').read_text().strip()}"]
    for task in sorted(Path(f"/proc/{process}/task").iterdir()):
        with contextlib.suppress(OSError):  # it may end meanwhile
            state, *figures = (task / "stat").read_text().rpartition(") ")[2].split()
            ticks = int(figures[_USER_TICKS]) + int(figures[_SYSTEM_TICKS])
            place, call = (task / "wchan").read_text(), (task / "syscall").read_text().strip()
            lines.append(f"thread {task.name}: {state}, {ticks} ticks, in {place}, call {call}")
    return "\n".join(lines) + "\n"


def prepare() -> None:
    """Make this process ready to be ended in any way; to be called in its main thread."""
    signal.signal(signal.SIGUSR1, _raise)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _terminate() -> None:
    _send(signal.SIGTERM)


def _interrupt() -> None:
    _send(signal.SIGINT)


def _leave_at_once() -> None:
    os._exit(_EXIT_STATUS)


def _become_another() -> None:
    os.execv(_TRUE, [_TRUE])  # noqa: S606 - a program that does nothing


def _leave() -> None:
    _raise_in_main(SystemExit(0))


def _fail() -> None:
    _raise_in_main(HostError())


ENDS: dict[str, Callable[[], None]] = {
    "SIGKILL": _kill,
    "SIGTERM": _terminate,
    "SIGINT": _interrupt,
    CONTAINER_STOP: _terminate,  # and SIGKILL soon after, from outside
    "os._exit": _leave_at_once,
    "exec": _become_another,
    "clean exit": _leave,
    "unhandled exception": _fail,
}
"""The ways for a process to end; a fork is none, and is told apart by not standing here."""

RAISING = frozenset({"SIGINT", "clean exit", "unhandled exception"})
"""Those of them that raise an error in the main thread.

Python never does so between a block and the release of the lock it was entered with.
A tracer could, as it also stops at a ``with`` on the way out.
"""


def is_with(point: Point) -> bool:
    """Say whether a point is at a ``with`` statement."""
    path = next(str(each) for each in TRACED if str(each).endswith(f"/{point.file}"))
    return linecache.getline(path, point.line).lstrip().startswith("with ")


class Forker:
    """Forks from a thread of its own while another stands at a point.

    Args:
        in_child: What the child does; it ends with it.
    """

    def __init__(self, in_child: Callable[[], None]) -> None:
        self._in_child = in_child
        self._asked = threading.Event()
        self._forked = threading.Event()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Start the thread; to be called before anything is traced."""
        self._thread.start()

    def fork(self) -> None:
        """Have it fork, and stand still until it has, if it can without us."""
        self._asked.set()
        if threading.current_thread() is not self._thread:
            self._forked.wait(_PATIENCE_S)

    def wait(self) -> None:
        """Wait for the child, if there is one."""
        if self._asked.is_set():
            self._done.wait()

    def _run(self) -> None:
        self._asked.wait()
        child = os.fork()
        if child == 0:
            sys.settrace(None)
            threading.settrace(None)
            try:
                self._in_child()
            finally:
                os._exit(0)
        self._forked.set()
        os.waitpid(child, 0)
        self._done.set()
