"""The Flask extension: applications, requests, streams and commands."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import flask
import pytest
from flask import Blueprint, Flask, stream_with_context
from werkzeug.test import EnvironBuilder
from werkzeug.wsgi import ClosingIterator

from adcp_tracker import ConfigurationError, Interchange, current_context
from adcp_tracker_flask import AdcpTracker, get_tracker
from adcp_tracker_flask._wsgi import with_context
from adcp_tracker_flask.extension import EXTENSION
from tests.integrations.servers import SCRIPTS, shop_environment
from tests.support.seller import ADVERTISER, SOURCE, TOKEN

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path
    from wsgiref.types import StartResponse, WSGIEnvironment

    from adcp_tracker.context import Context
    from adcp_tracker.sandbox import Sandbox
    from tests.support.seller import SellerProcess


def shop(directory: Path, **options: object) -> Flask:
    """Make an application as a factory does."""
    app = Flask("shop")
    app.config["ADCP_TRACKER"] = {"directory": str(directory), "destinations": [], **options}
    AdcpTracker().init_app(app)
    return app


def agent() -> str:
    """Return the browser that an event made now would carry."""
    context = current_context()
    return "nobody" if context is None else str(context.client_user_agent)


def test_several_applications_of_one_extension_have_their_own_trackers(tmp_path: Path) -> None:
    """State is the application's; options are shared where the application has none."""
    extension = AdcpTracker(destinations=[], flush_interval=7)
    apps = [Flask(name) for name in ("one", "two")]
    for app in apps:
        app.config["ADCP_TRACKER"] = {"directory": tmp_path / app.name}
        extension.init_app(app)
    trackers = []
    for app in apps:
        with app.app_context():
            trackers.append(get_tracker())
    assert [each.settings.directory for each in trackers] == [
        str(tmp_path / "one"),
        str(tmp_path / "two"),
    ]
    assert {each.settings.flush_interval for each in trackers} == {7}


@pytest.mark.parametrize("debug", [True, False])
def test_debug_mode_makes_it_strict(debug: bool, tmp_path: Path) -> None:  # noqa: FBT001 - a case
    """A developer sees what is wrong with an event at once."""
    app = Flask("shop")
    app.debug = debug
    tracker = AdcpTracker(directory=tmp_path, destinations=[]).init_app(app)
    assert tracker.settings.strict is debug


def test_mistakes_are_reported_with_a_remedy(tmp_path: Path) -> None:
    """At start, and not at the first purchase."""
    app = Flask("shop")
    with app.app_context(), pytest.raises(ConfigurationError, match="Call AdcpTracker"):
        get_tracker()
    app.config["ADCP_TRACKER"] = "queue"
    with pytest.raises(ConfigurationError, match="expected a dict of options, got str"):
        AdcpTracker(app)
    with pytest.raises(ConfigurationError, match="Initialise each application once"):
        AdcpTracker(directory=tmp_path).init_app(shop(tmp_path))


@pytest.mark.parametrize("app", [Blueprint("shop", __name__), object(), "shop"])
def test_what_is_no_flask_application_is_refused(app: Any, tmp_path: Path) -> None:  # noqa: ANN401
    """A blueprint, or another framework's application, is told what it is not."""
    with pytest.raises(ConfigurationError, match="expected a Flask application, got"):
        AdcpTracker(app, directory=tmp_path / "queue", destinations=[])


def test_views_errors_teardown_and_streams_see_the_request(tmp_path: Path) -> None:
    """From its first function to the last piece of its answer, and no longer."""
    app = shop(tmp_path)
    seen: list[str] = []

    @app.teardown_request
    def tear_down(_: BaseException | None) -> None:
        seen.append(agent())

    @app.get("/view")
    def view() -> str:
        return agent()

    @app.get("/fails")
    def fails() -> str:
        raise LookupError

    @app.get("/stream")
    def stream() -> tuple[Iterator[str], int]:
        def pieces() -> Iterator[str]:
            yield agent()
            yield agent()
            seen.append("streamed")

        return stream_with_context(pieces()), 200

    @app.get("/bare")
    def bare() -> Iterator[str]:
        yield agent()

    client = app.test_client()
    for path, text in (("/view", "one"), ("/stream", "oneone"), ("/bare", "one")):
        assert client.get(path, headers={"User-Agent": "one"}).text == text
        assert current_context() is None
    assert client.get("/fails", headers={"User-Agent": "one"}).status_code == 500
    assert current_context() is None
    assert set(seen) == {"one", "streamed"}
    assert seen.count("streamed") == 1


