"""The tracker in FastAPI applications: dependency, contexts, websockets and lifespans."""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any

import httpx
import pytest
from fastapi import APIRouter, BackgroundTasks, Depends, FastAPI, Request, WebSocket
from fastapi.responses import StreamingResponse

from adcp_tracker import ConfigurationError, Tracker, current_context
from adcp_tracker_fastapi import AdcpTracker, TrackerDep, get_tracker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from starlette.types import ASGIApp


def agent() -> str:
    """Return the browser that an event made now would carry."""
    context = current_context()
    return "nobody" if context is None else str(context.client_user_agent)


def ask(app: ASGIApp, *requests: tuple[str, str], **headers: str) -> list[httpx.Response]:
    """Send requests, a path by a browser each, all at a time."""

    async def gather() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="https://shop") as client:
            calls = (
                client.get(path, headers={"User-Agent": browser, **headers})
                for path, browser in requests
            )
            return list(await asyncio.gather(*calls))

    return asyncio.run(gather())


def test_every_kind_of_code_sees_its_request(tmp_path: Path) -> None:
    """Endpoints on the loop and in threads, dependencies, streams and background tasks."""
    app = FastAPI()
    AdcpTracker(app, directory=tmp_path, destinations=[])
    later: list[str] = []

    @app.get("/async")
    async def on_the_loop() -> str:
        await asyncio.sleep(0)
        return agent()

    @app.get("/sync")
    def in_a_thread(depended: Annotated[str, Depends(agent)], after: BackgroundTasks) -> str:
        after.add_task(lambda: later.append(agent()))
        return agent() + depended

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        async def pieces() -> AsyncIterator[str]:
            yield agent()
            await asyncio.sleep(0)
            yield agent()

        return StreamingResponse(pieces())

    paths = ["/async", "/sync", "/stream"] * 4
    answers = ask(app, *((path, f"b{number}") for number, path in enumerate(paths)))
    assert [answer.text.strip('"') for answer in answers] == [
        f"b{number}" * (1 if path == "/async" else 2) for number, path in enumerate(paths)
    ]
    assert sorted(later) == sorted(f"b{n}" for n, path in enumerate(paths) if path == "/sync")


def test_the_dependency_gives_the_applications_tracker(tmp_path: Path) -> None:
    """In requests, websockets and mounted applications; two applications have two."""
    trackers = {}
    apps = {}
    for name in ("one", "two"):
        app = apps[name] = FastAPI()
        sub = FastAPI()

        @app.get("/")
        @sub.get("/")
        def where(tracker: TrackerDep) -> str:
            return str(tracker.settings.directory)

        app.mount("/sub", sub)
        trackers[name] = AdcpTracker(directory=tmp_path / name, destinations=[]).init_app(app)
    for name, app in apps.items():
        answers = ask(app, ("/", "b"), ("/sub/", "b"))
        assert [answer.json() for answer in answers] == [trackers[name].settings.directory] * 2


def test_the_dependency_takes_no_thread(tmp_path: Path) -> None:
    """An endpoint on the event loop is given the tracker there, with no trip to a thread."""
    app = FastAPI()
    AdcpTracker(app, directory=tmp_path, destinations=[], uploader="external")
    started: list[threading.Thread] = []

    @app.get("/")
    async def look(tracker: TrackerDep) -> str:
        started.extend(set(threading.enumerate()) - before)
        return tracker.settings.uploader

    before = set(threading.enumerate())
    assert ask(app, ("/", "one"))[0].json() == "external"
    assert started == []


def test_websockets_have_the_tracker_and_no_context(tmp_path: Path) -> None:
    """They pass through untouched, and their events say themselves who the shopper is."""
    app = FastAPI()
    AdcpTracker(app, directory=tmp_path, destinations=[])

    @app.websocket("/")
    async def talk(socket: WebSocket, tracker: TrackerDep) -> None:
        await socket.accept()
        await socket.send_text(f"{tracker.settings.directory} {agent()}")
        await socket.close()

    sent: list[Any] = []

    async def receive() -> dict[str, str]:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:  # noqa: ANN401 - as ASGI has it
        sent.append(message)

    scope = {"type": "websocket", "path": "/", "headers": [], "query_string": b"", "app": app}
    asyncio.run(app(scope, receive, send))
    assert sent[1]["text"] == f"{tmp_path} nobody"


