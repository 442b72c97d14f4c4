"""Payloads of providers: refunds each with its own amount, and what no plain order is."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from adcp_tracker import Refund, orders
from adcp_tracker.exceptions import InvalidEventError
from adcp_tracker.orders.reader import to_order
from adcp_tracker.testing import RecordingTracker


def tracked(refunds: tuple[Refund, ...]) -> list[tuple[str, str, str | None]]:
    """Track refunds; return the ids, values and currencies of their events."""
    with RecordingTracker(strict=True) as tracker:
        for refund in refunds:
            tracker.track_refund(refund)
        return [
            (event.event_id, str(event.custom_data.value), event.custom_data.currency)
            for event in tracker.events
            if event.custom_data is not None
        ]


CHARGE: dict[str, Any] = {
    "id": "ch_1",
    "object": "charge",
    "amount": 5990,
    "amount_refunded": 1500,
    "currency": "eur",
    "payment_intent": "pi_1",
    "metadata": {"order_id": "A-1"},
    "billing_details": {"email": "alice@example.com", "phone": None, "address": {"country": "DE"}},
}
STRIPE_REFUNDS = [
    {"id": "re_1", "object": "refund", "amount": 500, "currency": "eur", "charge": "ch_1"},
    {"id": "re_2", "object": "refund", "amount": 1000, "currency": "eur", "charge": "ch_1"},
]


def test_refunds_of_stripe() -> None:
    """Those a charge lists, one alone, and one told by what the charge was before."""
    listed = {**CHARGE, "refunds": {"data": STRIPE_REFUNDS}}
    assert tracked(orders.refunds_from_stripe(listed)) == [
        ("A-1:refund:re_1", "5.00", "EUR"),
        ("A-1:refund:re_2", "10.00", "EUR"),
    ]
    alone = {**STRIPE_REFUNDS[0], "payment_intent": "pi_1", "currency": "jpy"}
    assert tracked(orders.refunds_from_stripe(alone)) == [("pi_1:refund:re_1", "500", "JPY")]
    event = {
        "id": "evt_1",
        "object": "event",
        "data": {"object": CHARGE, "previous_attributes": {"amount_refunded": 500}},
    }
    assert tracked(orders.refunds_from_stripe(event)) == [("A-1:refund:evt_1", "10.00", "EUR")]
    with pytest.raises(InvalidEventError, match="expand refunds"):
        orders.refunds_from_stripe(CHARGE)


def test_refunds_of_shopify() -> None:
    """Those of an order, each the sum of its successful transactions, and a webhook's."""
    line = {"quantity": 1, "line_item": {"sku": "MUG-01", "price": "5.00", "quantity": 3}}
    refunds: list[dict[str, Any]] = [
        {
            "id": 1,
            "order_id": 820,
            "created_at": "2026-11-23T10:00:00Z",
            "refund_line_items": [line],
            "transactions": [
                {"kind": "refund", "status": "success", "amount": "4.00", "currency": "EUR"},
                {"kind": "refund", "status": "success", "amount": "1.00", "currency": "EUR"},
                {"kind": "refund", "status": "failure", "amount": "9.00", "currency": "EUR"},
            ],
        },
        {"id": 2, "order_id": 820, "transactions": [{"kind": "refund", "amount": "5.00"}]},
    ]
    order = {"id": 820, "order_number": 1001, "currency": "EUR", "refunds": refunds}
    found = orders.refunds_from_shopify(order)
    assert tracked(found) == [("820:refund:1", "5.00", "EUR"), ("820:refund:2", "5.00", "EUR")]
    assert [getattr(item, "quantity", None) for item in found[0].items or ()] == [1]
    assert tracked(orders.refunds_from_shopify(refunds[0])) == [("820:refund:1", "5.00", "EUR")]


