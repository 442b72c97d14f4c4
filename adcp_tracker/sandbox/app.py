"""The seller as an ASGI application."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.middleware import Middleware

from adcp_tracker.sandbox.control import control_routes
from adcp_tracker.sandbox.guard import LoopbackOnly, NoForeignPages
from adcp_tracker.sandbox.mcp import mcp_routes
from adcp_tracker.sandbox.page import page_routes
from adcp_tracker.sandbox.rest import rest_routes
from adcp_tracker.sandbox.seller import Seller

if TYPE_CHECKING:
    from adcp_tracker.sandbox.config import SandboxConfig


def create_app(config: SandboxConfig | None = None, *, seller: Seller | None = None) -> Starlette:
    """Build the local seller as an ASGI application.

    Faults of the connection itself need the server of :class:`~.Sandbox` or :func:`~.run`.

    Args:
        config: How it behaves; ignored when a `seller` is given.
        seller: What it knows and remembers, to look into it from outside.
    """
    seller = Seller(config) if seller is None else seller
    routes = [rest_routes, mcp_routes, control_routes, page_routes]
    app = Starlette(
        routes=[route for make in routes for route in make(seller)],
        middleware=[Middleware(LoopbackOnly), Middleware(NoForeignPages)],
    )
    app.state.seller = seller
    return app
