"""The capture under real servers, through adapters as thin as they are meant to be."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import httpx
import pytest
import uvicorn

from adcp_tracker.context import Context, current_context, reset_context, set_context
from adcp_tracker.web.capture import Capture
from adcp_tracker.web.options import CaptureSettings
from adcp_tracker.web.request import AsgiRequest, WsgiRequest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, MutableMapping
    from wsgiref.types import StartResponse, WSGIEnvironment

    Message = MutableMapping[str, object]

CAPTURE = Capture(CaptureSettings(trusted_proxies=["127.0.0.0/8"]))
SENT = {
    "Host": "shop.example",
    "User-Agent": "Mozilla/5.0",
    "X-Forwarded-For": "9.9.9.9, 8.8.8.8",
    "X-Forwarded-Proto": "https",
}
URL = "https://shop.example/caf%C3%A9?gclid=abc"


def body() -> bytes:
    """Tell what an event would have been given."""
    context: Context | None = current_context()
    assert context is not None
    seen = (context.client_ip, context.client_user_agent, context.event_source_url)
    return "\n".join(map(str, (*seen, context.click_id))).encode()


def wsgi_app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer with the context, as a WSGI application and its adapter in one."""
    context = CAPTURE.begin(WsgiRequest(environ))
    token = set_context(context)
    try:
        content = body()
        cookie = CAPTURE.response_cookie(context)
        start_response("200 OK", [("Set-Cookie", cookie)] if cookie else [])
        return [content]
    finally:
        reset_context(token)


async def asgi_app(
    scope: Message,
    _receive: Callable[[], Awaitable[Message]],
    send: Callable[[Message], Awaitable[None]],
) -> None:
    """Answer with the context, as an ASGI application and its adapter in one."""
    context = CAPTURE.begin(AsgiRequest(scope))
    token = set_context(context)
    try:
        cookie = CAPTURE.response_cookie(context)
        headers = [(b"set-cookie", cookie.encode())] if cookie else []
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body()})
    finally:
        reset_context(token)


class QuietHandler(WSGIRequestHandler):
    """Handles a request and keeps it to itself."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def wsgi_server() -> Iterator[str]:
    """Serve over the standard library's own WSGI server."""
    server: WSGIServer = make_server("127.0.0.1", 0, wsgi_app, handler_class=QuietHandler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Started(uvicorn.Server):
    """A server that says when it is there."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()

    async def startup(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]  # only passed on
        """Start, and say so."""
        await super().startup(sockets)  # type: ignore[arg-type]  # as it came
        self.ready.set()


@contextmanager
def asgi_server(*, proxy_headers: bool) -> Iterator[str]:
    """Serve over uvicorn, which may have read the proxies' headers before us."""
    server = Started(
        uvicorn.Config(
            asgi_app,
            port=0,
            proxy_headers=proxy_headers,
            log_config=None,
            lifespan="off",
        )
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        assert server.ready.wait(10)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


@pytest.mark.parametrize("kind", ["wsgi", "asgi", "asgi behind its own proxy middleware"])
def test_a_served_request_carries_the_shopper(kind: str) -> None:
    """Address, page and click arrive whole, and the landing alone is given a cookie."""
    serve = wsgi_server() if kind == "wsgi" else asgi_server(proxy_headers=kind != "asgi")
    with serve as base, httpx.Client(base_url=base, headers=SENT) as client:
        landing = client.get("/caf\u00e9?gclid=abc&token=s")
        assert landing.text.split("\n") == ["8.8.8.8", "Mozilla/5.0", URL, "abc"]
        assert landing.headers["set-cookie"] == (
            "adcp_click=1.gclid.abc; Max-Age=7776000; Path=/; HttpOnly; SameSite=Lax; Secure"
        )
        later = client.get("/thanks", headers={"Cookie": "adcp_click=1.gclid.abc"})
        assert later.text.split("\n")[2:] == ["https://shop.example/thanks", "abc"]
        assert "set-cookie" not in later.headers
    assert current_context() is None
