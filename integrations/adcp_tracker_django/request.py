"""A Django request as the tracker reads it, over WSGI and ASGI alike.

Django has settled some of it already: the scheme, which honours ``SECURE_PROXY_SSL_HEADER``,
the host, which is one of ``ALLOWED_HOSTS``, and the decoded path. None of this touches the
session or the user, so that no response varies by cookie.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.http.request import split_domain_port, validate_host

from adcp_tracker.web.request import AsgiRequest, Request, WsgiRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.http import HttpRequest

    from adcp_tracker.web.request import HeaderNames

# What a request's scheme, host, path and headers are read from, over either interface.
_KEPT = ("META", "path", "scope", "environ")
_LOCAL_HOSTS = (".localhost", "127.0.0.1", "[::1]")


class DjangoRequest(Request):
    """Reads what Django knows from Django, and the rest from the server's own record."""

    __slots__ = ("_server", "framework_request")

    framework_request: HttpRequest

    def __init__(self, request: HttpRequest) -> None:
        self.framework_request = request
        scope = getattr(request, "scope", None)
        self._server: Request = WsgiRequest(request.META) if scope is None else AsgiRequest(scope)

    @property
    def peer(self) -> str:
        """The address at the other end of the socket; empty if it has none."""
        return self._server.peer

    @property
    def scheme(self) -> str:
        """``http`` or ``https``, as the site's settings have it."""
        return str(self.framework_request.scheme)

    @property
    def host(self) -> str:
        """The host asked for, if it is one of ``ALLOWED_HOSTS``; else empty."""
        try:
            return str(self.framework_request.get_host())
        except DisallowedHost:
            return ""

    @property
    def path(self) -> str:
        """The whole path, decoded."""
        return str(self.framework_request.path)

    @property
    def query(self) -> str:
        """The query, percent-encoded, without question mark."""
        return str(self.framework_request.META.get("QUERY_STRING", ""))

    def header(self, name: str) -> Sequence[str]:
        """Return every line of the header `name`, in order; nothing if it is absent."""
        return self._server.header(name)

    def has_any(self, names: HeaderNames) -> bool:
        """Return whether the request has any of these headers."""
        return self._server.has_any(names)

    def accepts_host(self, host: str) -> bool:
        """Return whether a host that a proxy reports is one of ``ALLOWED_HOSTS``."""
        allowed = settings.ALLOWED_HOSTS or (_LOCAL_HOSTS if settings.DEBUG else ())
        return bool(validate_host(split_domain_port(host)[0], allowed))


def request_snapshot(request: HttpRequest) -> HttpRequest:
    """Return a copy of an ended request without its user, session and body."""
    kept: HttpRequest = object.__new__(type(request))
    for name in _KEPT:
        if hasattr(request, name):
            setattr(kept, name, getattr(request, name))
    return kept
