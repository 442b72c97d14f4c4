"""The request that every site is asked, as a browser sends it, over both server interfaces."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    AsgiApp = Callable[[Any, Any, Any], Awaitable[None]]

HEADERS = {
    "Host": "shop.example",
    "Connection": "keep-alive",
    "User-Agent": (
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
        "Chrome/126.0.0.0 Safari/537.36"
    ),
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Encoding": "gzip, deflate, br",
    "Accept-Language": "en-GB,en;q=0.9",
    "Cookie": "session=9f86d081884c7d659a2feaa0c55ad015; theme=dark",
    "Referer": "https://shop.example/",
    "Sec-Fetch-Dest": "document",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Site": "same-origin",
}
QUERY = "category=mugs&page=2"
BARE_QUERY = "category=cups&page=2"
"""What a served page is asked for by, to come from the bare site; as long as the other."""

_PEER = "203.0.113.7"


class UnexpectedAnswerError(AssertionError):
    """A site did not answer 200, so that what was timed is not what it should be."""


def wsgi_requests(app: WSGIApplication, path: str) -> Callable[[int], None]:
    """Return a call that asks `app` for `path` so many times, as a WSGI server does."""
    kept = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": QUERY,
        "SERVER_NAME": "shop.example",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": _PEER,
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": False,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        **{f"HTTP_{name.upper().replace('-', '_')}": each for name, each in HEADERS.items()},
    }

    def start(status: str, _headers: object, _error: object = None, /) -> Callable[..., object]:
        if not status.startswith("200"):
            raise UnexpectedAnswerError(f"{path}: expected 200, got {status}")
        return ask

    def ask(count: int) -> None:
        for _ in range(count):
            body = app({**kept, "wsgi.input": io.BytesIO()}, start)
            for _piece in body:
                pass
            if close := getattr(body, "close", None):
                close()

    return ask


def asgi_requests(
    app: AsgiApp, path: str, run: Callable[[Awaitable[None]], None]
) -> Callable[[int], None]:
    """Return a call that asks `app` for `path` so many times, as an ASGI server does.

    Args:
        app: The application.
        path: What it is asked for.
        run: Runs a coroutine to its end on a loop that is there already.
    """
    headers = [(name.lower().encode(), each.encode()) for name, each in HEADERS.items()]
    kept = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": QUERY.encode(),
        "root_path": "",
        "client": (_PEER, 50_000),
        "server": ("127.0.0.1", 80),
    }

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, object]) -> None:
        if message.get("status", 200) != 200:
            raise UnexpectedAnswerError(f"{path}: expected 200, got {message['status']}")

    async def ask(count: int) -> None:
        for _ in range(count):
            await app({**kept, "headers": list(headers), "state": {}}, receive, send)

    return lambda count: run(ask(count))


def wsgi_choice(bare: WSGIApplication, tracked: WSGIApplication) -> WSGIApplication:
    """Return both applications as one, that chooses by the query."""

    def choose(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        app = bare if environ["QUERY_STRING"] == BARE_QUERY else tracked
        return app(environ, start_response)

    return choose


def asgi_choice(bare: AsgiApp, tracked: AsgiApp) -> AsgiApp:
    """Return both applications as one, that chooses by the query."""
    query = BARE_QUERY.encode()

    async def choose(scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401 - as ASGI has it
        app = bare if scope.get("query_string") == query else tracked
        await app(scope, receive, send)

    return choose
