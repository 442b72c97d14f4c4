"""The kinds of value a field can call for, and a fault for each that is not of its kind.

What was found is described, and shown only where it can be no one's: see :mod:`.showing`.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Final

import attrs

from adcp_tracker.events.limits import (
    COMMON_CURRENCIES,
    DIGEST_LENGTH,
    MAX_NUMBER,
    MIN_EXPONENT,
    is_currency,
)
from adcp_tracker.events.uris import as_uri
from adcp_tracker.exceptions import Fault
from adcp_tracker.showing import describe, is_name, show_code, show_number, show_word

if TYPE_CHECKING:
    from enum import Enum

MAX_DEPTH: Final = 16
"""How deep lists and objects may be nested in custom keys and extensions."""

_MAX_BITS: Final = 64
_MAX_IP: Final = 45
_MAX_DIGITS: Final = 400
_find_control: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]").search
_is_digest: Final = re.compile(rf"[0-9a-f]{{{DIGEST_LENGTH}}}").fullmatch


@attrs.define
class Inspection:
    """The faults found so far; every method looks at one value and adds what is wrong.

    Attributes:
        faults: In the order in which they were found.
    """

    faults: list[Fault] = attrs.field(factory=list)

    def add(self, path: str, expected: str, got: str = "nothing") -> None:
        """Note that `path` should hold what is `expected`."""
        self.faults.append(Fault(path, expected, got))

    def text(self, path: str, value: object, longest: int | None = None) -> None:
        """Ask for a string of at most `longest` characters that can be written as UTF-8."""
        expected = "a string" if longest is None else f"a string of at most {longest} characters"
        if not isinstance(value, str) or (longest is not None and len(value) > longest):
            self.add(path, expected, describe(value))
        elif _is_torn(value):
            self.add(path, "a string of whole characters", "half of a surrogate pair")

    def token(self, path: str, value: object, longest: int) -> None:
        """Ask for 1 to `longest` characters without control characters, such as an id."""
        if not isinstance(value, str) or not 0 < len(value) <= longest:
            self.add(path, f"a string of 1–{longest} characters", describe(value))
        elif _find_control(value):
            self.add(path, "a string without control characters", f"{describe(value)} with some")
        elif _is_torn(value):
            self.add(path, "a string of whole characters", "half of a surrogate pair")

    def member(self, path: str, value: object, words: type[Enum]) -> None:
        """Ask for a member of an enumeration, or a string of the same value."""
        known = [word.value for word in words]
        if not isinstance(value, str) or value not in known:
            self.add(path, f"one of {', '.join(known)}", show_word(value, known))

    def currency(self, path: str, value: object) -> None:
        """Ask for what looks like a code of ISO 4217."""
        if not isinstance(value, str) or not is_currency(value):
            self.add(
                path, "three capital letters, such as USD", show_code(value, COMMON_CURRENCIES)
            )

    def number(self, path: str, value: object, most: int | None = None) -> None:
        """Ask for an exact number from 0, up to `most` where there is one."""
        expected = "a number ≥ 0" if most is None else f"a number from 0 to {most}"
        fits = type(value) is int or (type(value) is Decimal and value.is_finite())
        if not fits or value < 0 or (most is not None and value > most):  # type: ignore[operator]
            self.add(path, expected, show_number(value))
        elif value >= MAX_NUMBER:  # type: ignore[operator]
            self.add(path, "a number below 2^53", show_number(value))
        elif type(value) is Decimal and value.adjusted() <= MIN_EXPONENT:
            self.add(
                path, f"a number not finer than 10^{MIN_EXPONENT}", "a Decimal finer than that"
            )

    def integer(self, path: str, value: object, least: int) -> None:
        """Ask for an integer from `least`; ``True`` is none."""
        if type(value) is not int or value < least:
            shown = f"the float {value!r}" if type(value) is float else show_number(value)
            self.add(path, f"an integer ≥ {least}", shown)
        elif value >= MAX_NUMBER:
            self.add(path, "an integer below 2^53", show_number(value))

    def time(self, path: str, value: object) -> None:
        """Ask for an instant: a datetime with its offset, in whole minutes as RFC 3339 has it."""
        expected = "a datetime with its UTC offset"
        if not isinstance(value, datetime):
            self.add(path, expected, describe(value))
        elif (offset := value.utcoffset()) is None:
            self.add(path, expected, "a naive datetime, which could be any of 24 hours")
        elif offset % timedelta(minutes=1):
            self.add(path, "a UTC offset of whole minutes", "one with seconds")

    def uri(self, path: str, value: object) -> None:
        """Ask for an absolute URI, or for what can be escaped to be one."""
        if not isinstance(value, str) or as_uri(value) is None:
            self.add(path, "an absolute URI, percent-encoded", describe(value))

    def digest(self, path: str, value: object) -> None:
        """Ask for a SHA-256."""
        if not isinstance(value, str) or not _is_digest(value):
            self.add(path, "a SHA-256 of 64 lower-case hex digits", describe(value))

    def address(self, path: str, value: object) -> None:
        """Ask for an IPv4 or IPv6 address, without a zone."""
        if not isinstance(value, str) or not is_address(value):
            self.add(path, "an IPv4 or IPv6 address", describe(value))

    def json_object(self, path: str, value: object) -> None:
        """Ask for a mapping that JSON can write."""
        if isinstance(value, Mapping):
            self.json(path, value)
        else:
            self.add(path, "a mapping", describe(value))

    def json(self, path: str, value: object, depth: int = 0) -> None:
        """Ask for a value that JSON can write, without nulls."""
        if depth > MAX_DEPTH:
            self.add(path, f"at most {MAX_DEPTH} levels of nesting", "more")
        elif isinstance(value, Mapping):
            for key, member in value.items():
                self.key(path, key)
                self.json(join(path, key), member, depth + 1)
        elif isinstance(value, (list, tuple)):
            for index, member in enumerate(value):
                self.json(f"{path}[{index}]", member, depth + 1)
        elif isinstance(value, str):
            self.text(path, value)
        elif not _is_json_scalar(value):
            expected = "a string, a finite number, true, false, a list or a mapping"
            self.add(path, expected, describe(value))

    def key(self, path: str, key: object) -> None:
        """Ask for a key that a JSON object can have."""
        if not isinstance(key, str) or _is_torn(key):
            self.add(path, "keys that are strings", f"{describe(key)} as a key")


def join(path: str, key: object) -> str:
    """Write the path of `key` in `path`; a key that is not an ordinary name stays hidden."""
    return f"{path}.{key}" if is_name(key) else f"{path}[…]"


def is_address(text: str) -> bool:
    """Tell whether `text` is an IPv4 or IPv6 address, without a zone."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return len(text) <= _MAX_IP and "%" not in text


def _is_torn(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _is_json_scalar(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, Decimal):
        return value.is_finite() and abs(value.adjusted()) < _MAX_DIGITS
    return isinstance(value, int) and value.bit_length() <= _MAX_BITS
