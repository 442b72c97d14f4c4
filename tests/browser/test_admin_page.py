"""The page of dead letters in Django's admin, from logging in to a delivered event."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("selenium", reason="selenium is not installed (extra browser)")

from selenium.webdriver.common.keys import Keys

from tests.browser.browsing import tab_until
from tests.integrations.servers import ROOT, SCRIPTS, serve, shop_environment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.browser.browsing import Browser
    from tests.support.seller import SellerProcess

SHOP = "tests.browser.shops.django_shop"
PAGE = "/admin/adcp_tracker/deadletter/"
PROBE = "<script>window.probed = 1</script>"
_PREPARE = f"""
import {SHOP}
from django.contrib.auth.models import User
from django.core.management import call_command
call_command("migrate", verbosity=0)
User.objects.create_superuser("admin", password="secret")
"""
_FILL = f"""
import {SHOP}
from adcp_tracker_django import get_tracker
tracker = get_tracker()
for order_id in ("A-1", "A-2"):
    order = {{"id": order_id, "total": "12.50", "currency": "EUR", "email": "alice@example.com"}}
    tracker.track_purchase(order)
tracker.track_purchase({{"id": {PROBE!r}, "total": "lots", "currency": "EUR"}})
tracker.close(timeout=20)
"""


def run(environment: dict[str, str], script: str) -> None:
    """Run a script with the shop's settings to its end."""
    command = [sys.executable, "-c", script]
    subprocess.run(command, cwd=ROOT, env=environment, check=True, timeout=60)


@pytest.fixture
def shop(tmp_path: Path, seller: SellerProcess) -> Iterator[str]:
    """A shop with an admin, one delivered event, one that was refused and one that is wrong."""
    environment = {
        **shop_environment(tmp_path / "queue", seller),
        "SHOP_DATABASE": os.fspath(tmp_path / "shop.sqlite3"),
    }
    run(environment, _PREPARE)
    seller.configure(refuse_events={"A-1": "INVALID_EVENT_TIME"})
    run(environment, _FILL)
    seller.configure(refuse_events={})

    def command(port: int) -> list[str]:
        words = ["--threads", "4", "--no-control-socket", "--log-level", "error"]
        return [str(SCRIPTS / "gunicorn"), *words, f"{SHOP}:wsgi", "--bind", f"127.0.0.1:{port}"]

    with serve(command, environment, tmp_path) as server:
        yield server.url


def log_in(browser: Browser, shop: str) -> None:
    """Ask for the page, and log in on the way."""
    browser.visit(shop + PAGE)
    browser.find("#id_username").send_keys("admin")
    before = browser.find("html")
    browser.find("#id_password").send_keys("secret", Keys.ENTER)
    browser.wait_for(lambda: browser.is_gone(before))


def counters(browser: Browser) -> list[str]:
    """Return the numbers of the one destination."""
    cells = browser.find_all("#adcp-counters tbody td")
    return [cell.text for cell in cells]


def test_an_admin_sends_a_refused_event_again(
    browser: Browser, shop: str, seller: SellerProcess
) -> None:
    """They log in, see what became of every event and why, choose one, and it arrives."""
    log_in(browser, shop)
    assert counters(browser)[:5] == ["3", "1", "0", "0", "2"]
    letters = browser.text("#adcp-letters")
    assert "INVALID_EVENT_TIME" in letters
    assert "purchase A-1" in letters
    assert PROBE in letters
    assert browser.run("return window.probed") is None
    assert "alice@example.com" not in browser.driver.page_source

    (box,) = browser.find_all("input[name=letter]")
    tab_until(browser, lambda: bool(browser.run("return arguments[0].matches(':focus')", box)))
    browser.press(Keys.SPACE)
    before = browser.find("html")
    tab_until(browser, lambda: bool(browser.find_all("input[type=submit]:focus")))
    browser.press(Keys.ENTER)
    browser.wait_for(lambda: browser.is_gone(before))
    assert "1 on their way again" in browser.text(".messagelist")
    browser.wait_for(lambda: "A-1" in seller.event_ids)
    assert sorted(seller.event_ids) == ["A-1", "A-2"]

    def is_settled() -> bool:
        browser.visit(shop + PAGE)
        return counters(browser)[:5] == ["3", "2", "0", "0", "1"]

    browser.wait_for(is_settled)
    assert "purchase A-1" not in browser.text("#adcp-letters")
    assert browser.complaints() == []


def test_an_admin_corrects_an_invalid_event(
    browser: Browser, shop: str, seller: SellerProcess
) -> None:
    """They open the event, put its value right, send it, and it arrives."""
    log_in(browser, shop)
    browser.visit(f"{shop}{PAGE}?reason=INVALID_EVENT+$.custom_data.value")
    browser.find("#adcp-letters summary").click()
    box = browser.find("#adcp-letters textarea")
    event = json.loads(box.get_attribute("value") or "")
    event["custom_data"]["value"] = 12.5
    browser.run("arguments[0].value = arguments[1]", box, json.dumps(event))
    before = browser.find("html")
    browser.find("#adcp-letters button[name=correct]").click()
    browser.wait_for(lambda: browser.is_gone(before))
    assert "1 on their way again" in browser.text(".messagelist")
    browser.wait_for(lambda: len(seller.event_ids) == 2)
    assert browser.run("return window.probed") is None
    assert browser.complaints() == []
