"""The details of an entry of the local seller's page."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest

from adcp_tracker.sandbox.panels import strip_pointer
from adcp_tracker.sandbox.timeline import Entry
from tests.support.seller import run_seller
from tests.support.wire import make_event, request, send

if TYPE_CHECKING:
    from collections.abc import Iterator

    from adcp_tracker.sandbox import Sandbox

NASTY = "<script>alert('x')</script>"


class Text(HTMLParser):
    """Collects what a page says, and what it marks."""

    def __init__(self) -> None:
        super().__init__()
        self.all: list[str] = []
        self.marked: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag."""
        del attrs
        self.tags.append(tag)
        if tag == "mark":
            self.marked.append("")

    def handle_endtag(self, tag: str) -> None:
        """Note its end."""
        self.tags.append(f"/{tag}")

    def handle_data(self, data: str) -> None:
        """Note a text."""
        self.all.append(data)
        if self.tags.count("mark") > self.tags.count("/mark"):
            self.marked[-1] += data


@pytest.fixture
def seller() -> Iterator[Sandbox]:
    """Run a seller."""
    with run_seller() as running:
        yield running


def details(seller: Sandbox, number: int | None = None) -> Text:
    """Return the page of an entry, the newest if none is said."""
    which = seller._seller.timeline.last if number is None else number  # noqa: SLF001 - its link
    text = Text()
    text.feed(request("GET", f"{seller.origin}/_sandbox/entry/{which}").text)
    return text


def test_an_event_is_shown_with_its_request_and_response(seller: Sandbox) -> None:
    """The identifiers that it has and lacks, and texts to copy."""
    send(seller, make_event("A-1"), test_event_code="T1")
    text = details(seller)
    page = "".join(text.all)
    for expected in ('"event_id": "A-1"', "✓ sent", "missing", "HTTP 200", "test T1"):
        assert expected in page
    assert "POST /api/v2/buyer/advertisers/" in page
    assert "def test_purchase_is_tracked() -> None:" in page
    assert "Bearer sandbox-token" not in page
    assert text.marked == []


def test_what_is_invalid_is_marked_where_it_is(seller: Sandbox) -> None:
    """A wrong value in its own line, a missing one in its parent's; nothing becomes markup."""
    odd = make_event(NASTY, custom_data={"value": -1, "currency": "EUR"}, event_time=NASTY)
    odd["x/y"] = [1, {"~": NASTY}]
    send(seller, odd)
    text = details(seller)
    assert any('"value": -1' in each for each in text.marked)
    assert any(f'"event_time": "{NASTY}"' in each for each in text.marked)
    assert text.tags.count("script") == text.tags.count("/script") <= 1

    lacking = make_event("A-2")
    del lacking["event_type"]
    send(seller, lacking)
    assert any("event_type" in each for each in details(seller).marked)


def test_an_entry_without_an_event_or_a_request_says_so(seller: Sandbox) -> None:
    """As a tracker's report has none."""
    seller._seller.timeline.add([Entry("dropped", "A-3", "purchase", "tracker")])  # noqa: SLF001
    page = "".join(details(seller).all)
    assert "The event is not kept." in page
    assert "There was no request" in page
    assert "There was no response" in page
    gone = request("GET", f"{seller.origin}/_sandbox/entry/999")
    assert gone.status_code == 404


def test_a_broken_connection_is_told(seller: Sandbox) -> None:
    """A response that never came isn't shown as an empty one."""
    seller.fail(connection="close")
    with pytest.raises(Exception, match=r"disconnected|closed|reset"):
        send(seller, make_event("A-4"))
    page = "".join(details(seller).all)
    assert "The connection was broken before a response." in page


@pytest.mark.parametrize(
    ("pointer", "within"),
    [
        ("/events/3/custom_data/value", "/custom_data/value"),
        ("/events/3", "/"),
        ("/other", "/other"),
    ],
)
def test_a_pointer_is_taken_within_its_event(pointer: str, within: str) -> None:
    """The request's part of it is left out."""
    assert strip_pointer(pointer) == within
