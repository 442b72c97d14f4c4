"""Malformed orders and identities, each with the clear error it gets."""

from __future__ import annotations

from datetime import datetime, timezone
from decimal import Decimal
from typing import Any

import pytest

from adcp_tracker.events.event import encode_within
from adcp_tracker.exceptions import InvalidEventError
from adcp_tracker.orders.events import plain_purchase_event, purchase_event
from adcp_tracker.orders.reader import order_values, to_order
from tests.support.events import NOW

GOOD: dict[str, Any] = {
    "id": "1001",
    "total": "59.90",
    "currency": "EUR",
    "email": "alice@example.com",
    "phone": "+44 20 7946 0958",
    "items": [{"sku": "sock", "quantity": 1, "price": "59.90"}],
}
ID = "$.event_id: expected a string of 1–256 characters, got "
ORDER_ID = "$.custom_data.order_id: expected a string of 1–256 characters, got "
VALUE = "$.custom_data.value: expected a number ≥ 0, got "
CURRENCY = "$.custom_data.currency: expected three capital letters, such as USD, got "
EMAIL = "$.user_match.hashed_email: expected an e-mail address or its SHA-256, got "
PHONE = "$.user_match.hashed_phone: expected a phone number or its SHA-256, got "
NATIONAL = (
    "$.user_match.hashed_phone: expected a number in E.164 form, such as +12065551234, "
    "or a default_region to read it by, got a string of {} characters without a country code, "
    "and no default_region"
)
UNREADABLE = "$.user_match.hashed_phone: expected a phone number, got a string of {} characters"
TIME = "$.event_time: expected a datetime with its UTC offset, got "
NAIVE = TIME + "a naive datetime, which could be any of 24 hours"
ITEMS = "$.custom_data.contents"
A_LINE = f"{ITEMS}[0]: expected a Content, or an item with an id, a quantity and a price, got "
ITEM_ID = ITEMS + "[0].id: expected a string of 1–256 characters, got "
CONTENT_ID = "$.custom_data.content_ids[0]: expected a string of 1–256 characters, got "
QUANTITY = ITEMS + "[0].quantity: expected an integer ≥ 1, got "
PRICE = ITEMS + "[0].price: expected a number ≥ 0, got "
CLIENT_IP = "$.user_match.client_ip: expected an IPv4 or IPv6 address, got "
CLICK = "$.user_match.click_id: expected a string of 1–512 characters, got "
CONTROL = "expected a string without control characters, got a string of {} characters with some"
URL = "$.event_source_url: expected an absolute URI, percent-encoded, got "


def item(**fields: Any) -> dict[str, Any]:  # noqa: ANN401 - also wrong ones
    """Change the one line of an order."""
    return {"items": [{"sku": "sock", "quantity": 1, "price": "59.90", **fields}]}


