"""A shop on Starlette alone, as the server under test loads it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from adcp_tracker import Tracker
from adcp_tracker_asgi import AdcpTrackerMiddleware, closing_lifespan, get_tracker

if TYPE_CHECKING:
    from starlette.requests import Request

tracker = Tracker.from_env()


async def health(_: Request) -> PlainTextResponse:
    """Say that requests are served."""
    return PlainTextResponse("well")


async def buy(request: Request) -> PlainTextResponse:
    """Sell one thing in one of four ways, and say which process did."""
    order_id = request.path_params["order_id"]
    way = int(order_id.removeprefix("o-")) % 4
    task = None
    if way == 0:
        sell(request, order_id)
    elif way == 1:
        await run_in_threadpool(sell, request, order_id)
    elif way == 2:
        task = BackgroundTask(sell, request, order_id)
    else:
        task = BackgroundTask(sell_async, request, order_id)
    return PlainTextResponse(str(os.getpid()), background=task)


def sell(request: Request, order_id: str) -> None:
    """Track the purchase."""
    order = {"id": order_id, "total": "12.50", "currency": "EUR"}
    get_tracker(request.scope).track_purchase(order)


async def sell_async(request: Request, order_id: str) -> None:
    """Track the purchase from the event loop."""
    sell(request, order_id)


app = Starlette(
    routes=[Route("/health", health), Route("/buy/{order_id}", buy, methods=["POST"])],
    middleware=[
        Middleware(AdcpTrackerMiddleware, tracker=tracker, trusted_proxies=["127.0.0.0/8"])
    ],
    lifespan=closing_lifespan(tracker),
)
