"""A glance at a request as it comes in: can its response owe the shopper a cookie at all?

Hardly any does: only one that comes from an advertisement, or brings the cookie of an earlier
one along. Everything else is settled here by a search or two, so that an adapter need not
stand between the application and its server until the headers are sent.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from adcp_tracker.web.clickids import ClickNames


class CookieWatch:
    """Tells of a request whether :meth:`.Capture.response_cookie` has to be asked later.

    "No" is certain, and "yes" a possibility.
    """

    __slots__ = ("_cookie", "_cookie_bytes", "_ends", "_ends_bytes", "_occurs")

    def __init__(self, clicks: ClickNames, cookie: str | None) -> None:
        """Watch for the names of `clicks` and for the cookie called `cookie`, if there is one."""
        self._cookie = cookie
        self._cookie_bytes = (cookie or "").encode()
        self._occurs = clicks.occurs_in
        # A name's last letter before the equals sign: found or not at the speed of a search.
        ends = "".join(sorted({name[-1].lower() + name[-1].upper() for name in clicks.names}))
        self._ends = re.compile(f"[{ends}]=").search
        self._ends_bytes = re.compile(f"[{ends}]=".encode()).search

    def in_environ(self, environ: Mapping[str, object]) -> bool:
        """Look at a WSGI environ, or at Django's ``request.META``."""
        cookie = self._cookie
        if cookie is None:
            return False
        query = str(environ.get("QUERY_STRING", ""))
        if query and self._ends(query) and self._occurs(query):
            return True
        return cookie in str(environ.get("HTTP_COOKIE", ""))

    def in_scope(self, scope: Mapping[str, object]) -> bool:
        """Look at an ASGI HTTP scope."""
        if self._cookie is None:
            return False
        query = scope.get("query_string")
        if (
            isinstance(query, bytes)
            and query
            and self._ends_bytes(query)
            and self._occurs(query.decode("latin-1"))
        ):
            return True
        cookie = self._cookie_bytes
        lines: Iterable[tuple[bytes, bytes]] = scope["headers"]  # type: ignore[assignment]  # as the ASGI specification has it
        for name, value in lines:  # noqa: SIM110 - a generator would take twice as long
            if name == b"cookie" and cookie in value:
                return True
        return False