CASES: dict[str, tuple[dict[str, Any], list[str]]] = {
    # The order's id
    "no id": ({"id": None}, [ID + "nothing"]),
    "empty id": ({"id": ""}, [ID + "nothing"]),
    "blank id": ({"id": " \t"}, [ID + "nothing"]),
    "long id": (
        {"id": "x" * 257},
        [ID + "a string of 257 characters", ORDER_ID + "a string of 257 characters"],
    ),
    "float for an id": ({"id": 1001.5}, [ID + "a float", ORDER_ID + "a float"]),
    "boolean for an id": ({"id": True}, [ID + "a boolean", ORDER_ID + "a boolean"]),
    "line break in an id": (
        {"id": "10\n01"},
        ["$.event_id: " + CONTROL.format(5), "$.custom_data.order_id: " + CONTROL.format(5)],
    ),
    # Money
    "negative total": ({"total": "-1.00"}, [VALUE + "-1.00"]),
    "decimal comma": ({"total": "59,90"}, [VALUE + "a string of 5 characters"]),
    "thousands": ({"total": "1,059.90"}, [VALUE + "a string of 8 characters"]),
    "currency sign": ({"total": "€59.90"}, [VALUE + "a string of 6 characters"]),
    "words for money": ({"total": "free"}, [VALUE + "a string of 4 characters"]),
    "NaN": ({"total": float("nan"), "items": []}, [VALUE + "NaN"]),
    "infinity": ({"total": Decimal("Infinity")}, [VALUE + "Infinity"]),
    "boolean for money": ({"total": False}, [VALUE + "a boolean"]),
    "list for money": ({"total": [59]}, [VALUE + "a list"]),
    "a float between two cents": (
        {"total": 59.905},
        ["$.custom_data.value: expected at most 2 decimals in EUR, got 3 of them"],
    ),
    "cents of a yen": (
        {"currency": "JPY"},
        ["$.custom_data.value: expected at most 0 decimals in JPY, got 1 of them"],
    ),
    "more than three decimals of a dinar": (
        {"currency": "KWD", "total": "1.2345"},
        ["$.custom_data.value: expected at most 3 decimals in KWD, got 4 of them"],
    ),
    "astronomical": (
        {"total": Decimal("1E+400")},
        [
            "$.custom_data.value: expected a number below 2^53, got 1E+400",
        ],
    ),
    "name of a currency": ({"currency": "Euro"}, [CURRENCY + "'Euro'"]),
    "sign for a currency": ({"currency": "€"}, [CURRENCY + "a string of 1 characters"]),
    "number of a currency": ({"currency": 978}, [CURRENCY + "an integer"]),
    # Lines
    "no item id": (item(sku=None), [ITEM_ID + "nothing", CONTENT_ID + "nothing"]),
    "empty item id": (item(sku=""), [ITEM_ID + "nothing", CONTENT_ID + "nothing"]),
    "quantity of nought": (item(quantity=0), [QUANTITY + "0"]),
    "negative quantity": (item(quantity=-1), [QUANTITY + "-1"]),
    "half a piece": (item(quantity=0.5), [QUANTITY + "the float 0.5"]),
    "text for a quantity": (item(quantity="two"), [QUANTITY + "a string of 3 characters"]),
    "boolean for a quantity": (item(quantity=True), [QUANTITY + "a boolean"]),
    "negative price": (item(price=-1), [PRICE + "-1"]),
    "price with a sign": (item(price="$5"), [PRICE + "a string of 2 characters"]),
    "NaN for a price": (item(price="NaN"), [PRICE + "a string of 3 characters"]),
    "no line at all": ({"items": [None]}, [A_LINE + "nothing"]),
    "names for lines": (
        {"items": ["sock"]},
        [A_LINE + "a string of 4 characters"],
    ),
    "text for lines": (
        {"items": "sock,hat"},
        [A_LINE + "a string of 8 characters"],
    ),
    "a count for lines": ({"items": 3}, [A_LINE + "an integer"]),
    # Who
    "no at sign": ({"email": "alice"}, [EMAIL + "a string of 5 characters"]),
    "two addresses": ({"email": "a@b.example, c@d.example"}, [EMAIL + "a string of 24 characters"]),
    "no domain": ({"email": "alice@localhost"}, [EMAIL + "a string of 15 characters"]),
    "list for an address": ({"email": ["a@b.example"]}, [EMAIL + "a list"]),
    "hash cut short": ({"email": "f" * 63}, [EMAIL + "a string of 63 characters"]),
    "national number": ({"phone": "020 7946 0958"}, [NATIONAL.format(13)]),
    "number without a plus": ({"phone": "12065551234"}, [NATIONAL.format(11)]),
    "no number": ({"phone": "n/a"}, [NATIONAL.format(3)]),
    "integer for a number": ({"phone": 12065551234}, [PHONE + "an integer"]),
    "plus and too little": (
        {"phone": "+44 20"},
        [UNREADABLE.format(6)],
    ),
    "plus and no digits": ({"phone": "+call me"}, [UNREADABLE.format(8)]),
    "half an ip": ({"client_ip": "203.0.113"}, [CLIENT_IP + "a string of 9 characters"]),
    "list of ips": (
        {"client_ip": "203.0.113.7, 10.0.0.1"},
        [CLIENT_IP + "a string of 21 characters"],
    ),
    "script for an ip": ({"client_ip": "<script>"}, [CLIENT_IP + "a string of 8 characters"]),
    "long click id": ({"click_id": "x" * 513}, [CLICK + "a string of 513 characters"]),
    "header in a click id": (
        {"click_id": "x\r\nSet-Cookie: a=b"},
        ["$.user_match.click_id: " + CONTROL.format(18)],
    ),
    "unknown uid": (
        {"uids": [{"type": "id5", "value": ""}]},
        ["$.user_match.uids[0].value: expected a string of 1–512 characters, got an empty string"],
    ),
    "text for uids": (
        {"uids": "ID5*abc"},
        ["$.user_match.uids: expected a tuple or list, got a string of 7 characters"],
    ),
    # When and where
    "naive time": ({"created_at": datetime(2026, 1, 1)}, [NAIVE]),  # noqa: DTZ001 - the case
    "naive text": ({"created_at": "2026-01-01T00:00:00"}, [NAIVE]),
    "a date": ({"created_at": "2026-01-01"}, [TIME + "a string of 10 characters"]),
    "no such day": ({"created_at": "2026-02-30T00:00:00Z"}, [TIME + "a string of 20 characters"]),
    "seconds since midnight": ({"created_at": 34200}, [TIME + "an integer"]),
    "relative page": ({"event_source_url": "/thanks"}, [URL + "a string of 7 characters"]),
    "page with a space": (
        {"event_source_url": "https://a.example/a b"},
        [URL + "a string of 21 characters"],
    ),
    # Custom keys
    "null among custom keys": (
        {"custom": {"a": {"b": None}}},
        [
            (
                "$.custom_data.a.b: expected a string, a finite number, true, false, a list"
                " or a mapping, got nothing"
            )
        ],
    ),
    "text for custom keys": (
        {"custom": "gold"},
        ["$.custom_data: expected a CustomData, got a string of 4 characters"],
    ),
}


