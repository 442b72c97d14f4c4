"""The WSGI middleware, which knows the bodies of Flask's finished answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from werkzeug.wrappers import Response
from werkzeug.wsgi import ClosingIterator

from adcp_tracker_wsgi import AdcpTrackerMiddleware

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import WSGIEnvironment

_CLOSE = Response.close
# The pieces of a finished text come from one generator of Werkzeug's own.
_PIECES = getattr(Response().iter_encoded(), "gi_code", None)


class FlaskMiddleware(AdcpTrackerMiddleware):
    """Binds the context of each request, and spares it where a body is a finished text."""

    def is_finished(self, body: Iterable[bytes], environ: WSGIEnvironment) -> bool:
        """Say whether no more of the application's code runs for this body."""
        if type(body) is ClosingIterator:
            return _is_text(body)
        return super().is_finished(body, environ)


def _is_text(body: ClosingIterator) -> bool:
    """Say whether Werkzeug made `body` of a response that is a list, with nothing to close.

    Werkzeug does not tell in public what closing a body will call. It is looked up where it
    has been in all versions so far; where it is not, the answer is no, which costs some
    microseconds and nothing else. Responses with methods of their own are no text either.
    """
    callbacks: list[object] = getattr(body, "_callbacks", [])
    if len(callbacks) != 2:  # noqa: PLR2004 - the generator's close, and the response's
        return False
    pieces, closing = callbacks
    if getattr(closing, "__func__", None) is not _CLOSE:
        return False
    response = getattr(closing, "__self__", None)
    return (
        type(getattr(response, "response", None)) is list
        and getattr(response, "_on_close", None) == []
        and getattr(getattr(pieces, "__self__", None), "gi_code", None) is _PIECES
    )
