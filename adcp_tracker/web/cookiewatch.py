"""A glance at a request as it comes in: can its response owe the shopper a cookie at all?

Hardly any does: only one that comes from an advertisement, or brings the cookie of an earlier
one along. Everything else is settled here by a search or two, so that an adapter need not
stand between the application and its server until the headers are sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from adcp_tracker.web.clickids import ClickNames


_IN_NO_HEADER = "\n"


class CookieWatch:
    """Tells of a request whether :meth:`.Capture.response_cookie` has to be asked later.

    "No" is certain, and "yes" a possibility.

    Attributes:
        cookie: The cookie's name; where a site has none, what no header can hold.
        ends: In lower case, how a parameter that holds a click id ends. Few others do.
        lands: Finds a parameter of such a name in a query.
    """

    __slots__ = ("_ends_bytes", "cookie", "cookie_bytes", "ends", "lands")

    def __init__(self, clicks: ClickNames, cookie: str | None) -> None:
        """Watch for the names of `clicks` and for the cookie called `cookie`, if there is one."""
        self.cookie = _IN_NO_HEADER if cookie is None else cookie
        self.cookie_bytes = self.cookie.encode()
        ends = {f"{name[-2:].lower()}=" for name in clicks.names}
        self.ends = () if cookie is None else tuple(sorted(ends))
        self._ends_bytes = tuple(end.encode() for end in self.ends)
        self.lands = clicks.occurs_in

    def in_environ(self, environ: Mapping[str, Any]) -> bool:
        """Look at a WSGI environ, or at Django's ``request.META``."""
        try:
            query = environ.get("QUERY_STRING")
            if query:
                lower = query.lower()
                for end in self.ends:
                    if end in lower and self.lands(query):
                        return True
            return "HTTP_COOKIE" in environ and self.cookie in environ["HTTP_COOKIE"]
        except (AttributeError, TypeError):  # what is no text is no browser's
            return False

    def in_scope(self, scope: Mapping[str, Any]) -> bool:
        """Look at an ASGI HTTP scope."""
        query = scope.get("query_string")
        if query:
            lower = query.lower()
            for end in self._ends_bytes:
                if end in lower and self.lands(query.decode("latin-1")):
                    return True
        cookie = self.cookie_bytes
        for name, value in scope["headers"]:  # noqa: SIM110 - a generator takes twice as long
            if name == b"cookie" and cookie in value:
                return True
        return False
