"""Orders as shop systems and payment providers have them, and what a purchase is made of.

The shapes follow the systems' documentation or models; people and amounts are invented.
``python -m tests.orders.shops`` prints the table of docs/events.md.
"""

from __future__ import annotations

from datetime import datetime, timezone
from decimal import Decimal
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import attrs

from adcp_tracker import Order, orders
from adcp_tracker.orders.mapping import explain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ALICE: Final = "alice@example.com"
PHONE: Final = "+442079460958"
PLACED: Final = datetime(2026, 11, 22, 15, 28, 2, tzinfo=timezone.utc)
_COLUMNS: Final = ("order_id", "total", "currency", "items", "email", "phone", "created_at")


@attrs.frozen
class Shop:
    """An order of one system.

    Attributes:
        name: The system.
        order: The order, as the system has it.
        order_id: The id that the purchase must have.
        total: The value it must have.
        currency: The currency it must have.
        lines: The ids, quantities and prices of its lines.
        fields: What ``register_order`` is told of its class, if anything.
        read: The function that reads it, if it is no plain order.
        phone: Whether it has a phone number.
        placed: When it was placed, if the order says so without settings.
    """

    name: str
    order: object
    order_id: str
    total: str = "59.90"
    currency: str | None = "EUR"
    lines: tuple[tuple[str, int | None, str | None], ...] = (("MUG-01", 2, "29.95"),)
    fields: Mapping[str, Any] | None = None
    read: Callable[..., Order] | None = None
    phone: bool = True
    placed: bool = True

    def explained(self) -> dict[str, str | None]:
        """Return which name each field is read from."""
        return {field.name: field.source for field in explain(self.order).fields}


class Related:
    """A manager of related objects, as an ORM has."""

    def __init__(self, *rows: object) -> None:
        self.rows = rows

    def all(self) -> list[object]:
        """Return the rows."""
        return [*self.rows]


class Money:
    """Money of django-money, py-moneyed, prices and Saleor: an amount and a currency."""

    def __init__(self, amount: str, currency: str = "EUR") -> None:
        self.amount, self.currency = Decimal(amount), currency


def taxed(net: str, gross: str) -> SimpleNamespace:
    """Make Saleor's TaxedMoney."""
    return SimpleNamespace(net=Money(net), gross=Money(gross), currency="EUR")


class OscarOrder(SimpleNamespace):
    """django-oscar: order.models.Order."""


class SaleorOrder(SimpleNamespace):
    """Saleor: order.models.Order."""


class PretixOrder(SimpleNamespace):
    """pretix: base.models.Order."""


class ShuupOrder(SimpleNamespace):
    """Shuup: core.models.Order."""


class SalesmanOrder(SimpleNamespace):
    """django-salesman: orders.models.Order."""


class OdooOrder(SimpleNamespace):
    """Odoo: sale.order."""


