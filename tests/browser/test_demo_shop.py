"""``adcp-tracker demo --shop`` in a browser: from the ad to the refund, and on the page."""

from __future__ import annotations

import re
import signal
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("selenium", reason="selenium is not installed (extra browser)")
pytest.importorskip("fastapi", reason="FastAPI is not installed (extra fastapi)")

from selenium.webdriver.common.keys import Keys

from tests.cli.program import start

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

    from tests.browser.browsing import Browser


@pytest.fixture
def shop() -> Iterator[subprocess.Popen[str]]:
    """The shop and its seller, as the command starts them."""
    with start("demo", "--shop", "--port", "0") as running:
        try:
            yield running
        finally:
            running.send_signal(signal.SIGINT)
            _, err = running.communicate(timeout=20)
            assert "Traceback" not in err, err
    assert running.returncode == 0


def test_every_step_in_the_shop_appears_on_the_page(
    browser: Browser, shop: subprocess.Popen[str]
) -> None:
    """Land from an ad, allow tracking, buy, refund; refusing consent drops what follows."""
    assert shop.stdout is not None
    found = [re.search(r"http\S+", shop.stdout.readline()) for _ in range(2)]
    page, landing = (each[0] if each else "" for each in found)
    browser.visit(landing)
    assert "not asked" in browser.text("aside")
    browser.find("button[value=yes]").click()
    browser.wait_for(lambda: "allowed" in browser.text("aside"))
    browser.find("#add-MUG").click()
    browser.wait_for(lambda: browser.find_all("#buy"))
    browser.find("#buy").click()
    browser.wait_for(lambda: browser.find_all("#refund"))
    order_id = browser.text("main p").removeprefix("Order ")
    browser.find("#refund").click()
    browser.wait_for(lambda: "Refunded" in browser.text("h2"))
    browser.find("button[value=no]").click()
    browser.wait_for(lambda: "refused" in browser.text("aside"))
    assert browser.complaints() == []

    browser.visit(page)
    browser.wait_for(lambda: f"{order_id}:refund" in browser.text("#timeline"))
    browser.wait_for(lambda: "Dropped" in browser.text("#timeline"))
    shown = browser.text("#timeline")
    for event in ("page_view", "add_to_cart", "viewed_cart", "purchase", "refund"):
        assert event in shown
    browser.run(
        "[...document.querySelectorAll('#timeline a')]"
        ".find(e => e.innerText.includes('purchase')).click()"
    )
    browser.wait_for(lambda: "demo-click-1" in browser.text("#drawer pre"))
    assert "demo_shop.py:" in browser.text("#drawer")
    browser.press(Keys.ESCAPE)
    browser.find("#letters").click()
    browser.wait_for(lambda: "There are none." in browser.text("#drawer"))
