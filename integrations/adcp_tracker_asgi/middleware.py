"""An ASGI middleware that binds each request's context while it is handled."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from adcp_tracker.context import reset_context, set_context
from adcp_tracker.exceptions import ConfigurationError
from adcp_tracker.tracker import Tracker
from adcp_tracker.web.capture import LazyContext, current_raw_request
from adcp_tracker.web.health import HEADERS, health_at
from adcp_tracker.web.request import AsgiRequest, scope_snapshot, start_safely
from adcp_tracker.web.setup import configure

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from typing_extensions import Unpack

    from adcp_tracker.web.capture import Capture
    from adcp_tracker.web.options import Options

    # The specification says dict; frameworks each type these in a way of their own.
    Scope = Any
    Message = Any
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    App = Callable[[Scope, Receive, Send], Awaitable[None]]

TRACKER_KEY = "adcp_tracker"
"""The tracker's key in an HTTP scope."""


class AdcpTrackerMiddleware:
    """Binds the context of each request, puts the tracker into the scope, sets the click cookie.

    Background tasks, tasks that the request creates and functions that it runs in a thread see
    the context too. Websockets and lifespans pass through unchanged.

    Args:
        app: The application.
        tracker: An existing tracker; left out, one is made from `options`.
        capture: An existing capture; left out, one is made from `options`.
        **options: The tracker's settings and destinations, and what to capture from
            requests; see :class:`adcp_tracker.web.options.Options`.

    Raises:
        ConfigurationError: If an option is unknown, missing or invalid.
    """

    def __init__(
        self,
        app: App,
        tracker: Tracker | None = None,
        capture: Capture | None = None,
        **options: Unpack[Options],
    ) -> None:
        setup = configure(options, tracker=tracker)
        self._app = app
        self.tracker = setup.tracker
        self.capture = capture or setup.capture
        self._needs_cookie: Callable[[Scope], bool] = self._needs_cookie_first

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        context = LazyContext(self.capture, AsgiRequest, scope)
        scope[TRACKER_KEY] = self.tracker
        if self._needs_cookie(scope):
            send = _with_cookie(self.capture, context, send)
        token = set_context(context)
        try:
            await self._app(scope, receive, send)
        finally:
            reset_context(token)
            context.detach(_snapshot)

    def _needs_cookie_first(self, scope: Scope) -> bool:
        """Start the tracker at the first request, then replace this method."""
        self._needs_cookie = self.capture.cookie_check.needs_cookie_scope
        start_safely(self.tracker)
        return self._needs_cookie(scope)


def _snapshot(scope: Scope) -> dict[str, object]:
    """Keep the tracker too, for background tasks that ask for it."""
    snapshot = scope_snapshot(scope)
    snapshot[TRACKER_KEY] = scope.get(TRACKER_KEY)
    return snapshot


def _with_cookie(capture: Capture, context: LazyContext, send: Send) -> Send:
    # Not a coroutine: it returns the server's, which is awaited instead.
    def send_with_cookie(message: Message) -> Awaitable[None]:
        if message["type"] == "http.response.start":
            cookie = capture.response_cookie(context)
            if cookie is not None:
                lines = [*message.get("headers", ()), (b"set-cookie", cookie.encode())]
                message = {**message, "headers": lines}
        return send(message)

    return send_with_cookie


def health_app(tracker: Tracker) -> App:
    """Return an application that answers ``/healthz`` and ``/readyz``, to be mounted.

    Args:
        tracker: The tracker whose health to report.
    """

    async def answer(scope: Scope, _receive: Receive, send: Send) -> None:
        health = await asyncio.to_thread(health_at, scope["path"], tracker)
        status, body = (health.status, health.body) if health else (404, b"")
        headers = [(name.lower().encode(), each.encode()) for name, each in HEADERS.items()]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return answer


def get_tracker(scope: Mapping[str, object] | None = None) -> Tracker:
    """Return the tracker of the middleware that handles this request.

    Args:
        scope: The request's scope; left out, the one of the request being handled.

    Raises:
        ConfigurationError: If no middleware handles it.
    """
    tracker = (current_raw_request() or {} if scope is None else scope).get(TRACKER_KEY)
    if not isinstance(tracker, Tracker):
        raise ConfigurationError(
            f"scope[{TRACKER_KEY!r}]: expected a tracker, got none. "
            "Wrap the application in adcp_tracker_asgi.AdcpTrackerMiddleware"
        )
    return tracker
