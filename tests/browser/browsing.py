"""A real browser, driven as a person would use it, and what it saw on the wire."""

from __future__ import annotations

import json
import shutil
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from selenium.webdriver.remote.webelement import WebElement

_T = TypeVar("_T")

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
DRIVER = "chromedriver"
AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/156.0.0.0 Safari/537.36"
"""What a browser with a person before it calls itself; without a window it owns up to that."""

_OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--ignore-certificate-errors",
    "--window-size=1280,900",
)
_WAIT_SECONDS = 15.0
_POLL_SECONDS = 0.05


def missing() -> str | None:
    """Say what is missing of what a browser's test needs; ``None`` if all is there."""
    if browser() is None:
        return f"none of {', '.join(BROWSERS)} is installed"
    return None if shutil.which(DRIVER) else f"{DRIVER} is not installed"


def browser() -> str | None:
    """Return where the browser is; ``None`` if there is none."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


@attrs.frozen
class Answer:
    """An answer as it came over the wire.

    Attributes:
        url: What was asked for.
        status: Its HTTP status.
        headers: Its headers, in lower case; several ``set-cookie`` are lines of one value.
        sent: The request's headers, in lower case.
    """

    url: str
    status: int
    headers: dict[str, str]
    sent: dict[str, str]


class Browser:
    """One browser with a profile of its own."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        """Drive `driver`; use :func:`open_browser`."""
        self.driver = driver

    def start_afresh(self) -> None:
        """Be somebody else: no cookies, nothing cached, no page and no headers of one's own."""
        self.driver.get("about:blank")
        self.tell("Network.enable")
        self.tell("Network.clearBrowserCookies")
        self.tell("Network.clearBrowserCache")
        self.send_headers()
        self.driver.get_log("performance")
        self.driver.get_log("browser")

    def tell(self, command: str, **arguments: object) -> Any:  # noqa: ANN401 - JSON
        """Give the browser a command of its own protocol."""
        return self.driver.execute_cdp_cmd(command, arguments)

    def send_headers(self, **headers: str) -> None:
        """Send these headers with every request from now on, underscores being dashes."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.tell("Network.setExtraHTTPHeaders", headers=named)

    def visit(self, url: str) -> None:
        """Open a page, as if its address had been typed."""
        self.driver.get(url)

    def follow(self, name: str) -> None:
        """Click what has the id `name`, and wait until another page is there."""
        before = self.find("html")
        self.find(f"#{name}").click()
        self.wait_for(lambda: self.is_gone(before))

    def press(self, *keys: str) -> None:
        """Press keys wherever the focus is."""
        webdriver.ActionChains(self.driver).send_keys(*keys).perform()

    def find(self, selector: str) -> WebElement:
        """Return the first element of a CSS selector."""
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def find_all(self, selector: str) -> list[WebElement]:
        """Return all elements of a CSS selector."""
        found: list[WebElement] = self.driver.find_elements(By.CSS_SELECTOR, selector)
        return found

    def text(self, selector: str = "body") -> str:
        """Return the text of an element, as it is shown; empty if it is not there."""
        # In one step, as the page may put another in its place at any moment.
        script = "return document.querySelector(arguments[0])?.innerText ?? ''"
        return str(self.run(script, selector))

    def run(self, script: str, *arguments: object) -> Any:  # noqa: ANN401 - JSON
        """Run a script in the page, and return what it returns."""
        return self.driver.execute_script(script, *arguments)

    def wait_for(self, condition: Callable[[], _T]) -> _T:
        """Wait until a condition holds, and return what it gave."""
        wait = WebDriverWait(self.driver, _WAIT_SECONDS, _POLL_SECONDS)
        found: _T = wait.until(lambda _: condition())
        return found

    def cookies(self) -> dict[str, dict[str, Any]]:
        """Return all cookies by name, those hidden from scripts as well."""
        return {each["name"]: each for each in self.tell("Network.getAllCookies")["cookies"]}

    def keep_cookie(self, url: str, name: str, value: str) -> None:
        """Keep a cookie, as a site's consent banner would set it."""
        self.tell("Network.setCookie", url=url, name=name, value=value)

    def complaints(self) -> list[str]:
        """Return what the console holds since it was last asked: errors and warnings."""
        logged = self.driver.get_log("browser")
        return [each["message"] for each in logged if each["level"] in {"SEVERE", "WARNING"}]

    def answers(self) -> list[Answer]:
        """Return the answers that came since it was last asked, with their raw headers."""
        exchanges: dict[str, dict[str, Any]] = {}
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            told = message["params"]
            exchange = exchanges.setdefault(told.get("requestId", ""), {})
            exchange[message["method"].removeprefix("Network.")] = told
        return [_answer(each) for each in exchanges.values() if "responseReceived" in each]

    def shoot(self, path: Path) -> None:
        """Take a picture of the window."""
        self.driver.save_screenshot(str(path))

    def is_gone(self, element: WebElement) -> bool:
        """Say whether an element went with its page, and another page is there."""
        try:
            element.is_enabled()
        except Exception:  # noqa: BLE001 - each of several errors says that it is gone
            return bool(self.run("return document.readyState === 'complete'"))
        return False


def _answer(exchange: dict[str, Any]) -> Answer:
    response = exchange["responseReceived"]["response"]
    came = exchange.get("responseReceivedExtraInfo", {}).get("headers", response["headers"])
    sent = exchange.get("requestWillBeSentExtraInfo", {}).get("headers", {})
    return Answer(
        response["url"],
        response["status"],
        {name.lower(): value for name, value in came.items()},
        {name.lower(): value for name, value in sent.items()},
    )


@contextmanager
def open_browser(profile: Path, *, agent: str | None = AGENT) -> Iterator[Browser]:
    """Run a browser until the end of the block.

    Args:
        profile: An empty folder to keep its cookies and the like in.
        agent: What it calls itself; ``None`` leaves that to the browser.
    """
    options = webdriver.ChromeOptions()
    options.binary_location = browser() or ""
    for option in (*_OPTIONS, f"--user-data-dir={profile}"):
        options.add_argument(option)
    if agent is not None:
        options.add_argument(f"--user-agent={agent}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = webdriver.ChromeService(executable_path=shutil.which(DRIVER))
    driver = webdriver.Chrome(options=options, service=service)
    try:
        driver.set_page_load_timeout(_WAIT_SECONDS)
        opened = Browser(driver)
        opened.start_afresh()
        yield opened
    finally:
        driver.quit()


def tab_until(browser: Browser, is_there: Callable[[], bool], limit: int = 60) -> None:
    """Press Tab until the focus is where it is wanted."""
    for _ in range(limit):
        if is_there():
            return
        browser.press(Keys.TAB)
        time.sleep(0)
    raise AssertionError(f"{limit} times Tab did not lead there")
