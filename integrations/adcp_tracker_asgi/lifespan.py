"""Make ready when an application starts up, and deliver what waits when it shuts down."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adcp_tracker.journal.files import QueueDirectory
from adcp_tracker.web.request import start_safely

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    from adcp_tracker.tracker import Tracker

    # An application is whatever its framework calls one; so is the state it may yield.
    Lifespan = Callable[[Any], AbstractAsyncContextManager[Any]]


def closing_lifespan(tracker: Tracker, lifespan: Lifespan | None = None) -> Lifespan:
    """Return a lifespan that closes `tracker` when the application shuts down.

    When it starts up, the tracker's directory is made, in a thread: that waits for the disk,
    which the first event would otherwise do on the event loop. Then what earlier processes
    left there is delivered.

    Servers may end their process by a signal after that, so nothing later can be counted
    on. What cannot be delivered within ``shutdown_timeout`` is safe on disk.

    Args:
        tracker: Whose events are delivered.
        lifespan: The application's own, which is run inside; its state is passed on.
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
    # What is wrong with it is told, and lived with, when there are events to keep.
    with suppress(OSError):
        QueueDirectory(Path(tracker.settings.directory)).prepare()
    start_safely(tracker)
