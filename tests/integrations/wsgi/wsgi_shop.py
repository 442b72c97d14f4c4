"""A shop without any framework, as the servers under test load it."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from adcp_tracker_wsgi import AdcpTrackerMiddleware, get_tracker

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIEnvironment

logging.basicConfig()


def shop(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Sell one thing, and say which process did."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    path = environ["PATH_INFO"]
    if path.startswith("/buy/"):
        order = {"id": path.removeprefix("/buy/"), "total": "12.50", "currency": "EUR"}
        get_tracker(environ).track_purchase(order)
    return [str(os.getpid()).encode()]


app = AdcpTrackerMiddleware(shop, trusted_proxies=["127.0.0.0/8"])
