"""Which request, task or thread code runs in."""

from __future__ import annotations

import asyncio
import threading

from adcp_tracker.context import current_context


def current_scope() -> object:
    """Return an object that identifies the request, task or thread.

    Several threads or tasks may handle a request, one after the other; they share its context.
    Outside of requests a session belongs to one task or thread.
    """
    context = current_context()
    if context is not None:
        return context
    try:
        task = asyncio.current_task()
    except RuntimeError:
        task = None
    return threading.current_thread() if task is None else task
