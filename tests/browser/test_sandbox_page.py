"""The local seller's page in a browser: it keeps up, is inert, and needs no mouse."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

pytest.importorskip("selenium", reason="selenium is not installed (extra browser)")

from selenium.webdriver.common.keys import Keys

from adcp_tracker import Interchange, Tracker
from tests.browser.browsing import tab_until
from tests.support.seller import ADVERTISER, SOURCE, TOKEN, run_seller

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from adcp_tracker.sandbox import Sandbox
    from tests.browser.browsing import Browser

PROBES = (
    "<script>window.probed = 1</script>",
    "<img src=x onerror='window.probed = 1'>",
    "\"><svg onload='window.probed = 1'>",
    "</script><script>window.probed = 1</script>",
    "</pre></details></main><iframe srcdoc='<script>parent.probed = 1</script>'>",
    "javascript:window.probed = 1",
    "' onmouseover='window.probed = 1' autofocus onfocus='window.probed = 1",
)
MATCH = {"client_ip": "8.8.8.8", "client_user_agent": "Mozilla/5.0"}
READABLE = 4.5
"""The least contrast of text that the Web Content Accessibility Guidelines allow, level AA."""


@pytest.fixture
def open_seller() -> Iterator[Sandbox]:
    """A seller that takes what is right of a request, so that one holds good and bad events."""
    with run_seller(strict=False) as running:
        yield running


@pytest.fixture
def tracker(open_seller: Sandbox, tmp_path: Path) -> Iterator[Tracker]:
    """A tracker that sends to the seller."""
    destination = Interchange(
        advertiser_id=ADVERTISER, event_source_id=SOURCE, api_key=TOKEN, base_url=open_seller.url
    )
    made = Tracker([destination], directory=tmp_path / "queue", flush_interval=0.05)
    yield made
    made.close(timeout=5)


def send(seller: Sandbox, *events: object, test_event_code: str | None = None) -> None:
    """Send events that no tracker would."""
    url = f"{seller.url}/advertisers/{ADVERTISER}/log-event"
    code = {} if test_event_code is None else {"test_event_code": test_event_code}
    body = {"event_source_id": SOURCE, "events": events, **code}
    answer = httpx.post(url, json=body, headers={"Authorization": f"Bearer {TOKEN}"})
    assert answer.is_success, answer.text


def nasty(probe: str) -> dict[str, object]:
    """Return an event with the probe wherever text may stand in a good one."""
    return {
        "event_id": probe,
        "event_type": "custom",
        "custom_event_name": probe,
        "event_time": "2025-01-01T00:00:00Z",
        "user_match": MATCH | {"client_user_agent": probe, "click_id": probe},
        "custom_data": {probe: probe, "currency": "EUR", "order_id": probe, "value": 1},
    }


def test_events_show_as_they_come(browser: Browser, open_seller: Sandbox, tracker: Tracker) -> None:
    """Nobody reloads the page, what is open stays open, and counts follow."""
    browser.visit(open_seller.origin)
    assert "Nothing was taken yet" in browser.text("main")
    tracker.track_purchase(
        {"id": "A-1", "total": "59.90", "currency": "EUR", "email": "a@b.example"}
    )
    browser.wait_for(lambda: browser.find_all("#good summary"))
    assert "A-1" in browser.text("#good summary")
    assert "59.9 EUR" in browser.text("#good summary")
    assert "Nothing was taken yet" not in browser.text("main")
    browser.find("#good summary").click()
    assert '"order_id": "A-1"' in browser.text("#good pre")

    open_seller.configure(refuse_events={"L-1": "INVALID_EVENT_TIME"})
    tracker.track_lead("L-1", email="a@b.example")
    tracker.track_lead("L-2", email="a@b.example")
    browser.wait_for(lambda: len(browser.find_all("#good summary")) == 2)
    browser.wait_for(lambda: browser.find_all("#bad summary"))
    assert "INVALID_EVENT_TIME" in browser.text("#bad summary")
    assert [row.get_attribute("open") for row in browser.find_all("#good details")] == [
        None,
        "true",
    ]
    browser.wait_for(lambda: browser.text("dl .good dd") == "2")
    assert browser.complaints() == []


@pytest.mark.parametrize("probe", PROBES)
def test_what_events_hold_is_inert(probe: str, browser: Browser, open_seller: Sandbox) -> None:
    """Markup and scripts in any field are text, at once and after the page has refreshed."""
    open_seller.configure(refuse_events={"refused": probe})
    bad = {"event_id": "refused", "event_type": "lead", "event_time": "2025-01-01T00:00:00Z"}
    send(open_seller, nasty(probe), bad | {"user_match": MATCH})
    send(open_seller, {"event_id": probe, "event_type": probe, "event_time": probe, probe: probe})
    send(open_seller, probe)
    browser.visit(open_seller.origin)
    send(open_seller, nasty(probe) | {"event_id": f"{probe} later"}, test_event_code=probe)
    browser.wait_for(lambda: len(browser.find_all("#good details")) == 2)
    browser.run("for (const row of document.querySelectorAll('details')) row.open = true")
    assert browser.text("#good").count(probe) >= 10
    assert browser.text("#bad").count(probe) >= 4
    assert browser.run("return window.probed") is None
    tags = browser.run("return [...document.querySelectorAll('*')].map(each => each.localName)")
    assert tags.count("script") == 1
    assert not {"img", "svg", "iframe"} & set(tags)
    assert browser.complaints() == []


def test_the_keyboard_is_enough(browser: Browser, open_seller: Sandbox, tracker: Tracker) -> None:
    """Tab leads from event to event, Enter opens one, and news does not move the focus."""

    def focused() -> str:
        return str(browser.run("return document.querySelector('summary:focus')?.textContent"))

    for number in range(3):
        tracker.track_lead(f"L-{number}", email="a@b.example")
    open_seller.wait_for(3)
    browser.visit(open_seller.origin)
    tab_until(browser, lambda: "L-1" in focused())
    assert browser.run("return getComputedStyle(document.activeElement).outlineStyle") == "solid"
    tracker.track_lead("L-9", email="a@b.example")
    browser.wait_for(lambda: "L-9" in browser.text("#good"))
    assert "L-1" in focused()
    browser.press(Keys.ENTER)
    assert browser.run("return document.activeElement.parentElement.open")
    browser.press(Keys.TAB)
    tab_until(browser, lambda: "L-0" in focused())
    browser.press(Keys.SPACE)
    assert browser.run("return document.activeElement.parentElement.open")


def test_a_seller_that_ends_is_told_from_one_without_events(
    browser: Browser, open_seller: Sandbox
) -> None:
    """The page says that nobody answers, and goes on when somebody does."""
    browser.visit(open_seller.origin)
    assert browser.text("#state") == "listening"
    open_seller.stop()
    browser.wait_for(lambda: browser.text("#state") == "does not answer")
    open_seller.start()
    browser.wait_for(lambda: browser.text("#state") == "listening")
    assert not [each for each in browser.complaints() if "Failed to load resource" not in each]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_is_readable(scheme: str, browser: Browser, open_seller: Sandbox) -> None:
    """Text stands out from its ground by day and by night, and nothing is wider than a phone."""
    send(open_seller, nasty("x" * 200), {"event_id": "y" * 300}, test_event_code="z" * 100)
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.tell("Emulation.setEmulatedMedia", features=[feature])
    browser.tell(
        "Emulation.setDeviceMetricsOverride",
        width=360,
        height=700,
        deviceScaleFactor=1,
        mobile=True,
    )
    try:
        browser.visit(open_seller.origin)
        browser.run("for (const row of document.querySelectorAll('details')) row.open = true")
        assert browser.run("return document.documentElement.scrollWidth") <= 360
        contrasts = browser.run(CONTRASTS)
    finally:
        browser.tell("Emulation.clearDeviceMetricsOverride")
        browser.tell("Emulation.setEmulatedMedia", features=[])
    assert len(contrasts) > 20
    assert [pair for pair in contrasts if pair[1] < READABLE] == []


CONTRASTS = """
function light([red, green, blue]) {
  const part = value => (value /= 255) <= .04045 ? value / 12.92 : ((value + .055) / 1.055) ** 2.4;
  return .2126 * part(red) + .7152 * part(green) + .0722 * part(blue);
}
const numbers = colour => colour.match(/[\\d.]+/g).map(Number);
function ground(element) {
  for (; element; element = element.parentElement) {
    const colour = numbers(getComputedStyle(element).backgroundColor);
    if (colour.length === 3) return colour;
  }
  return [255, 255, 255];
}
return [...document.body.querySelectorAll("*")]
  .filter(each => [...each.childNodes].some(node => node.nodeType === 3 && node.data.trim()))
  .filter(each => each.checkVisibility())
  .map(each => {
    const pair = [light(numbers(getComputedStyle(each).color)), light(ground(each))].sort();
    return [each.outerHTML.slice(0, 80), (Math.max(...pair) + .05) / (Math.min(...pair) + .05)];
  });
"""
