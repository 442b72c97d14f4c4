"""Orders and refunds from the payloads of shop systems and payment providers.

Each provider is a table of where its fields are. A function is named after its provider, since
the same keys mean different things: 1999 is 19.99 EUR at one and 1999 EUR at another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any, Final

import attrs

from adcp_tracker._formatting import describe
from adcp_tracker.events.parsing import (
    from_minor,
    is_absent,
    parse_id,
    parse_money,
    parse_time,
    parse_total,
)
from adcp_tracker.exceptions import FieldError, InvalidEventError
from adcp_tracker.orders.mapping import OrderMapping, value_at
from adcp_tracker.orders.reader import Order, make_order, to_item

_Read = Callable[[object], object]
_Paths = str | tuple[str, ...]


@attrs.frozen
class Refund:
    """One refund of an order, as ``tracker.track_refund()`` takes it.

    Attributes:
        order: The refunded order.
        refund_id: The refund's own id; empty if the payload doesn't have one.
        amount: The amount paid back, positive; ``None`` if the payload doesn't tell.
        items: The refunded lines, if the payload lists them.
        created_at: When it was made.
    """

    order: Order
    refund_id: str
    amount: Decimal | int | None = None
    items: tuple[object, ...] | None = None
    created_at: datetime | None = None


def from_stripe(payload: object, *, order_id: str | None = None) -> Order:
    """Read a checkout session, payment intent, charge or invoice of Stripe, or its event.

    The id is ``metadata.order_id`` or ``client_reference_id``, or that of the payment intent,
    so that a session and its charge are one order.

    Args:
        payload: The object, or the event that holds it.
        order_id: Your own id of the order, if the payload doesn't have it.

    Raises:
        InvalidEventError: If it is another object of Stripe.
    """
    source = _stripe_object(payload)
    return _read(_mapping_for(source, _STRIPE), source, order_id)


def refunds_from_stripe(payload: object, *, order_id: str | None = None) -> tuple[Refund, ...]:
    """Read a refund of Stripe, or those of a charge; each has its own amount.

    Args:
        payload: The refund or charge, or the event that holds it.
        order_id: Your own id of the order, if the payload doesn't have it.

    Raises:
        InvalidEventError: If it is another object of Stripe.
    """
    source = _stripe_object(payload)
    if value_at(source, "object") == "refund":
        return _refunds(_STRIPE_REFUND, [source], None, order_id)
    charge = _read(_mapping_for(source, {"charge": _STRIPE["charge"]}), source, order_id)
    listed = value_at(source, "refunds.data")
    if not isinstance(listed, (list, tuple)):
        return _difference(payload, source, charge)
    return _refunds(_STRIPE_REFUND, listed, charge, order_id)


def from_shopify(payload: object, *, order_id: str | None = None) -> Order:
    """Read an order of Shopify, from a webhook, the Admin API or GraphQL.

    Args:
        payload: The order, also under the key ``order``.
        order_id: Your own id of the order, instead of Shopify's.
    """
    return _read(_SHOPIFY, _unwrap(payload, "data.order", "order"), order_id)


def refunds_from_shopify(payload: object, *, order_id: str | None = None) -> tuple[Refund, ...]:
    """Read a refund of Shopify, or those of an order.

    Args:
        payload: The refund of a webhook, or an order with ``refunds``.
        order_id: Your own id of the order, instead of Shopify's.
    """
    source = _unwrap(payload, "data.order", "order", "refund")
    return _refunds_of(source, "refunds", _SHOPIFY, _SHOPIFY_REFUND, order_id)


def from_woocommerce(payload: object, *, order_id: str | None = None) -> Order:
    """Read an order of WooCommerce's REST API or webhooks.

    Args:
        payload: The order.
        order_id: Your own id of the order, instead of its number.
    """
    return _read(_WOOCOMMERCE, payload, order_id)


def refunds_from_woocommerce(payload: object, *, order_id: str | None = None) -> tuple[Refund, ...]:
    """Read a refund of WooCommerce, or those of an order; their amounts become positive.

    Args:
        payload: The refund, or an order with ``refunds``.
        order_id: The order's id. A refund itself only has the order's key as ``parent_id``.
    """
    return _refunds_of(payload, "refunds", _WOOCOMMERCE, _WOOCOMMERCE_REFUND, order_id)


def from_magento(payload: object, *, order_id: str | None = None) -> Order:
    """Read an order of Magento's REST API, whose times are in UTC.

    Args:
        payload: The order.
        order_id: Your own id of the order, instead of its increment id.
    """
    return _read(_MAGENTO, payload, order_id)


def refunds_from_magento(payload: object, *, order_id: str | None = None) -> tuple[Refund, ...]:
    """Read one credit memo of Magento, or a list of them.

    Args:
        payload: The credit memo, or search results with ``items`` of them.
        order_id: The order's increment id, which a credit memo doesn't have.
    """
    found = value_at(payload, "items")
    is_search = value_at(payload, "search_criteria") is not None
    memos = found if is_search and isinstance(found, list) else [payload]
    return _refunds(_MAGENTO_REFUND, memos, None, order_id)


def from_bigcommerce(payload: object, *, order_id: str | None = None) -> Order:
    """Read an order of BigCommerce's V2 API.

    Args:
        payload: The order; ``products`` may be replaced by the list behind its link.
        order_id: Your own id of the order, instead of BigCommerce's.
    """
    return _read(_BIGCOMMERCE, payload, order_id)


def refunds_from_bigcommerce(payload: object, *, order_id: str | None = None) -> tuple[Refund, ...]:
    """Read a refund of BigCommerce's V3 API, or the answer with all of an order.

    Args:
        payload: The refund, or the answer with ``data``.
        order_id: Your own id of the order, instead of BigCommerce's.
    """
    found = value_at(payload, "data")
    return _refunds(
        _BIGCOMMERCE_REFUND,
        found if isinstance(found, list) else [payload if found is None else found],
        None,
        order_id,
    )


def from_mollie(payload: object, *, order_id: str | None = None) -> Order:
    """Read a payment or an order of Mollie.

    Args:
        payload: The payment or order.
        order_id: Your own id of the order, if ``metadata.order_id`` doesn't have it.
    """
    return _read(_MOLLIE, payload, order_id)


def refunds_from_mollie(payload: object, *, order_id: str | None = None) -> tuple[Refund, ...]:
    """Read a refund of Mollie, or those embedded in a payment, an order or a list.

    Args:
        payload: The refund, or what embeds it.
        order_id: Your own id of the order, if ``metadata.order_id`` doesn't have it.
    """
    return _refunds_of(payload, "_embedded.refunds", _MOLLIE, _MOLLIE_REFUND, order_id)


def from_paypal(payload: object, *, order_id: str | None = None) -> Order:
    """Read an order or a capture of PayPal, or the event that holds it.

    The id is the ``invoice_id`` that you gave, or PayPal's id of the order.

    Args:
        payload: The order, the capture, or a webhook's event.
        order_id: Your own id of the order, if the payload doesn't have it.
    """
    source = _unwrap(payload, "resource")
    units = value_at(source, "purchase_units")
    return _read(_PAYPAL_CAPTURE if units is None else _PAYPAL, source, order_id)


def refunds_from_paypal(payload: object, *, order_id: str | None = None) -> tuple[Refund, ...]:
    """Read a refund of PayPal, or those of an order.

    Args:
        payload: The refund, an order with its payments, or a webhook's event.
        order_id: Your own id of the order, if the payload doesn't have it.
    """
    source = _unwrap(payload, "resource")
    units = value_at(source, "purchase_units")
    if units is None:
        return _refunds(_PAYPAL_REFUND, [source], None, order_id)
    listed = [
        refund
        for unit in (units if isinstance(units, (list, tuple)) else ())
        for refund in value_at(unit, "payments.refunds") or ()  # type: ignore[attr-defined]
    ]
    return _refunds(_PAYPAL_REFUND, listed, from_paypal(source, order_id=order_id), order_id)


@attrs.frozen
class _RefundMapping:
    """Where the fields of a refund are.

    Attributes:
        order_id: The refunded order's id.
        refund_id: Its own id.
        amount: What is paid back, with its currency where that is known.
        currency: The currency.
        items: The refunded lines, as an order's.
        created_at: When it was made.
    """

    order_id: object
    refund_id: object = "id"
    amount: object = "amount"
    currency: object = "currency"
    items: object = None
    created_at: object = "created_at"


def _read(mapping: OrderMapping, source: object, order_id: str | None) -> Order:
    if order_id is not None:
        fields = {**mapping.fields, "order_id": lambda _: order_id}
        mapping = attrs.evolve(mapping, fields=fields)
    return make_order(mapping.read(source))


def _refunds_of(
    source: object,
    path: str,
    order_mapping: OrderMapping,
    mapping: _RefundMapping,
    order_id: str | None,
) -> tuple[Refund, ...]:
    """Read the refunds that an order lists, or a refund that stands alone."""
    listed = value_at(source, path)
    if not isinstance(listed, (list, tuple)):
        return _refunds(mapping, [source], None, order_id)
    order = _read(order_mapping, source, order_id)
    return _refunds(mapping, listed, order if order.order_id else None, order_id)


def _refunds(
    mapping: _RefundMapping, listed: Iterable[object], order: Order | None, order_id: str | None
) -> tuple[Refund, ...]:
    return tuple(_refund(mapping, each, order, order_id) for each in listed)


def _refund(
    mapping: _RefundMapping, source: object, order: Order | None, order_id: str | None
) -> Refund:
    amount: Any = parse_total(value_at(source, mapping.amount))
    currency: Any = value_at(source, mapping.currency)
    if isinstance(amount, tuple):
        amount, currency = amount
    if isinstance(amount, (int, Decimal)):
        amount = abs(amount)
    lines: Any = None if mapping.items is None else value_at(source, mapping.items)
    if order is None or not order.order_id:
        own_id: Any = order_id or parse_id(value_at(source, mapping.order_id))
        order = Order(own_id) if order is None else attrs.evolve(order, order_id=own_id)
    if isinstance(currency, str):
        order = attrs.evolve(order, currency=currency.upper())
    return Refund(
        attrs.evolve(order, items=()),
        str(parse_id(value_at(source, mapping.refund_id)) or ""),
        amount,
        tuple(map(_positive, lines)) if lines else None,
        parse_time(value_at(source, mapping.created_at)),
    )


def _positive(line: object) -> object:
    item: Any = to_item(line)
    quantity = getattr(item, "quantity", None)
    return attrs.evolve(item, quantity=abs(quantity)) if isinstance(quantity, int) else item


def _stripe_object(payload: object) -> object:
    return _unwrap(payload, "data.object") if value_at(payload, "object") == "event" else payload


def _difference(payload: object, charge: object, order: Order) -> tuple[Refund, ...]:
    """Read a refund from an event that only tells the charge's refunded amount before and after."""
    before = value_at(payload, "data.previous_attributes.amount_refunded")
    after = value_at(charge, "amount_refunded")
    if type(before) is not int or type(after) is not int:
        expected = "a refund, or a charge with its list of refunds; expand refunds, or listen to "
        got = "a charge without them"
        raise InvalidEventError([FieldError("$.refunds", expected + "refund.created", got)])
    amount = from_minor(after - before, str(value_at(charge, "currency")), provider="stripe")
    refund_id = str(value_at(payload, "id"))
    return (Refund(attrs.evolve(order, items=()), refund_id, amount),)


