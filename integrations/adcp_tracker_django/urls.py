"""``/healthz`` and ``/readyz``.

::

    urlpatterns = [path("", include("adcp_tracker_django.urls")), ...]
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.views.decorators.http import require_safe

from adcp_tracker.web.health import HEADERS, liveness, readiness
from adcp_tracker_django.config import get_tracker

if TYPE_CHECKING:
    from adcp_tracker.web.health import Health


@require_safe
def healthz(_: HttpRequest) -> HttpResponse:
    """Answer that the process is alive."""
    return _response(liveness())


@require_safe
def readyz(_: HttpRequest) -> HttpResponse:
    """Answer whether events are recorded durably."""
    return _response(readiness(get_tracker()))


def _response(health: Health) -> HttpResponse:
    return HttpResponse(health.body, status=health.status, headers=HEADERS)


urlpatterns = [path("healthz", healthz), path("readyz", readyz)]