def test_refunds_of_woocommerce() -> None:
    """Negative numbers become what was paid back."""
    lines = [{"id": 314, "sku": "WOO-1", "quantity": -2, "total": "-6.00", "price": 3}]
    full = {"id": 726, "parent_id": 727, "amount": "6.00", "line_items": lines}
    (refund,) = orders.refunds_from_woocommerce(full, order_id="W-727")
    assert refund.amount == Decimal("6.00")
    assert [getattr(item, "quantity", None) for item in refund.items or ()] == [2]
    assert tracked((refund,)) == [("W-727:refund:726", "6.00", None)]
    order = {
        "id": 727,
        "number": "W-727",
        "currency": "EUR",
        "refunds": [{"id": 726, "total": "-6.00"}, {"id": 728, "total": "-6.00"}],
    }
    assert tracked(orders.refunds_from_woocommerce(order)) == [
        ("W-727:refund:726", "6.00", "EUR"),
        ("W-727:refund:728", "6.00", "EUR"),
    ]


def test_refunds_without_an_id_of_their_own_are_told_apart_by_their_amounts() -> None:
    """They must not all become one."""
    refunds = [{"total": "-6.00"}, {"id": None, "total": "-7.00"}]
    made = tracked(orders.refunds_from_woocommerce({"id": 727, "total": "20", "refunds": refunds}))
    assert [value for _, value, _ in made] == ["6.00", "7.00"]
    assert len({event_id for event_id, _, _ in made}) == len(refunds)


def test_refunds_of_magento() -> None:
    """One credit memo, or the answer to a search for those of an order."""
    memo = {"entity_id": 3, "increment_id": "C-3", "grand_total": 5, "order_currency_code": "EUR"}
    assert tracked(orders.refunds_from_magento(memo, order_id="000000001")) == [
        ("000000001:refund:C-3", "5", "EUR")
    ]
    answer = {"items": [memo, {**memo, "increment_id": "C-4"}], "search_criteria": {}}
    assert len(tracked(orders.refunds_from_magento(answer, order_id="000000001"))) == 2


def test_refunds_of_bigcommerce() -> None:
    """One, or the answer with all of an order."""
    refund = {"id": 9, "order_id": 100, "total_amount": 5.5, "created": "2026-11-23T10:00:00Z"}
    assert tracked(orders.refunds_from_bigcommerce(refund)) == [("100:refund:9", "5.5", None)]
    answer = {"data": [refund, {**refund, "id": 10}], "meta": {}}
    assert len(tracked(orders.refunds_from_bigcommerce(answer))) == 2


def test_refunds_of_mollie() -> None:
    """One, and those that a payment embeds."""
    refund = {
        "resource": "refund",
        "id": "re_4qqhO89gsT",
        "amount": {"value": "5.00", "currency": "EUR"},
        "paymentId": "tr_1",
        "metadata": {"order_id": "A-3"},
        "createdAt": "2026-11-23T10:00:00+00:00",
    }
    assert tracked(orders.refunds_from_mollie(refund)) == [
        ("A-3:refund:re_4qqhO89gsT", "5.00", "EUR")
    ]
    payment = {
        "resource": "payment",
        "id": "tr_1",
        "amount": {"value": "75.00", "currency": "EUR"},
        "metadata": {"order_id": "A-3"},
        "_embedded": {"refunds": [refund, {**refund, "id": "re_2"}]},
    }
    assert len(tracked(orders.refunds_from_mollie(payment))) == 2


def test_refunds_of_paypal() -> None:
    """A webhook's, and those of an order."""
    refund = {
        "id": "1JU08902781691411",
        "amount": {"currency_code": "EUR", "value": "5.00"},
        "invoice_id": "A-4",
        "create_time": "2026-11-23T10:00:00Z",
    }
    event = {"id": "WH-1", "event_type": "PAYMENT.CAPTURE.REFUNDED", "resource": refund}
    expected = ("A-4:refund:1JU08902781691411", "5.00", "EUR")
    assert tracked(orders.refunds_from_paypal(event)) == [expected]
    order = {
        "id": "5O1",
        "purchase_units": [
            {
                "invoice_id": "A-4",
                "amount": {"currency_code": "EUR", "value": "59.90"},
                "payments": {"refunds": [refund, {**refund, "id": "R-2"}]},
            }
        ],
    }
    assert len(tracked(orders.refunds_from_paypal(order))) == 2


