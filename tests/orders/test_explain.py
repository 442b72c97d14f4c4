"""explain(), and the log entry of the first order of each class."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adcp_tracker import Order, RequestContext, explain, register_order
from adcp_tracker._formatting import is_name
from adcp_tracker.exceptions import InvalidEventError
from adcp_tracker.orders.mapping import explained_kinds
from adcp_tracker.orders.reader import to_order
from adcp_tracker.testing import RecordingTracker

ORDER = {
    "id": "A-1",
    "totalPrice": "59.90",
    "currency": "EUR",
    "customer": {"email": "alice@example.com"},
    "line_items": [{"sku": "MUG-01", "qty": 2, "price": "29.95"}],
}


def test_each_field_tells_where_it_was_read() -> None:
    """And what wasn't found; what could be personal isn't shown."""
    found = explain(ORDER)
    sources = {field.name: field.source for field in found.fields}

    assert sources["total"] == "totalPrice"
    assert sources["email"] == "customer.email"
    assert sources["items[0].quantity"] == "qty"
    assert "phone" in found.missing
    assert found.problems == ()
    assert "alice" not in str(found)
    assert "59.90" in str(found)


def test_what_is_explained_is_what_is_read() -> None:
    """Of registered classes and hooks, too."""
    kind = type("Mapped", (SimpleNamespace,), {})
    register_order(kind, order_id="code", currency=lambda order: order.money)
    mapped = kind(code="A", total=5, money="EUR", email="alice@example.com")
    sources = {field.name: field.source for field in explain(mapped).fields}
    assert (sources["order_id"], sources["total"], sources["email"]) == ("code", "total", "email")
    assert "()" in (sources["currency"] or "")
    hooked = type("Hooked", (SimpleNamespace,), {})
    register_order(hooked, lambda order: {"id": order.code, "total": 5})
    sources = {field.name: field.source for field in explain(hooked(code="A")).fields}
    assert sources["order_id"] == "the hook's order_id"
    assert explain(Order("A", 5, "EUR")).missing


def test_names_that_the_library_does_not_know_are_listed() -> None:
    """Those of the order and of its first line, such as typos; what could be data is not shown."""
    order: dict[Any, object] = {
        **ORDER,
        "totl": "secret-1",
        "grandTotal": 5,  # known, though another name was read
        "alice@example.com": "secret-2",
        "4111111111111111": "secret-3",
        7: "secret-4",
        "_id": "secret-5",
        "line_items": [{"sku": "MUG-01", "qtty": 2, "product": {"colour": 1}}, {"sky": 1}],
    }
    found = explain(order)
    assert found.unread == ("totl", "items[0].qtty")
    assert "\nNot read: totl, items[0].qtty." in str(found)
    assert not [word for word in ("alice@", "4111", "secret") if word in str(found)]
    assert explain(ORDER).unread == explain(Order("A", 5, "EUR")).unread == ()
    assert "Not read" not in str(explain(ORDER))
    assert explain(SimpleNamespace(id=1, totl=5, _state=2)).unread == ("totl",)
    many = {"id": 1, **{f"key_{number}": number for number in range(200)}}
    assert len(explain(many).unread) == 100


def test_names_of_a_registered_class_are_not_listed() -> None:
    """Nobody knows which of them its functions read."""
    kind = type("WithFunction", (SimpleNamespace,), {})
    register_order(kind, total=lambda order: order.money)
    assert explain(kind(id=1, money=5)).unread == ()


@given(st.dictionaries(st.text() | st.integers(), st.integers(), max_size=20))
def test_no_key_that_may_be_data_is_shown(source: dict[str | int, int]) -> None:
    """Whatever the keys of an order are."""
    unread = explain({**source, "order_id": "A-1", "total": 5}).unread
    assert all(map(is_name, unread))
    assert set(unread) <= set(source)


def test_a_payload_that_is_no_order_is_not_explained() -> None:
    """It is refused, as by track_purchase."""
    with pytest.raises(InvalidEventError):
        explain({"colour": "red"})


@pytest.mark.parametrize(
    ("order", "context", "problems"),
    [
        ({"id": 1, "email": "alice@example.com"}, None, ["no value"]),
        ({"id": 1, "total": 5, "email": "alice@example.com"}, None, ["without a currency"]),
        ({"id": 1, "total": 5, "currency": "EUR"}, None, ["identifies"]),
        ({"id": 1, "total": 5, "currency": "EUR", "ip": "203.0.113.7"}, None, ["identifies"]),
        ({"id": 1, "total": 5, "currency": "EUR"}, RequestContext(click_id="abc"), []),
        (
            {"id": 1, "currency": "EUR", "email": "a@b.example", "items": [{"sku": 1, "price": 5}]},
            None,
            [],
        ),
    ],
)
def test_what_a_purchase_lacks_is_shown(
    order: dict[str, object], context: RequestContext | None, problems: list[str]
) -> None:
    """A value, a currency, anything that identifies the shopper."""
    found = explain(order, context).problems
    assert len(found) == len(problems)
    assert all(word in text for word, text in zip(problems, found, strict=True))


def test_the_first_order_of_a_class_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """At INFO if it has what it needs, and as a warning if it lacks something."""
    good, poor = (type(name, (SimpleNamespace,), {}) for name in ("Good", "Poor"))
    with caplog.at_level(logging.INFO, "adcp_tracker"), RecordingTracker(strict=False) as tracker:
        for number in range(3):
            order = {"id": number, "total": 5, "currency": "EUR", "email": "alice@example.com"}
            tracker.track_purchase(good(**order))
            tracker.track_purchase(poor(id=number))

    entries = [entry for entry in caplog.records if "order.first_read" in entry.getMessage()]
    assert [(entry.levelno, "Good" in entry.getMessage()) for entry in entries] == [
        (logging.INFO, True),
        (logging.WARNING, False),
    ]
    assert "alice" not in caplog.text


@pytest.mark.parametrize("items", [5, 2.5, "MUG-01", {"sku": "MUG-01"}, object(), [None], [5]])
def test_items_that_are_no_lines_cost_no_purchase(items: object) -> None:
    """Such as a number of pieces: not in the first order of a class, nor when it is explained."""
    order = type("Odd", (dict,), {})(id=1, total=5, currency="EUR", items=items)
    assert explain(order).fields[0].value == "1"
    explained_kinds.discard(Order)
    with RecordingTracker(strict=False) as tracker:
        tracker.track_purchase(order)
        tracker.track_purchase(Order("2", 5, "EUR", [SimpleNamespace(price=5)]))  # type: ignore[list-item]
        assert [each.event_id for each in tracker.events] == ["1", "2"]


def test_a_setting_fills_in_what_orders_lack() -> None:
    """The currency, and where naive times are."""
    order = {"id": 1, "total": 5, "created_at": "2026-07-01 12:00:00", "email": "a@b.example"}
    with RecordingTracker(strict=True, default_currency="eur", naive_times="Europe/Berlin") as made:
        made.track_purchase(order)
        made.track_purchase({**order, "id": 2, "currency": "USD"})
        first, second = made.events
    assert first.custom_data is not None
    assert second.custom_data is not None
    assert (first.custom_data.currency, second.custom_data.currency) == ("EUR", "USD")
    assert first.event_time.isoformat() == "2026-07-01T10:00:00+00:00"


def test_the_orders_own_country_is_the_region_of_its_number() -> None:
    """Before the tracker's default, but not before that of the call."""
    order = {"id": 1, "phone": "030 23125000", "billing": {"country": "DE"}}
    assert to_order(order).country == "DE"
    with RecordingTracker(strict=True, default_region="US") as made:
        made.track_purchase(order)
        made.track_purchase({"id": 2, "phone": "+493023125000"})
        first, second = made.events
    assert first.user_match is not None
    assert first.user_match == second.user_match
