"""Orders in, events out."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from adcp_tracker.context import RequestContext, bind_context
from adcp_tracker.events.builder import build_event
from adcp_tracker.events.hashing import hash_email, hash_phone
from adcp_tracker.events.model import (
    ActionSource,
    Content,
    EventType,
    UserMatch,
)
from adcp_tracker.exceptions import InvalidEventError
from adcp_tracker.orders.events import purchase_event, refund_event
from adcp_tracker.orders.reader import Order, OrderItem, to_order
from tests.support.events import NOW

if TYPE_CHECKING:
    from adcp_tracker.events.event import Event

ORDER = Order(
    "1001",
    Decimal("59.90"),
    "EUR",
    (OrderItem("sock", 1, Decimal("19.90"), "Acme"), OrderItem("hat", 2, Decimal("20.00"))),
    "alice@example.com",
    "+12065551234",
)
CONTEXT = RequestContext(
    client_ip="203.0.113.9",
    client_user_agent="Firefox",
    event_source_url="https://shop.example/thanks",
    click_id="click",
    click_id_type="gclid",
)


def written(event: Event) -> dict[str, Any]:
    """Read an event's JSON with the digits of its numbers."""
    read: dict[str, Any] = json.loads(event.json, parse_float=str)
    return read


def test_a_purchase_says_what_the_order_says() -> None:
    """Value, currency, lines and shopper, digit for digit, in the protocol's words."""
    order = Order(
        "1001",
        Decimal("59.90"),
        "EUR",
        [OrderItem("sock", 1, Decimal("19.90"), "Acme", "Röd sock"), OrderItem("hat", 2, 20)],
        "Alice@Example.com ",
        "+12065551234",
        created_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=1))),
        client_ip="203.0.113.7",
        client_user_agent="Safari",
        event_source_url="https://shop.example/checkout",
        click_id="own",
        click_id_type="fbclid",
        custom={"coupon": "SPRING", "content_type": "product"},
    )
    assert written(purchase_event(order, now=NOW)) == {
        "event_id": "1001",
        "event_type": "purchase",
        "event_time": "2026-01-02T02:04:05Z",
        "user_match": {
            "hashed_email": hash_email("alice@example.com"),
            "hashed_phone": hash_phone("+12065551234"),
            "click_id": "own",
            "click_id_type": "fbclid",
            "client_ip": "203.0.113.7",
            "client_user_agent": "Safari",
        },
        "custom_data": {
            "value": "59.90",
            "currency": "EUR",
            "order_id": "1001",
            "contents": [
                {
                    "id": "sock",
                    "quantity": 1,
                    "price": "19.90",
                    "brand": "Acme",
                    "name": "Röd sock",
                },
                {"id": "hat", "quantity": 2, "price": 20},
            ],
            "content_ids": ["sock", "hat"],
            "num_items": 3,
            "content_type": "product",
            "coupon": "SPRING",
        },
        "action_source": "website",
        "event_source_url": "https://shop.example/checkout",
    }


def test_the_smallest_order_is_enough() -> None:
    """Only the id is needed."""
    assert written(purchase_event(Order("1001"), now=NOW)) == {
        "event_id": "1001",
        "event_type": "purchase",
        "event_time": "2026-03-14T15:09:26.535898Z",
        "custom_data": {"order_id": "1001"},
    }


def test_the_same_order_has_the_same_id() -> None:
    """Tracked twice, now and later, from here and from there, it counts once."""
    later = purchase_event(ORDER, now=NOW + timedelta(days=1), context=CONTEXT)
    assert purchase_event(ORDER, now=NOW).event_id == later.event_id == "1001"


def test_the_request_fills_in_what_the_order_lacks() -> None:
    """A purchase in a request carries the shopper's browser, page and click."""
    event = purchase_event(ORDER, now=NOW, context=CONTEXT)
    assert event.user_match is not None
    assert event.user_match.client_ip == "203.0.113.9"
    assert event.user_match.click_id == "click"
    assert event.action_source is ActionSource.WEBSITE
    assert event.event_source_url == "https://shop.example/thanks"


