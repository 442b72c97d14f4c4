"""The ASGI middleware and lifespan: what is bound when, and what passes untouched."""

from __future__ import annotations

import asyncio
import weakref
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from adcp_tracker import ConfigurationError, Consent, Tracker, current_context
from adcp_tracker_asgi import TRACKER_KEY, AdcpTrackerMiddleware, closing_lifespan, get_tracker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from adcp_tracker.context import Context


@pytest.fixture
def tracker(tmp_path: Path) -> Tracker:
    """A tracker without destinations."""
    return Tracker(directory=tmp_path)


def http_scope(query: bytes = b"", **headers: str) -> dict[str, Any]:
    """Return the scope of a request."""
    lines = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {
        "type": "http",
        "scheme": "https",
        "path": "/",
        "query_string": query,
        "headers": [(b"host", b"shop.example"), *lines],
        "client": ("8.8.8.8", 1),
    }


async def receive() -> dict[str, Any]:
    """Receive nothing more."""
    return {"type": "http.request"}


def agent() -> str:
    """Return the browser that an event made now would carry."""
    context = current_context()
    return "nobody" if context is None else str(context.client_user_agent)


class Recorder:
    """An application that notes what it sees, and answers."""

    def __init__(self) -> None:
        self.agents: list[str] = []
        self.scopes: list[dict[str, Any]] = []
        self.channels: list[tuple[object, object]] = []
        self.sent: list[dict[str, Any]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401 - as ASGI has it
        """Handle one connection."""
        self.scopes.append(scope)
        self.channels.append((receive, send))
        self.agents.append(agent())
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await asyncio.sleep(0)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        self.agents.append(agent())

    async def send(self, message: dict[str, Any]) -> None:
        """Take what a server would send."""
        self.sent.append(message)


def test_each_request_sees_its_own_context(tracker: Tracker) -> None:
    """Also where many are handled at a time, in threads and in tasks they create."""
    seen: set[tuple[str, ...]] = set()

    async def app(_scope: object, _receive: object, _send: object) -> None:
        before = agent()
        await asyncio.sleep(0)
        in_task = await asyncio.create_task(asyncio.to_thread(agent))
        seen.add((before, in_task, agent()))

    async def serve() -> None:
        middleware = AdcpTrackerMiddleware(app, tracker)
        scopes = [http_scope(user_agent=f"browser {number}") for number in range(20)]
        await asyncio.gather(*(middleware(scope, receive, receive) for scope in scopes))  # type: ignore[arg-type]  # sends nothing
        await middleware(scopes[0], receive, receive)  # type: ignore[arg-type]  # likewise
        assert current_context() is None

    asyncio.run(serve())
    assert seen == {(f"browser {number}",) * 3 for number in range(20)}


def test_an_error_leaves_no_context_behind(tracker: Tracker) -> None:
    """It passes through, and the task is clean."""

    async def broken(_scope: object, _receive: object, _send: object) -> None:
        raise LookupError(agent())

    async def serve() -> None:
        with pytest.raises(LookupError, match="one"):
            await AdcpTrackerMiddleware(broken, tracker)(
                http_scope(user_agent="one"), receive, Recorder().send
            )
        assert current_context() is None

    asyncio.run(serve())


def test_nothing_stands_between_a_request_that_owes_no_cookie_and_its_server(
    tracker: Tracker,
) -> None:
    """The application is handed the server's own channels; only a landing gets another."""
    app = Recorder()
    middleware = AdcpTrackerMiddleware(app, tracker)
    send = app.send
    for query in (b"page=2", b"gclid=abc"):
        asyncio.run(middleware(http_scope(query), receive, send))
    assert app.channels[0] == (receive, send)
    assert app.channels[1] != (receive, send)


def test_a_task_that_outlives_its_request_still_knows_the_shopper(tracker: Tracker) -> None:
    """Though the server has begun the next one in between, and the framework its own end."""
    told: list[Context | None] = []
    ended = asyncio.Event()

    async def later() -> None:
        await ended.wait()
        told.append(current_context())

    tasks: list[asyncio.Task[None]] = []

    async def app(scope: Any, _receive: object, _send: object) -> None:  # noqa: ANN401 - as ASGI has it
        tasks.append(asyncio.create_task(later()))
        scope["path"] = "/seen"
        scope["session"] = {}

    async def serve() -> None:
        scope = http_scope(b"gclid=abc", user_agent="one")
        await AdcpTrackerMiddleware(app, tracker)(scope, receive, Recorder().send)
        scope.clear()  # as a server might that uses it again
        ended.set()
        await tasks[0]

    asyncio.run(serve())
    (context,) = told
    assert context is not None
    assert (context.client_ip, context.client_user_agent) == ("8.8.8.8", "one")
    assert context.event_source_url == "https://shop.example/seen?gclid=abc"
    assert context.click_id == "abc"


def test_a_request_is_gone_with_its_answer_though_a_timer_runs(tracker: Tracker) -> None:
    """Servers set timers while they send, each with a copy of what is bound at that moment."""

    class User:
        """What an application keeps in a scope."""

    async def app(_scope: object, _receive: object, send: Any) -> None:  # noqa: ANN401 - as ASGI has it
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def serve() -> None:
        timers = []

        async def send(_: object) -> None:
            timers.append(asyncio.get_running_loop().call_later(60, print))

        user = User()
        gone = weakref.ref(user)
        scope = http_scope(b"gclid=abc") | {"user": user}
        await AdcpTrackerMiddleware(app, tracker)(scope, receive, send)
        del user, scope
        assert gone() is None
        assert len(timers) == 1
        timers[0].cancel()

    asyncio.run(serve())


def test_a_sites_own_consent_function_has_the_whole_scope_in_a_late_task(
    tracker: Tracker,
) -> None:
    """It may ask for what only the application put there, so that stays."""
    told: list[Consent] = []

    async def later() -> None:
        context = current_context()
        assert context is not None
        told.append(context.consent)

    tasks: list[asyncio.Task[None]] = []

    async def app(_scope: object, _receive: object, _send: object) -> None:
        tasks.append(asyncio.create_task(later()))

    def consents(scope: Any) -> bool:  # noqa: ANN401 - as ASGI has it
        return bool(scope["user"] == "willing")

    async def serve(user: str) -> None:
        middleware = AdcpTrackerMiddleware(app, tracker, consent=consents)
        await middleware(http_scope() | {"user": user}, receive, Recorder().send)
        await tasks.pop()

    for user in ("willing", "unwilling"):
        asyncio.run(serve(user))
    assert told == [Consent.GRANTED, Consent.DENIED]


@pytest.mark.parametrize("kind", ["websocket", "lifespan", "another"])
def test_other_scopes_pass_through_untouched(kind: str, tracker: Tracker) -> None:
    """The very objects arrive, unchanged, and no context is bound."""
    app = Recorder()
    scope = {**http_scope(b"gclid=abc", user_agent="one"), "type": kind}
    before = dict(scope)
    asyncio.run(AdcpTrackerMiddleware(app, tracker)(scope, receive, app.send))
    assert app.scopes[0] is scope
    assert scope == before
    assert app.channels == [(receive, app.send)]
    assert app.agents == ["nobody", "nobody"]


def test_the_cookie_is_set_for_a_landing_alone(tracker: Tracker) -> None:
    """A response that carries no click id is sent as it was."""
    app = Recorder()
    middleware = AdcpTrackerMiddleware(app, tracker)
    asyncio.run(middleware(http_scope(b"gclid=abc"), receive, app.send))
    ((name, value),) = app.sent[0]["headers"]
    assert name == b"set-cookie"
    assert value.startswith(b"adcp_click=1.gclid.abc;")
    asyncio.run(middleware(http_scope(), receive, app.send))
    assert app.sent[2]["headers"] == []


def test_the_tracker_is_found_in_the_scope(tracker: Tracker, tmp_path: Path) -> None:
    """Each middleware has its own, given or made of options; without one it says so."""
    app = Recorder()
    own = AdcpTrackerMiddleware(app, directory=tmp_path / "own", destinations=[])
    for middleware in (AdcpTrackerMiddleware(app, tracker), own):
        asyncio.run(middleware(http_scope(), receive, app.send))
    assert [get_tracker(scope) for scope in app.scopes] == [tracker, own.tracker]
    assert app.scopes[0][TRACKER_KEY] is tracker
    with pytest.raises(ConfigurationError, match=r"expected a tracker, got none\. Wrap"):
        get_tracker({})


def test_a_lifespan_makes_the_directory_before_the_first_event(tmp_path: Path) -> None:
    """So that no event waits for it on the event loop; one that cannot be made stops no start."""

    async def run(tracker: Tracker) -> None:
        async with closing_lifespan(tracker)(None):
            assert queue.exists()

    queue = tmp_path / "queue" / "segments"
    asyncio.run(run(Tracker(directory=tmp_path / "queue")))
    barred, queue = Tracker(directory=tmp_path / "file"), tmp_path / "file"
    queue.write_text("")
    asyncio.run(run(barred))


def test_a_lifespan_surrounds_the_applications_own(tracker: Tracker) -> None:
    """The tracker is closed last, whatever happens, and the state is passed on."""
    steps: list[str] = []

    class Noting(Tracker):
        async def aclose(self, timeout: float | None = None) -> Any:  # noqa: ANN401 - as it is
            steps.append("closed")
            return await super().aclose(timeout)

    @asynccontextmanager
    async def own(app: object) -> AsyncIterator[dict[str, object]]:
        steps.append("up")
        try:
            yield {"app": app}
        finally:
            steps.append("down")

    async def run(lifespan: Any, fails: bool) -> Any:  # noqa: ANN401, FBT001 - test's own
        async with closing_lifespan(noting, lifespan)("the app") as state:
            if fails:
                raise LookupError
            return state

    noting = Noting(directory=tracker.settings.directory)
    assert asyncio.run(run(own, fails=False)) == {"app": "the app"}
    with pytest.raises(LookupError):
        asyncio.run(run(own, fails=True))
    assert steps == ["up", "down", "closed"] * 2
    assert asyncio.run(run(None, fails=False)) is None
