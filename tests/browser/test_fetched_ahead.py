"""Pages that a browser fetches before anybody wants to see them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

pytest.importorskip("selenium", reason="selenium is not installed (extra browser)")

from tests.browser.shopping import COMMANDS

if TYPE_CHECKING:
    from tests.browser.browsing import Browser
    from tests.browser.shopping import Shops
    from tests.support.seller import SellerProcess

every_shop = pytest.mark.parametrize("name", COMMANDS)
every_kind = pytest.mark.parametrize("kind", ["link", "prefetch", "prerender"])
SHOPPER = "8.8.4.4"


def asked_for(shop: str) -> list[list[str]]:
    """Return which products the shop was asked for, and what for."""
    seen: list[list[str]] = httpx.get(f"{shop}/seen").json()
    return seen


def views_at(seller: SellerProcess, browser: Browser, shop: str) -> list[str]:
    """Buy, and return the pages that the seller knows were looked at before."""
    browser.visit(f"{shop}/")
    browser.follow("buy")
    browser.wait_for(lambda: "o-1" in seller.event_ids)
    return [each["event_source_url"] for each in seller.events if each["event_id"] != "o-1"]


@every_shop
@every_kind
def test_a_page_fetched_ahead_was_not_looked_at(
    name: str, kind: str, browser: Browser, shops: Shops, seller: SellerProcess
) -> None:
    """The browser says what it fetches for; only a page that somebody opens makes an event."""
    shop = shops.at(name)
    browser.send_headers(X_Forwarded_For=SHOPPER)
    before = len(asked_for(shop))
    browser.visit(f"{shop}/ahead/{kind}")
    ahead = browser.wait_for(lambda: asked_for(shop)[before:])
    assert [path for path, _ in ahead] == ["/product/2"]
    assert ahead[0][1].startswith("prefetch")
    browser.visit(f"{shop}/product/7")
    assert views_at(seller, browser, shop) == [f"{shop}/product/7"]


@every_shop
@every_kind
def test_a_page_that_declines_to_be_fetched_ahead_is_looked_at_when_it_is_opened(
    name: str, kind: str, browser: Browser, shops: Shops, seller: SellerProcess
) -> None:
    """Answered 503, the browser asks again once somebody wants to see the page."""
    shop = shops.at(name, SHOP_AHEAD="declined")
    browser.send_headers(X_Forwarded_For=SHOPPER)
    before = len(asked_for(shop))
    browser.visit(f"{shop}/ahead/{kind}")
    browser.wait_for(lambda: asked_for(shop)[before:])
    browser.follow("go")
    assert [purpose for _, purpose in asked_for(shop)[before + 1 :]] == [""]
    assert views_at(seller, browser, shop) == [f"{shop}/product/2"]


def test_a_page_fetched_by_speculation_rules_is_shown_without_asking_again(
    browser: Browser, shops: Shops, seller: SellerProcess
) -> None:
    """Which is why a site that counts its pages on the server declines, as the docs say."""
    shop = shops.at("flask")
    browser.send_headers(X_Forwarded_For=SHOPPER)
    before = len(asked_for(shop))
    browser.visit(f"{shop}/ahead/prefetch")
    browser.wait_for(lambda: asked_for(shop)[before:])
    browser.follow("go")
    assert browser.driver.title == "Product 2"
    assert [purpose for _, purpose in asked_for(shop)[before:]] == ["prefetch"]
    assert views_at(seller, browser, shop) == []