def test_a_page_makes_it_the_website() -> None:
    """Without a page nothing is said of where it happened, as it would need one."""
    assert purchase_event(ORDER, now=NOW).action_source is None
    in_store = purchase_event(ORDER, now=NOW, context=CONTEXT, action_source="in_store")
    assert in_store.action_source is ActionSource.IN_STORE
    assert in_store.event_source_url is None


def test_a_missing_total_is_the_sum_of_the_lines() -> None:
    """It is exact, and left out if any price is unknown."""
    lines = [OrderItem("a", 3, Decimal("0.10")), OrderItem("b", 1, Decimal("0.20"))]
    whole = written(purchase_event(Order("1", None, "EUR", lines), now=NOW))
    assert whole["custom_data"]["value"] == "0.50"
    part = written(purchase_event(Order("1", None, "EUR", [*lines, OrderItem("c")]), now=NOW))
    assert "value" not in part["custom_data"]


@pytest.mark.parametrize(
    ("total", "currency"),
    [("1999", "JPY"), ("19.999", "KWD"), ("19.99", "EUR"), ("0.00", "EUR"), ("19.9900", "SEK")],
)
def test_money_is_sent_as_it_is(total: str, currency: str) -> None:
    """Digit for digit, in currencies with any number of decimals."""
    event = purchase_event(Order("1", Decimal(total), currency), now=NOW)
    assert f'"value":{total},"currency":"{currency}"'.encode() in event.json


def test_a_price_may_be_finer_than_its_currency() -> None:
    """Only what was paid is held to the currency's decimals, not the price of a screw."""
    order = Order("1", Decimal("12.50"), "EUR", [OrderItem("screw", 1000, Decimal("0.0125"))])
    assert b'"price":0.0125' in purchase_event(order, now=NOW).json


def test_what_the_caller_says_wins() -> None:
    """Any field of the event can be given beside the order, and custom data are added to."""
    event = purchase_event(
        ORDER,
        now=NOW,
        context=CONTEXT,
        event_id="own-id",
        event_time="2026-01-01T00:00:00Z",
        email="user@example.com",
        click_id="own-click",
        custom_data={"coupon": "X", "value": 50.5, "content_type": "product"},
        ext={"vendor": {"a": 1}},
    )
    told = written(event)
    assert told["event_id"] == "own-id"
    assert told["event_time"] == "2026-01-01T00:00:00Z"
    assert told["user_match"]["hashed_email"] == hash_email("user@example.com")
    assert told["user_match"]["hashed_phone"] == hash_phone("+12065551234")
    assert told["user_match"]["click_id"] == "own-click"
    assert "click_id_type" not in told["user_match"]
    assert told["custom_data"]["value"] == "50.5"
    assert told["custom_data"]["coupon"] == "X"
    assert told["custom_data"]["num_items"] == 3
    assert told["ext"] == {"vendor": {"a": 1}}


def test_a_user_match_made_elsewhere_is_taken_as_it_is() -> None:
    """Nothing of the order or the request is mixed into it."""
    match = UserMatch(click_id="x")
    assert purchase_event(ORDER, now=NOW, context=CONTEXT, user_match=match).user_match == match


def test_the_order_is_left_alone() -> None:
    """Custom data of one call are not in the next one."""
    overrides: dict[str, Any] = {"custom_data": {"coupon": "X"}}
    purchase_event(ORDER, now=NOW, **overrides)
    assert overrides == {"custom_data": {"coupon": "X"}}
    assert b"coupon" not in purchase_event(ORDER, now=NOW).json


# --- refunds ---------------------------------------------------------------------------


def test_a_full_refund_pays_everything_back() -> None:
    """Its value is positive, and its id is the order's own, so that it counts once."""
    event = refund_event(ORDER, now=NOW)
    told = written(event)
    assert told["event_type"] == "refund"
    assert told["event_id"] == "1001:refund"
    assert told["event_time"] == "2026-03-14T15:09:26.535898Z"
    assert told["custom_data"]["value"] == "59.90"
    assert told["custom_data"]["order_id"] == "1001"
    assert told["custom_data"]["num_items"] == 3
    assert refund_event(ORDER, now=NOW, amount="59.9").event_id == event.event_id


