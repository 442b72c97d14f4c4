"""The names under which shops keep the fields of an order, its lines and its shopper."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from adcp_tracker.exceptions import FieldError, InvalidEventError

ORDER_ID_NAMES: Final = (
    "order_id",
    "order_number",
    "increment_id",
    "number",
    "id",
    "reference_number",
    "order_reference",
    "order_ref",
    "order_code",
    "order_no",
    "reference",
    "ref",
    "code",
    "identifier",
    "uuid",
)
"""Names of an order's id; the first one with a value wins."""

PRIMARY_KEY: Final = "id"
UNSURE_ID: Final = "number"
"""A name of the order's id, and in some shops of the number of its pieces."""

SHOPIFY_KEY: Final = "admin_graphql_api_id"
"""A key that only payloads of Shopify have."""

SHOPIFY_ID_NAMES: Final = (
    "order_id",
    "legacy_resource_id",
    PRIMARY_KEY,
    "order_number",
    UNSURE_ID,
)

ORDER_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "order_id": ORDER_ID_NAMES,
    "total": (
        "total",
        "grand_total",
        "total_price",
        "total_amount",
        "total_incl_tax",
        "value",
        "amount",
        "total_inc_tax",
        "amount_total",
        "total_paid",
        "order_total",
        "total_gross_amount",
        "total_gross",
        "taxful_total_price",
        "current_total_price",
        "total_price_set",
        "current_total_price_set",
        "gross_total",
        "final_total",
    ),
    "currency": (
        "currency",
        "currency_code",
        "order_currency_code",
        "order_currency",
        "currency_iso_code",
        "currency_iso",
        "iso_currency",
        "presentment_currency",
    ),
    "items": (
        "items",
        "line_items",
        "lines",
        "order_items",
        "positions",
        "order_lines",
        "order_rows",
        "order_products",
        "products",
        "cart_items",
        "orderitem_set",
        "orderline_set",
        "lineitem_set",
        "line_set",
        "item_set",
        "associations",
    ),
    "email": (
        "email",
        "customer_email",
        "email_address",
        "hashed_email",
        "user_email",
        "contact_email",
        "guest_email",
        "receipt_email",
        "billing_email",
        "buyer_email",
        "shopper_email",
        "payer_email",
    ),
    "phone": (
        "phone",
        "phone_number",
        "customer_phone",
        "hashed_phone",
        "telephone",
        "mobile",
        "mobile_phone",
        "phone_mobile",
        "billing_phone",
        "contact_phone",
        "customer_telephone",
    ),
    "created_at": (
        "created_at",
        "placed_at",
        "ordered_at",
        "date_placed",
        "date_created",
        "date_created_gmt",
        "date_paid_gmt",
        "processed_at",
        "datetime",
        "order_date",
        "date_ordered",
        "created_on",
        "created",
        "date_add",
        "date_order",
        "create_time",
        "purchased_at",
        "paid_at",
    ),
    "client_ip": (
        "client_ip",
        "ip_address",
        "customer_ip_address",
        "ip",
        "browser_ip",
        "remote_ip",
        "customer_ip",
        "remote_addr",
    ),
    "client_user_agent": (
        "client_user_agent",
        "user_agent",
        "customer_user_agent",
        "http_user_agent",
    ),
    "event_source_url": ("event_source_url",),
    "click_id": ("click_id",),
    "click_id_type": ("click_id_type",),
    "uids": ("uids",),
    "custom": ("custom", "custom_data"),
    "country": ("country_code", "country", "country_iso2", "country_id", "country_code_v2"),
}
"""Names of the fields of an :class:`.Order`; the first one with a value wins.

If an order has several names for its id, see :func:`.choose_id`.
"""