def _mapping_for(source: object, mappings: Mapping[str, OrderMapping]) -> OrderMapping:
    """Return the mapping for an object of Stripe, which names its own kind."""
    kind = value_at(source, "object")
    if not isinstance(kind, str) or kind not in mappings:
        expected = f"one of {', '.join(mappings)}"
        raise InvalidEventError([FieldError("$.object", expected, describe(kind))])
    return mappings[kind]


def _unwrap(payload: object, *paths: str) -> object:
    for path in paths:
        inner = value_at(payload, path)
        if isinstance(inner, Mapping) or (inner is not None and hasattr(inner, "__dict__")):
            return inner
    return payload


def _minor(path: _Paths, provider: str) -> _Read:
    """Read an amount in minor units, with the currency beside it."""

    def read(source: object) -> object:
        amount, currency = value_at(source, path), value_at(source, "currency")
        if is_absent(amount):
            return None
        try:
            return from_minor(amount, str(currency), provider=provider)  # type: ignore[arg-type]
        except (KeyError, ValueError):
            return "an amount whose currency is unknown"

    return read


def _utc(path: _Paths) -> _Read:
    """Read a time that is in UTC, though it doesn't say so."""

    def read(source: object) -> object:
        time = parse_time(value_at(source, path))
        if isinstance(time, datetime) and time.tzinfo is None:
            return time.replace(tzinfo=timezone.utc)
        return time

    return read


