"""The click id's cookie, as a browser keeps and returns it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("selenium", reason="selenium is not installed (extra browser)")

from tests.browser.browsing import AGENT, open_browser
from tests.browser.shopping import COMMANDS
from tests.browser.shops.site import CACHED

if TYPE_CHECKING:
    from pathlib import Path

    from tests.browser.browsing import Browser
    from tests.browser.shopping import Shops
    from tests.support.seller import SellerProcess

every_shop = pytest.mark.parametrize("name", COMMANDS)
COOKIE = "adcp_click"
DAY_SECONDS = 86_400
TC_STRING = "CP1R2oAP1R2oBAfKABEEAwEgBeIAAKqqqoYgADQAgABQAEAAYA"
"""Consents to purposes 1 and 7, among others."""
TC_STRING_OF_NO = "CP1R2oAP1R2oBAfKABEEAwEgBAAAAAqqqoYgADQAgABQAEAAYA"
"""The same, but that it consents to nothing."""


def purchase_at(seller: SellerProcess, order_id: str = "o-1") -> dict[str, Any]:
    """Return the one purchase that the seller gets."""
    seller.wait_for(1)
    (event,) = [event for event in seller.events if event["event_type"] == "purchase"]
    assert event["event_id"] == order_id
    return event


@every_shop
@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("kind", ["gclid", "fbclid"])
def test_a_landing_sets_one_cookie_that_scripts_cannot_read(
    name: str, scheme: str, kind: str, browser: Browser, shops: Shops
) -> None:
    """It is the site's own, for 90 days, same-site, and on https never sent in the clear."""
    shop = shops.at(name, scheme=scheme)
    browser.visit(f"{shop}/?utm_source=ad&{kind}=Cj0-abc_1#top")
    cookies = browser.cookies()
    assert set(cookies) == {COOKIE}
    cookie = cookies[COOKIE]
    assert cookie["value"] == f"1.{kind}.Cj0-abc_1"
    assert (cookie["domain"], cookie["path"]) == ("127.0.0.1", "/")
    assert cookie["httpOnly"]
    assert cookie["sameSite"] == "Lax"
    assert cookie["secure"] is (scheme == "https")
    assert cookie["expires"] - time.time() == pytest.approx(90 * DAY_SECONDS, abs=60)
    assert browser.run("return document.cookie") == ""
    assert browser.complaints() == []


@every_shop
def test_a_purchase_after_other_pages_carries_the_click(
    name: str, browser: Browser, shops: Shops, seller: SellerProcess
) -> None:
    """The id comes in with the landing; the order is placed two pages later."""
    browser.visit(f"{shops.at(name)}/about?gclid=first-click#how")
    browser.follow("home")
    browser.follow("buy")
    assert browser.driver.title == "Bought o-1"
    match = purchase_at(seller)["user_match"]
    assert (match["click_id"], match["click_id_type"]) == ("first-click", "gclid")
    assert match["client_user_agent"] == AGENT


@every_shop
def test_the_last_click_wins(
    name: str, browser: Browser, shops: Shops, seller: SellerProcess
) -> None:
    """A second advertisement takes the place of the first, and a visit without one of neither."""
    shop = shops.at(name)
    browser.visit(f"{shop}/?gclid=one")
    browser.visit(f"{shop}/?fbclid=two")
    browser.visit(f"{shop}/")
    assert browser.cookies()[COOKIE]["value"] == "1.fbclid.two"
    browser.follow("buy")
    match = purchase_at(seller)["user_match"]
    assert (match["click_id"], match["click_id_type"]) == ("two", "fbclid")