ITEM_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "id": (
        "sku",
        "partner_sku",
        "product_sku",
        "product_id",
        "item_id",
        "variant_id",
        "variation_id",
        "product_code",
        "product_reference",
        "reference",
        "code",
        "upc",
        "ean",
        "gtin",
        "item",
        "id",
    ),
    "quantity": (
        "quantity",
        "qty",
        "qty_ordered",
        "quantity_ordered",
        "product_quantity",
        "product_qty",
        "product_uom_qty",
        "item_quantity",
        "quantity_purchased",
    ),
    "price": (
        "taxful_discounted_unit_price",
        "taxful_base_unit_price",
        "price",
        "unit_price",
        "unit_price_incl_tax",
        "price_incl_tax",
        "price_inc_tax",
        "unit_price_gross_amount",
        "unit_price_gross",
        "unit_price_tax_incl",
        "discounted_unit_price_set",
        "original_unit_price_set",
        "price_unit",
        "product_price",
        "item_price",
        "price_set",
    ),
    "brand": ("brand",),
    "name": ("name", "title", "product_name", "item_name", "product_title"),
}
"""Names of the fields of an :class:`.OrderItem`; a line's own id is the last resort."""

CONTACT_NAMES: Final = {name: ORDER_NAMES[name] for name in ("email", "phone", "country")}
"""Names of what a person or an address has."""

CLIENT_NAMES: Final = {
    "client_ip": ORDER_NAMES["client_ip"],
    "client_user_agent": ORDER_NAMES["client_user_agent"],
}
"""Names of what is known of the shopper's browser."""

CONTACT_FIELDS: Final = (
    "customer",
    "billing_address",
    "billing",
    "user",
    "buyer",
    "shipping_address",
    "customer_details",
    "invoice_address",
    "shipping",
)
"""Where shops keep an e-mail address or phone number that is not on the order itself."""

CLIENT_FIELDS: Final = ("client_details",)
"""Where shops keep the shopper's browser, if not on the order itself."""

PRODUCT_FIELDS: Final = ("variant", "product", "item")
"""Where shops keep an item's id that is not on the line itself."""

_WORDS_FOR_PIECES: Final = """
    quantity quantities qty pieces pcs units count menge anzahl cantidad quantite quantita
    quantidade antal ilosc aantal
"""
_QUANTITY_WORDS: Final = frozenset(_WORDS_FOR_PIECES.split())
_split_humps: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])").sub


def canonical(name: str) -> str:
    """Return a name in small letters with underscores, such as ``total_price``."""
    return _split_humps("_", name).lower().replace(" ", "_").replace("-", "_")


def looks_like_quantity(name: str) -> bool:
    """Return whether a canonical name could be that of a number of pieces."""
    return not _QUANTITY_WORDS.isdisjoint(name.split("_"))


_IDS_OF_CONVERSIONS: Final = """
    transaction_id receipt_number receipt_no receipt invoice_number deal_id opportunity_id lead_id
    record_id conversion_id
"""

ALL_NAMES: Final = frozenset({SHOPIFY_KEY, *SHOPIFY_ID_NAMES}).union(
    *ORDER_NAMES.values(), CONTACT_FIELDS, CLIENT_FIELDS
)
"""All names that an order is read from."""

ALL_ITEM_NAMES: Final = frozenset(PRODUCT_FIELDS).union(*ITEM_NAMES.values())
"""All names that a line of an order is read from."""