def _sum(path: str, each: _Paths) -> _Read:
    """Add up the amounts of a list; their currency is that of the first."""

    def read(source: object) -> object:
        parts: Any = value_at(source, path) or ()
        amounts = [parse_total(value_at(part, each)) for part in parts]
        plain: list[Any] = [
            amount[0] if isinstance(amount, tuple) else amount for amount in amounts
        ]
        if not plain or not all(isinstance(amount, (int, Decimal)) for amount in plain):
            return None
        currency = amounts[0][1] if isinstance(amounts[0], tuple) else None
        total = sum(plain, Decimal(0))
        return total if currency is None else {"amount": str(total), "currency": currency}

    return read


def _joined(path: str, each: str) -> _Read:
    """Join the lists in a list, as the items of several purchase units."""

    def read(source: object) -> object:
        parts: Any = value_at(source, path) or ()
        return [line for part in parts for line in value_at(part, each) or ()]  # type: ignore[attr-defined]

    return read


def _successful_refunds(source: object) -> object:
    """Return the transactions of a refund of Shopify that paid something back."""
    transactions: Any = value_at(source, "transactions") or ()
    return [
        each
        for each in transactions
        if value_at(each, "kind") == "refund" and value_at(each, "status") in {"success", None}
    ]


def _shopify_refunded(source: object) -> object:
    paid = _sum("paid", "amount")({"paid": _successful_refunds(source)})
    return paid or value_at(source, "total_refunded_set") or value_at(source, "totalRefundedSet")


