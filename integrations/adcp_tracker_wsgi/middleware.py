"""A WSGI middleware (PEP 3333) that binds each request's context while it is handled."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adcp_tracker.context import reset_context, set_context
from adcp_tracker.exceptions import ConfigurationError
from adcp_tracker.tracker import Tracker
from adcp_tracker.web.capture import LazyContext, current_raw_request
from adcp_tracker.web.health import HEADERS, health_at
from adcp_tracker.web.request import WsgiRequest, start_safely
from adcp_tracker.web.setup import configure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import TracebackType
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from typing_extensions import Unpack

    from adcp_tracker.web.capture import Capture
    from adcp_tracker.web.options import Options

    ExcInfo = tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None]

TRACKER_KEY = "adcp_tracker.tracker"
"""The tracker's key in the environ."""


class AdcpTrackerMiddleware:
    """Binds the context of each request, puts the tracker into the environ, sets the click cookie.

    Args:
        app: The application.
        tracker: An existing tracker; left out, one is made from `options`.
        capture: An existing capture; left out, one is made from `options`.
        **options: The tracker's settings and destinations, and what to capture from
            requests; see :class:`adcp_tracker.web.options.Options`.

    Raises:
        ConfigurationError: If an option is unknown, missing or invalid.
    """

    def __init__(
        self,
        app: WSGIApplication,
        tracker: Tracker | None = None,
        capture: Capture | None = None,
        **options: Unpack[Options],
    ) -> None:
        setup = configure(options, tracker=tracker)
        self._app = app
        self.tracker = setup.tracker
        self.capture = capture or setup.capture
        self._needs_cookie: Callable[[WSGIEnvironment], bool] = self._needs_cookie_first

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Handle one request."""
        context = LazyContext(self.capture, WsgiRequest, environ)
        environ[TRACKER_KEY] = self.tracker
        if self._needs_cookie(environ):
            start_response = _with_cookie(self.capture, context, start_response)
        token = set_context(context)
        try:
            body = self._app(environ, start_response)
        finally:
            reset_context(token)
        return body if is_closed(body, environ) else ContextBody(body, context)

    def _needs_cookie_first(self, environ: WSGIEnvironment) -> bool:
        """Start the tracker at the first request, then replace this method."""
        self._needs_cookie = self.capture.cookie_check.needs_cookie_environ
        start_safely(self.tracker)
        return self._needs_cookie(environ)


def _with_cookie(
    capture: Capture, context: LazyContext, start_response: StartResponse
) -> StartResponse:
    def start(
        status: str, headers: list[tuple[str, str]], exc_info: ExcInfo | None = None, /
    ) -> Callable[[bytes], object]:
        cookie = capture.response_cookie(context)
        if cookie is not None:
            headers = [*headers, ("Set-Cookie", cookie)]
        return start_response(status, headers, exc_info)

    return start


class ContextBody:
    """A response body that binds the context while each piece is made.

    A server may ask for a piece when the thread has begun another request.
    """

    __slots__ = ("_body", "_context", "_pieces")

    def __init__(self, body: Iterable[bytes], context: LazyContext) -> None:
        self._body = body
        self._context = context
        self._pieces: Iterator[bytes] | None = None

    def __iter__(self) -> ContextBody:
        return self

    def __next__(self) -> bytes:
        token = set_context(self._context)
        try:
            pieces = self._pieces
            if pieces is None:
                pieces = self._pieces = iter(self._body)
            return next(pieces)
        finally:
            reset_context(token)

    def close(self) -> None:
        """Close the application's body with the context bound, since it may track an event then."""
        close = getattr(self._body, "close", None)
        if close is None:
            return
        token = set_context(self._context)
        try:
            close()
        finally:
            reset_context(token)


def is_closed(body: Iterable[bytes], environ: WSGIEnvironment) -> bool:
    """Return whether no more of the application's code runs for this body.

    Servers send lists and files in faster ways, so these aren't wrapped.
    """
    if isinstance(body, (list, tuple)) or hasattr(body, "fileno"):
        return True
    wrapper = environ.get("wsgi.file_wrapper")
    return isinstance(wrapper, type) and isinstance(body, wrapper)


def health_app(tracker: Tracker) -> WSGIApplication:
    """Return an application that answers ``/healthz`` and ``/readyz``, to be mounted.

    Args:
        tracker: The tracker whose health to report.
    """

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        health = health_at(environ.get("PATH_INFO", ""), tracker)
        status = {200: "200 OK", 503: "503 Service Unavailable", 404: "404 Not Found"}
        start_response(status[health.status if health else 404], list(HEADERS.items()))
        return [health.body if health else b""]

    return answer


def get_tracker(environ: WSGIEnvironment | None = None) -> Tracker:
    """Return the tracker of the middleware that handles this request.

    Args:
        environ: The request's environ; left out, the one of the request being handled.

    Raises:
        ConfigurationError: If no middleware handles it.
    """
    tracker = (current_raw_request() or {} if environ is None else environ).get(TRACKER_KEY)
    if not isinstance(tracker, Tracker):
        raise ConfigurationError(
            f"environ[{TRACKER_KEY!r}]: expected a tracker, got none. "
            "Wrap the application in adcp_tracker_wsgi.AdcpTrackerMiddleware"
        )
    return tracker
