"""Deliver what waits when an application shuts down, after all its own work."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    from adcp_tracker.tracker import Tracker

    # An application is whatever its framework calls one; so is the state it may yield.
    Lifespan = Callable[[Any], AbstractAsyncContextManager[Any]]


def closing_lifespan(tracker: Tracker, lifespan: Lifespan | None = None) -> Lifespan:
    """Return a lifespan that closes `tracker` when the application shuts down.

    Servers may end their process by a signal after that, so nothing later can be counted
    on. What cannot be delivered within ``shutdown_timeout`` is safe on disk.

    Args:
        tracker: Whose events are delivered.
        lifespan: The application's own, which is run inside; its state is passed on.
    """

    @asynccontextmanager
    async def closing(app: object) -> AsyncIterator[Any]:
        try:
            if lifespan is None:
                yield None
            else:
                async with lifespan(app) as state:
                    yield state
        finally:
            await tracker.aclose()

    return closing
