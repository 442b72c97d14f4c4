"""Where code runs: which request, task or thread, as far as sessions are concerned."""

from __future__ import annotations

import asyncio
import threading

from adcp_tracker.context import current_context


def current_scope() -> object:
    """Return what stands for the request, task or thread; the same object while in it.

    A request may be handled by several threads or tasks, one after the other; they share
    its context. Outside of requests a session belongs to one task or thread.
    """
    context = current_context()
    if context is not None:
        return context
    try:
        task = asyncio.current_task()
    except RuntimeError:
        task = None
    return threading.current_thread() if task is None else task
