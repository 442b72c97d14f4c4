"""The Flask extension, for any number of applications."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from flask import Blueprint, Response, current_app, has_request_context, request

from adcp_tracker.context import current_context
from adcp_tracker.exceptions import ConfigurationError
from adcp_tracker.web.capture import LazyContext
from adcp_tracker.web.health import HEADERS, liveness, readiness
from adcp_tracker.web.setup import Integration, configure
from adcp_tracker_flask._wsgi import with_context

if TYPE_CHECKING:
    from collections.abc import Mapping
    from wsgiref.types import WSGIEnvironment

    from flask import Flask, Request
    from typing_extensions import Unpack

    from adcp_tracker.tracker import Tracker
    from adcp_tracker.web.health import Health
    from adcp_tracker.web.options import Options

EXTENSION = "adcp_tracker"
"""The extension's key in ``app.extensions``."""

CONFIG_KEY = "ADCP_TRACKER"
"""The key of its options in ``app.config``."""


class AdcpTracker:
    """Adds a tracker to an application, and the shopper's request to its events.

    Pass options here or in ``app.config["ADCP_TRACKER"]``, which takes precedence. Each
    application gets its own tracker. In debug mode it is strict unless you set ``strict``.

    Args:
        app: The application; left out, call :meth:`init_app` for each.
        **options: The tracker's settings and destinations, and what to capture from
            requests; see :class:`adcp_tracker.web.options.Options`.

    Raises:
        ConfigurationError: If an option is unknown, missing or invalid.
    """

    def __init__(self, app: Flask | None = None, **options: Unpack[Options]) -> None:
        self._options = options
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> Tracker:
        """Add a tracker, contexts and the commands ``flask adcp`` to `app`; return the tracker.

        Raises:
            ConfigurationError: If an option is invalid, or `app` already has a tracker.
        """
        if not hasattr(app, "wsgi_app"):
            raise ConfigurationError(
                f"app: expected a Flask application, got {type(app).__name__}. "
                "For FastAPI and Starlette, use adcp_tracker_fastapi"
            )
        if EXTENSION in app.extensions:
            raise ConfigurationError(
                f"app.extensions[{EXTENSION!r}]: expected no tracker yet, got one. "
                "Initialise each application once"
            )
        options = {**self._options, **_configured(app)}
        setup = configure(options, debug=app.debug, request=lambda given: _request(app, given))
        app.extensions[EXTENSION] = setup
        app.wsgi_app = with_context(  # type: ignore[method-assign, assignment]  # Flask's own way
            app.wsgi_app, setup.tracker, setup.capture
        )
        if options.get("consent") is not None:
            app.after_request(_resolve_for_stream)
        from adcp_tracker_flask.commands import adcp  # noqa: PLC0415 - it imports this module

        app.cli.add_command(adcp)
        return setup.tracker


def get_tracker() -> Tracker:
    """Return the current application's tracker.

    Raises:
        ConfigurationError: If it has no tracker.
        RuntimeError: If there is no current application.
    """
    # One step to the application; each attribute of the proxy takes several.
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001 - Werkzeug's documented way
    setup = app.extensions.get(EXTENSION)
    if not isinstance(setup, Integration):
        raise ConfigurationError(
            f"app.extensions[{EXTENSION!r}]: expected a tracker, got none. "
            "Call AdcpTracker(app, …), or init_app(app) in the application factory"
        )
    return setup.tracker


health = Blueprint("adcp_tracker_health", __name__)
"""``/healthz`` and ``/readyz``: ``app.register_blueprint(health)``."""


@health.get("/healthz")
def _healthz() -> Response:
    return _health_response(liveness())


@health.get("/readyz")
def _readyz() -> Response:
    return _health_response(readiness(get_tracker()))


def _health_response(found: Health) -> Response:
    return Response(found.body, status=found.status, headers=HEADERS)


def _configured(app: Flask) -> Mapping[str, object]:
    options = app.config.get(CONFIG_KEY, {})
    if not isinstance(options, dict):
        raise ConfigurationError(
            f"app.config[{CONFIG_KEY!r}]: expected a dict of options, got {type(options).__name__}"
        )
    return options


def _request(app: Flask, environ: object) -> Request:
    """Return Flask's request for a consent function; a copy outside of a request."""
    if has_request_context() and request.environ is environ:
        return request
    return app.request_class(cast("WSGIEnvironment", environ))


def _resolve_for_stream(response: Response) -> Response:
    """Compute the context while there is a request, if the body is streamed later."""
    if response.is_streamed:
        context = current_context()
        if isinstance(context, LazyContext):
            context.resolve()
    return response