CONVERSION_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "order_id": (*ORDER_ID_NAMES, *_IDS_OF_CONVERSIONS.split()),
    "event_id": ("event_id",),
    "event_type": ("event_type", "event_name", "conversion_type"),
    "created_at": (
        *ORDER_NAMES["created_at"],
        "event_time",
        "conversion_time",
        "close_date",
        "closed_at",
        "sold_at",
        "timestamp",
        "date",
        "time",
    ),
    "time_of_day": ("time_of_day", "time"),
    "total": (*ORDER_NAMES["total"], "order_value", "conversion_value", "revenue"),
    "currency": (*ORDER_NAMES["currency"], "conversion_currency", "amount_currency"),
    "refund_id": ("refund_id", "refund_number", "credit_note"),
    "refund_amount": ("refund_amount", "refunded_amount", "amount_refunded"),
    "email": (*ORDER_NAMES["email"], "e_mail", "mail"),
    "phone": ORDER_NAMES["phone"],
    "country": (*ORDER_NAMES["country"], "billing_country"),
    "client_ip": ORDER_NAMES["client_ip"],
    "client_user_agent": ORDER_NAMES["client_user_agent"],
    "event_source_url": ORDER_NAMES["event_source_url"],
    "click_id": ORDER_NAMES["click_id"],
    "click_id_type": ORDER_NAMES["click_id_type"],
    "action_source": ("action_source",),
    "custom_event_name": ("custom_event_name",),
    "consent": ("consent", "ad_user_data"),
    "items": ORDER_NAMES["items"],
    "item_id": ("lineitem_sku", "item_sku", "item_id", "sku", "product_sku", "product_id"),
    "item_quantity": ("lineitem_quantity", "item_quantity", "quantity", "qty"),
    "item_price": ("lineitem_price", "item_price", "unit_price"),
    "item_name": ("lineitem_name", "item_name", "product_name"),
    "item_brand": ("item_brand", "brand"),
    "gclid": ("gclid", "google_click_id", "google_ad_click_id"),
    "fbclid": ("fbclid", "facebook_click_id"),
    "msclkid": ("msclkid", "microsoft_click_id"),
    "maid": ("maid", "madid"),
}
"""Names of a conversion's fields as columns of a file; the first one that is there is taken."""


FOREIGN_KEYS: Final = frozenset(
    {"object", "entity", "event_type", "purchase_units", "amount", "amount_total", "charge_date"}
)
"""Keys that call for a closer look."""

_ENVELOPE: Final = "an order, not a webhook's envelope"
_MINOR: Final = "an order with amounts in the currency's main unit"
_RAZORPAY: Final = frozenset({"payment", "order", "refund", "invoice", "payment_link"})
_is_gocardless: Final = re.compile(r"(?:PM|RF|BRQ|IN|SB)[0-9A-Z]+").fullmatch
_is_minor_id: Final = re.compile(
    r"(?:pi|ch|py|cs|in|re|order|pay|rfnd|plink)_[A-Za-z0-9_]+"
).fullmatch


def reject_foreign_payload(source: Mapping[str, object]) -> None:
    """Raise if a payload is an envelope, or counts in minor units.

    Raises:
        InvalidEventError: If so; it names the function to use.
    """
    found = _envelope(source) or _minor_units(source)
    if found is not None:
        expected, got, remedy = found
        raise InvalidEventError([FieldError("$", f"{expected}; {remedy}", got)])


def _envelope(source: Mapping[str, object]) -> tuple[str, str, str] | None:
    if source.get("object") == "event":
        return _ENVELOPE, "an event of Stripe", "use orders.from_stripe(event)"
    if source.get("entity") == "event" and isinstance(source.get("payload"), Mapping):
        return _ENVELOPE, "an event of Razorpay", _from_minor("razorpay")
    if isinstance(source.get("event_type"), str) and isinstance(source.get("resource"), Mapping):
        return _ENVELOPE, "an event of PayPal", "use orders.from_paypal(event)"
    if isinstance(source.get("purchase_units"), (list, tuple)) and "total" not in source:
        expected = "an order with its total"
        return expected, "an order of PayPal", "use orders.from_paypal(order)"
    return None


def _minor_units(source: Mapping[str, object]) -> tuple[str, str, str] | None:
    amount = next((source[name] for name in ("amount", "amount_total") if name in source), None)
    if type(amount) is not int or "total" in source:
        return None
    if isinstance(source.get("object"), str):
        return _MINOR, "an object of Stripe", "use orders.from_stripe(object)"
    own_id = source.get("id")
    if source.get("entity") in _RAZORPAY:
        return _MINOR, "an object of Razorpay", _from_minor("razorpay")
    if "charge_date" in source or (isinstance(own_id, str) and _is_gocardless(own_id)):
        return _MINOR, "a payment of GoCardless", _from_minor("gocardless")
    if isinstance(own_id, str) and _is_minor_id(own_id):
        return _MINOR, "a payment's id and a whole number as its amount", _from_minor("…")
    return None


def _from_minor(provider: str) -> str:
    return f"make an Order whose total is from_minor(amount, currency, provider={provider!r})"
