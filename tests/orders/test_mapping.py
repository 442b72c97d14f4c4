"""register_order: an order's fields by attribute, dotted path, function or constant."""

from __future__ import annotations

import logging
from decimal import Decimal
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from adcp_tracker import Constant, OrderItem, register_order
from adcp_tracker.exceptions import ConfigurationError
from adcp_tracker.orders.mapping import value_at
from adcp_tracker.orders.reader import to_order

if TYPE_CHECKING:
    from collections.abc import Callable


def made(**fields: object) -> Callable[..., object]:
    """Make a class and register it."""
    kind = type("Ticket", (SimpleNamespace,), {})
    register_order(kind, **fields)  # type: ignore[arg-type]
    return kind


def test_fields_are_named_over_the_known_names() -> None:
    """What is named is read from there, and all else by its usual name."""
    kind = made(
        order_id="code",
        total=lambda order: Decimal(order.cents) / 100,
        currency="event.currency",
        items="positions",
        created_at="event.starts.0",
        click_id=Constant("click"),
        item={"id": "product.number", "price": lambda line: line.cents / 100},
    )
    line = SimpleNamespace(product=SimpleNamespace(number=7), cents=2300, quantity=2)
    order = to_order(
        kind(
            id=5,
            code="ABC12",
            cents=4600,
            event=SimpleNamespace(currency="eur", starts=["2026-01-02T03:04:05Z"]),
            positions=[line],
            email="alice@example.com",
        )
    )

    assert (order.order_id, order.total, order.currency) == ("ABC12", Decimal(46), "EUR")
    assert order.items == (OrderItem("7", 2, Decimal("23.0")),)
    assert order.created_at is not None
    assert (order.email, order.click_id) == ("alice@example.com", "click")


def test_a_named_field_without_a_value_is_looked_for_by_its_names() -> None:
    """But for the id, which is never replaced by another one."""
    kind = made(email="contact.email", order_id="code", total=("paid", "due"))
    order = to_order(kind(id=5, code=None, contact=None, customer_email="b@c.example", due=4))

    assert [order.order_id, order.email, order.total] == [None, "b@c.example", 4]


def test_a_currency_may_be_written_out() -> None:
    """Three capital letters that the order doesn't have as an attribute."""
    assert to_order(made(currency="EUR")(id=1, total=5)).currency == "EUR"
    assert to_order(made(currency="CUR")(id=1, total=5, CUR="usd")).currency == "USD"


def test_a_function_that_raises_is_no_value(caplog: pytest.LogCaptureFixture) -> None:
    """It costs its own field, and the log names it."""

    def broken(order: object) -> object:
        raise ConnectionError(order)

    with caplog.at_level(logging.WARNING, "adcp_tracker"):
        order = to_order(made(phone=broken)(id=1, total=5, phone_number="+442079460958"))

    assert order.phone == "+442079460958"
    assert "broken" in caplog.text
    assert "2079460958" not in caplog.text


def test_subclasses_are_mapped_too() -> None:
    """As a model's proxies are."""
    kind = made(order_id="code")
    child = type("Child", (kind,), {})  # type: ignore[arg-type]

    assert to_order(child(id=1, code="A")).order_id == "A"


def test_a_path_takes_mappings_and_lists() -> None:
    """Keys, attributes and places in a list, as far as there are any."""
    source = {"a": [SimpleNamespace(b={"c": 1})]}
    assert value_at(source, "a.0.b.c") == 1
    for path in ("a.1.b", "a.0.x.y", "x", "a.b"):
        assert value_at(source, path) is None
    assert value_at(source, ("x", "a.0.b.c")) == 1
    assert value_at(source, 5) == 5


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"order_idd": "code"}, "Unknown field 'order_idd'. Did you mean 'order_id'?"),
        ({"item": {"colour": "c"}}, "Unknown field 'colour'"),
        ({"email": ""}, "email: expected a path, got nothing"),
        ({"email": None}, "email: expected a path, got nothing"),
    ],
)
def test_a_wrong_mapping_is_refused_at_once(fields: dict[str, object], message: str) -> None:
    """Where it is written, and not with the first order."""
    with pytest.raises(ConfigurationError, match=message.replace("?", r"\?")):
        made(**fields)


def test_plain_dictionaries_cannot_be_registered() -> None:
    """All mappings of a program would be meant."""
    with pytest.raises(ConfigurationError, match="a class of your own, got dict"):
        register_order(dict, order_id="code")
