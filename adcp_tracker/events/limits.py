"""The protocol's limits, such as fit every kind of seller."""

from __future__ import annotations

import re
from typing import Final

MAX_ID: Final = 256
"""Length of event, order and content ids, and of brands."""

MAX_TOKEN: Final = 512
"""Length of click ids, universal ids and user agents."""

MAX_TYPE: Final = 64
"""Length of a click id's type."""

MAX_CODE: Final = 255
"""Length of a test code."""

MAX_WORD: Final = 128
"""Length of a content type, and of a surface's property type and namespace."""

DIGEST_LENGTH: Final = 64
"""Hex digits of a SHA-256."""

MAX_PERCENT: Final = 100
"""A whole progress."""

MAX_NUMBER: Final = 2**53
"""Numbers are below this: every JSON parser holds them, and RFC 8785 can write them."""

MIN_EXPONENT: Final = -20
"""Decimals begin above this power of ten, so that none explodes into a million zeros."""

is_currency: Final = re.compile(r"[A-Z]{3}").fullmatch
"""Match what looks like a code of ISO 4217."""

COMMON_CURRENCIES: Final = frozenset({"AUD", "CAD", "CHF", "EUR", "GBP", "JPY", "USD"})
"""Currencies that need no second look."""
