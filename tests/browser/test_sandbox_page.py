"""The local seller's page in a browser: live, filtered, accessible, and safe to look at."""

from __future__ import annotations

import json
import os
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
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
SCREENSHOTS = os.environ.get("ADCP_SCREENSHOTS")
"""Where to write the pictures of the docs; run with ADCP_SCREENSHOTS=docs/images."""

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


def event(event_id: str, **changes: object) -> dict[str, object]:
    """Return a valid purchase."""
    return {
        "event_id": event_id,
        "event_type": "purchase",
        "event_time": "2026-01-02T12:00:00Z",
        "user_match": MATCH | {"hashed_email": "f" * 64},
        "custom_data": {"value": 59.9, "currency": "EUR", "order_id": event_id},
        **changes,
    }


def rows(browser: Browser) -> list[str]:
    """Return the text of each row of the timeline."""
    found = browser.run(
        "return [...document.querySelectorAll('#timeline li')].map(e => e.innerText)"
    )
    return [" ".join(text.split()) for text in found]


def open_row(browser: Browser, text: str) -> None:
    """Open the details of the first row that contains a text."""
    script = (
        "[...document.querySelectorAll('#timeline a')]"
        ".find(e => e.innerText.includes(arguments[0])).click()"
    )
    browser.run(script, text)
    browser.wait_for(lambda: text in browser.text("#drawer h2") or browser.find_all("#drawer pre"))


def shown_number(browser: Browser, number: int) -> bool:
    """Return whether the details of an entry are shown."""
    shown = browser.run("return document.querySelector('#drawer article')?.dataset.number")
    return bool(shown == str(number))


def shoot(browser: Browser, name: str) -> None:
    """Take a picture for the docs, if they are wanted."""
    if SCREENSHOTS:
        Path(SCREENSHOTS).mkdir(parents=True, exist_ok=True)
        browser.shoot(Path(SCREENSHOTS) / f"{name}.png")


@pytest.fixture
def screen(browser: Browser) -> Iterator[Screen]:
    """The size and the colours of the window, back to normal afterwards."""
    yield Screen(browser)
    browser.tell("Emulation.clearDeviceMetricsOverride")
    browser.tell("Emulation.setEmulatedMedia", features=[])