@every_shop
def test_answers_that_need_no_cookie_are_left_alone(
    name: str, browser: Browser, shops: Shops, seller: SellerProcess
) -> None:
    """No header is added or changed: caches go on keeping what they were told to."""
    shop = shops.at(name)
    for path in ("/about", "/?gclid=one", "/about?again=1", "/?gclid=one&again=1"):
        browser.visit(shop + path)
    browser.follow("buy")
    purchase_at(seller)
    answers = {answer.url.removeprefix(shop): answer for answer in browser.answers()}
    landings = {path for path, answer in answers.items() if "set-cookie" in answer.headers}
    assert landings == {"/?gclid=one"}
    assert answers["/about?again=1"].sent["cookie"] == f"{COOKIE}=1.gclid.one"
    for path in ("/about", "/about?again=1"):
        shown = {key: answers[path].headers[key.lower()] for key in CACHED}
        assert shown == CACHED
    assert "vary" not in answers["/buy/o-1"].headers
    assert "vary" not in answers["/?gclid=one"].headers


@every_shop
def test_the_page_is_told_without_its_fragment(
    name: str, browser: Browser, shops: Shops, seller: SellerProcess
) -> None:
    """A script that buys is called by a page, and that page is where it happened."""
    shop = shops.at(name)
    browser.visit(f"{shop}/cart?gclid=one&utm_source=mail&token=secret#pay")
    browser.find("#pay").click()
    browser.wait_for(lambda: "o-2" in browser.driver.title)
    event = purchase_at(seller, "o-2")
    assert event["event_source_url"] == f"{shop}/cart?gclid=one&utm_source=mail"
    assert event["user_match"]["client_user_agent"] == AGENT
    assert event["user_match"]["click_id"] == "one"


CONSENTS = {
    "cookie": ("marketing", "yes", "no"),
    "tcf": ("euconsent-v2", TC_STRING, TC_STRING_OF_NO),
    "google": ("consent_state", "%7B%22ad_storage%22%3A%22granted%22%7D", "G100"),
}


@pytest.mark.parametrize("name", ["django", "flask", "fastapi"])
@pytest.mark.parametrize("reader", CONSENTS)
def test_without_consent_there_is_no_cookie_and_no_event(
    name: str, reader: str, browser: Browser, shops: Shops, seller: SellerProcess
) -> None:
    """Silence is no consent, a yes lets the landing be kept, and a no takes it back."""
    shop = shops.at(name, SHOP_CONSENT=reader)
    banner, granted, denied = CONSENTS[reader]
    browser.visit(f"{shop}/?gclid=before")
    assert browser.cookies() == {}
    browser.follow("buy")

    browser.keep_cookie(shop, banner, granted)
    browser.visit(f"{shop}/?gclid=after")
    assert browser.cookies()[COOKIE]["value"] == "1.gclid.after"
    browser.visit(f"{shop}/cart")
    browser.find("#pay").click()
    browser.wait_for(lambda: "o-2" in browser.driver.title)
    assert purchase_at(seller, "o-2")["user_match"]["click_id"] == "after"

    browser.keep_cookie(shop, banner, denied)
    browser.visit(f"{shop}/?gclid=late")
    assert set(browser.cookies()) == {banner}


@every_shop
def test_global_privacy_control_is_a_no(
    name: str, browser: Browser, shops: Shops, seller: SellerProcess
) -> None:
    """A browser that sends it gets no cookie and makes no event, though nobody was asked."""
    shop = shops.at(name)
    browser.send_headers(Sec_GPC="1")
    browser.visit(f"{shop}/?gclid=one")
    assert browser.cookies() == {}
    browser.follow("buy")
    assert browser.driver.title == "Bought o-1"
    browser.send_headers()
    browser.visit(f"{shop}/cart")
    browser.find("#pay").click()
    browser.wait_for(lambda: "o-2" in browser.driver.title)
    assert "click_id" not in purchase_at(seller, "o-2")["user_match"]


def test_a_browser_without_a_window_says_so(
    tmp_path: Path, shops: Shops, seller: SellerProcess
) -> None:
    """What calls itself a headless browser looks at no page; what it buys is bought."""
    with open_browser(tmp_path, agent=None) as robot:
        robot.visit(f"{shops.at('flask')}/product/1")
        robot.visit(f"{shops.at('flask')}/")
        robot.follow("buy")
    assert "HeadlessChrome" in purchase_at(seller)["user_match"]["client_user_agent"]
    assert seller.event_ids == ["o-1"]
