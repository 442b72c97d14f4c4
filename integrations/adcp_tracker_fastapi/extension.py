"""The FastAPI and Starlette extension, and the tracker as a dependency."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, cast

from fastapi import APIRouter, Depends, Response
from starlette.requests import HTTPConnection, Request

from adcp_tracker.exceptions import ConfigurationError
from adcp_tracker.tracker import Tracker
from adcp_tracker.web.capture import current_raw_request
from adcp_tracker.web.health import HEADERS, Health, liveness, readiness
from adcp_tracker.web.setup import configure
from adcp_tracker_asgi import TRACKER_KEY, AdcpTrackerMiddleware, closing_lifespan

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.types import Scope
    from typing_extensions import Unpack

    from adcp_tracker.web.options import Options


class AdcpTracker:
    """Adds a tracker to an application, and the shopper's request to its events.

    Adds the middleware, closes the tracker after the application's own lifespan, and stores
    the tracker as ``app.state.adcp_tracker``. Each application gets its own tracker. If the
    application has ``debug=True``, the tracker is strict unless you set ``strict``.

    Args:
        app: The application; left out, call :meth:`init_app` for each.
        **options: The tracker's settings and destinations, and what to capture from
            requests; see :class:`adcp_tracker.web.options.Options`.

    Raises:
        ConfigurationError: If an option is unknown, missing or invalid.
    """

    def __init__(self, app: Starlette | None = None, **options: Unpack[Options]) -> None:
        self._options = options
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Starlette) -> Tracker:
        """Add a tracker to `app` before it starts, and return the tracker.

        Raises:
            ConfigurationError: If an option is invalid, or `app` already has a tracker.
        """
        if not hasattr(app, "state") or not hasattr(app, "router"):
            raise ConfigurationError(
                f"app: expected a FastAPI or Starlette application, got {type(app).__name__}. "
                "For Flask, use adcp_tracker_flask"
            )
        if hasattr(app.state, TRACKER_KEY):
            raise ConfigurationError(
                f"app.state.{TRACKER_KEY}: expected no tracker yet, got one. "
                "Initialise each application once"
            )
        setup = configure(self._options, debug=app.debug, request=_request)
        app.add_middleware(
            AdcpTrackerMiddleware,
            tracker=setup.tracker,
            capture=setup.capture,
        )
        app.router.lifespan_context = closing_lifespan(setup.tracker, app.router.lifespan_context)
        setattr(app.state, TRACKER_KEY, setup.tracker)
        return setup.tracker


def _request(scope: object) -> Request:
    return Request(cast("Scope", scope))


def get_tracker(connection: HTTPConnection = None) -> Tracker:  # type: ignore[assignment]  # FastAPI fills it in only if it looks required
    """Return the tracker of the application that handles this request or websocket.

    Args:
        connection: The request or websocket. Left out, the request being handled; a websocket
            has to be given.

    Raises:
        ConfigurationError: If the application has no tracker, or no request is being handled.
    """
    scope = connection.scope if connection else current_raw_request() or {}
    tracker = scope.get(TRACKER_KEY)
    if tracker is None and "app" in scope:
        tracker = getattr(scope["app"].state, TRACKER_KEY, None)
    if not isinstance(tracker, Tracker):
        raise ConfigurationError(
            f"app.state.{TRACKER_KEY}: expected a tracker, got none. Call AdcpTracker(app, …)"
        )
    return tracker


async def _tracker(connection: HTTPConnection) -> Tracker:
    """Return the tracker on the event loop; FastAPI would run a plain function in a thread."""
    return get_tracker(connection)


TrackerDep = Annotated[Tracker, Depends(_tracker)]
"""The type of a parameter that gets the application's tracker."""

health_router = APIRouter(include_in_schema=False)
"""``/healthz`` and ``/readyz``: ``app.include_router(health_router)``."""


@health_router.get("/healthz")
async def _healthz() -> Response:
    return _health_response(liveness())


@health_router.get("/readyz")
def _readyz(tracker: TrackerDep) -> Response:
    return _health_response(readiness(tracker))


def _health_response(health: Health) -> Response:
    return Response(health.body, health.status, HEADERS)
