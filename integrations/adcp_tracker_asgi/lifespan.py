"""Prepare the tracker when an application starts, and close it when the application stops."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

from adcp_tracker.web.request import start_safely

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    from adcp_tracker.tracker import Tracker

    # An application is whatever its framework calls one; so is the state it may yield.
    Lifespan = Callable[[Any], AbstractAsyncContextManager[Any]]


def closing_lifespan(tracker: Tracker, lifespan: Lifespan | None = None) -> Lifespan:
    """Return a lifespan that closes `tracker` when the application stops.

    At startup it creates the tracker's directory in a thread, so that the first event doesn't
    wait for the disk on the event loop, and starts delivering what earlier processes left.

    At shutdown it closes the tracker, since servers may end the process by a signal afterwards.
    Events that can't be delivered within ``shutdown_timeout`` stay on disk.

    Args:
        tracker: The tracker.
        lifespan: The application's own lifespan, which runs inside; its state is passed on.
    """

    @asynccontextmanager
    async def closing(app: object) -> AsyncIterator[Any]:
        await asyncio.to_thread(_prepare, tracker)
        try:
            if lifespan is None:
                yield None
            else:
                async with lifespan(app) as state:
                    yield state
        finally:
            await tracker.aclose()

    return closing


def _prepare(tracker: Tracker) -> None:
    # An unusable directory is reported by the first event.
    with suppress(OSError):
        tracker.prepare()
    start_safely(tracker)
