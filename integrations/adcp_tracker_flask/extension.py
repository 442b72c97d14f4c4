"""The Flask extension: one object, any number of applications."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from flask import current_app, has_request_context, request

from adcp_tracker.context import current_context
from adcp_tracker.exceptions import ConfigurationError
from adcp_tracker.web.capture import LazyContext
from adcp_tracker.web.setup import Integration, configure
from adcp_tracker_flask._wsgi import with_context

if TYPE_CHECKING:
    from collections.abc import Mapping
    from wsgiref.types import WSGIEnvironment

    from flask import Flask, Request, Response
    from typing_extensions import Unpack

    from adcp_tracker.tracker import Tracker
    from adcp_tracker.web.options import Options

EXTENSION = "adcp_tracker"
"""What the extension is called in ``app.extensions``."""

CONFIG_KEY = "ADCP_TRACKER"
"""What its options are called in ``app.config``."""


class AdcpTracker:
    """Gives an application a tracker, and its events the shopper's request.

    Options are given here or in ``app.config["ADCP_TRACKER"]``, which wins, since it is
    the application's own. Each application gets a tracker of its own. In debug mode it is
    strict unless told otherwise.

    Args:
        app: The application; left out, call :meth:`init_app` for each.
        **options: A tracker's settings and destinations, and what is captured of a
            request; see :class:`adcp_tracker.web.options.Options`.

    Raises:
        ConfigurationError: If an option is unknown, missing or cannot be right.
    """

    def __init__(self, app: Flask | None = None, **options: Unpack[Options]) -> None:
        self._options = options
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> Tracker:
        """Give `app` a tracker, its context and the commands ``flask adcp``; return the tracker.

        Raises:
            ConfigurationError: If an option is wrong, or `app` has a tracker already.
        """
        if not hasattr(app, "wsgi_app"):
            raise ConfigurationError(
                f"app: expected a Flask application, got {type(app).__name__}; "
                "for FastAPI and Starlette there is adcp_tracker_fastapi"
            )
        if EXTENSION in app.extensions:
            raise ConfigurationError(
                f"app.extensions[{EXTENSION!r}]: expected none yet, got one; "
                "initialise each application once"
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
        ConfigurationError: If it has none.
        RuntimeError: If there is no current application.
    """
    # One step to the application: each attribute of the proxy itself takes several.
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001 - Werkzeug's documented way
    setup = app.extensions.get(EXTENSION)
    if not isinstance(setup, Integration):
        raise ConfigurationError(
            f"app.extensions[{EXTENSION!r}]: expected a tracker, got none; "
            "call AdcpTracker(app, …), or init_app(app) in the application factory"
        )
    return setup.tracker


def _configured(app: Flask) -> Mapping[str, object]:
    options = app.config.get(CONFIG_KEY, {})
    if not isinstance(options, dict):
        raise ConfigurationError(
            f"app.config[{CONFIG_KEY!r}]: expected a dict of options, got {type(options).__name__}"
        )
    return options


def _request(app: Flask, environ: object) -> Request:
    """Return Flask's own request for a consent function; only a copy outside of one."""
    if has_request_context() and request.environ is environ:
        return request
    return app.request_class(cast("WSGIEnvironment", environ))


def _resolve_for_stream(response: Response) -> Response:
    """Ask for consent and all else while there is a request, if the body is made later."""
    if response.is_streamed:
        context = current_context()
        if isinstance(context, LazyContext):
            context.resolve()
    return response
