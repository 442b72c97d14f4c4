"""How a journal's tests write to it, and stop it on the way."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

from adcp_tracker.journal import _syscalls

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

_WAIT_S = 60.0


def quick_write() -> _syscalls.Append:
    """Return the C library's write."""
    found = _syscalls.write_holding_gil()
    assert found is not None, "expected a C library"
    return found


@contextmanager
def stopped_in(name: str, call: Callable[[], object]) -> Iterator[threading.Event]:
    """Call something in another thread, which stands where a function begins for the block.

    Args:
        name: The function, which got its arguments, but has done nothing yet.
        call: What to call.

    Yields:
        What lets the thread go on; so does the end of the block, which waits for the thread.
    """
    is_there, may_go_on = threading.Event(), threading.Event()

    def trace(frame: FrameType, _event: str, _argument: object) -> None:
        if frame.f_code.co_name == name:
            is_there.set()
            may_go_on.wait(_WAIT_S)

    def work() -> None:
        sys.settrace(trace)
        call()

    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(work)
        try:
            assert is_there.wait(_WAIT_S), f"expected a call of {name}"
            yield may_go_on
        finally:
            may_go_on.set()
        done.result()
