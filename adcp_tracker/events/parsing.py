"""Parse times, exact amounts, URLs and the other values of orders, as shops keep them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from decimal import Context, Decimal, Inexact
from enum import Enum
from functools import lru_cache, partial
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from urllib.parse import quote
from uuid import UUID

from adcp_tracker._platform import reraise_interruption
from adcp_tracker.exceptions import FieldError

if TYPE_CHECKING:
    from collections.abc import Iterable


Unvalidated: TypeAlias = Any
"""A value as it was given, which a rule is still to check."""

_match_time: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?"
    r" ?(?:([Zz]|UTC|GMT)|([+-])(\d\d)(?::?(\d\d))?)?",
    re.ASCII,
).fullmatch
_is_mail_date: Final = re.compile(
    r"(?:[A-Z][a-z]{2},? )?\d{1,2} [A-Z][a-z]{2} \d{4} \d\d:\d\d(?::\d\d)? (?:[+-]\d{4}|GMT|UTC?)",
    re.ASCII,
).fullmatch
_MAX_TIME: Final = 64
_FIRST_UNIX_TIME: Final = 946_684_800  # 2000-01-01
_LAST_UNIX_TIME: Final = 4_102_444_800  # 2100-01-01
_MS_PER_S: Final = 1000
_NULL_TYPES: Final = frozenset({"NAType", "NaTType", "MaskedConstant"})
_NEVER_NULL: Final = frozenset({int, bool, dict, list, tuple, bytes})


INVISIBLE: Final = (
    "\u00ad\u061c\u180e\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e"
    "\u2060\u2061\u2062\u2063\u2064\u2066\u2067\u2068\u2069\ufeff\ufff9\ufffa\ufffb"
)
"""Characters without a width: marks of direction, joiners, byte-order marks, soft hyphens."""

_CONTROLS: Final = "".join(map(chr, (*range(0x21), *range(0x7F, 0xA1))))
_BLANKS: Final = "\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
_UNSEEN: Final = f"{INVISIBLE}{_CONTROLS}{_BLANKS}\u2028\u2029\u202f\u205f\u3000"


def is_absent(value: object) -> bool:  # noqa: PLR0911 - a line a kind
    """Return whether a value stands for no value.

    That is ``None``, an empty or blank string, NaN, and the nulls of pandas and NumPy.
    """
    if value is None:
        return True
    kind = type(value)
    if kind in _NEVER_NULL:
        return False
    if isinstance(value, str):
        return not value or value.isspace()
    if isinstance(value, float):
        return value != value  # noqa: PLR0124 - only NaN differs from itself
    if isinstance(value, Decimal):
        return value.is_nan()
    if kind.__name__ in _NULL_TYPES:
        return True
    numpy_scalar = kind.__module__ == "numpy" and getattr(value, "ndim", 1) == 0
    return numpy_scalar and bool(value != value)  # noqa: PLR0124 - NaN and NaT


def parse_time(value: object) -> Unvalidated:
    """Parse a time. Return the value unchanged if it isn't one.

    Takes RFC 3339 and the forms of ISO 8601 that shops export, RFC 2822, Unix times in
    seconds or milliseconds, and NumPy's ``datetime64``. Digits after the microsecond are cut.
    """
    if isinstance(value, datetime):
        return value
    if not isinstance(value, str):
        return _from_number(value)
    text = clean_id(value) if len(value) <= _MAX_TIME else ""
    found = _match_time(text)
    if found is None:
        return _from_mail_date(text) or value
    *numbers, second, fraction, zulu, sign, hours, minutes = found.groups()
    zone = timezone.utc if zulu else None
    try:
        if sign:
            offset = timedelta(hours=int(hours), minutes=int(minutes or 0))
            zone = timezone(-offset if sign == "-" else offset) if offset else timezone.utc
        year, month, day, hour, minute = map(int, numbers)
        micro = int((fraction or "0").ljust(6, "0")[:6])
        return datetime(year, month, day, hour, minute, int(second or 0), micro, tzinfo=zone)
    except ValueError:
        return value


def _from_mail_date(text: str) -> datetime | None:
    """Parse a date of RFC 2822, as ``Fri, 02 Oct 2026 21:36:24 +0000``."""
    if not _is_mail_date(text):
        return None
    from email.utils import parsedate_to_datetime  # noqa: PLC0415 - rarely needed

    try:
        return parsedate_to_datetime(text)
    except ValueError:
        return None


def _from_number(value: object) -> Unvalidated:
    """Read a Unix time, if it can be one of this century, and a ``datetime64``."""
    if type(value).__name__ == "datetime64":
        return value.astype("datetime64[us]").item()  # type: ignore[attr-defined]  # NumPy's
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        for seconds in (value, value / _MS_PER_S if abs(value) < MAX_NUMBER else 0):
            if _FIRST_UNIX_TIME <= seconds < _LAST_UNIX_TIME:
                return datetime.fromtimestamp(seconds, timezone.utc)
    return value


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

MAX_NUMBER: Final = 2**53
"""Numbers are below this: every JSON parser holds them, and RFC 8785 can write them."""

EXACT: Final = Context(prec=200, traps=[Inexact])
"""A decimal context that raises instead of rounding, whatever the host's context is."""

