"""The seller as an ASGI application."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse

from adcp_tracker.sandbox.a2a import a2a_routes
from adcp_tracker.sandbox.admin import admin_routes
from adcp_tracker.sandbox.agent import mcp_routes
from adcp_tracker.sandbox.page import page_routes
from adcp_tracker.sandbox.rest import rest_routes
from adcp_tracker.sandbox.seller import Seller

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from adcp_tracker.sandbox.config import SandboxConfig


_CROSS_ORIGIN_MESSAGE = (
    "Requests from other web pages are not allowed. From a program, send neither Origin nor "
    "Sec-Fetch-Site."
)
_ASK_FOR_LINK = (
    "Open the link that adcp-tracker sandbox printed, which ends with ?token=…; from a program, "
    "send the token as a bearer token."
)
_COOKIE = "adcp_sandbox"
_CROSS_SITES = frozenset({"cross-site", "same-site"})


class LoopbackOnly:
    """Reject requests whose ``Host`` is not this machine.

    Prevents DNS rebinding: a web page can point its own name to 127.0.0.1 and read the
    responses, but its requests still carry that name.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the app, or answer 421."""
        if scope["type"] == "http" and not _is_loopback(_requested_host(scope)):
            await PlainTextResponse("This seller only answers requests to localhost.", 421)(
                scope, receive, send
            )
            return
        await self.app(scope, receive, send)


class PageToken:
    """Require a token for the page and for ``/_sandbox``, on networks that others can reach.

    The link that the command prints has it in the query; a cookie keeps it from there on.
    Programs send it as a bearer token. The seller's own calls check theirs themselves.
    """

    def __init__(self, app: ASGIApp, token: str) -> None:
        self.app = app
        self._token = token.encode()
        self._cookie = hashlib.sha256(self._token).hexdigest()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the app, answer 401, or exchange the token for a cookie."""
        path = scope.get("path", "")
        if scope["type"] != "http" or not (path == "/" or path.startswith("/_sandbox/")):
            await self.app(scope, receive, send)
            return
        request = Request(scope)
        given = request.query_params.get("token")
        if given is not None and self._is_token(given):
            redirect = RedirectResponse("/", 303)
            redirect.set_cookie(_COOKIE, self._cookie, httponly=True, samesite="strict")
            await redirect(scope, receive, send)
        elif self._is_known(request):
            await self.app(scope, receive, send)
        else:
            await PlainTextResponse(_ASK_FOR_LINK, 401)(scope, receive, send)

    def _is_known(self, request: Request) -> bool:
        scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
        cookie = request.cookies.get(_COOKIE, "")
        return (scheme.lower() == "bearer" and self._is_token(bearer.strip())) or (
            hmac.compare_digest(cookie.encode(), self._cookie.encode())
        )

    def _is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), self._token)


class SameOriginOnly:
    """Reject requests of other origins, except reads of the page.

    Prevents CSRF: browsers send simple POST requests for any page. They name its origin in
    headers that pages can't forge and that programs don't send.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the app, or answer 403."""
        if scope["type"] == "http" and not _is_read_only(scope) and _is_cross_origin(scope):
            await PlainTextResponse(_CROSS_ORIGIN_MESSAGE, 403)(scope, receive, send)
            return
        await self.app(scope, receive, send)


def _is_read_only(scope: Scope) -> bool:
    # Other GET requests are counted and may use up an injected fault.
    path: str = scope["path"]
    return scope["method"] in {"GET", "HEAD"} and (path == "/" or path.startswith("/_sandbox/"))


def _is_cross_origin(scope: Scope) -> bool:
    own = {f"{scope['scheme']}://{host}".lower() for host in _header_values(scope, b"host")}
    origins = {origin.lower() for origin in _header_values(scope, b"origin")}
    sites = {site.lower() for site in _header_values(scope, b"sec-fetch-site")}
    return not origins <= own or not sites.isdisjoint(_CROSS_SITES)


def _header_values(scope: Scope, header: bytes) -> list[str]:
    return [value.decode("latin-1") for name, value in scope["headers"] if name == header]


def _requested_host(scope: Scope) -> str:
    named = _header_values(scope, b"host")
    host = named[0] if len(named) == 1 else ""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _is_loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def create_app(
    config: SandboxConfig | None = None, *, seller: Seller | None = None, token: str | None = None
) -> Starlette:
    """Build the local seller as an ASGI application.

    Connection faults only work under the server of :class:`~.Sandbox` or :func:`~.run`.

    Args:
        config: The seller's settings; ignored if `seller` is given.
        seller: The seller to serve.
        token: Required for the page and for ``/_sandbox``; then requests may name any host.
    """
    seller = Seller(config) if seller is None else seller
    routes = [rest_routes, mcp_routes, a2a_routes, admin_routes, page_routes]
    app = Starlette(
        routes=[route for make in routes for route in make(seller)],
        middleware=[
            Middleware(LoopbackOnly) if token is None else Middleware(PageToken, token),
            Middleware(SameOriginOnly),
        ],
    )
    app.state.seller = seller
    return app
