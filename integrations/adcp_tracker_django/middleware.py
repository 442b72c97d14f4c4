"""The middleware: every event tracked during a request carries that request's context."""

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
    """Bind the request's context, and keep the click id of a landing in a cookie.

    Put it first: what stands above it tracks without context, and a cache above it keeps a
    landing's cookie away from other shoppers only if it stands below.

    Args:
        get_response: The rest of the site.

    Raises:
        ConfigurationError: If ``settings.ADCP_TRACKER`` cannot be right, so that a wrong
            setting stops the site's start and not its first checkout.
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
        """Handle a request; in an asynchronous site, return what is to be awaited."""
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
            # Events that a dead process left on disk need not wait for the next one.
            self._started = True
            start_safely(get_tracker())
        return get_capture()


def _add_cookie(response: HttpResponseBase, capture: Capture, context: LazyContext) -> None:
    if cookie := capture.response_cookie(context):
        response.cookies.load(cookie)