_WITHDRAWN_WITH_CENTS: Final = "CUC EEK GHC HRK LTL LVL MRO SKK SLL STD VEB VEF ZMK ZWL"
_WITHDRAWN: Final[Mapping[str, int]] = {
    **dict.fromkeys(_WITHDRAWN_WITH_CENTS.split(), 2),
    "BYR": 0,
}
"""Currencies that have left ISO 4217, and that old orders still have."""

PROVIDER_DECIMALS: Final[Mapping[str, Mapping[str, int]]] = {
    "adyen": {"CLP": 2, "CVE": 0, "IDR": 0, "ISK": 2},
    "gocardless": {},
    "razorpay": {},
    "square": {},
    "stripe": {"ISK": 2, "MGA": 0, "UGX": 2},
    "sumup": {"COP": 0, "HUF": 0},
}
"""Where a provider counts minor units otherwise than ISO 4217 does, as its own pages say."""

_MAX_TEXT: Final = 64
_MAX_DIGITS: Final = 100
_NEAR: Final = 1e-9
_NEAR_DECIMALS: Final = 4
_PLAIN: Final = frozenset({int, float, Decimal, str, type(None)})
_MONEY_PARTS: Final = ("gross", "shop_money", "shopMoney")
_SCALES: Final = ("fractionDigits", "scale", "exponent", "precision")
_MOST_DECIMALS: Final = 4
_MONEY_CURRENCIES: Final = ("currency", "currency_code", "currencyCode", "amount_currency")
_UNKNOWN: Final = 1000
_CENT: Final = Decimal("0.01")
CENTS: Final = frozenset(_WITH_CENTS.split())
"""Currencies with two decimals, as most have."""

_is_number: Final = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?").fullmatch
_is_integer: Final = re.compile(r"[+-]?[0-9]{1,16}").fullmatch
_short: Final = Context(prec=_MAX_DIGITS, traps=[Inexact])


def from_minor(amount: int | str | None, currency: str, *, provider: str | None = None) -> Decimal:
    """Convert an amount in a currency's smallest unit, such as cents.

    Args:
        amount: As payment providers count it: 1999 is 19.99 USD, 1999 JPY, 1.999 KWD.
            A string of digits is accepted.
        currency: An ISO 4217 code, also in small letters or withdrawn.
        provider: The provider, such as ``stripe``, if it counts some currencies
            differently from ISO 4217.

    Raises:
        KeyError: If the currency isn't in ISO 4217, so that its units are unknown.
        ValueError: If `amount` isn't a whole number, or `provider` is unknown.
    """
    number = unbox(amount)
    if isinstance(number, str) and _is_integer(number.strip()):
        number = int(number)
    if type(number) is not int or abs(number) >= MAX_NUMBER:
        raise ValueError("amount: expected a whole number of minor units below 2^53")
    code = currency.strip().upper()
    decimals = DECIMALS[code] if code in DECIMALS else _WITHDRAWN[code]
    if provider is not None:
        decimals = _minor_units(provider).get(code, decimals)
    return Decimal(number).scaleb(-decimals, EXACT)


