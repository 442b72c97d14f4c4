"""Parse amounts exactly, and know how many decimals each currency has."""

from __future__ import annotations

import re
from decimal import Context, Decimal, Inexact
from typing import TYPE_CHECKING, Final

from adcp_tracker.exceptions import FieldError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_WITH_CENTS: Final = """
    AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BRL BSD BTN BWP BYN BZD CAD
    CDF CHF CNY COP CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD
    HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD
    MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON
    RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD
    TZS UAH USD UYU UZS VED VES WST XCD XCG YER ZAR ZMW ZWG
"""
_WHOLE: Final = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"
_WITH_MILLS: Final = "BHD IQD JOD KWD LYD OMR TND"
_WITH_TENTHS_OF_MILLS: Final = "CLF UYW"

DECIMALS: Final[Mapping[str, int]] = {
    **dict.fromkeys(_WITH_CENTS.split(), 2),
    **dict.fromkeys(_WHOLE.split(), 0),
    **dict.fromkeys(_WITH_MILLS.split(), 3),
    **dict.fromkeys(_WITH_TENTHS_OF_MILLS.split(), 4),
}
"""The number of decimals of each ISO 4217 currency."""

EXACT: Final = Context(prec=200, traps=[Inexact])
"""A decimal context that raises instead of rounding, whatever the host's context is."""

_UNKNOWN: Final = 1000
_CENT: Final = Decimal("0.01")
CENTS: Final = frozenset(_WITH_CENTS.split())
"""Currencies with two decimals, as most have."""

_is_number: Final = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?").fullmatch


def from_minor(amount: int, currency: str) -> Decimal:
    """Convert an amount in a currency's smallest unit, such as cents.

    Args:
        amount: As payment providers count it: 1999 is 19.99 USD, 1999 JPY, 1.999 KWD.
        currency: A code of ISO 4217.

    Raises:
        KeyError: If the currency is not in ISO 4217, so that its units are unknown.
    """
    return Decimal(amount).scaleb(-DECIMALS[currency], EXACT)


def parse_amount(value: object) -> object:
    """Parse an amount. Return the value unchanged if it isn't one.

    Args:
        value: A number, a string with a number, or an object with an ``amount``.
            A float is read by its decimal digits, not by its binary value.
    """
    if type(value) is Decimal or type(value) is int:
        return value
    if type(value) is float:
        return Decimal(repr(value))
    if isinstance(value, str):
        return Decimal(value.strip()) if _is_number(value.strip()) else value
    amount = getattr(value, "amount", None)
    return value if amount is None else parse_amount(amount)


def sum_lines(lines: Iterable[tuple[object, object]]) -> Decimal | None:
    """Return the sum of quantity times price; ``None`` if any of them isn't a number."""
    total = Decimal(0)
    for quantity, price in lines:
        if type(quantity) is not int or type(price) not in (int, Decimal):
            return None
        try:
            total = EXACT.fma(quantity, price, total)  # type: ignore[arg-type]
        except ArithmeticError:
            return None
    return total


def fits_currency(amount: Decimal, currency: object) -> bool:
    """Return whether `amount` has no more decimals than its currency."""
    if type(currency) is not str or (amount.same_quantum(_CENT) and currency in CENTS):
        return True
    return not check_decimals(amount, currency, "$")


def check_decimals(amount: Decimal, currency: object, path: str) -> tuple[FieldError, ...]:
    """Return an error if `amount` has more decimals than its currency.

    Trailing zeros don't count, so 59.9000 EUR and 1999.00 JPY are fine. A currency that is
    not in ISO 4217 may have any number of decimals.

    Returns:
        One error or none.
    """
    allowed = DECIMALS.get(currency, _UNKNOWN) if isinstance(currency, str) else _UNKNOWN
    found = _decimals(amount)
    if found <= allowed:
        return ()
    return (FieldError(path, f"at most {allowed} decimals in {currency}", f"{found} of them"),)


def _decimals(amount: Decimal) -> int:
    _, digits, exponent = amount.as_tuple()
    if not isinstance(exponent, int):  # Not finite; validation rejects it.
        return 0
    trailing = len(digits) - len("".join(map(str, digits)).rstrip("0"))
    return -exponent - trailing if any(digits) else 0
