"""A Django request's facts, over WSGI and ASGI alike.

What Django has settled already is taken from Django: the scheme, which honours
``SECURE_PROXY_SSL_HEADER``, the host, which is one of ``ALLOWED_HOSTS``, and the decoded path.
None of it touches the session or the user, so that no response varies by cookie.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.exceptions import DisallowedHost

from adcp_tracker.web.request import AsgiRequest, WsgiRequest

if TYPE_CHECKING:
    from django.http import HttpRequest

    from adcp_tracker.web.request import Request


# What a request's scheme, host, path and headers are made of, over either interface.
_REMAINS = ("META", "path", "scope", "environ")


class _FromRequest:
    """The facts that Django's request knows better than the server's own record."""

    __slots__ = ()

    framework_request: Any

    @property
    def scheme(self) -> str:
        """``http`` or ``https``, as the site's settings have it."""
        return str(self.framework_request.scheme)

    @property
    def host(self) -> str:
        """The host asked for, if the site serves it; else empty."""
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


class _DjangoWsgiFacts(_FromRequest, WsgiRequest):
    __slots__ = ()


class _DjangoAsgiFacts(_FromRequest, AsgiRequest):
    __slots__ = ()


def wrap_request(request: HttpRequest) -> Request:
    """Return the facts of a request, whichever interface it came over."""
    scope = getattr(request, "scope", None)
    if scope is None:
        return _DjangoWsgiFacts(request.META, request)
    return _DjangoAsgiFacts(scope, request)


def request_snapshot(request: HttpRequest) -> HttpRequest:
    """Return a request with the facts of an ended one, and without its user, session or body."""
    kept: HttpRequest = object.__new__(type(request))
    for name in _REMAINS:
        if hasattr(request, name):
            setattr(kept, name, getattr(request, name))
    return kept