def test_partial_refunds_have_ids_of_their_own() -> None:
    """By the refund's id where it has one, and by what is refunded where it has none."""
    ids = [
        refund_event(ORDER, now=NOW).event_id,
        refund_event(ORDER, now=NOW, refund_id="R-1", amount=5).event_id,
        refund_event(ORDER, now=NOW, refund_id="R-2", amount=5).event_id,
        refund_event(ORDER, now=NOW, refund_id="R-3").event_id,
        refund_event(ORDER, now=NOW, amount=5).event_id,
        refund_event(ORDER, now=NOW, amount=6).event_id,
        refund_event(ORDER, now=NOW, items=[OrderItem("sock", 1, 5)]).event_id,
        refund_event(ORDER, now=NOW, items=[OrderItem("sock", 2, 5)]).event_id,
        refund_event(ORDER, now=NOW, items=[OrderItem("hat", 1, 5)]).event_id,
        purchase_event(ORDER, now=NOW).event_id,
    ]
    assert len(set(ids)) == len(ids)


def test_the_same_partial_refund_has_the_same_id() -> None:
    """Without an id of its own, it is known by its amount however that is written."""
    assert (
        refund_event(ORDER, now=NOW, amount=5).event_id
        == refund_event(ORDER, now=NOW + timedelta(1), amount=Decimal("5.00")).event_id
        == refund_event(ORDER, now=NOW, amount="5.0").event_id
    )


def test_a_refund_of_lines_is_worth_their_price() -> None:
    """The lines may be the shop's own, too."""
    told = written(refund_event(ORDER, now=NOW, items=[{"sku": "hat", "qty": 1, "price": "20.00"}]))
    assert told["custom_data"]["value"] == "20.00"
    assert told["custom_data"]["content_ids"] == ["hat"]
    assert told["custom_data"]["currency"] == "EUR"


def test_a_refund_is_of_the_orders_shopper() -> None:
    """Whoever clicks on "refund" in the shop's back office is somebody else."""
    with bind_context(CONTEXT):
        event = refund_event(ORDER, now=NOW)
    assert event.user_match is not None
    assert event.user_match.hashed_email == hash_email("alice@example.com")
    assert event.user_match.client_ip is None
    assert event.event_source_url is None


@pytest.mark.parametrize(
    "amount", ["abc", "", float("nan"), Decimal("NaN"), Decimal("sNaN"), "5,00"]
)
def test_a_refund_of_no_number_is_refused(amount: Any) -> None:  # noqa: ANN401 - anything
    """An amount that can't be read is not as good as none, which means all of the order."""
    with pytest.raises(InvalidEventError, match=r"\$\.custom_data\.value: expected a number ≥ 0"):
        refund_event(ORDER, now=NOW, amount=amount)


@pytest.mark.parametrize("amount", [-5, Decimal("-5.00"), "-5.00"])
def test_a_refund_may_be_written_with_a_minus(amount: Any) -> None:  # noqa: ANN401 - any number
    """Shops write what they pay back either way; the protocol takes it positive."""
    items = [{"sku": "a", "quantity": -1, "price": "5.00"}]
    event = refund_event(ORDER, now=NOW, refund_id="1", amount=amount, items=items)
    assert event.custom_data is not None
    assert event.custom_data.value == 5
    assert event.custom_data.contents == (Content("a", 1, Decimal("5.00")),)


def test_a_refund_is_held_to_its_currency() -> None:
    """A tenth of a yen cannot be paid back."""
    with pytest.raises(InvalidEventError, match="at most 0 decimals in JPY"):
        refund_event(Order("1", 100, "JPY"), now=NOW, amount="0.5")


def test_a_refund_needs_its_order() -> None:
    """An order without an id makes no id out of nothing."""
    overrides: list[dict[str, Any]] = [{}, {"ext": {}}]
    for order in (to_order({"total": 5}), to_order({"total": 5, "id": 1.5})):
        for make in (purchase_event, refund_event):
            for more in overrides:
                with pytest.raises(InvalidEventError, match=r"\$\.event_id"):
                    make(order, now=NOW, **more)