def body_of(app: Flask, path: str, method: str = "GET") -> tuple[object, object]:
    """Return the body that the middleware hands to the server, and the one Flask made."""
    made: list[object] = []
    bare = Flask.wsgi_app.__get__(app)

    def noting(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        made.append(bare(environ, start_response))
        return made[0]  # type: ignore[return-value]  # it is Flask's

    setup = app.extensions[EXTENSION]
    middleware = with_context(noting, setup.tracker, setup.capture)
    environ = EnvironBuilder(path=path, method=method).get_environ()
    body = middleware(environ, lambda *_: bytes)
    for _ in body:
        pass
    body.close()  # type: ignore[attr-defined]  # as a server does
    return body, made[0]


def test_a_finished_text_is_handed_on_as_it_is(tmp_path: Path) -> None:
    """No code of the application runs for its one piece, so no context is bound for it.

    If this fails with a new Werkzeug, answers are right and a few microseconds slower.
    """
    app = shop(tmp_path)
    app.add_url_rule("/text", view_func=lambda: "text", endpoint="text")
    app.add_url_rule("/json", view_func=lambda: {"a": 1}, endpoint="json")
    app.add_url_rule("/away", view_func=lambda: flask.redirect("/text"), endpoint="away")
    for path in ("/text", "/json", "/away"):
        handed, made = body_of(app, path)
        assert handed is made


def test_whatever_of_an_answer_runs_code_of_the_application_sees_the_request(
    tmp_path: Path,
) -> None:
    """Functions to call at its close, wherever they were added, and responses of their own kind."""
    app = shop(tmp_path)
    seen: list[str] = []

    class Own(flask.Response):
        def iter_encoded(self) -> Iterator[bytes]:
            yield agent().encode()

        def close(self) -> None:
            seen.append(agent())
            super().close()

    class Pieces(list[str]):
        def __iter__(self) -> Iterator[str]:
            return iter([agent()])

    @app.get("/on-close")
    def on_close() -> flask.Response:
        response = flask.Response("text")
        response.call_on_close(lambda: seen.append(agent()))
        return response

    app.add_url_rule("/own", view_func=lambda: Own("text"), endpoint="own")
    app.add_url_rule("/pieces", view_func=lambda: flask.Response(Pieces()), endpoint="pieces")
    app.add_url_rule("/late", view_func=lambda: "text", endpoint="late")

    def finished(_: Flask, response: flask.Response) -> None:
        if flask.request.path == "/late":
            response.call_on_close(lambda: seen.append(agent()))

    client = app.test_client()
    with flask.request_finished.connected_to(finished, app):
        for path, text, closes in (
            ("/on-close", "text", 1),
            ("/own", "one", 1),
            ("/pieces", "one", 0),
            ("/late", "text", 1),
        ):
            answer = client.get(path, headers={"User-Agent": "one"})
            assert answer.text == text
            answer.close()
            assert seen == ["one"] * closes
            seen.clear()
            assert current_context() is None


def test_bodies_of_other_layers_see_the_request(tmp_path: Path) -> None:
    """Such as Werkzeug's own iterator around an answer, with a function to call at its close."""
    app = Flask("shop")
    seen: list[str] = []
    inner = app.wsgi_app

    def layer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        return ClosingIterator(inner(environ, start_response), [lambda: seen.append(agent())])

    app.wsgi_app = layer  # type: ignore[method-assign]  # Flask's own way
    AdcpTracker(app, directory=tmp_path, destinations=[])
    app.add_url_rule("/", view_func=lambda: "text")
    answer = app.test_client().get("/", headers={"User-Agent": "one"})
    answer.close()
    assert (answer.text, seen) == ("text", ["one"])


def test_a_head_request_for_a_stream_closes_it_with_its_request(tmp_path: Path) -> None:
    """Nothing of it is sent, and what is closed is the application's."""
    app = shop(tmp_path)
    seen: list[str] = []

    class Stream:
        def __iter__(self) -> Iterator[str]:
            yield "piece"

        def close(self) -> None:
            seen.append(agent())

    app.add_url_rule("/", view_func=lambda: flask.Response(Stream()))
    client = app.test_client()
    client.head("/", headers={"User-Agent": "one"}).close()
    assert seen == ["one"]


def test_an_event_may_be_tracked_when_flask_has_ended_the_request(tmp_path: Path) -> None:
    """Whoever took the context along reads what the request was."""
    app = shop(tmp_path)
    taken: list[Context | None] = []

    @app.get("/")
    def view() -> str:
        taken.append(current_context())
        return "text"

    app.test_client().get("/?gclid=abc", headers={"User-Agent": "one"}).close()
    (context,) = taken
    assert context is not None
    assert (context.client_user_agent, context.click_id) == ("one", "abc")


def test_a_consent_function_gets_flasks_request(tmp_path: Path) -> None:
    """Its own one, in a view and for a stream that outlives the request context."""
    asked: list[bool] = []

    def consents(request: flask.Request) -> bool:
        asked.append(isinstance(request, flask.Request))
        return request.cookies.get("marketing") == "yes"

    app = shop(tmp_path, consent=consents)

    @app.get("/bare")
    def bare() -> Iterator[str]:
        def pieces() -> Iterator[str]:
            context = current_context()
            assert context is not None
            yield context.consent.value

        return pieces()

    client = app.test_client(use_cookies=False)
    assert client.get("/bare", headers={"Cookie": "marketing=yes"}).text == "granted"
    assert client.get("/bare", headers={"Cookie": "marketing=no"}).text == "denied"
    landing = client.get("/bare?gclid=abc", headers={"Cookie": "marketing=yes"})
    assert landing.headers["Set-Cookie"].startswith("adcp_click=1.gclid.abc;")
    assert asked
    assert all(asked)


def test_the_commands_look_after_the_queue(tmp_path: Path, seller: Sandbox) -> None:
    """Status, flush and dead letters, for people and for scripts."""
    seller.configure(refuse_events={"bad": "INVALID_EVENT_TIME"})
    destination = Interchange(
        advertiser_id=ADVERTISER, event_source_id=SOURCE, api_key=TOKEN, base_url=seller.url
    )
    app = shop(tmp_path, destinations=[destination], uploader="external")
    with app.app_context():
        for order_id in ("good", "bad"):
            order = {"id": order_id, "total": 1, "currency": "EUR", "email": "a@b.example"}
            get_tracker().track_purchase(order)
    run = app.test_cli_runner().invoke

    flushed = run(args=["adcp", "flush"])
    assert flushed.exit_code == 0, flushed.output
    assert "Nothing is pending." in flushed.output
    counts = json.loads(run(args=["adcp", "status", "--json"]).output)
    assert counts["destinations"][destination.name]["delivered"] == 1
    assert "has 1 dead letter." in run(args=["adcp", "status"]).output

    (letter,) = json.loads(run(args=["adcp", "dead", "list", "--json"]).output)["letters"]
    assert letter["id"] in run(args=["adcp", "dead", "list"]).output
    assert "INVALID_EVENT_TIME" in run(args=["adcp", "dead", "show", letter["id"]]).output
    unknown = run(args=["adcp", "dead", "drop", "nothing"])
    assert unknown.exit_code == 1
    assert "Unknown ids: nothing." in unknown.output

    seller.configure(refuse_events={})
    assert (
        "1 dead letter will be sent again."
        in run(args=["adcp", "dead", "replay", letter["id"]]).output
    )
    assert run(args=["adcp", "flush"]).exit_code == 0
    assert sorted(event["event_id"] for event in seller.events) == ["bad", "good"]
    assert run(args=["adcp", "dead", "replay", letter["id"]]).exit_code == 1
    assert "0 of 0 dead letters." in run(args=["adcp", "dead", "list"]).output


def test_flush_says_when_something_is_left(tmp_path: Path, seller: Sandbox) -> None:
    """A script sees it by the exit code."""
    seller.fail(status=503)
    destination = Interchange(
        advertiser_id=ADVERTISER, event_source_id=SOURCE, api_key=TOKEN, base_url=seller.url
    )
    app = shop(tmp_path, destinations=[destination], uploader="external")
    with app.app_context():
        get_tracker().track_lead(lead_id="1", email="a@b.example")
    result = app.test_cli_runner().invoke(args=["adcp", "flush", "--timeout", "0.5"])
    assert result.exit_code == 1
    assert "Still pending: 1 delivery; kept on disk." in result.output


@pytest.mark.slow
def test_a_worker_delivers_until_it_is_told_to_stop(
    tmp_path: Path, seller_process: SellerProcess
) -> None:
    """For sites whose processes do not upload themselves."""
    environment = shop_environment(tmp_path / "queue", seller_process, ADCP_UPLOADER="external")
    flask_adcp = [str(SCRIPTS / "flask"), "--app", "tests.integrations.flask.flask_shop", "adcp"]
    track = (
        "from adcp_tracker import Tracker; t = Tracker.from_env(); "
        "t.track_lead(lead_id='1', email='a@b.example')"
    )
    with subprocess.Popen([*flask_adcp, "worker", "--create"], env=environment) as worker:
        try:
            subprocess.run([sys.executable, "-c", track], env=environment, check=True)
            seller_process.wait_for(1)
        finally:
            os.kill(worker.pid, signal.SIGTERM)
    assert worker.returncode == 0
