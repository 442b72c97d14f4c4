"""``/healthz`` and ``/readyz`` in every integration."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import httpx
import pytest
from fastapi import FastAPI
from flask import Flask

from adcp_tracker import Tracker
from adcp_tracker.web.health import liveness, readiness
from adcp_tracker_asgi import health_app as asgi_health
from adcp_tracker_fastapi import AdcpTracker as FastAPITracker
from adcp_tracker_fastapi import health_router
from adcp_tracker_flask import AdcpTracker as FlaskTracker
from adcp_tracker_flask import health
from adcp_tracker_wsgi import health_app as wsgi_health
from tests.support.destinations import HandClock, ScriptedDestination, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Ask = Callable[[str], httpx.Response]


def flask(tracker: Tracker) -> Ask:
    """Return what asks a Flask application."""
    app = Flask("shop")
    FlaskTracker(app, directory=str(tracker.settings.directory), destinations=[])
    app.register_blueprint(health)
    return _over_wsgi(app)


def wsgi(tracker: Tracker) -> Ask:
    """Return what asks the WSGI application."""
    return _over_wsgi(wsgi_health(tracker))


def fastapi(tracker: Tracker) -> Ask:
    """Return what asks a FastAPI application."""
    app = FastAPI()
    FastAPITracker(app, directory=str(tracker.settings.directory), destinations=[])
    app.include_router(health_router)
    return _over_asgi(app)


def asgi(tracker: Tracker) -> Ask:
    """Return what asks the ASGI application."""
    return _over_asgi(asgi_health(tracker))


def _over_wsgi(app: object) -> Ask:
    def ask(path: str) -> httpx.Response:
        transport = httpx.WSGITransport(app=app)  # type: ignore[arg-type]  # WSGI, each in its way
        with httpx.Client(transport=transport, base_url="http://shop") as client:
            return client.get(path)

    return ask


def _over_asgi(app: object) -> Ask:
    async def ask(path: str) -> httpx.Response:
        transport = httpx.ASGITransport(app=app)  # type: ignore[arg-type]  # ASGI, each in its way
        async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
            return await client.get(path)

    return lambda path: asyncio.run(ask(path))


@pytest.mark.parametrize("make", [flask, wsgi, fastapi, asgi])
def test_health_is_answered(make: Callable[[Tracker], Ask], tmp_path: Path) -> None:
    """Both answer 200 and JSON that no cache keeps; other paths aren't found."""
    with Tracker(directory=tmp_path / "queue") as tracker:
        tracker.track_purchase({"id": "A-1", "total": "1.00", "currency": "EUR"})
        ask = make(tracker)
        alive, ready = ask("/healthz"), ask("/readyz")
        assert (alive.status_code, alive.json()) == (200, {"status": "ok"})
        assert ready.status_code == 200
        assert ready.json().items() >= {"status": "ok", "pending": 1, "in_memory": 0}.items()
        assert ready.headers["Cache-Control"] == "no-store"
        assert ask("/other").status_code == 404


def test_events_that_only_memory_has_are_not_safe(tmp_path: Path) -> None:
    """While the disk refuses events, the process isn't ready: they would end with it."""
    (tmp_path / "queue").mkdir(mode=0o700)
    tracker = Tracker(directory=tmp_path / "queue")
    try:
        (tmp_path / "queue" / "segments").write_bytes(b"")  # a file where a folder should be
        tracker.track_purchase({"id": "A-1", "total": "1.00", "currency": "EUR"})
        found = readiness(tracker)
        assert found.status == 503
        assert found.details["status"] == "error"
    finally:
        (tmp_path / "queue" / "segments").unlink(missing_ok=True)
        tracker.close()


def test_a_directory_that_cannot_be_used_is_not_ready(tmp_path: Path) -> None:
    """Before any event is lost, and without creating anything."""
    tracker = Tracker(directory=tmp_path / "queue")
    assert readiness(tracker).status == 200
    assert not (tmp_path / "queue").exists()
    (tmp_path / "queue").mkdir(mode=0o777)
    (tmp_path / "queue").chmod(0o777)
    assert readiness(tracker).details["error"] == "UnusableDirectoryError"
    tracker.close()


def test_a_worker_whose_thread_stands_still_is_not_alive(tmp_path: Path) -> None:
    """A web process that answers is alive all the same: a restart of the shop would cost more."""
    gate, reached = threading.Event(), threading.Event()
    clock = HandClock()
    tracker = Tracker([ScriptedDestination()], directory=tmp_path / "queue", _clock=clock)

    def hang(_: object) -> None:
        reached.set()
        gate.wait(30.0)

    stuck = threading.Thread(target=tracker._pipeline.run, args=(hang, 30.0))  # noqa: SLF001 - nothing public hangs
    try:
        assert liveness(tracker).status == 200
        stuck.start()
        assert reached.wait(20.0)
        clock.time += 59.0
        assert liveness(tracker).status == 200
        clock.time += 2.0
        assert liveness(tracker).status == 503
        assert liveness().status == 200
    finally:
        gate.set()
        stuck.join()
    wait_until(lambda: liveness(tracker).status == 200)
    tracker.stop(5.0)