@pytest.mark.parametrize("items", [5, "hat", [None], [5]])
def test_a_refund_of_what_are_no_lines_is_refused(items: Any) -> None:  # noqa: ANN401 - anything
    """The error names the line."""
    with pytest.raises(InvalidEventError, match=r"\$\.custom_data\.contents\[0\]: expected"):
        refund_event(ORDER, now=NOW, items=items)


def test_lines_may_come_one_by_one() -> None:
    """A generator of lines is read once, whatever they are made of."""
    lines = ({"sku": sku, "price": "1.00"} for sku in "ab")
    event = purchase_event(Order("1", None, "EUR", lines), now=NOW)  # type: ignore[arg-type]  # lines
    assert event.custom_data is not None
    assert event.custom_data.content_ids == ("a", "b")
    assert event.custom_data.value == 2
    refund = refund_event(ORDER, now=NOW, items=iter([OrderItem("hat", 1, 5)]))  # type: ignore[arg-type]  # as above
    assert refund.custom_data is not None
    assert refund.custom_data.content_ids == ("hat",)


def test_nothing_given_is_nothing_changed() -> None:
    """A caller may pass on what it has, and has not."""
    event = purchase_event(ORDER, now=NOW, event_id=None, email=None, custom_data=None)
    assert event == purchase_event(ORDER, now=NOW)


# --- leads -----------------------------------------------------------------------------


def test_a_lead_is_known_by_its_id() -> None:
    """The same lead has the same event id; one without an id has a random one."""
    email = "alice@example.com"
    event = build_event("lead", now=NOW, event_id="L-17", email=email, context=CONTEXT)
    assert (event.event_id, event.event_type) == ("L-17", EventType.LEAD)
    assert event.user_match is not None
    assert event.user_match.hashed_email == hash_email("alice@example.com")
    assert build_event("lead", now=NOW).event_id != build_event("lead", now=NOW).event_id


# --- refusals --------------------------------------------------------------------------


def test_every_error_of_an_order_is_reported_at_once() -> None:
    """Identity, money and lines, each with its path in the event."""
    order = to_order(
        {
            "id": 7,
            "total": "59.999",
            "currency": "EUR",
            "email": "alice",
            "phone": "020 7946 0958",
            "client_ip": "1.2.3",
            "created_at": "2026-01-02T03:04:05",
            "items": [{"sku": "a", "qty": 0}, "hat", {"sku": "c", "price": "19,90"}],
        }
    )
    with pytest.raises(InvalidEventError) as caught:
        purchase_event(order, now=NOW)
    assert [fault.path for fault in caught.value.errors] == [
        "$.user_match.hashed_email",
        "$.user_match.hashed_phone",
        "$.custom_data.value",
        "$.event_time",
        "$.custom_data.contents[0].quantity",
        "$.custom_data.contents[1]",
        "$.custom_data.contents[2].price",
    ]


def test_what_may_be_kept_of_a_refused_order_is_kept() -> None:
    """A dead letter tells which order it was, with the wrong values masked and no shopper."""
    order = Order("7", Decimal("59.999"), "EUR", [OrderItem("a", 0)], "alice", "+12065551234")
    with pytest.raises(InvalidEventError) as caught:
        purchase_event(order, now=NOW)
    assert caught.value.event == {
        "event_id": "7",
        "event_type": "purchase",
        "event_time": "2026-03-14T15:09:26.535898+00:00",
        "custom_data": {
            "value": "a Decimal",
            "currency": "EUR",
            "order_id": "7",
            "contents": [{"id": "a", "quantity": "an integer"}],
        },
    }


def test_an_order_valid_but_for_its_decimals_is_kept_too() -> None:
    """Faults of the order alone refuse the event as well, with or without overrides."""
    for more in ({}, {"custom_data": {"coupon": "X"}}):
        with pytest.raises(InvalidEventError) as caught:
            purchase_event(Order("7", Decimal("1.001"), "EUR"), now=NOW, **more)  # type: ignore[arg-type]  # a dict
        assert caught.value.event["event_id"] == "7"
        assert len(caught.value.errors) == 1


def test_an_address_refused_alone_refuses_the_event() -> None:
    """An event is not sent with half of what its caller meant."""
    with pytest.raises(InvalidEventError) as caught:
        purchase_event(Order("7", email="alice"), now=NOW)
    assert caught.value.event["event_id"] == "7"
