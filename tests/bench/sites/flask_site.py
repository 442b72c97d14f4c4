"""A page on Flask."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Flask, request

from adcp_tracker_flask import AdcpTracker, get_tracker
from tests.bench.sites.capturing import CAPTURE, capturing
from tests.bench.sites.requests import wsgi_choice, wsgi_requests
from tests.bench.sites.shop import BUY, PAGE, TEXT, options, sale, served_options

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from wsgiref.types import WSGIApplication


def ways(directory: Path) -> dict[str, Callable[[int], None]]:
    """Return what asks the bare site, the tracked one for a page, and both for a sale."""
    bare, tracked = _app(), _app()
    AdcpTracker(tracked, **options(directory))  # type: ignore[arg-type]  # by their names
    return {
        "bare": wsgi_requests(bare, PAGE),
        "quiet": wsgi_requests(tracked, PAGE),
        "event": wsgi_requests(tracked, BUY),
        **_captured(bare),
    }


def _captured(app: Flask) -> dict[str, Callable[[int], None]]:
    capture = capturing()
    if capture is None:
        return {}

    @app.get(CAPTURE)
    def by_hand() -> str:
        capture(request.remote_addr, request.headers.get("User-Agent"), request.url)
        return TEXT

    return {"capture": wsgi_requests(app, CAPTURE)}


def served() -> WSGIApplication:
    """Return what a server is to serve: the bare application beside the tracked one."""
    bare, tracked = _app(), _app()
    AdcpTracker(tracked, **served_options())  # type: ignore[arg-type]  # by their names
    return wsgi_choice(bare, tracked)


def _app() -> Flask:
    app = Flask("bench")

    @app.get(PAGE)
    def page() -> str:
        return TEXT

    @app.get(BUY)
    def buy() -> str:
        get_tracker().track_purchase(sale())
        return TEXT

    return app