def test_it_goes_with_the_applications_own_lifespan_and_state(tmp_path: Path) -> None:
    """Also with one that is added by a router."""
    steps: list[str] = []

    @asynccontextmanager
    async def own(_: FastAPI) -> AsyncIterator[dict[str, str]]:
        steps.append("up")
        yield {"database": "there"}
        steps.append("down")

    app = FastAPI(lifespan=own)
    AdcpTracker(app, directory=tmp_path, destinations=[])

    async def live() -> object:
        async with app.router.lifespan_context(app) as state:
            return state

    assert asyncio.run(live()) == {"database": "there"}
    assert steps == ["up", "down"]


def test_a_consent_function_gets_a_request(tmp_path: Path) -> None:
    """As FastAPI knows it, with cookies and all."""

    def consents(request: Request) -> bool:
        return request.cookies.get("marketing") == "yes"

    app = FastAPI()
    AdcpTracker(app, directory=tmp_path, destinations=[], consent=consents)

    @app.get("/")
    def view() -> str:
        context = current_context()
        assert context is not None
        return context.consent.value

    (yes,) = ask(app, ("/?gclid=abc", "b"), Cookie="marketing=yes")
    (no,) = ask(app, ("/?gclid=abc", "b"), Cookie="marketing=no")
    assert (yes.json(), no.json()) == ("granted", "denied")
    assert yes.headers["set-cookie"].startswith("adcp_click=1.gclid.abc;")
    assert "set-cookie" not in no.headers


@pytest.mark.parametrize("debug", [True, False])
def test_debug_mode_makes_it_strict(debug: bool, tmp_path: Path) -> None:  # noqa: FBT001 - a case
    """A developer sees what is wrong with an event at once."""
    tracker = AdcpTracker(directory=tmp_path, destinations=[]).init_app(FastAPI(debug=debug))
    assert tracker.settings.strict is debug


def test_mistakes_are_reported_with_a_remedy(tmp_path: Path) -> None:
    """At start where that can be, and else at the first use."""
    app = FastAPI()
    request = Request({"type": "http", "app": app})
    with pytest.raises(ConfigurationError, match=r"expected a tracker, got none\. Call"):
        get_tracker(request)
    with pytest.raises(ConfigurationError, match=r"expected a tracker, got none\. Call"):
        get_tracker(Request({"type": "http"}))
    AdcpTracker(app, directory=tmp_path, destinations=[])
    with pytest.raises(ConfigurationError, match="once"):
        AdcpTracker(app, directory=tmp_path, destinations=[])


@pytest.mark.parametrize("app", [APIRouter(), object(), "shop"])
def test_what_is_no_application_is_refused(app: Any, tmp_path: Path) -> None:  # noqa: ANN401
    """A router, or another framework's application, is told what it is not."""
    with pytest.raises(ConfigurationError, match="expected a FastAPI or Starlette application"):
        AdcpTracker(app, directory=tmp_path / "queue", destinations=[])


def test_the_tracker_is_found_without_arguments(tmp_path: Path) -> None:
    """In endpoints on the loop and in threads, in dependencies and in background tasks."""
    app = FastAPI()
    tracker = AdcpTracker(directory=tmp_path, destinations=[]).init_app(app)
    later: list[object] = []

    @app.get("/async")
    async def on_the_loop() -> bool:
        return get_tracker() is tracker

    @app.get("/sync")
    def in_a_thread(
        depended: Annotated[Tracker, Depends(get_tracker)], after: BackgroundTasks
    ) -> bool:
        after.add_task(lambda: later.append(get_tracker()))
        return get_tracker() is tracker is depended

    answers = ask(app, ("/async", "b"), ("/sync", "b"))
    assert [answer.json() for answer in answers] == [True, True]
    assert later == [tracker]
    with pytest.raises(ConfigurationError, match="expected a tracker, got none"):
        get_tracker()
