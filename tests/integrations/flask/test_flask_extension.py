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

from adcp_tracker import ConfigurationError, Interchange, current_context
from adcp_tracker_flask import AdcpTracker, get_tracker
from tests.integrations.servers import SCRIPTS, shop_environment
from tests.support.seller import ADVERTISER, SOURCE, TOKEN

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

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


def test_mistakes_are_told_with_a_remedy(tmp_path: Path) -> None:
    """At start, and not at the first purchase."""
    app = Flask("shop")
    with app.app_context(), pytest.raises(ConfigurationError, match="call AdcpTracker"):
        get_tracker()
    app.config["ADCP_TRACKER"] = "queue"
    with pytest.raises(ConfigurationError, match="expected a dict of options, got str"):
        AdcpTracker(app)
    with pytest.raises(ConfigurationError, match="initialise each application once"):
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
    assert "2 accepted, 1 delivered, 0 pending, 1 dead, 0 dropped" in flushed.output
    books = json.loads(run(args=["adcp", "status", "--json"]).output)
    assert books["destinations"][destination.name]["delivered"] == 1
    assert "1 delivered" in run(args=["adcp", "status"]).output

    (letter,) = json.loads(run(args=["adcp", "dead", "list", "--json"]).output)
    assert letter["id"] in run(args=["adcp", "dead", "list"]).output
    assert json.loads(run(args=["adcp", "dead", "show", letter["id"]]).output) == letter
    unknown = run(args=["adcp", "dead", "drop", "nothing"])
    assert unknown.exit_code == 1
    assert "Error: nothing: expected the id of a dead letter" in unknown.output

    seller.configure(refuse_events={})
    assert "on its way again" in run(args=["adcp", "dead", "replay", letter["id"]]).output
    assert run(args=["adcp", "flush"]).exit_code == 0
    assert sorted(event["event_id"] for event in seller.events) == ["bad", "good"]
    assert run(args=["adcp", "dead", "replay", letter["id"]]).exit_code == 1
    assert "0 dead" in run(args=["adcp", "dead", "list"]).output


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
    assert "1 pending" in result.output


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
    with subprocess.Popen([*flask_adcp, "worker"], env=environment) as worker:
        try:
            subprocess.run([sys.executable, "-c", track], env=environment, check=True)
            seller_process.wait_for(1)
        finally:
            os.kill(worker.pid, signal.SIGTERM)
    assert worker.returncode == 0