def _shopify_lines(source: object) -> object:
    lines: Any = value_at(source, "refund_line_items") or ()
    return [
        {**line["line_item"], "quantity": line.get("quantity")}
        for line in lines
        if isinstance(line, Mapping) and isinstance(line.get("line_item"), Mapping)
    ]


def _without_parts(source: object) -> object:
    lines: Any = value_at(source, "items") or ()
    return [line for line in lines if is_absent(value_at(line, "parent_item_id"))]


def _stripe_price(source: object) -> object:
    """Return what one piece cost, of a line that only tells the amount of all of them."""
    unit = value_at(source, "price.unit_amount")
    currency = value_at(source, ("currency", "price.currency"))
    if type(unit) is not int or not isinstance(currency, str):
        return None
    try:
        return from_minor(unit, currency, provider="stripe")
    except KeyError:
        return None


_STRIPE_LINE: Final = {
    "id": ("price.product.metadata.sku", "price.product.id", "price.product", "price.id", "id"),
    "quantity": "quantity",
    "price": _stripe_price,
    "name": "description",
}
_STRIPE: Final[Mapping[str, OrderMapping]] = {
    "checkout.session": OrderMapping(
        {
            "order_id": (
                "metadata.order_id",
                "client_reference_id",
                "payment_intent.id",
                "payment_intent",
                "id",
            ),
            "total": _minor("amount_total", "stripe"),
            "currency": "currency",
            "email": ("customer_details.email", "customer_email"),
            "phone": "customer_details.phone",
            "country": "customer_details.address.country",
            "created_at": "created",
            "items": "line_items.data",
        },
        _STRIPE_LINE,
        exclusive=True,
    ),
    "payment_intent": OrderMapping(
        {
            "order_id": ("metadata.order_id", "id"),
            "total": _minor(("amount_received", "amount"), "stripe"),
            "currency": "currency",
            "email": ("receipt_email", "latest_charge.billing_details.email"),
            "phone": ("shipping.phone", "latest_charge.billing_details.phone"),
            "country": (
                "shipping.address.country",
                "latest_charge.billing_details.address.country",
            ),
            "created_at": "created",
        },
        exclusive=True,
    ),
    "charge": OrderMapping(
        {
            "order_id": ("metadata.order_id", "payment_intent.id", "payment_intent", "id"),
            "total": _minor(("amount_captured", "amount"), "stripe"),
            "currency": "currency",
            "email": ("billing_details.email", "receipt_email"),
            "phone": ("billing_details.phone", "shipping.phone"),
            "country": "billing_details.address.country",
            "created_at": "created",
        },
        exclusive=True,
    ),
    "invoice": OrderMapping(
        {
            "order_id": ("metadata.order_id", "id"),
            "total": _minor(("amount_paid", "total"), "stripe"),
            "currency": "currency",
            "email": "customer_email",
            "phone": "customer_phone",
            "country": "customer_address.country",
            "created_at": ("status_transitions.paid_at", "created"),
            "items": "lines.data",
        },
        _STRIPE_LINE,
        exclusive=True,
    ),
}
_STRIPE_REFUND: Final = _RefundMapping(
    order_id=("metadata.order_id", "payment_intent.id", "payment_intent", "charge.id", "charge"),
    amount=_minor("amount", "stripe"),
    created_at="created",
)
_SHOPIFY: Final = OrderMapping({"order_id": ("legacyResourceId", "id")})
_SHOPIFY_REFUND: Final = _RefundMapping(
    order_id=("order_id", "order.legacyResourceId", "order.id"),
    refund_id=("legacyResourceId", "id"),
    amount=_shopify_refunded,
    currency=("transactions.0.currency", "currency"),
    items=_shopify_lines,
    created_at=("created_at", "createdAt"),
)
_WOOCOMMERCE: Final = OrderMapping({"created_at": _utc(("date_created_gmt", "date_paid_gmt"))})
_WOOCOMMERCE_REFUND: Final = _RefundMapping(
    order_id="parent_id",
    amount=("amount", "total"),
    items="line_items",
    created_at=_utc("date_created_gmt"),
)
_MAGENTO: Final = OrderMapping(
    {
        "order_id": ("increment_id", "entity_id"),
        "currency": ("order_currency_code", "base_currency_code"),
        "created_at": _utc("created_at"),
        "items": _without_parts,
    },
)
_MAGENTO_REFUND: Final = _RefundMapping(
    order_id=("order_increment_id", "order.increment_id"),
    refund_id=("increment_id", "entity_id"),
    amount="grand_total",
    currency="order_currency_code",
    items="items",
    created_at=_utc("created_at"),
)
_BIGCOMMERCE: Final = OrderMapping(
    {"order_id": "id", "total": "total_inc_tax", "currency": "currency_code"}
)
_BIGCOMMERCE_REFUND: Final = _RefundMapping(
    order_id="order_id", amount="total_amount", created_at="created"
)
_MOLLIE: Final = OrderMapping(
    {
        "order_id": ("metadata.order_id", "metadata.orderId", "orderNumber", "id"),
        "total": "amount",
        "email": ("billingAddress.email", "billingEmail", "shippingAddress.email"),
        "phone": ("billingAddress.phone", "shippingAddress.phone"),
        "country": ("billingAddress.country", "countryCode"),
        "created_at": ("paidAt", "createdAt"),
        "items": "lines",
    },
    {
        "id": ("sku", "id"),
        "quantity": "quantity",
        "price": lambda line: parse_money(value_at(line, "unitPrice"))[0],
        "name": ("name", "description"),
    },
    exclusive=True,
)
_MOLLIE_REFUND: Final = _RefundMapping(
    order_id=("metadata.order_id", "metadata.orderId", "orderNumber", "orderId", "paymentId"),
    created_at="createdAt",
)
_PAYPAL_LINE: Final = {
    "id": ("sku", "name"),
    "quantity": "quantity",
    "price": lambda line: parse_money(value_at(line, "unit_amount"))[0],
    "name": "name",
}
_PAYPAL: Final = OrderMapping(
    {
        "order_id": ("purchase_units.0.invoice_id", "id"),
        "total": _sum("purchase_units", "amount"),
        "email": ("payer.email_address", "payment_source.paypal.email_address"),
        "phone": "payer.phone.phone_number.national_number",
        "country": "payer.address.country_code",
        "created_at": "create_time",
        "items": _joined("purchase_units", "items"),
    },
    _PAYPAL_LINE,
    exclusive=True,
)
_PAYPAL_CAPTURE: Final = OrderMapping(
    {
        "order_id": ("invoice_id", "supplementary_data.related_ids.order_id", "id"),
        "total": "amount",
        "email": "payer.email_address",
        "created_at": "create_time",
    },
    exclusive=True,
)
_PAYPAL_REFUND: Final = _RefundMapping(
    order_id=("invoice_id", "supplementary_data.related_ids.order_id"),
    created_at="create_time",
)
