"""The one purchase that every client is given, ever with another number.

All of them get the same facts: order id, value, currency, e-mail, phone, address, user agent,
page and two items, about 600 bytes as JSON.
Peers get them as the dict of properties that their calls take, with floats for money because
several of them refuse or lose a ``Decimal``, and unhashed because none of them hashes.
The objects are made before the clock starts, in the caller's stead.
"""

from __future__ import annotations

USER_AGENT = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 "
    "(KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
)
PAGE = "https://shop.example/checkout/thank-you"
EVENT_NAME = "Order Completed"


def order_id(number: int) -> str:
    """Name the sale."""
    return f"W-{number:010d}"


def email(number: int) -> str:
    """Give the shopper's address, the way a shopper types it."""
    return f"Shopper.{number}@Example.com"


def phone(number: int) -> str:
    """Give the shopper's number in E.164."""
    return f"+1206555{number % 10_000:04d}"


def client_ip(number: int) -> str:
    """Give a public address."""
    return f"93.184.{number // 250 % 250}.{number % 250 + 1}"


def customer(number: int) -> str:
    """Give the id that peers want for the person."""
    return f"customer-{number}"


def properties(number: int) -> dict[str, object]:
    """Give the facts as peers take them."""
    return {
        "order_id": order_id(number),
        "value": 129.9,
        "currency": "EUR",
        "email": email(number),
        "phone": phone(number),
        "client_ip": client_ip(number),
        "client_user_agent": USER_AGENT,
        "event_source_url": PAGE,
        "items": [
            {"id": "SKU-10023", "quantity": 1, "price": 49.9, "brand": "Northwind"},
            {"id": "SKU-20417", "quantity": 2, "price": 40.0, "brand": "Contoso"},
        ],
    }


def record(number: int) -> bytes:
    """Give the 604 bytes that a store appends for one event."""
    return f'{{"event_id":"{order_id(number)}","filling":"'.encode().ljust(602, b"x") + b'"}'