class Screen:
    """Changes the size and the colours of the window."""

    def __init__(self, browser: Browser) -> None:
        """Change the window of `browser`."""
        self._browser = browser

    def resize(self, width: int, height: int, *, mobile: bool = False) -> None:
        """Set the size in pixels."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile}
        self._browser.tell("Emulation.setDeviceMetricsOverride", **size)

    def use(self, scheme: str) -> None:
        """Prefer ``light`` or ``dark`` colours."""
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self._browser.tell("Emulation.setEmulatedMedia", features=[feature])


def test_events_show_as_they_come(browser: Browser, open_seller: Sandbox, tracker: Tracker) -> None:
    """New events appear by themselves, with counters that follow."""
    browser.visit(open_seller.origin)
    assert "export ADCP_DIRECTORY=" in browser.text("#empty")
    assert open_seller.url in browser.text("#empty")
    tracker.track_purchase(
        {"id": "A-1", "total": "59.90", "currency": "EUR", "email": "a@b.example"}
    )
    browser.wait_for(lambda: rows(browser))
    (row,) = rows(browser)
    assert "Delivered purchase A-1 59.9 EUR REST 12345/website_pixel" in row
    assert not browser.find("#empty").is_displayed()
    open_row(browser, "A-1")
    assert '"order_id": "A-1"' in browser.text("#drawer pre")

    open_seller.configure(refuse_events={"L-1": "INVALID_EVENT_TIME"})
    tracker.track_lead("L-1", email="a@b.example")
    tracker.track_lead("L-2", email="a@b.example")
    browser.wait_for(lambda: len(rows(browser)) == 3)
    assert any("Rejected by the seller lead L-1 INVALID_EVENT_TIME" in row for row in rows(browser))
    assert "A-1" in browser.text("#drawer h2")
    browser.wait_for(lambda: browser.text("#counts .good dd") == "2")
    assert browser.text("#shown") == "3 of 3"
    assert browser.complaints() == []


@pytest.mark.parametrize("probe", PROBES)
def test_what_events_hold_is_inert(probe: str, browser: Browser, open_seller: Sandbox) -> None:
    """Markup and scripts in any field are text: in rows, chips and details."""
    open_seller.configure(refuse_events={"refused": probe})
    bad = {"event_id": "refused", "event_type": "lead", "event_time": "2025-01-01T00:00:00Z"}
    send(open_seller, nasty(probe), bad | {"user_match": MATCH})
    send(open_seller, {"event_id": probe, "event_type": probe, "event_time": probe, probe: probe})
    send(open_seller, probe)
    browser.visit(open_seller.origin)
    send(open_seller, nasty(probe) | {"event_id": f"{probe} later"}, test_event_code=probe)
    browser.wait_for(lambda: len(rows(browser)) == 5)
    for number in range(1, 6):
        link = f"e{number}"
        browser.run("document.getElementById(arguments[0]).click()", link)
        browser.wait_for(partial(shown_number, browser, number))
        browser.run("for (const each of document.querySelectorAll('details')) each.open = true")
    assert browser.text("body").count(probe) >= 4
    assert browser.run("return window.probed") is None
    tags = browser.run("return [...document.querySelectorAll('*')].map(each => each.localName)")
    assert tags.count("script") == 1
    assert not {"img", "svg", "iframe"} & set(tags)
    assert browser.complaints() == []


def test_filters_and_search_never_hide_how_many_there_are(
    browser: Browser, open_seller: Sandbox, screen: Screen
) -> None:
    """Of 505 events 50 are shown, older ones on request, and filters apply to new ones, too."""
    screen.resize(1440, 900)
    send(open_seller, *(event(f"A-{number:04}") for number in range(505)))
    send(open_seller, event("lead-1", event_type="lead"), test_event_code="TEST1")
    browser.visit(open_seller.origin)
    assert browser.text("#shown") == "50 of 506"
    shoot(browser, "sandbox-500")
    browser.find("#more").click()
    browser.wait_for(lambda: browser.text("#shown") == "100 of 506")
    assert "A-0455" in browser.run("return document.activeElement.innerText")

    browser.find("input[name=type][value=lead]").find_element("xpath", "..").click()
    browser.wait_for(lambda: browser.text("#shown") == "1 of 1")
    send(open_seller, event("A-9999"), event("lead-2", event_type="lead"))
    browser.wait_for(lambda: browser.text("#shown") == "2 of 2")
    assert "lead-2" in rows(browser)[0]
    assert "type=lead" in browser.run("return location.search")
    browser.run("location.reload()")
    browser.wait_for(lambda: browser.text("#shown") == "2 of 2")
    browser.find("input[name=type][value=lead]").find_element("xpath", "..").click()
    browser.find("input[name=q]").send_keys("A-0007")
    browser.wait_for(lambda: browser.text("#shown") == "1 of 1")
    assert "A-0007" in rows(browser)[0]
    browser.find("input[name=q]").send_keys("x")
    browser.wait_for(lambda: "No event matches" in browser.text("#empty"))
    assert browser.complaints() == []


def test_details_show_what_is_wrong_and_what_was_sent(
    browser: Browser, open_seller: Sandbox, screen: Screen
) -> None:
    """Invalid lines are marked; identity, request and response are there; copies can be made."""
    screen.resize(1440, 900)
    wrong = event("A-1", event_time="yesterday", custom_data={"value": "12", "currency": "euro"})
    send(open_seller, event("A-0"), wrong)
    browser.visit(open_seller.origin)
    open_row(browser, "A-1")
    shoot(browser, "sandbox-details")
    marked = browser.run(
        "return [...document.querySelectorAll('#drawer mark')].map(e => e.innerText)"
    )
    assert [line.split(":")[0].strip() for line in marked] == [
        '"event_time"',
        '"value"',
        '"currency"',
    ]
    assert "must be three capital letters" in marked[2]
    browser.run("for (const each of document.querySelectorAll('#drawer details')) each.open = true")
    text = browser.text("#drawer")
    assert "E-mail address, hashed ✓ sent" in " ".join(text.split())
    assert "Phone number, hashed missing" in " ".join(text.split())
    assert "POST /api/v2/buyer/advertisers/12345/log-event" in text
    assert TOKEN not in browser.run(
        "return document.querySelector('#drawer details:nth-of-type(3)').innerText"
    )
    assert '"partial_failures"' in text
    copies = browser.run(
        "return Object.fromEntries([...document.querySelectorAll('#drawer [data-text]')]"
        ".map(each => [each.dataset.text, each.textContent]))"
    )
    assert json.loads(copies["JSON"])["event_id"] == "A-1"
    assert copies["curl"].startswith(f"curl {open_seller.origin}/api/v2/buyer/advertisers/12345")
    compile(copies["pytest"], "test_copied.py", "exec")
    browser.find("[data-copy=JSON]").click()
    browser.wait_for(
        lambda: (
            "Copied as JSON" in browser.run("return document.getElementById('news').textContent")
        )
    )
    browser.press(Keys.ESCAPE)
    browser.wait_for(lambda: not browser.find("#drawer").is_displayed())
    assert "A-1" in browser.run("return document.activeElement.innerText")
    assert browser.complaints() == []


def test_a_seller_is_broken_and_fixed(
    browser: Browser, open_seller: Sandbox, tracker: Tracker, screen: Screen
) -> None:
    """A fault counts down as requests fail; what was tracked meanwhile arrives in the end."""
    screen.resize(1440, 900)
    browser.visit(open_seller.origin)
    browser.find("#break").click()
    shoot(browser, "sandbox-break-it")
    browser.find("#inject [name=times]").clear()
    browser.find("#inject [name=times]").send_keys("2")
    browser.find("#inject .main").click()
    browser.wait_for(lambda: "status 503 on log_event (2 left)" in browser.text("#faults"))
    tracker.track_lead("L-1", email="a@b.example")
    browser.wait_for(lambda: any("Request failed" in row for row in rows(browser)))
    assert "SERVICE_UNAVAILABLE" in rows(browser)[-1]
    browser.wait_for(lambda: "(1 left)" in browser.text("#faults") or not browser.text("#faults"))
    if browser.text("#faults"):
        browser.run("document.querySelector('#faults button')?.click()")
    browser.wait_for(lambda: any("Delivered lead L-1" in row for row in rows(browser)))
    browser.wait_for(lambda: not browser.text("#faults"))
    assert open_seller.times_received("L-1") == 1

    open_row(browser, "L-1")
    browser.find("[data-resend]").click()
    browser.wait_for(lambda: any("Delivered again lead L-1" in row for row in rows(browser)))
    browser.find("#clear").click()
    browser.wait_for(lambda: "No events yet" in browser.text("#empty") or not rows(browser))
    assert browser.complaints() == []


def test_the_keyboard_is_enough(browser: Browser, open_seller: Sandbox, tracker: Tracker) -> None:
    """Tab leads from event to event, Enter opens one, Escape goes back; news moves no focus."""

    def focused() -> str:
        script = (
            "const e = document.activeElement; return e.matches('a, button') ? e.innerText : ''"
        )
        return str(browser.run(script))

    for number in range(3):
        tracker.track_lead(f"L-{number}", email="a@b.example")
    open_seller.wait_for(3)
    browser.visit(open_seller.origin)
    browser.press(Keys.TAB)
    assert focused() == "Skip to the timeline"
    browser.press(Keys.ENTER)
    tab_until(browser, lambda: "L-1" in focused())
    assert browser.run("return getComputedStyle(document.activeElement).outlineStyle") == "solid"
    tracker.track_lead("L-9", email="a@b.example")
    browser.wait_for(lambda: any("L-9" in row for row in rows(browser)))
    assert "L-1" in focused()
    browser.press(Keys.ENTER)
    browser.wait_for(lambda: "L-1" in browser.text("#drawer h2"))
    browser.wait_for(lambda: browser.run("return document.activeElement.localName") == "h2")
    browser.press(Keys.TAB)
    assert focused() == "Close"
    browser.press(Keys.ESCAPE)
    browser.wait_for(lambda: "L-1" in focused())
    tab_until(browser, lambda: "L-0" in focused())


def test_a_seller_that_ends_is_told_from_one_without_events(
    browser: Browser, open_seller: Sandbox
) -> None:
    """The page says that nobody answers, and goes on when somebody does."""
    browser.visit(open_seller.origin)
    browser.wait_for(lambda: browser.text("#state") == "listening")
    open_seller.stop()
    browser.wait_for(lambda: browser.text("#state") == "does not answer")
    open_seller.start()
    send(open_seller, event("A-1"))
    browser.wait_for(lambda: browser.text("#state") == "listening")
    browser.wait_for(lambda: rows(browser))
    assert not [each for each in browser.complaints() if "Failed to load resource" not in each]


def test_what_a_tracker_did_not_send_is_shown_too(
    browser: Browser, open_seller: Sandbox, tracker: Tracker
) -> None:
    """In development, invalid and dropped events appear with the line that tracked them."""
    browser.visit(open_seller.origin)
    tracker.track_purchase({"id": "A-1", "total": "-5", "currency": "EUR"})
    browser.wait_for(lambda: any("Rejected before sending" in row for row in rows(browser)))
    open_row(browser, "Rejected before sending")
    browser.wait_for(lambda: "test_sandbox_page.py:" in browser.text("#drawer"))
    assert "← " in browser.text("#drawer pre")


def in_cents(number: int) -> dict[str, object]:
    """Return a recent purchase whose amount is in cents."""
    match = {"client_ip": f"8.8.4.{number}", "client_user_agent": f"Mozilla/5.0 {number}"}
    return event(
        f"A-{2000 + number}",
        event_time=datetime.now(timezone.utc).isoformat(),
        user_match=match | ({"hashed_email": "f" * 64} if number % 2 else {}),
        custom_data={"value": 5990 + number, "currency": "EUR"},
    )


def open_panel(browser: Browser, name: str) -> None:
    """Open a panel by its button."""
    browser.find(f"#{name}").click()
    browser.wait_for(lambda: browser.find_all("#drawer .panel"))


def bury(browser: Browser, seller: Sandbox, tracker: Tracker) -> None:
    """Have one event that the seller refuses and one that is invalid among the dead letters."""
    seller.show_dead_letters(tracker.dead_letters)
    seller.configure(refuse_events={"L-1": "INVALID_EVENT_TIME"})
    tracker.track_lead(event_id="L-1", email="alice@example.com")
    tracker.track_purchase({"id": "A-1", "total": "lots", "currency": "EUR"})
    tracker.flush(10)
    seller.configure(refuse_events={})
    browser.visit(seller.origin)
    browser.wait_for(lambda: browser.text("#letter-count") == "2")
    open_panel(browser, "letters")


def test_dead_letters_are_corrected_and_replayed(
    browser: Browser, open_seller: Sandbox, tracker: Tracker
) -> None:
    """An invalid one once its event is right, the other once the seller takes it."""
    bury(browser, open_seller, tracker)
    invalid = "#drawer .letters:has(textarea)"
    sections = browser.find_all(invalid)
    at = next(at for at, each in enumerate(sections) if "custom_data.value" in each.text)
    browser.run(f"document.querySelectorAll('{invalid} details')[{at}].open = true")
    sections[at].find_element("css selector", "[data-correct]").click()
    browser.wait_for(lambda: "expected a number" in browser.text("#drawer .result"))
    browser.run(
        f"const area = document.querySelectorAll('{invalid} textarea')[{at}];"
        "area.value = area.value.replace('\"a string of 4 characters\"', '59.9')"
    )
    sections[at].find_element("css selector", "[data-correct]").click()
    browser.wait_for(lambda: "1 on their way again" in browser.text("#drawer .result"))
    browser.wait_for(lambda: browser.text("#letter-count") == "1")

    browser.find("#drawer [data-replay=chosen]").click()
    browser.wait_for(lambda: "No dead letter was chosen" in browser.text("#drawer .result"))
    browser.find("#drawer [name=letter]").click()
    browser.find("#drawer [data-replay=chosen]").click()
    browser.wait_for(lambda: "There are none." in browser.text("#drawer"))
    browser.wait_for(lambda: browser.text("#letter-count") == "0")
    browser.wait_for(lambda: open_seller.counts["good"] == 2)
    assert [each for each in browser.complaints() if "400" not in each] == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_panels_are_readable(  # noqa: PLR0913, PLR0917 - fixtures
    scheme: str, browser: Browser, open_seller: Sandbox, tracker: Tracker, screen: Screen, axe: str
) -> None:
    """Match coach and dead letters, on a wide and on a narrow screen."""
    screen.use(scheme)
    screen.resize(1440, 900)
    bury(browser, open_seller, tracker)
    send(open_seller, *(in_cents(number) for number in range(20)))
    browser.run("document.querySelector('#drawer .letters:last-child details').open = true")
    shoot(browser, f"sandbox-dead-letters-{scheme}")
    assert serious(browser, axe) == []
    open_panel(browser, "coach")
    browser.wait_for(lambda: "as if they were in cents" in browser.text("#drawer"))
    shoot(browser, f"sandbox-coach-{scheme}")
    assert serious(browser, axe) == []
    contrasts = browser.run(CONTRASTS)
    assert [pair for pair in contrasts if pair[1] < READABLE] == []
    screen.resize(390, 844, mobile=True)
    for name in ("coach", "letters"):
        browser.visit(open_seller.origin)
        open_panel(browser, name)
        assert browser.run("return document.documentElement.scrollWidth") <= 390
        assert serious(browser, axe) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_is_readable(
    scheme: str, browser: Browser, open_seller: Sandbox, screen: Screen
) -> None:
    """Text has enough contrast in both schemes, and nothing is wider than a phone."""
    screen.use(scheme)
    screen.resize(1440, 900)
    browser.visit(open_seller.origin)
    shoot(browser, f"sandbox-empty-{scheme}")
    show_everything(browser, open_seller)
    shoot(browser, f"sandbox-{scheme}")
    open_row(browser, "A-1012")
    shoot(browser, f"sandbox-details-{scheme}")
    contrasts = browser.run(CONTRASTS)

    screen.resize(390, 844, mobile=True)
    send(open_seller, nasty("x" * 200), {"event_id": "y" * 300}, test_event_code="z" * 100)
    browser.visit(open_seller.origin)
    assert browser.run("return document.documentElement.scrollWidth") <= 390
    shoot(browser, f"sandbox-narrow-{scheme}")
    open_row(browser, "lead")
    assert browser.run("return document.documentElement.scrollWidth") <= 390
    contrasts += browser.run(CONTRASTS)
    assert len(contrasts) > 20
    assert [pair for pair in contrasts if pair[1] < READABLE] == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(
    scheme: str, browser: Browser, open_seller: Sandbox, screen: Screen, axe: str
) -> None:
    """Neither the page nor its details, its menu or its narrow form has a serious finding."""
    screen.use(scheme)
    screen.resize(1440, 900)
    browser.visit(open_seller.origin)
    assert serious(browser, axe) == []
    show_everything(browser, open_seller)
    open_row(browser, "A-1012")
    assert serious(browser, axe) == []
    browser.press(Keys.ESCAPE)
    browser.find("#break").click()
    assert serious(browser, axe) == []
    browser.find("#cancel").click()
    screen.resize(390, 844, mobile=True)
    browser.visit(open_seller.origin)
    assert serious(browser, axe) == []


def show_everything(browser: Browser, seller: Sandbox) -> None:
    """Have events of several outcomes and a fault on the page."""
    send(seller, *(event(f"A-{number}") for number in range(1000, 1012)))
    send(seller, event("A-1003"), event("A-1012", event_time="yesterday"))
    send(seller, event("T-1", event_type="lead"), test_event_code="TEST1")
    seller.fail(status=429, times=3, on="initialize")
    browser.wait_for(lambda: len(rows(browser)) == 15)
    browser.wait_for(lambda: browser.text("#faults"))


def serious(browser: Browser, axe: str) -> list[object]:
    """Return what axe-core finds that is serious or critical."""
    browser.run(axe)
    script = (
        "const done = arguments[0]; axe.run().then(found => done(found.violations"
        ".filter(each => ['serious', 'critical'].includes(each.impact))"
        ".map(each => [each.id, each.nodes.map(node => node.html)])))"
    )
    found: list[object] = browser.driver.execute_async_script(script)
    return found


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