def _minor_units(provider: str) -> Mapping[str, int]:
    name = provider.strip().lower()
    if name not in PROVIDER_DECIMALS:
        expected = ", ".join(sorted(PROVIDER_DECIMALS))
        raise ValueError(f"provider: expected one of {expected}")
    return PROVIDER_DECIMALS[name]


def unbox(value: object) -> object:
    """Return the Python value of a NumPy scalar and of a subclass of int, float or Decimal."""
    kind = type(value)
    if kind in _PLAIN or kind is bool:
        return value
    if isinstance(value, Enum):
        return unbox(value.value)
    if kind.__module__.partition(".")[0] == "numpy" and getattr(value, "ndim", 1) == 0:
        item = getattr(value, "item", None)
        plain = value if item is None else item()
        # A float of 16 or 32 bits means the digits that it is written with.
        return float(str(value)) if type(plain) is float and plain - plain == 0 else plain
    for plain in (int, float, Decimal):
        if isinstance(value, plain):
            return plain(value)
    return value


def parse_amount(value: object) -> object:
    """Parse an amount. Return the value unchanged if it isn't one.

    Args:
        value: A number, a string with a number, or an object with an ``amount``.
            A float is read by its decimal digits, not by its binary value; one that is
            within 1e-9 of a ten-thousandth is that, as the sum of two prices is.
    """
    kind = type(value)
    if kind is Decimal or kind is int:
        return value
    if kind is float:
        return known_floats.get(value) or _from_float(value)  # type: ignore[call-overload, arg-type]
    if isinstance(value, str) and not isinstance(value, Enum):
        text = value.strip() if len(value) <= _MAX_TEXT else ""
        text = text if _is_number(text) else clean_id(text)
        return Decimal(text) if _is_number(text) else value
    if kind is bool or value is None:
        return value
    plain = unbox(value)
    if plain is not value:
        return parse_amount(plain)
    amount = parse_money(value)[0]
    return value if amount is None else amount


def parse_money(value: object, depth: int = 3) -> tuple[object, object]:
    """Return the amount of a money object, and its currency as far as the object knows it.

    Understands ``amount`` with ``currency``, ``value`` with ``currency``, prices with a
    ``gross``, Shopify's ``shopMoney``, and integers whose number of decimals stands beside them,
    as commercetools and Dinero have it. Other amounts that could be in minor units aren't read.

    Returns:
        The amount and the currency; ``(None, None)`` if `value` isn't a money object.
    """
    for name in _MONEY_PARTS:
        part = _part(value, name)
        if part is not None and depth:
            return parse_money(part, depth - 1)
    currencies = (_part(value, name) for name in _MONEY_CURRENCIES)
    currency = next((each for each in currencies if not is_absent(each)), None)
    amount = _part(value, "amount")
    scaled = _scaled(value, amount) if isinstance(value, Mapping) else None
    if scaled is not None:
        return scaled, currency
    if amount is None and currency is not None:
        amount = _part(value, "value")
        if isinstance(value, Mapping) and type(amount) is int:
            return None, None  # Adyen's, in minor units
    if isinstance(amount, (str, int, float, Decimal)) or hasattr(type(amount), "item"):
        return parse_amount(amount), currency
    return None, None


def _scaled(money: Mapping[str, object], amount: object) -> Decimal | None:
    """Return an amount in minor units whose number of decimals its mapping says."""
    whole = money.get("centAmount", amount)
    decimals = next((money[name] for name in _SCALES if name in money), None)
    if type(whole) is not int or type(decimals) is not int or not 0 <= decimals <= _MOST_DECIMALS:
        return None
    return Decimal(whole).scaleb(-decimals, EXACT) if abs(whole) < MAX_NUMBER else None


def _part(value: object, name: str) -> object:
    if isinstance(value, Mapping):
        return value.get(name)
    try:
        return getattr(value, name, None)
    except Exception as error:  # noqa: BLE001 - the shop's own property
        reraise_interruption(error)
        return None


def _from_float(value: float) -> Decimal:
    near = round(value, _NEAR_DECIMALS)
    amount = Decimal(repr(near if near and abs(near - value) <= _NEAR else value))
    if value == value:  # noqa: PLR0124 - NaN is never found again
        if len(known_floats) >= _MAX_FLOATS:
            known_floats.clear()
        known_floats[value] = amount
    return amount