@pytest.mark.parametrize(("change", "told"), CASES.values(), ids=CASES)
def test_a_malformed_order_gets_a_clear_error(change: dict[str, Any], told: list[str]) -> None:
    """The error is exactly this, shows no shopper, and leaves something to be kept as JSON."""
    with pytest.raises(InvalidEventError) as caught:
        purchase_event(to_order(GOOD | change), now=NOW)
    assert [str(fault) for fault in caught.value.errors] == told
    kept = encode_within(caught.value.event, 10_000).decode()
    for secret in ("alice", "7946", "203.0.113"):
        assert secret not in kept + str(caught.value)


READABLE: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "float for an id": ({"id": 1001.0}, {"order_id": "1001"}),
    "NaN beside prices": ({"total": float("nan")}, {"value": Decimal("59.90")}),
    "a sum of floats": ({"total": 0.1 + 0.2}, {"value": Decimal("0.3")}),
    "lower-case currency": ({"currency": "eur"}, {"currency": "EUR"}),
    "empty currency": ({"currency": ""}, {"currency": None}),
}


@pytest.mark.parametrize(("change", "read"), READABLE.values(), ids=READABLE)
def test_what_can_be_meant_in_one_way_alone_is_read(
    change: dict[str, Any], read: dict[str, Any]
) -> None:
    """Shops write much otherwise than the protocol does, and mean no other value by it."""
    data = purchase_event(to_order(GOOD | change), now=NOW).custom_data
    assert {name: getattr(data, name) for name in read} == read


def test_a_port_is_no_part_of_an_address_and_a_unix_time_is_a_time() -> None:
    """Proxies append the one, and payment providers send the other."""
    change = {"client_ip": "203.0.113.7:443", "client_user_agent": "x", "created_at": 1767225600}
    event = purchase_event(to_order(GOOD | change), now=NOW)
    assert event.user_match is not None
    assert event.user_match.client_ip == "203.0.113.7"
    assert event.event_time == datetime(2026, 1, 1, tzinfo=timezone.utc)


_FATAL = ("$.event_id", "$.custom_data.value", "$.custom_data.currency")


@pytest.mark.parametrize(("change", "told"), CASES.values(), ids=CASES)
def test_outside_strict_only_what_is_vital_costs_the_purchase(
    change: dict[str, Any], told: list[str]
) -> None:
    """Everything else is left out, and named with its field and the kind of mistake."""
    paths = {line.partition(":")[0] for line in told}
    values = order_values(GOOD | change)
    if paths & {*_FATAL}:
        with pytest.raises(InvalidEventError) as caught:
            plain_purchase_event(values, NOW, None, None, False)  # noqa: FBT003 - by place
        assert {error.path for error in caught.value.errors} == paths
        return
    event = plain_purchase_event(values, NOW, None, None, False)  # noqa: FBT003 - by place
    data = event.custom_data
    assert data is not None
    assert (event.event_id, data.value, data.currency) == ("1001", Decimal("59.90"), "EUR")
    fields = {f"$.{each.field}".replace("[]", "[0]") for each in event.omissions}
    assert fields == paths


def test_the_order_they_all_differ_from_is_good() -> None:
    """Each case is refused for its one change."""
    assert purchase_event(to_order(GOOD), now=NOW).event_id == "1001"
    assert len(CASES) >= 60
