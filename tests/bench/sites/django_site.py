"""A page on Django, with the middleware that a new project begins with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import django
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, HttpResponse
from django.test import override_settings
from django.urls import path

from adcp_tracker_django import get_tracker
from tests.bench.sites.capturing import CAPTURE, capturing
from tests.bench.sites.requests import wsgi_choice, wsgi_requests
from tests.bench.sites.shop import BUY, PAGE, TEXT, options, sale, served_options

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from wsgiref.types import WSGIApplication

_MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
_OURS = "adcp_tracker_django.middleware.AdcpTrackerMiddleware"


def ways(directory: Path) -> dict[str, Callable[[int], None]]:
    """Return what asks the bare site, the tracked one for a page, and both for a sale."""
    bare, tracked = _sites(options(directory))
    ways = {
        "bare": wsgi_requests(bare, PAGE),
        "quiet": wsgi_requests(tracked, PAGE),
        "event": wsgi_requests(tracked, BUY),
    }
    return ways if _capture is None else {**ways, "capture": wsgi_requests(bare, CAPTURE)}


def served() -> WSGIApplication:
    """Return what a server is to serve: the bare site beside the tracked one."""
    return wsgi_choice(*_sites(served_options()))


def _sites(chosen: dict[str, object]) -> tuple[WSGIHandler, WSGIHandler]:
    settings.configure(
        ADCP_TRACKER=chosen,
        ALLOWED_HOSTS=["shop.example"],
        INSTALLED_APPS=[
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.sessions",
            "django.contrib.messages",
            "adcp_tracker_django",
        ],
        MIDDLEWARE=_MIDDLEWARE,
        ROOT_URLCONF=__name__,
        SECRET_KEY="bench",
        USE_TZ=True,
    )
    django.setup()
    bare = WSGIHandler()
    with override_settings(MIDDLEWARE=[_OURS, *_MIDDLEWARE]):
        return bare, WSGIHandler()


def page(_request: HttpRequest) -> HttpResponse:
    """Show a page."""
    return HttpResponse(TEXT)


def buy(_request: HttpRequest) -> HttpResponse:
    """Take an order, and track it."""
    get_tracker().track_purchase(sale())
    return HttpResponse(TEXT)


def by_hand(request: HttpRequest) -> HttpResponse:
    """Take an order, and let PostHog capture it."""
    if _capture is not None:
        browser = request.headers.get("User-Agent")
        _capture(request.META["REMOTE_ADDR"], browser, request.build_absolute_uri())
    return HttpResponse(TEXT)


_capture = capturing()
urlpatterns = [
    path(PAGE.lstrip("/"), page),
    path(BUY.lstrip("/"), buy),
    path(CAPTURE.lstrip("/"), by_hand),
]
