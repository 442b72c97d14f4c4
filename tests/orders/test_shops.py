"""The orders of shop systems and payment providers are read as they come."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from adcp_tracker import Refund
from adcp_tracker.events.hashing import hash_email, hash_phone
from adcp_tracker.testing import RecordingTracker
from tests.orders.shops import ALICE, PHONE, PLACED, SHOPS, Shop, register, table

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCS = Path(__file__).parents[2] / "docs" / "events.md"


@pytest.fixture(scope="module", autouse=True)
def _registered() -> None:
    """Register the classes that need it, once."""
    register()


@pytest.fixture
def tracker() -> Iterator[RecordingTracker]:
    """A tracker of a shop in Berlin."""
    with RecordingTracker(naive_times="Europe/Berlin", strict=True) as made:
        yield made


@pytest.mark.parametrize("shop", SHOPS, ids=lambda shop: shop.name)
def test_an_order_is_tracked_as_the_system_has_it(shop: Shop, tracker: RecordingTracker) -> None:
    """Its id, value, currency, lines, shopper and time all arrive."""
    order = shop.order if shop.read is None else shop.read(shop.order)

    tracker.track_purchase(order)

    (event,) = tracker.events
    data, match = event.custom_data, event.user_match
    assert data is not None
    assert (event.event_id, str(data.value), data.currency) == (
        shop.order_id,
        shop.total,
        shop.currency,
    )
    lines = [
        (line.id, line.quantity, None if line.price is None else str(line.price))
        for line in data.contents or ()
    ]
    assert lines == [*shop.lines]
    if shop.name != "PrestaShop":  # whose customer has to be fetched
        assert match is not None
        assert match.hashed_email == hash_email(ALICE)
    if shop.phone:
        assert match is not None
        assert match.hashed_phone == hash_phone(PHONE)
    assert event.event_time == PLACED


def test_a_mapping_is_short() -> None:
    """No system needs more than eight lines to be told where its fields are."""
    for shop in SHOPS:
        assert len(shop.fields or {}) <= 8


def test_the_table_in_the_docs_is_what_is_read() -> None:
    """Each system's row names the fields that explain() finds."""
    page = DOCS.read_text(encoding="utf-8")
    missing = [row for row in table() if row not in page]
    assert not missing, "\n".join(missing)


def test_one_order_of_shopify_has_one_id() -> None:
    """The webhook's, the Admin API's and GraphQL's forms are the same order."""
    with RecordingTracker(strict=True) as tracker:
        for shop in SHOPS:
            if shop.name.startswith("Shopify"):
                tracker.track_purchase(shop.order)
        assert {event.event_id for event in tracker.events} == {"5550789469"}


def test_shopifys_own_library_is_read() -> None:
    """Its objects compute their attributes, and no two need to have the same."""
    shopify = pytest.importorskip("shopify")
    shopify.ShopifyResource.set_site("https://shop.example/admin/api/2026-01")
    webhook = next(shop.order for shop in SHOPS if shop.name.startswith("Shopify, webhook"))
    guest = shopify.Order({"id": 1, "total_price": "5.00", "currency": "EUR"})
    with RecordingTracker(strict=True) as tracker:
        tracker.track_purchase(guest)
        tracker.track_purchase(shopify.Order(webhook))
        first, second = tracker.events
    assert first.event_id == "1"
    assert second.event_id == "5550789469"
    assert second.user_match is not None
    assert second.user_match.hashed_email == hash_email(ALICE)
    assert second.user_match.client_ip == "203.0.113.7"
    assert second.custom_data is not None
    assert [line.id for line in second.custom_data.contents or ()] == ["632910392"]


def test_stripes_own_library_is_read() -> None:
    """An object of Stripe's library is read like the payload it was made of."""
    stripe = pytest.importorskip("stripe")
    session = next(shop for shop in SHOPS if shop.name.startswith("Stripe"))
    assert session.read is not None
    made = stripe.StripeObject.construct_from(session.order, "key")
    assert session.read(made) == session.read(session.order)


def test_moneys_own_libraries_are_read() -> None:
    """py-moneyed's amounts know their currency."""
    moneyed = pytest.importorskip("moneyed")

    class MoneyedOrder:
        id = "A-1"
        total = moneyed.Money("59.90", "EUR")

    with RecordingTracker(strict=True) as tracker:
        tracker.track_purchase(MoneyedOrder())
        (event,) = tracker.events
    assert event.custom_data is not None
    assert (str(event.custom_data.value), event.custom_data.currency) == ("59.90", "EUR")


@pytest.mark.shops
def test_django_oscars_own_models_are_read() -> None:
    """An order out of oscar's database is read, its address only if it is loaded."""
    script = Path(__file__).with_name("oscar_shop.py")
    ended = subprocess.run(
        [sys.executable, str(script)], check=True, capture_output=True, text=True
    )
    assert ended.stdout.split() == ["100001", "59.90", "GBP", "MUG-01", "email", "email+phone"]


def refunds(read: object, payload: object, **options: str) -> list[tuple[str, str | None]]:
    """Track the refunds of a payload; return their ids and values."""
    assert callable(read)
    found = read(payload, **options)
    assert all(isinstance(each, Refund) for each in found)
    with RecordingTracker(strict=True) as tracker:
        for each in found:
            tracker.track_refund(each)
        return [
            (event.event_id, str(event.custom_data and event.custom_data.value))
            for event in tracker.events
        ]
