"""A page on FastAPI, whose views are given the request: ours, and the peer's."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from fastapi import FastAPI, Request

from adcp_tracker_fastapi import AdcpTracker, get_tracker
from tests.bench.sites.capturing import CAPTURE, capturing
from tests.bench.sites.requests import asgi_choice, asgi_requests
from tests.bench.sites.shop import BUY, PAGE, TEXT, options, sale, served_options

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from tests.bench.sites.requests import AsgiApp


def ways(directory: Path) -> dict[str, Callable[[int], None]]:
    """Return what asks the bare site, the tracked one for a page, and both for a sale."""
    bare, tracked = _app(), _app()
    AdcpTracker(tracked, **options(directory))  # type: ignore[arg-type]  # by their names
    run = asyncio.new_event_loop().run_until_complete
    return {
        "bare": asgi_requests(bare, PAGE, run),
        "quiet": asgi_requests(tracked, PAGE, run),
        "event": asgi_requests(tracked, BUY, run),
        **_captured(bare, run),
    }


def _captured(
    app: FastAPI, run: Callable[[Awaitable[None]], None]
) -> dict[str, Callable[[int], None]]:
    capture = capturing()
    if capture is None:
        return {}

    @app.get(CAPTURE)
    async def by_hand(request: Request) -> dict[str, str]:
        address = request.client.host if request.client else None
        capture(address, request.headers.get("user-agent"), str(request.url))
        return {"text": TEXT}

    return {"capture": asgi_requests(app, CAPTURE, run)}


def served() -> AsgiApp:
    """Return what a server is to serve: the bare application beside the tracked one."""
    bare, tracked = _app(), _app()
    AdcpTracker(tracked, **served_options())  # type: ignore[arg-type]  # by their names
    return asgi_choice(bare, tracked)


def _app() -> FastAPI:
    app = FastAPI()

    @app.get(PAGE)
    async def page() -> dict[str, str]:
        return {"text": TEXT}

    @app.get(BUY)
    async def buy(request: Request) -> dict[str, str]:
        get_tracker(request).track_purchase(sale())
        return {"text": TEXT}

    return app
