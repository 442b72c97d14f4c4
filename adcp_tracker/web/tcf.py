"""Reading the IAB's TC string, version 2: which purposes and vendors the shopper allows.

Only the core segment is read, field by field as the specification lays out its bits
(github.com/InteractiveAdvertisingBureau/GDPR-Transparency-and-Consent-Framework).
The string comes from a cookie, so any text at all may stand there.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode

import attrs

MAX_CHARACTERS = 16_384
"""How long a string may be; the longest real ones, with every vendor, stay below 3,000."""

_BASE64 = re.compile(r"[A-Za-z0-9_-]+")
_VERSION = 2
_PURPOSES_AT, _PURPOSES = 152, 24
_MAX_VENDOR_AT = 213
_IS_RANGE_AT = 229
_VENDORS_AT = 230


@attrs.frozen
class TcString:
    """What a TC string allows.

    Attributes:
        purposes: Numbers of the purposes consented to, from 1.
        vendors: Numbers of the vendors consented to, as ranges with both ends included.
    """

    purposes: frozenset[int]
    vendors: tuple[tuple[int, int], ...]

    def allows(self, purpose: int) -> bool:
        """Say whether the shopper consents to `purpose`."""
        return purpose in self.purposes

    def allows_vendor(self, vendor: int) -> bool:
        """Say whether the shopper consents to `vendor`, by its number in the global list."""
        return any(first <= vendor <= last for first, last in self.vendors)


class _EndOfBitsError(Exception):
    """The string is shorter than its own fields say."""


class _Bits:
    """The bits of base64 characters, six each, as one large integer."""

    def __init__(self, characters: str) -> None:
        padding = -len(characters) % 4
        data = urlsafe_b64decode(characters + "A" * padding)
        self._value = int.from_bytes(data, "big") >> (6 * padding)
        self._length = 6 * len(characters)

    def number(self, position: int, width: int) -> int:
        below = self._length - position - width
        if below < 0:
            raise _EndOfBitsError
        return (self._value >> below) & ((1 << width) - 1)

    def ones(self, position: int, width: int) -> list[int]:
        """Return which of `width` bits are set, counted from 1."""
        digits = format(self.number(position, width), f"0{width}b") if width else ""
        return [index for index, digit in enumerate(digits, 1) if digit == "1"]


def read_tc_string(text: str) -> TcString | None:
    """Read the core of a TC string; ``None`` if it is none, or none of version 2."""
    core = text.strip().partition(".")[0]
    if len(core) > MAX_CHARACTERS or not _BASE64.fullmatch(core):
        return None
    try:
        return _core(_Bits(core))
    except _EndOfBitsError:
        return None


def _core(bits: _Bits) -> TcString | None:
    if bits.number(0, 6) != _VERSION:
        return None
    purposes = frozenset(bits.ones(_PURPOSES_AT, _PURPOSES))
    is_range = bits.number(_IS_RANGE_AT, 1)
    vendors = _ranges(bits) if is_range else _listed(bits)
    return TcString(purposes, vendors)


def _listed(bits: _Bits) -> tuple[tuple[int, int], ...]:
    width = bits.number(_MAX_VENDOR_AT, 16)
    return tuple((vendor, vendor) for vendor in bits.ones(_VENDORS_AT, width))


def _ranges(bits: _Bits) -> tuple[tuple[int, int], ...]:
    found: list[tuple[int, int]] = []
    position = _VENDORS_AT + 12
    for _ in range(bits.number(_VENDORS_AT, 12)):
        several = bits.number(position, 1)
        first = bits.number(position + 1, 16)
        last = bits.number(position + 17, 16) if several else first
        position += 33 if several else 17
        found.append((first, last))
    return tuple(found)
