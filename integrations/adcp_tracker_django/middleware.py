"""The middleware: events tracked during a request carry the request's context."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asgiref.sync import iscoroutinefunction, markcoroutinefunction

from adcp_tracker.context import reset_context, set_context
from adcp_tracker.web.capture import LazyContext
from adcp_tracker.web.request import start_safely
from adcp_tracker_django.config import get_capture, get_tracker
from adcp_tracker_django.request import DjangoRequest, request_snapshot

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from django.http import HttpRequest, HttpResponseBase

    from adcp_tracker.web.capture import Capture

    Handler = Callable[[HttpRequest], HttpResponseBase | Awaitable[HttpResponseBase]]


class AdcpTrackerMiddleware:
    """Bind the request's context, and store the click id of a landing page in a cookie.

    Put it first: middleware above it tracks without a context, and a cache middleware above it
    would hand one shopper's cookie to others.

    Args:
        get_response: The rest of the site.

    Raises:
        ConfigurationError: If ``settings.ADCP_TRACKER`` is invalid, so that the site doesn't
            start, instead of failing at its first checkout.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)
        self._started = False
        get_tracker()

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        """Handle a request; in an asynchronous site, return an awaitable."""
        if self._is_async:
            return self._acall(request)
        capture = self._capture()
        context = LazyContext(capture, DjangoRequest, request)
        needs_cookie = capture.cookie_check.needs_cookie_environ(request.META)
        token = set_context(context)
        try:
            response: HttpResponseBase = self.get_response(request)
            if needs_cookie:
                _add_cookie(response, capture, context)
            return response
        finally:
            reset_context(token)

    async def _acall(self, request: HttpRequest) -> HttpResponseBase:
        capture = self._capture()
        context = LazyContext(capture, DjangoRequest, request)
        needs_cookie = capture.cookie_check.needs_cookie_environ(request.META)
        token = set_context(context)
        try:
            response: HttpResponseBase = await self.get_response(request)
            if needs_cookie:
                _add_cookie(response, capture, context)
            return response
        finally:
            reset_context(token)
            context.detach(request_snapshot)

    def _capture(self) -> Capture:
        if not self._started:
            # Deliver what a dead process left on disk, without waiting for the next event.
            self._started = True
            start_safely(get_tracker())
        return get_capture()


def _add_cookie(response: HttpResponseBase, capture: Capture, context: LazyContext) -> None:
    if cookie := capture.response_cookie(context):
        response.cookies.load(cookie)
