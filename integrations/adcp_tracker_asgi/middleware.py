"""A pure ASGI middleware that binds each request's context while it is handled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from adcp_tracker.context import reset_context, set_context
from adcp_tracker.exceptions import ConfigurationError
from adcp_tracker.tracker import Tracker
from adcp_tracker.web.capture import LazyContext, current_raw_request
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
"""Where an HTTP scope holds the tracker."""


class AdcpTrackerMiddleware:
    """Binds the context of each request, hands the tracker on and sets the click cookie.

    What the request sets off sees the context too: background tasks, tasks it creates and
    functions that run in a thread. Websockets and lifespans pass through untouched.

    Args:
        app: The application.
        tracker: A tracker that is there already; left out, one is made of `options`.
        capture: A capture that is there already; left out, one is made of `options`.
        **options: A tracker's settings and destinations, and what is captured of a
            request; see :class:`adcp_tracker.web.options.Options`.

    Raises:
        ConfigurationError: If an option is unknown, missing or cannot be right.
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
        """Start the tracker at the first request, and step out of the way of all others."""
        self._needs_cookie = self.capture.cookie_check.needs_cookie_scope
        start_safely(self.tracker)
        return self._needs_cookie(scope)


def _snapshot(scope: Scope) -> dict[str, object]:
    """Keep the tracker too, for background tasks that ask for it."""
    return {**scope_snapshot(scope), TRACKER_KEY: scope.get(TRACKER_KEY)}


def _with_cookie(capture: Capture, context: LazyContext, send: Send) -> Send:
    # No coroutine of its own: it returns the server's, which is awaited in its stead.
    def send_with_cookie(message: Message) -> Awaitable[None]:
        if message["type"] == "http.response.start":
            cookie = capture.response_cookie(context)
            if cookie is not None:
                lines = [*message.get("headers", ()), (b"set-cookie", cookie.encode())]
                message = {**message, "headers": lines}
        return send(message)

    return send_with_cookie


def get_tracker(scope: Mapping[str, object] | None = None) -> Tracker:
    """Return the tracker of the middleware that this request came through.

    Args:
        scope: The request's scope; left out, the one of the request being handled.

    Raises:
        ConfigurationError: If it came through none.
    """
    tracker = (current_raw_request() or {} if scope is None else scope).get(TRACKER_KEY)
    if not isinstance(tracker, Tracker):
        raise ConfigurationError(
            f"scope[{TRACKER_KEY!r}]: expected a tracker, got none; "
            "put adcp_tracker_asgi.AdcpTrackerMiddleware around the application"
        )
    return tracker