_MAX_FLOATS: Final = 4096
known_floats: Final[dict[float, Decimal]] = {}
"""Amounts read before, as prices repeat."""


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
    try:
        # A million digits are cut off before they become a tuple.
        _, digits, exponent = _short.plus(amount).as_tuple()
    except ArithmeticError:
        return _UNKNOWN + 1
    if not isinstance(exponent, int):  # Not finite; validation rejects it.
        return 0
    trailing = len(digits) - len("".join(map(str, digits)).rstrip("0"))
    return -exponent - trailing if any(digits) else 0


_LAZY_TEXTS: Final = frozenset({"__proxy__", "LazyString", "LazyProxy", "_LazyString"})
_match_port: Final = re.compile(
    r"([0-9]{1,3}(?:\.[0-9]{1,3}){3}):[0-9]{1,5}|\[([0-9A-Fa-f:.]{2,45})\](?::[0-9]{1,5})?"
).fullmatch
_is_country: Final = re.compile(r"[A-Za-z]{2}").fullmatch
_CODE_LENGTH: Final = 3
_MAX_QUANTITY_DIGITS: Final = 16
_MAX_ID_BITS: Final = 1024
_MAX_ID_DIGITS: Final = 27


def clean_id(text: str) -> str:
    """Return an id without blanks, line breaks and invisible characters around it.

    Files and pasted texts often end in them. They are never meant as a part of the id.
    """
    text = str.strip(text)
    return text if text.isprintable() else text.strip(_UNSEEN)


def parse_id(value: object) -> object:
    """Return a key as text, see :func:`clean_id`. Return the value unchanged if it isn't one."""
    if is_absent(value):
        return None
    value = str(value) if type(value).__name__ in _LAZY_TEXTS else unbox(value)
    if isinstance(value, (str, UUID)):
        return clean_id(value if isinstance(value, str) else str(value)) or None
    if type(value) is float and value.is_integer() and abs(value) < MAX_NUMBER:
        return str(int(value))  # as pandas keeps integers in a column with gaps
    if isinstance(value, Decimal) and value.is_finite() and value.adjusted() < _MAX_ID_DIGITS:
        return str(int(value)) if value % 1 == 0 else value  # Oracle's NUMBER comes as a Decimal
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
            code = _part(value, name)
            if isinstance(code, str):
                return parse_currency(code)
        return value
    code = clean_id(value).upper()
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
    """Parse an amount; ``None`` if there is none."""
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
    name = _part(value, "name")
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
    text = clean_id(value)
    found = _match_port(text)
    return (found[1] or found[2] if found else text) or None


def parse_country(value: object) -> object:
    """Return a country's code of two letters; ``None`` for anything else."""
    if not isinstance(value, str):
        for name in ("code", "iso_3166_1_a2", "iso_code", "alpha_2"):
            code = _part(value, name)
            if isinstance(code, str):
                value = code
                break
    return value.upper() if isinstance(value, str) and _is_country(value) else None


def parse_created_at(value: object) -> object:
    """Parse a time; ``None`` if there is none."""
    return None if is_absent(value) else parse_time(value)


def present(value: object) -> object:
    """Return the value, or ``None`` if it stands for no value."""
    return None if is_absent(value) else value


_MAX_ESCAPED: Final = 8192
"""Characters of a URL that is escaped; each one takes a microsecond."""

_MAX_PORT: Final = 65_535
_WEB: Final = frozenset({"http", "https", "ws", "wss", "ftp"})
_UNITS: Final = r"A-Za-z0-9._~!$&'()*+,;=:@\-"
_ESCAPE: Final = "%[0-9A-Fa-f]{2}"


def _escaped(plain: str) -> str:
    """Return a pattern of plain characters and escapes that matches in linear time."""
    return f"[{plain}]*(?:{_ESCAPE}[{plain}]*)*"


