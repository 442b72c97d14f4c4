"""Convert the values of orders as shops keep them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from enum import Enum
from typing import Final
from uuid import UUID

from adcp_tracker.events.parsing import (
    MAX_NUMBER,
    is_absent,
    parse_amount,
    parse_money,
    parse_time,
    unbox,
)
from adcp_tracker.orders._attributes import get_attribute

_LAZY_TEXTS: Final = frozenset({"__proxy__", "LazyString", "LazyProxy", "_LazyString"})
_find_port: Final = re.compile(
    r"([0-9]{1,3}(?:\.[0-9]{1,3}){3}):[0-9]{1,5}|\[([0-9A-Fa-f:.]{2,45})\](?::[0-9]{1,5})?"
).fullmatch
_is_country: Final = re.compile(r"[A-Za-z]{2}").fullmatch
_CODE_LENGTH: Final = 3
_MAX_QUANTITY_DIGITS: Final = 16
_MAX_ID_BITS: Final = 1024


def parse_id(value: object) -> object:
    """Return a key as text. Return the value unchanged if it isn't one."""
    if is_absent(value):
        return None
    if isinstance(value, (str, UUID)):
        return value if isinstance(value, str) else str(value)
    value = unbox(value)
    if type(value) is float and value.is_integer() and abs(value) < MAX_NUMBER:
        return str(int(value))  # as pandas keeps integers in a column with gaps
    if type(value) is int and value.bit_length() <= _MAX_ID_BITS:
        return str(value)
    return value


def parse_quantity(value: object) -> object:
    """Parse a whole number that a shop keeps as text, as a float or as a Decimal."""
    if type(value) is int:
        return value
    if is_absent(value):
        return None
    number = parse_amount(value)
    if type(number) is int:
        return number
    if (
        isinstance(number, Decimal)
        and number.is_finite()
        and number.adjusted() < _MAX_QUANTITY_DIGITS
        and number == number.to_integral_value()
    ):
        return int(number)
    return value


def parse_currency(value: object) -> object:
    """Parse a currency code, also in small letters or of an object that has one."""
    if value is None or is_absent(value):
        return None
    if isinstance(value, Enum) and not isinstance(value, str):
        value = value.value
    if not isinstance(value, str):
        for name in ("code", "iso_code", "currency_code", "iso"):
            code = value.get(name) if isinstance(value, Mapping) else get_attribute(value, name)
            if isinstance(code, str):
                return parse_currency(code)
        return value
    code = value.strip().upper()
    is_code = len(code) == _CODE_LENGTH and code.isascii() and code.isalpha()
    return code if is_code and code != value else value


def parse_total(value: object) -> object:
    """Parse a total: an amount, or an amount and its currency."""
    kind = type(value)
    if kind is int or (kind is float and value == value):  # noqa: PLR0124 - not NaN
        return parse_amount(value)
    if is_absent(value):
        return value if kind is Decimal and value.is_snan() else None  # type: ignore[attr-defined]
    if isinstance(value, (str, int, float, Decimal)):
        return parse_amount(value)
    amount, currency = parse_money(value)
    if amount is None:
        return parse_amount(value)
    return amount if currency is None else (amount, currency)


def parse_price(value: object) -> object:
    if type(value) is float and value == value:  # noqa: PLR0124 - not NaN
        return parse_amount(value)
    return None if is_absent(value) else parse_amount(value)


def parse_text(value: object) -> object:
    """Return text, also of an enumeration or a lazy translation; ``None`` if it's blank."""
    if isinstance(value, Enum):
        value = value.value
    if type(value).__name__ in _LAZY_TEXTS:
        value = str(value)
    return None if is_absent(value) else value


def parse_brand(value: object) -> object:
    """Return a brand's name, which may be kept in an object of its own."""
    value = parse_text(value)
    if value is None or isinstance(value, (str, int, float)):
        return value
    name = value.get("name") if isinstance(value, Mapping) else get_attribute(value, "name")
    return name if isinstance(name, str) else value


def parse_product_id(value: object) -> object:
    """Return an item's id; 0 is what shops write for a product that has no variants."""
    if type(value) is int and value == 0:
        return None
    parsed = parse_id(value)
    return parsed if isinstance(parsed, (str, int, float)) else None


def parse_ip(value: object) -> object:
    """Return an IP address as text, without the port that some proxies append."""
    if not isinstance(value, str):
        known = type(value).__name__ in {"IPv4Address", "IPv6Address"}
        return str(value) if known else None if is_absent(value) else value
    text = value.strip()
    found = _find_port(text)
    return (found[1] or found[2] if found else text) or None


def parse_country(value: object) -> object:
    """Return a country's code of two letters; ``None`` of anything else."""
    if not isinstance(value, str):
        for name in ("code", "iso_3166_1_a2", "iso_code", "alpha_2"):
            code = value.get(name) if isinstance(value, Mapping) else get_attribute(value, name)
            if isinstance(code, str):
                value = code
                break
    return value.upper() if isinstance(value, str) and _is_country(value) else None


def parse_created_at(value: object) -> object:
    return None if is_absent(value) else parse_time(value)


def present(value: object) -> object:
    return None if is_absent(value) else value