@pytest.mark.parametrize(
    ("payload", "remedy"),
    [
        ({"id": "evt_1", "object": "event", "type": "charge.succeeded"}, "from_stripe"),
        ({"id": "cs_1", "object": "checkout.session", "amount_total": 5995}, "from_stripe"),
        ({"id": "pi_1", "object": "payment_intent", "amount": 1999}, "from_stripe"),
        ({"id": "ch_1", "amount": 1999, "currency": "EUR"}, "from_minor"),
        ({"id": "pay_29QQoUBi66xm2f", "entity": "payment", "amount": 1000}, "provider='razorpay'"),
        ({"entity": "event", "payload": {}, "id": 1, "event": "order.paid"}, "razorpay"),
        ({"id": "PM000123", "amount": 1000, "currency": "GBP"}, "provider='gocardless'"),
        ({"id": "WH-1", "event_type": "CHECKOUT.ORDER.APPROVED", "resource": {}}, "from_paypal"),
        ({"id": "5O1", "purchase_units": []}, "from_paypal"),
        ({"order": {"id": 1}}, "pass what is under its key 'order'"),
    ],
)
def test_no_envelope_and_no_minor_units_pass_for_an_order(
    payload: dict[str, Any], remedy: str
) -> None:
    """The error names the function that reads them."""
    with pytest.raises(InvalidEventError) as caught:
        to_order(payload)
    assert remedy in str(caught.value)


@pytest.mark.parametrize(
    "order",
    [
        {"id": "A-1", "amount": "19.99", "currency": "EUR"},
        {"id": "A-1", "amount": 20, "currency": "EUR"},
        {"id": "A-1", "total": "5.00", "amount": 500, "object": "order"},
        {"id": "order-1", "amount": 20, "links": {}},
    ],
)
def test_a_shops_own_amounts_are_taken(order: dict[str, Any]) -> None:
    """A whole number of euros is no number of cents."""
    assert to_order(order).total in {Decimal("19.99"), 20, Decimal("5.00")}


def test_another_object_of_stripe_is_refused() -> None:
    """A customer is no order, and the error says what could be one."""
    with pytest.raises(InvalidEventError, match=r"checkout\.session"):
        orders.from_stripe({"object": "customer", "id": "cus_1"})


@pytest.mark.parametrize(
    ("amount", "currency", "provider", "value"),
    [
        (1999, "USD", None, "19.99"),
        (1999, "jpy", "stripe", "1999"),
        (500, "isk", "stripe", "5.00"),
        (500, "ugx", "stripe", "5.00"),
        (500, "mga", "stripe", "500"),
        (1990, "kwd", "stripe", "1.990"),
        (1999, "huf", "stripe", "19.99"),
        (1999, "twd", "stripe", "19.99"),
        (1999, "clp", "adyen", "19.99"),
        (1999, "clp", "stripe", "1999"),
        (1999, "idr", "adyen", "1999"),
        (1999, "HRK", "stripe", "19.99"),
        ("1999", " eur ", "Stripe", "19.99"),
        (-500, "EUR", None, "-5.00"),
    ],
)
def test_minor_units_count_as_the_provider_counts_them(
    amount: int | str, currency: str, provider: str | None, value: str
) -> None:
    """Special cases, small letters and withdrawn currencies."""
    assert str(orders.from_minor(amount, currency, provider=provider)) == value


@pytest.mark.parametrize("amount", [19.99, "19.99", None, 10**20, True, float("nan")])
def test_minor_units_are_whole(amount: Any) -> None:  # noqa: ANN401 - also wrong ones
    """Anything else is an error, and no amount."""
    with pytest.raises(ValueError, match="amount: expected a whole number"):
        orders.from_minor(amount, "EUR")


def test_unknown_currencies_and_providers_have_no_minor_units() -> None:
    """A guess would be wrong by a factor of a hundred."""
    with pytest.raises(KeyError):
        orders.from_minor(1, "XXX")
    with pytest.raises(ValueError, match="provider: expected one of adyen"):
        orders.from_minor(1, "EUR", provider="acme")
