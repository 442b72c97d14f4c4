"""What a tracker tells the page of a local seller in development."""

from __future__ import annotations

import os
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING

import httpx
import pytest

from adcp_tracker import Agent, Interchange, Tracker, bind_context
from adcp_tracker._development import make_reporter
from adcp_tracker.context import Consent, RequestContext
from tests.support.seller import ADVERTISER, SOURCE, TOKEN

if TYPE_CHECKING:
    from pathlib import Path

    from adcp_tracker.destinations.base import Destination
    from adcp_tracker.sandbox import Sandbox


def interchange(url: str) -> Interchange:
    """Return a destination at an address."""
    return Interchange(
        advertiser_id=ADVERTISER, event_source_id=SOURCE, api_key=TOKEN, base_url=url
    )


def rows(seller: Sandbox) -> str:
    """Return the page's timeline."""
    return httpx.get(seller.origin).text.split('id="timeline"')[1]


def test_the_page_shows_what_was_not_sent_and_where_it_was_tracked(
    tmp_path: Path, seller: Sandbox
) -> None:
    """Invalid, trimmed and dropped events reach the page, at the latest when the tracker closes."""
    denied = RequestContext(consent=Consent.DENIED)
    with Tracker([interchange(seller.url)], directory=tmp_path / "queue") as tracker:
        tracker.track_purchase({"id": "bad", "total": "-5", "currency": "EUR", "email": "a@b.co"})
        tracker.track_purchase({"id": "odd", "total": 5, "currency": "EUR", "phone": "n/a"})
        with bind_context(denied):
            tracker.track_lead("denied", email="a@b.example")
        tracker.track_purchase({"id": "good", "total": 5, "currency": "EUR", "email": "a@b.co"})
    text = rows(seller)
    for outcome in ("invalid", "trimmed", "dropped", "delivered"):
        assert f'<li class="{outcome}"' in text
    assert "consent" in text
    assert "a@b.co" not in text
    origin = seller._seller.timeline.origin("good")  # noqa: SLF001 - shown in the details
    assert "test_development.py:" in origin
    assert origin.endswith(" in test_the_page_shows_what_was_not_sent_and_where_it_was_tracked")


def test_a_seller_that_is_down_costs_no_time(tmp_path: Path) -> None:
    """Nobody listens: tracking and closing go on as usual."""
    with Tracker(
        [interchange("http://127.0.0.1:9/api/v2/buyer")],
        directory=tmp_path / "queue",
        shutdown_timeout=0.1,
    ) as tracker:
        began = time.perf_counter()
        tracker.track_purchase({"id": "bad", "total": "-5", "currency": "EUR"})
        assert time.perf_counter() - began < 10


@pytest.mark.parametrize(
    ("destinations", "reports"),
    [
        ([], False),
        ([interchange("http://127.0.0.1:1/api")], True),
        ([interchange("http://localhost:1/api")], True),
        ([interchange("https://seller.example/api")], False),
        ([interchange("http://127.0.0.1:1/api"), interchange("https://seller.example/api")], False),
        ([Agent(url="http://[::1]:1/mcp", event_source_id=SOURCE, token=TOKEN)], True),
    ],
    ids=["none", "loopback", "localhost", "remote", "mixed", "agent"],
)
def test_only_trackers_of_this_machine_report(
    destinations: list[Destination], *, reports: bool
) -> None:
    """As soon as one destination is elsewhere, nothing is reported."""
    assert (make_reporter(destinations) is not None) is reports


def test_a_high_rate_of_events_reports_the_origins_of_some(tmp_path: Path, seller: Sandbox) -> None:
    """A load test is not slowed down by reports."""
    with Tracker([interchange(seller.url)], directory=tmp_path / "queue") as tracker:
        for number in range(100):
            order = {"id": f"A-{number}", "total": 5, "currency": "EUR", "email": "a@b.co"}
            tracker.track_purchase(order)
    kept = [n for n in range(100) if seller._seller.timeline.origin(f"A-{n}")]  # noqa: SLF001
    assert 20 <= len(kept) < 100


def test_a_forked_child_reports_its_own_events_alone(seller: Sandbox) -> None:
    """What the parent has not sent yet when it forks is sent once, by the parent."""
    reporter = make_reporter([interchange(seller.url)])
    assert reporter is not None
    reporter.rejected("parent", "purchase", (), b"{}")
    child = os.fork()
    if not child:
        status = 1
        try:
            reporter.rejected("child", "purchase", (), b"{}")
            reporter.send()
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    assert "child" in rows(seller)
    assert "parent" not in rows(seller)
    reporter.send()
    assert "parent" in rows(seller)


def test_a_report_survives_the_removal_of_the_working_directory(
    tmp_path: Path, seller: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its path is then shown in full."""
    reporter = make_reporter([interchange(seller.url)])
    assert reporter is not None
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    reporter.rejected("A-1", "purchase", (), b"{}")
    reporter.send()
    assert f"{__file__}:" in seller._seller.timeline.origin("A-1")  # noqa: SLF001


def test_a_seller_without_a_page_is_asked_once() -> None:
    """Another program on this machine that does not take reports is left alone from then on."""
    server = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)  # answers POST with 501
    thread = threading.Thread(target=server.handle_request)
    thread.start()
    reporter = make_reporter([interchange(f"http://127.0.0.1:{server.server_port}/api")])
    assert reporter is not None
    reporter.rejected("A-1", "purchase", (), b"{}")
    reporter.send()
    thread.join()
    server.server_close()
    reporter.rejected("A-2", "purchase", (), b"{}")
    reporter.send()  # nobody listens there any more, and nobody is asked
    assert not reporter._origins  # noqa: SLF001 - what it would ask
