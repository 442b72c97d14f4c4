"""Recognize payloads that only look like an order, and name the function that reads them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from adcp_tracker.exceptions import FieldError, InvalidEventError

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
