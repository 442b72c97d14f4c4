"""The seller as an ASGI application."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse

from adcp_tracker.sandbox.admin import admin_routes
from adcp_tracker.sandbox.mcp import mcp_routes
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


def create_app(config: SandboxConfig | None = None, *, seller: Seller | None = None) -> Starlette:
    """Build the local seller as an ASGI application.

    Connection faults only work under the server of :class:`~.Sandbox` or :func:`~.run`.

    Args:
        config: The seller's settings; ignored if `seller` is given.
        seller: The seller to serve.
    """
    seller = Seller(config) if seller is None else seller
    routes = [rest_routes, mcp_routes, admin_routes, page_routes]
    app = Starlette(
        routes=[route for make in routes for route in make(seller)],
        middleware=[Middleware(LoopbackOnly), Middleware(SameOriginOnly)],
    )
    app.state.seller = seller
    return app
