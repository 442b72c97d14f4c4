"""The first request of a process starts what delivers, without an event and at no one's cost."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any
from wsgiref.util import setup_testing_defaults

import pytest
from flask import Flask

from adcp_tracker import Interchange, Tracker
from adcp_tracker_asgi import AdcpTrackerMiddleware as AsgiMiddleware
from adcp_tracker_asgi import closing_lifespan
from adcp_tracker_flask._wsgi import with_context
from adcp_tracker_wsgi import AdcpTrackerMiddleware as WsgiMiddleware
from tests.support.seller import ADVERTISER, SOURCE, TOKEN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from adcp_tracker.sandbox import Sandbox
    from adcp_tracker.settings import Uploader

_PATIENCE = 10.0


class Counted(Tracker):
    """A tracker that counts how often it is started, and may fail at it."""

    starts = 0
    failing = False

    def start(self) -> None:
        """Start, unless it is to fail."""
        self.starts += 1
        if self.failing:
            raise MemoryError
        super().start()


def page(_: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer without tracking anything."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"page"]


async def async_page(_scope: Any, _receive: Any, send: Any) -> None:  # noqa: ANN401 - as ASGI has it
    """Answer without tracking anything."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"page"})


def ask_wsgi(app: WSGIApplication, query: str) -> bytes:
    """Look at a page as a WSGI server does."""
    environ: WSGIEnvironment = {"QUERY_STRING": query}
    setup_testing_defaults(environ)
    return b"".join(app(environ, lambda *_: lambda _: None))


def through_wsgi(tracker: Tracker) -> Callable[[str], bytes]:
    """Return how a page is looked at through the WSGI middleware."""
    app = WsgiMiddleware(page, tracker)
    return lambda query: ask_wsgi(app, query)


def through_flask(tracker: Tracker) -> Callable[[str], bytes]:
    """Return how a page is looked at through Flask's own way."""
    flask = Flask("shop")
    flask.add_url_rule("/", view_func=lambda: "page")
    capture = WsgiMiddleware(page, tracker).capture
    app = with_context(flask.wsgi_app, tracker, capture)
    return lambda query: ask_wsgi(app, query)


def through_asgi(tracker: Tracker) -> Callable[[str], bytes]:
    """Return how a page is looked at through the ASGI middleware."""
    app = AsgiMiddleware(async_page, tracker)

    def ask(query: str) -> bytes:
        scope = {"type": "http", "path": "/", "query_string": query.encode(), "headers": []}
        sent: list[bytes] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request"}

        async def send(message: Any) -> None:  # noqa: ANN401 - as ASGI has it
            sent.append(message.get("body", b""))

        asyncio.run(app(scope, receive, send))
        return b"".join(sent)

    return ask


adapters = pytest.mark.parametrize("through", [through_wsgi, through_flask, through_asgi])


@pytest.fixture
def left_behind(tmp_path: Path, seller: Sandbox) -> Iterator[Callable[[Uploader], Counted]]:
    """What makes a tracker over a directory in which an event waits that another left."""
    made: list[Tracker] = []

    def tracker(uploader: Uploader) -> Counted:
        destination = Interchange(
            advertiser_id=ADVERTISER, event_source_id=SOURCE, api_key=TOKEN, base_url=seller.url
        )
        made.append(
            Counted([destination], directory=tmp_path, uploader=uploader, flush_interval=0.1)
        )
        return made[-1]  # type: ignore[return-value]  # it is one

    order = {"id": "A-1", "total": 1, "currency": "EUR", "email": "a@b.example"}
    tracker("external").track_purchase(order)
    yield tracker
    for each in made:
        each.stop()


@adapters
@pytest.mark.parametrize("query", ["", "gclid=abc"], ids=["usual", "landing"])
def test_one_page_delivers_what_another_process_left(
    through: Callable[[Tracker], Callable[[str], bytes]],
    query: str,
    left_behind: Callable[[Uploader], Counted],
    seller: Sandbox,
) -> None:
    """Whether the first request of all is a usual one or lands with a click."""
    ask = through(left_behind("thread"))
    assert ask(query) == b"page"
    seller.wait_for(1, _PATIENCE)


@adapters
def test_a_tracker_is_started_once_and_not_before_a_request(
    through: Callable[[Tracker], Callable[[str], bytes]],
    left_behind: Callable[[Uploader], Counted],
) -> None:
    """A server may fork after it has loaded the application, and no request pays for it again."""
    tracker = left_behind("thread")
    ask = through(tracker)
    assert tracker.starts == 0
    for _ in range(3):
        ask("")
    assert tracker.starts == 1


@adapters
def test_an_external_worker_is_left_to_upload(
    through: Callable[[Tracker], Callable[[str], bytes]],
    left_behind: Callable[[Uploader], Counted],
    seller: Sandbox,
) -> None:
    """A page starts no thread then."""
    tracker = left_behind("external")
    before = set(threading.enumerate())
    assert through(tracker)("") == b"page"
    assert set(threading.enumerate()) <= before
    assert not seller.events


@adapters
def test_a_start_that_fails_breaks_no_page(
    through: Callable[[Tracker], Callable[[str], bytes]],
    left_behind: Callable[[Uploader], Counted],
) -> None:
    """It is logged; the first event tries again."""
    tracker = left_behind("thread")
    tracker.failing = True
    ask = through(tracker)
    assert [ask(""), ask("")] == [b"page", b"page"]


def test_a_lifespan_delivers_before_any_request(
    left_behind: Callable[[Uploader], Counted], seller: Sandbox
) -> None:
    """It is run by the process that will serve, so nothing needs to wait for a page."""

    async def run() -> None:
        async with closing_lifespan(left_behind("thread"))(None):
            await asyncio.to_thread(seller.wait_for, 1, _PATIENCE)

    asyncio.run(run())
