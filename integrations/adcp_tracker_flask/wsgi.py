"""The WSGI middleware, which knows the bodies of Flask's finished answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from werkzeug.wrappers import Response
from werkzeug.wsgi import ClosingIterator

from adcp_tracker.context import reset_context, set_context
from adcp_tracker.web.capture import LazyContext
from adcp_tracker.web.requestfacts import WsgiFacts
from adcp_tracker_wsgi.middleware import (
    TRACKER_KEY,
    AdcpTrackerMiddleware,
    ContextBody,
    is_finished,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIEnvironment

_CLOSE = Response.close
# The pieces of a finished text come from one generator of Werkzeug's own.
_PIECES = getattr(Response().iter_encoded(), "gi_code", None)


class FlaskMiddleware(AdcpTrackerMiddleware):
    """Binds the context of each request, also for a body that is no finished text.

    For a response that is a list, with nothing to call when it is closed, only Werkzeug's
    code runs, unless its class has methods of its own. It is handed on as it is.
    """

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Handle one request.

        This is what it inherits, with the most frequent request's way written out: Flask
        takes so little for a short one that each call of a function is a hundredth of it.
        """
        capture = self.capture
        watch = capture.watch
        query = environ.get("QUERY_STRING")
        if query:
            lower = query.lower()
            for end in watch.ends:
                if end in lower and watch.in_environ(environ):
                    return super().__call__(environ, start_response)
        if "HTTP_COOKIE" in environ and watch.cookie in environ["HTTP_COOKIE"]:
            return super().__call__(environ, start_response)
        context = LazyContext(capture, WsgiFacts, environ)
        environ[TRACKER_KEY] = self.tracker
        token = set_context(context)
        try:
            body: Any = self._app(environ, start_response)
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
        return body if is_finished(body, environ) else ContextBody(body, context)
