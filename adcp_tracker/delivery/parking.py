"""Standing still for a fork: the threads that may have the database open wait until it is over.

SQLite's locks are copied into a child as they are held, so a child that was forked in the
middle of one could never use the database.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

PARK_SECONDS = 5.0
_POLLS = 500


@attrs.define(eq=False)
class _Fork:
    """A fork that is about to come: who stands still for it, and whether it is over."""

    over: threading.Event = attrs.field(factory=threading.Event)
    moved: threading.Event = attrs.field(factory=threading.Event)
    still: set[threading.Thread] = attrs.field(factory=set)


class Parking:
    """Where threads stand still while their process forks.

    Args:
        nudge: Has them look whether they are to.
    """

    def __init__(self, nudge: Callable[[], None]) -> None:
        self._nudge = nudge
        self._fork: _Fork | None = None

    def begin(self, threads: Iterable[threading.Thread]) -> None:
        """Wait until each of `threads` stands still or has ended, five seconds at most."""
        self._fork = fork = _Fork()
        waited_for = list(threads)
        for _ in range(_POLLS):
            if not any(runs_beside(each) and each not in fork.still for each in waited_for):
                break
            self._nudge()
            fork.moved.wait(PARK_SECONDS / _POLLS)
            fork.moved.clear()

    def end(self) -> None:
        """Let them go on."""
        fork, self._fork = self._fork, None
        if fork is not None:
            fork.over.set()

    def stand_still(
        self, before: Callable[[], object] | None, after: Callable[[], object] | None
    ) -> None:
        """Stand still if the process is about to fork, once for each fork.

        Args:
            before: Called first, to close what must not be open then.
            after: Called at the end.
        """
        fork, thread = self._fork, threading.current_thread()
        if fork is None or thread in fork.still:
            return
        if before is not None:
            before()
        fork.still.add(thread)
        fork.moved.set()
        fork.over.wait(PARK_SECONDS)
        if after is not None:
            after()


def runs_beside(thread: threading.Thread) -> bool:
    """Say whether a thread runs that is not this one."""
    return thread is not threading.current_thread() and thread.is_alive()
