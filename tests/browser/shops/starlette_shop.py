"""The shop on Starlette, without FastAPI."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import HTMLResponse, JSONResponse
from starlette.routing import Route

from adcp_tracker import Tracker
from adcp_tracker_asgi import AdcpTrackerMiddleware, closing_lifespan, get_tracker
from tests.browser.shops import site

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

tracker = Tracker.from_env()


async def home(_: Request) -> Response:
    """Show where shoppers land."""
    return HTMLResponse(site.HOME)


async def health(_: Request) -> Response:
    """Say that requests are served."""
    return HTMLResponse("well")


async def about(_: Request) -> Response:
    """Show a page that any cache may keep."""
    return HTMLResponse(site.ABOUT, headers=site.CACHED)


async def cart(_: Request) -> Response:
    """Show a page whose script buys."""
    return HTMLResponse(site.CART)


async def ahead(request: Request) -> Response:
    """Show a page that has the next one fetched ahead."""
    return HTMLResponse(site.AHEAD[request.path_params["kind"]])


async def product(request: Request) -> Response:
    """Show a product."""
    purpose = request.headers.get("Sec-Purpose", "")
    number = request.path_params["number"]
    page = site.product(get_tracker(request.scope), number, purpose)
    return HTMLResponse("", 503) if page is None else HTMLResponse(page)


async def buy(request: Request) -> Response:
    """Sell one thing."""
    text = site.sell(get_tracker(request.scope), request.path_params["order_id"])
    return HTMLResponse(site.bought(text))


async def seen(_: Request) -> Response:
    """Tell which products were asked for."""
    return JSONResponse(site.seen())


app = Starlette(
    routes=[
        Route("/", home),
        Route("/health", health),
        Route("/about", about),
        Route("/cart", cart),
        Route("/ahead/{kind}", ahead),
        Route("/product/{number:int}", product),
        Route("/buy/{order_id}", buy, methods=["POST"]),
        Route("/seen", seen),
    ],
    middleware=[Middleware(AdcpTrackerMiddleware, tracker=tracker, **site.options())],
    lifespan=closing_lifespan(tracker),
)
