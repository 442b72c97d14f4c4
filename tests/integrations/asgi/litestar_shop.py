"""A shop on Litestar, as the server under test loads it."""

from __future__ import annotations

import os
from typing import Any

from litestar import Litestar, Request, get, post
from litestar.background_tasks import BackgroundTask
from litestar.middleware import DefineMiddleware
from litestar.response import Response

from adcp_tracker import Tracker
from adcp_tracker_asgi import AdcpTrackerMiddleware, closing_lifespan, get_tracker

tracker = Tracker.from_env()


@get("/health")
async def health() -> str:
    """Say that requests are served."""
    return "well"


def sell(request: Request[Any, Any, Any], order_id: str) -> None:
    """Track the purchase."""
    order = {"id": order_id, "total": "12.50", "currency": "EUR"}
    get_tracker(request.scope).track_purchase(order)


@post("/buy/{order_id:str}")
async def buy(request: Request[Any, Any, Any]) -> Response[str]:
    """Sell one thing, at once or after the answer, and say which process did."""
    order_id, task = request.path_params["order_id"], None
    if int(order_id.removeprefix("o-")) % 2:
        task = BackgroundTask(sell, request, order_id)
    else:
        sell(request, order_id)
    return Response(str(os.getpid()), media_type="text/plain", background=task)


app = Litestar(
    [health, buy],
    middleware=[
        DefineMiddleware(AdcpTrackerMiddleware, tracker=tracker, trusted_proxies=["127.0.0.0/8"])
    ],
    lifespan=[closing_lifespan(tracker)],
)
