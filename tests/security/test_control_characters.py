"""Line feeds and control characters, on every way in and out.

The capture of single headers, cookies and addresses is shown in the tests of the web parts,
and sellers' words in those of the destinations; here they go all the way through.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adcp_tracker import Interchange
from adcp_tracker.context import RequestContext
from adcp_tracker.destinations.base import EventFailure, Outcome, Paused, Rejected, Retry
from adcp_tracker.exceptions import ConfigurationError
from adcp_tracker.journal.records import parse
from adcp_tracker.tracker import Tracker
from adcp_tracker.web.capture import Capture
from adcp_tracker.web.request import AsgiRequest
from tests.faults.share import share
from tests.support.booked import balanced, track
from tests.support.destinations import ScriptedDestination, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

EVIL = "a\r\nSet-Cookie: x=1\r\n\r\n<script>\x00\x1b[31m\u2028\x85\x7f"
_hostile = st.text(
    st.sampled_from("ab\r\n\t\x00\x1b\x7f\x85\u2028\u202e;,=\"'<>&%0Ad"), max_size=30
)


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Tracker]]:
    """Return a maker of trackers over one directory, closed at the end."""
    made: list[Tracker] = []

    def maker(*destinations: object, **settings: object) -> Tracker:
        options: dict[str, object] = {"directory": tmp_path / "queue", "flush_interval": 0.02}
        tracker = Tracker(destinations, **options | settings, handle_sigterm=False)  # type: ignore[arg-type]  # by name, as given
        made.append(tracker)
        return tracker

    yield maker
    for tracker in made:
        tracker.close(0.5)


def test_nothing_a_shop_gives_breaks_a_record(make: Callable[..., Tracker], tmp_path: Path) -> None:
    """Ids, names and custom values with line feeds are one line each on disk, or refused."""
    tracker = make(uploader="external")
    for number, evil in enumerate([EVIL, "\n", "\t", "x\ty\nz", "\u2028"]):
        context = RequestContext(client_ip="8.8.8.8", client_user_agent=evil)
        tracker.track("lead", event_id=f"A-{number}", context=context, custom_data={"note": evil})
        tracker.track("lead", event_id=evil, email="a@example.com", custom_data={evil: evil})
    tracker.stop()
    (segment,) = (tmp_path / "queue" / "segments").glob("*.log")
    records, damages = parse(segment.read_bytes())
    assert damages == []
    assert len(records) == 10
    for record in records:
        orjson.loads(record.unpack()[1])


@share
@given(
    name=st.sampled_from([b"user-agent", b"referer", b"cookie", b"host", b"x-forwarded-for"]),
    value=_hostile,
    query=_hostile,
)
def test_no_header_reaches_an_event_or_a_cookie_with_a_control_character(
    name: bytes, value: str, query: str
) -> None:
    """Whatever a client sends in any header, what is kept and what is answered is printable."""
    capture = Capture()
    scope: dict[str, object] = {
        "client": ["8.8.8.8", 1],
        "scheme": "https",
        "path": f"/{query}",
        "query_string": f"gclid={query}&utm_source={query}".encode(),
        "headers": [(b"host", b"shop.example"), (name, f"adcp_click=1.gclid.{value}".encode())],
    }
    context = capture.begin(AsgiRequest(scope))
    seen = context.resolve()
    kept = [seen.client_ip, seen.client_user_agent, seen.event_source_url]
    kept += [seen.click_id, seen.click_id_type, capture.response_cookie(context)]
    assert all(each is None or each.isprintable() for each in kept)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("api_key", f"key{EVIL}"),
        ("api_key", "key\n"),
        ("base_url", "https://seller.example/\r\nX: y"),
        ("advertiser_id", "1\r\nX: y"),
        ("event_source_id", "pixel\r\n"),
    ],
)
def test_no_setting_splits_a_request(setting: str, value: str) -> None:
    """It is refused when it is given, and the error does not show it."""
    settings: dict[str, Any] = {
        "advertiser_id": "1",
        "event_source_id": "pixel",
        "api_key": "key",
        "base_url": "http://127.0.0.1:9",
        setting: value,
    }
    with pytest.raises(ConfigurationError) as caught:
        Interchange(**settings)
    assert value not in str(caught.value)
    assert "Set-Cookie" not in str(caught.value)


@pytest.mark.parametrize(
    "outcome",
    [
        Paused(f"C{EVIL}", EVIL, EVIL),
        Retry(f"C{EVIL}", EVIL),
        Rejected("BAD", EVIL, (EventFailure(f"C{EVIL}", EVIL, index=0, remedy=EVIL),)),
    ],
    ids=["paused", "retry", "rejected"],
)
def test_no_outcome_breaks_a_line_of_the_log_or_the_queue(
    make: Callable[..., Tracker], caplog: pytest.LogCaptureFixture, outcome: Outcome
) -> None:
    """A destination of the host's own may pass on whatever a seller says, uncleaned."""
    caplog.set_level(logging.DEBUG, "adcp_tracker")
    seller = ScriptedDestination(outcomes=[outcome])
    tracker = make(seller)
    track(tracker, 2)
    wait_until(lambda: seller.batches)
    wait_until(lambda: (counts := balanced(tracker)).paused or counts.retrying or counts.dead)
    tracker.flush(0.1)
    for record in caplog.records:
        assert record.getMessage().isprintable(), record.getMessage()
    assert [letter.message for letter in tracker.dead_letters.list()] in ([], [EVIL])