_split: Final = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.\-]*):"
    r"(?://(?:(?P<user>[^/?#@]*)@)?(?P<host>\[[0-9A-Fa-f:.]*\]|[^/?#@:\[\]]*)(?::(?P<port>[0-9]{0,9}))?"
    r"(?=[/?#]|\Z))?"
    r"(?P<rest>.*)",
    re.DOTALL,
).fullmatch
_is_user: Final = re.compile(_escaped(_UNITS.replace("@", ""))).fullmatch
_is_opaque_host: Final = re.compile(_escaped(_UNITS.replace("@", "").replace(":", ""))).fullmatch
_is_web_host: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.\-]*)").fullmatch
_is_octet: Final = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*").fullmatch
_REST: Final = (
    rf"{_escaped(_UNITS + '/')}(?:\?{_escaped(_UNITS + '/?')})?(?:#{_escaped(_UNITS + '/?')})?"
)
_is_rest: Final = re.compile(_REST).fullmatch
_is_common_url: Final = re.compile(
    r"https?://(?!-|[^/]*xn--)(?:[a-z0-9_-]+\.)*[a-z][a-z0-9-]*(?::[0-9]{1,4})?(?=[/?#]|\Z)" + _REST
).fullmatch
_find_ambiguous: Final = re.compile(r'[\x00-\x20"<>\\\x7f-\x9f]').search
_cut_user: Final = partial(re.compile(r"\A([^:/?]*://)[^/?@]*@").sub, r"\1")
_find_unescaped: Final = re.compile(rf"(?:%(?![0-9A-Fa-f]{{2}})|[^{_UNITS}/?%])+")


def is_uri(text: str) -> bool:
    """Return whether `text` is an absolute RFC 3986 URI with a valid host."""
    if _is_common_url(text):
        return True
    found = _split(text)
    if found is None or not _is_rest(found["rest"]):
        return False
    if found["host"] is None:
        # Without an authority, two slashes would start one.
        return bool(found["rest"]) and not found["rest"].startswith("//")
    is_bare = found["user"] is None and found["port"] is None
    return (
        (bool(found["host"]) or is_bare)
        and _is_user(found["user"] or "") is not None
        and int(found["port"] or 0) <= _MAX_PORT
        and _is_host(found["host"], is_web=found["scheme"].lower() in _WEB)
    )


@lru_cache(maxsize=1024)
def normalize_url(text: str) -> str | None:
    """Return `text` as an absolute URI that sellers accept.

    After the host, escape what browsers and frameworks leave unescaped: brackets, braces,
    bars, carets, stray percent signs and non-ASCII letters, in UTF-8.

    Returns:
        The URI, which is `text` itself if it is valid. ``None`` if it can't be made valid:
        a relative URL, or one with a space, a quote, a backslash or a control character.
    """
    if is_uri(text):
        return text
    found = _split(text)
    if found is None or len(text) > _MAX_ESCAPED or _find_ambiguous(text) or not text.isprintable():
        return None
    rest = found["rest"]
    page, mark, fragment = rest.partition("#")
    uri = text[: len(text) - len(rest)] + _escape(page) + mark + _escape(fragment)
    return uri if is_uri(uri) else None


def strip_page_url(given: str) -> str:
    """Remove user info and fragment from a page URL.

    Sellers need neither, and both may hold personal data.

    Returns:
        The URI; `given` itself if there is nothing to remove or it isn't a valid URI.
    """
    if not ("#" in given or "@" in given):
        return given
    uri = normalize_url(given)
    return given if uri is None else _cut_user(uri.partition("#")[0])


def _escape(text: str) -> str:
    return _find_unescaped.sub(lambda found: quote(found[0], safe=""), text)


def _is_host(host: str, *, is_web: bool) -> bool:
    """Return whether a host is valid. If it ends in a number, it must be an IPv4 address."""
    if host.startswith("["):
        return _is_address(IPv6Address, host[1:-1])
    if not is_web:
        return _is_opaque_host(host) is not None
    labels = host.lower().removesuffix(".").split(".")
    if not _is_web_host(host) or not all(map(_is_label, labels)):
        return False
    return not _is_octet(labels[-1]) or _is_address(IPv4Address, host)


def _is_label(label: str) -> bool:
    """Return whether a label is decodable, if it is marked as encoded."""
    if not label.startswith("xn--"):
        return True
    try:
        return bool(label.encode().decode("idna"))
    except UnicodeError:
        return False


def _is_address(kind: type[IPv4Address | IPv6Address], text: str) -> bool:
    try:
        kind(text)
    except AddressValueError:
        return False
    return True