oscar = OscarOrder(
    id=2,
    number="100002",
    currency="EUR",
    total_incl_tax=Decimal("59.90"),
    total_excl_tax=Decimal("50.34"),
    guest_email="",
    user=SimpleNamespace(email=ALICE),
    shipping_address=SimpleNamespace(
        phone_number=PHONE, country=SimpleNamespace(iso_3166_1_a2="GB")
    ),
    date_placed=PLACED,
    lines=Related(
        SimpleNamespace(
            id=7,
            partner_sku="MUG-01",
            title="Mug",
            quantity=2,
            unit_price_incl_tax=Decimal("29.95"),
            line_price_incl_tax=Decimal("59.90"),
        )
    ),
)
saleor = SaleorOrder(
    id=UUID("6f0f7a9e-36e7-4a6b-9a2e-1f0de1f3b9a7"),
    number=1234,
    user_email=ALICE,
    currency="EUR",
    total=taxed("50.34", "59.90"),
    created_at=PLACED,
    billing_address=SimpleNamespace(phone=PHONE, country=SimpleNamespace(code="GB")),
    lines=Related(
        SimpleNamespace(
            product_sku="MUG-01",
            product_name="Mug",
            quantity=2,
            unit_price=taxed("25.17", "29.95"),
        )
    ),
)
pretix_model = PretixOrder(
    id=11,
    code="ABC12",
    email=ALICE,
    phone=PHONE,
    datetime=PLACED,
    total=Decimal("46.00"),
    event=SimpleNamespace(currency="EUR"),
    positions=Related(
        SimpleNamespace(id=1, item_id=1345, price=Decimal("23.00")),
        SimpleNamespace(id=2, item_id=1345, price=Decimal("23.00")),
    ),
)
pretix_rest = {
    "code": "ABC12",
    "event": "conf",
    "status": "p",
    "email": ALICE,
    "phone": PHONE,
    "datetime": "2026-11-22T15:28:02Z",
    "total": "23.00",
    "positions": [
        {"id": 23442, "positionid": 1, "item": 1345, "variation": None, "price": "23.00"}
    ],
}
shuup = ShuupOrder(
    id=5,
    identifier="S-5",
    reference_number=50001,
    currency="EUR",
    taxful_total_price=SimpleNamespace(value=Decimal("59.90"), currency="EUR"),
    email=ALICE,
    phone=PHONE,
    order_date=PLACED,
    ip_address="203.0.113.9",
    lines=Related(
        SimpleNamespace(
            id=8,
            sku="MUG-01",
            quantity=Decimal("2.000000000"),
            price=Money("59.90"),
            taxful_base_unit_price=SimpleNamespace(value=Decimal("29.95"), currency="EUR"),
        )
    ),
)
salesman = SalesmanOrder(
    id=9,
    ref="2026-00009",
    token="secret",
    email=ALICE,
    total=Decimal("59.90"),
    date_created=PLACED,
    user=None,
    items=Related(
        SimpleNamespace(id=3, code="MUG-01", product_id=17, unit_price=Decimal("29.95"), quantity=2)
    ),
)
odoo = OdooOrder(
    id=7,
    name="S00007",
    amount_total=59.90,
    currency_id=SimpleNamespace(name="EUR"),
    partner_id=SimpleNamespace(email=ALICE, phone=PHONE),
    date_order=PLACED,
    order_line=[
        SimpleNamespace(
            id=4,
            product_id=SimpleNamespace(default_code="MUG-01"),
            product_uom_qty=2.0,
            price_unit=29.95,
        )
    ],
)
woocommerce = {
    "id": 727,
    "number": "727",
    "order_key": "wc_order_58d2d042d1d",
    "currency": "EUR",
    "date_created": "2026-11-22T16:28:02",
    "date_created_gmt": "2026-11-22T15:28:02",
    "total": "59.90",
    "customer_ip_address": "203.0.113.9",
    "customer_user_agent": "Firefox",
    "billing": {"email": ALICE, "phone": PHONE, "country": "GB"},
    "shipping": {"country": "GB", "phone": ""},
    "line_items": [
        {
            "id": 315,
            "name": "Mug",
            "product_id": 93,
            "variation_id": 0,
            "sku": "",
            "quantity": 2,
            "total": "59.90",
            "price": 29.949999999999996,
        }
    ],
}
shopify = {
    "id": 5550789469,
    "admin_graphql_api_id": "gid://shopify/Order/5550789469",
    "name": "#1001",
    "number": 1,
    "order_number": 1001,
    "email": "",
    "contact_email": ALICE,
    "phone": None,
    "created_at": "2026-11-22T16:28:02+01:00",
    "currency": "EUR",
    "total_price": "59.90",
    "browser_ip": "203.0.113.7",
    "client_details": {"browser_ip": "203.0.113.7", "user_agent": "Firefox"},
    "billing_address": {"phone": PHONE, "country": "United Kingdom", "country_code": "GB"},
    "line_items": [
        {
            "id": 466157049,
            "sku": None,
            "product_id": 632910392,
            "variant_id": 39072856,
            "quantity": 2,
            "price": "29.95",
            "title": "Mug",
        }
    ],
}
shopify_graphql = {
    "id": "gid://shopify/Order/5550789469",
    "legacyResourceId": "5550789469",
    "name": "#1001",
    "createdAt": "2026-11-22T15:28:02Z",
    "currencyCode": "EUR",
    "totalPriceSet": {
        "shopMoney": {"amount": "59.9", "currencyCode": "EUR"},
        "presentmentMoney": {"amount": "65.1", "currencyCode": "USD"},
    },
    "clientIp": "203.0.113.7",
    "customer": {"email": ALICE, "phone": PHONE},
    "billingAddress": {"countryCodeV2": "GB", "phone": None},
    "lineItems": {
        "edges": [
            {
                "node": {
                    "id": "gid://shopify/LineItem/1",
                    "sku": "MUG-01",
                    "title": "Mug",
                    "quantity": 2,
                    "originalUnitPriceSet": {
                        "shopMoney": {"amount": "29.95", "currencyCode": "EUR"}
                    },
                }
            }
        ]
    },
}
magento = {
    "entity_id": 1,
    "increment_id": "000000001",
    "created_at": "2026-11-22 15:28:02",
    "customer_email": ALICE,
    "grand_total": 59.9,
    "base_grand_total": 59.9,
    "order_currency_code": "EUR",
    "base_currency_code": "EUR",
    "remote_ip": "203.0.113.4",
    "items": [
        {"item_id": 1, "sku": "MUG-01", "qty_ordered": 2, "price": 29.95, "product_id": 1428},
        {
            "item_id": 2,
            "parent_item_id": 1,
            "sku": "MUG-01",
            "qty_ordered": 2,
            "price": 0,
            "product_id": 1412,
        },
    ],
    "billing_address": {"email": ALICE, "telephone": PHONE, "country_id": "GB"},
}
bigcommerce = {
    "id": 100,
    "date_created": "Sun, 22 Nov 2026 15:28:02 +0000",
    "total_ex_tax": "50.3400",
    "total_inc_tax": "59.9000",
    "currency_code": "EUR",
    "ip_address": "203.0.113.5",
    "billing_address": {"email": ALICE, "phone": PHONE, "country_iso2": "GB"},
    "products": {"url": "https://shop.example/v2/orders/100/products", "resource": "/orders/100"},
}
prestashop = {
    "id": 5,
    "reference": "KHWLILZLL",
    "id_currency": "1",
    "total_paid": "59.900000",
    "total_paid_tax_incl": "59.900000",
    "date_add": "2026-11-22 16:28:02",
    "associations": {
        "order_rows": [
            {
                "id": "3",
                "product_id": "2",
                "product_reference": "MUG-01",
                "product_quantity": "2",
                "unit_price_tax_incl": "29.950000",
            }
        ]
    },
}
stripe_session = {
    "id": "cs_test_1",
    "object": "checkout.session",
    "client_reference_id": "A-1002",
    "amount_total": 5990,
    "currency": "eur",
    "created": 1795361282,
    "customer_details": {"email": ALICE, "phone": PHONE, "address": {"country": "GB"}},
    "payment_intent": "pi_1",
    "line_items": {
        "data": [
            {
                "id": "li_1",
                "description": "Mug",
                "quantity": 2,
                "price": {
                    "id": "price_1",
                    "product": "MUG-01",
                    "unit_amount": 2995,
                    "currency": "eur",
                },
            }
        ]
    },
}
mollie = {
    "resource": "payment",
    "id": "tr_7UhSN1zuXS",
    "amount": {"value": "59.90", "currency": "EUR"},
    "metadata": {"order_id": "A-1003"},
    "createdAt": "2026-11-22T15:20:00+00:00",
    "paidAt": "2026-11-22T15:28:02+00:00",
    "billingAddress": {"email": ALICE, "phone": PHONE, "country": "GB"},
    "lines": [
        {
            "sku": "MUG-01",
            "description": "Mug",
            "quantity": 2,
            "unitPrice": {"value": "29.95", "currency": "EUR"},
        }
    ],
}
paypal = {
    "id": "5O190127TN364715T",
    "intent": "CAPTURE",
    "create_time": "2026-11-22T15:28:02Z",
    "payer": {
        "email_address": ALICE,
        "phone": {"phone_number": {"national_number": "2079460958"}},
        "address": {"country_code": "GB"},
    },
    "purchase_units": [
        {
            "invoice_id": "A-1004",
            "amount": {"currency_code": "EUR", "value": "59.90"},
            "items": [
                {
                    "name": "Mug",
                    "sku": "MUG-01",
                    "quantity": "2",
                    "unit_amount": {"currency_code": "EUR", "value": "29.95"},
                }
            ],
        }
    ],
}
SHOPS: Final = (
    Shop("django-oscar", oscar, "100002"),
    Shop("Saleor", saleor, "1234"),
    Shop(
        "pretix, model",
        pretix_model,
        "ABC12",
        total="46.00",
        lines=(("1345", 1, "23.00"), ("1345", 1, "23.00")),
        fields={"order_id": "code", "currency": "event.currency"},
    ),
    Shop(
        "pretix, REST",
        pretix_rest,
        "ABC12",
        total="23.00",
        currency=None,
        lines=(("1345", 1, "23.00"),),
    ),
    Shop("Shuup", shuup, "5"),
    Shop(
        "django-salesman",
        salesman,
        "2026-00009",
        currency=None,
        lines=(("17", 2, "29.95"),),
        fields={"order_id": "ref"},
        phone=False,
    ),
    Shop(
        "Odoo",
        odoo,
        "S00007",
        total="59.9",
        fields={
            "order_id": "name",
            "currency": "currency_id.name",
            "items": "order_line",
            "email": "partner_id.email",
            "phone": "partner_id.phone",
            "item": {"id": "product_id.default_code"},
        },
    ),
    Shop(
        "Shopify, webhook and Admin API", shopify, "5550789469", lines=(("632910392", 2, "29.95"),)
    ),
    Shop("Shopify, GraphQL", shopify_graphql, "5550789469", total="59.9"),
    Shop("WooCommerce", woocommerce, "727", lines=(("93", 2, "29.95"),)),
    Shop("Magento, `from_magento`", magento, "000000001", total="59.9", read=orders.from_magento),
    Shop("BigCommerce", bigcommerce, "100", total="59.9000", lines=()),
    Shop(
        "PrestaShop",
        prestashop,
        "5",
        total="59.900000",
        currency=None,
        lines=(("2", 2, "29.950000"),),
        phone=False,
        placed=False,
    ),
    Shop("Stripe, `from_stripe`", stripe_session, "A-1002", read=orders.from_stripe),
    Shop("Mollie, `from_mollie`", mollie, "A-1003", read=orders.from_mollie),
    Shop("PayPal, `from_paypal`", paypal, "A-1004", read=orders.from_paypal),
)


def table() -> list[str]:
    """Return the rows of the documentation's table of what is read from where."""
    rows = []
    for shop in SHOPS:
        if shop.read is None:
            found = shop.explained()
            cells = [f"`{found[name]}`" if found[name] else "—" for name in _COLUMNS]
            rows.append(f"| {shop.name} | {' | '.join(cells)} |")
    return rows


def register() -> None:
    """Register the classes that need it."""
    from adcp_tracker import register_order  # noqa: PLC0415 - for those who print the table

    for shop in SHOPS:
        if shop.fields is not None:
            register_order(type(shop.order), **shop.fields)


if __name__ == "__main__":
    register()
