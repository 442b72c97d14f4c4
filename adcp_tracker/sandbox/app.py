"""The seller as an ASGI application."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.applications import Starlette

from adcp_tracker.sandbox.control import control_routes
from adcp_tracker.sandbox.rest import rest_routes
from adcp_tracker.sandbox.seller import Seller

if TYPE_CHECKING:
    from adcp_tracker.sandbox.config import SandboxConfig


def create_app(config: SandboxConfig | None = None, *, seller: Seller | None = None) -> Starlette:
    """Build the local seller as an ASGI application.

    Args:
        config: How it behaves; ignored when a `seller` is given.
        seller: What it knows and remembers, to look into it from outside.
    """
    seller = Seller(config) if seller is None else seller
    app = Starlette(routes=[*rest_routes(seller), *control_routes(seller)])
    app.state.seller = seller
    return app
