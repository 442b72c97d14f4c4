"""The tracker as a dependency of path operations."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection  # noqa: TC002 - FastAPI reads it at run time

from adcp_tracker.exceptions import ConfigurationError
from adcp_tracker.tracker import Tracker
from adcp_tracker_asgi import TRACKER_KEY


def get_tracker(connection: HTTPConnection) -> Tracker:
    """Return the tracker of the application that handles this request or websocket.

    Raises:
        ConfigurationError: If it has none.
    """
    scope = connection.scope
    tracker = scope.get(TRACKER_KEY)
    if tracker is None and "app" in scope:
        tracker = getattr(scope["app"].state, TRACKER_KEY, None)
    if not isinstance(tracker, Tracker):
        raise ConfigurationError(
            f"app.state.{TRACKER_KEY}: expected a tracker, got none; call AdcpTracker(app, …)"
        )
    return tracker


async def _tracker(connection: HTTPConnection) -> Tracker:
    """Return the tracker on the event loop: FastAPI runs a plain function in a thread."""
    return get_tracker(connection)


TrackerDep = Annotated[Tracker, Depends(_tracker)]
"""A parameter of this type is given the application's tracker."""
