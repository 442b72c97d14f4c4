"""A WSGI middleware for Flask with a fast path for ordinary requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from werkzeug.wrappers import Response
from werkzeug.wsgi import ClosingIterator

from adcp_tracker.context import reset_context, set_context
from adcp_tracker.web.capture import LazyContext
from adcp_tracker.web.request import WsgiRequest, start_safely
from adcp_tracker_wsgi.middleware import (
    TRACKER_KEY,
    AdcpTrackerMiddleware,
    ContextBody,
    is_closed,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from adcp_tracker.tracker import Tracker
    from adcp_tracker.web.capture import Capture

_CLOSE = Response.close
# The pieces of a finished text come from one generator of Werkzeug's own.
_PIECES = getattr(Response().iter_encoded(), "gi_code", None)


def with_context(app: WSGIApplication, tracker: Tracker, capture: Capture) -> WSGIApplication:
    """Return `app` inside the WSGI middleware, its way of a usual request written out.

    A usual request owes no cookie, and is answered by a finished text: a list, with nothing
    to call when it is closed, of a response whose class has no methods of its own for either.
    Only Werkzeug's code runs for such a body, so it is handed on as it is. All is in one
    function and its own variables, since each call and each look into an object would be
    half a hundredth of such a request. So the first request's way to start the tracker is a
    variable too, which is put right once it is done.
    """
    whole = AdcpTrackerMiddleware(app, tracker, capture)
    ends, lands, cookie = (
        capture.cookie_check.ends,
        capture.cookie_check.lands,
        capture.cookie_check.cookie,
    )

    context_of: Callable[[Capture, type[WsgiRequest], object], LazyContext]

    def first_context(capture: Capture, read: type[WsgiRequest], environ: object) -> LazyContext:
        nonlocal context_of
        context_of = LazyContext
        start_safely(tracker)
        return LazyContext(capture, read, environ)

    context_of = first_context

    def handle(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        query = environ.get("QUERY_STRING")
        if query:
            lower = query.lower()
            for end in ends:
                if end in lower and lands(query):
                    return whole(environ, start_response)
        if "HTTP_COOKIE" in environ and cookie in environ["HTTP_COOKIE"]:
            return whole(environ, start_response)
        context = context_of(capture, WsgiRequest, environ)
        environ[TRACKER_KEY] = tracker
        token = set_context(context)
        try:
            body: Any = app(environ, start_response)
        finally:
            reset_context(token)
        try:
            # Werkzeug does not tell in public what closing a body will call: it is looked up
            # where it has been in all versions so far, and where it is not, that is no text.
            pieces, closing = body._callbacks  # noqa: SLF001
            response = closing.__self__
            if (
                type(body) is ClosingIterator
                and type(response.response) is list
                and not response._on_close  # noqa: SLF001
                and closing.__func__ is _CLOSE
                and pieces.__self__.gi_code is _PIECES
            ):
                return body
        except (AttributeError, TypeError, ValueError):
            pass
        return body if is_closed(body, environ) else ContextBody(body, context)

    return handle
