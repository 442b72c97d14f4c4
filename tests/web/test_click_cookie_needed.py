"""The glance at a request's start: it never overlooks a response that needs_cookie a cookie."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from adcp_tracker.events.model import CLICK_IDS
from adcp_tracker.web.capture import Capture
from adcp_tracker.web.options import CaptureSettings
from adcp_tracker.web.request import AsgiRequest, WsgiRequest

KEPT = "adcp_click=1.gclid.old"
CAPTURES = [
    Capture(),
    Capture(CaptureSettings(consent=lambda _: False)),
    Capture(CaptureSettings(click_ids=["offer_7", "x"], click_cookie="kept")),
]
NAMES = st.sampled_from([*CLICK_IDS, "GCLID", "Epik", "offer_7", "X"]) | st.text(max_size=8)
PARAMETERS = st.lists(st.tuples(NAMES, st.sampled_from(["abc", "", "a%20b"])), max_size=4)
COOKIES = st.sampled_from(["", KEPT, f"a=b; {KEPT}", "kept=1.x.old", "my_adcp_click=1", "a=b"])


def shown(capture: Capture, query: str, cookie: str) -> tuple[bool, bool]:
    """Return what a glance tells over both interfaces, of what a browser may send."""
    environ = {"QUERY_STRING": query, "HTTP_COOKIE": cookie}
    scope = {
        "query_string": query.encode(),
        "headers": [(b"host", b"shop.example"), (b"cookie", cookie.encode())],
    }
    return capture.cookie_check.needs_cookie_environ(
        environ
    ), capture.cookie_check.needs_cookie_scope(scope)


@given(st.sampled_from(CAPTURES), PARAMETERS, COOKIES)
@example(CAPTURES[2], [("offer_7", "abc")], "")
def test_no_cookie_that_is_due_is_overlooked(
    capture: Capture, parameters: list[tuple[str, str]], cookie: str
) -> None:
    """Whatever is asked for, a response that needs_cookie a cookie was seen to by the glance."""
    query = "&".join("=".join(pair) for pair in parameters)
    environ = {"QUERY_STRING": query, "HTTP_COOKIE": cookie, "REMOTE_ADDR": "8.8.8.8"}
    scope = {"query_string": query.encode(), "headers": [(b"cookie", cookie.encode())]}
    due = [
        capture.response_cookie(capture.begin(request)) is not None
        for request in (WsgiRequest(environ), AsgiRequest(scope))
    ]
    for needs_cookie, seen in zip(due, shown(capture, query, cookie), strict=True):
        assert seen or not needs_cookie


@pytest.mark.parametrize("name", CLICK_IDS)
def test_every_kind_of_landing_is_seen(name: str) -> None:
    """In any case, and wherever it stands in the query."""
    for query in (f"{name}=a", f"q=1&{name.upper()}=a", f"{name.lower()}=a&q=1"):
        assert shown(CAPTURES[0], query, "") == (True, True)


@pytest.mark.parametrize("query", ["", "q=gclid", "product_id=7&brand=mugs&page=2", "a=b&q=%3D"])
def test_an_ordinary_page_is_not_one(query: str) -> None:
    """Neither other parameters nor other cookies make an adapter wait for the headers."""
    assert shown(CAPTURES[0], query, "session=abc") == (False, False)


def test_a_site_without_the_cookie_never_owes_one() -> None:
    """Nothing is looked for where none is set."""
    assert shown(Capture(CaptureSettings(click_cookie=None)), "gclid=a", KEPT) == (False, False)


def test_what_a_server_hands_on_amiss_breaks_no_request() -> None:
    """A query that is no text, or not there, is none."""
    cookie_check = CAPTURES[0].cookie_check
    for query in (None, b"gclid=a", 7):
        assert not cookie_check.needs_cookie_environ({"QUERY_STRING": query})
    assert not cookie_check.needs_cookie_environ({})
    assert not cookie_check.needs_cookie_scope({"query_string": None, "headers": []})
