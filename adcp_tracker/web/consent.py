"""Readers of the shopper's consent to measurement.

A reader has a method ``read(request)``, or is a plain function of the framework's request that
returns ``True``, ``False``, ``None`` if there is no answer yet, or a :class:`Consent`.
Readers return ``UNKNOWN`` if the shopper hasn't answered; ``consent_unanswered`` says what that
means. Everything read here comes from the client, so it may be invalid.
"""

from __future__ import annotations

import inspect
import json
import re
from base64 import urlsafe_b64decode
from typing import TYPE_CHECKING, Protocol, runtime_checkable
from urllib.parse import unquote

import attrs

from adcp_tracker.context import Consent, checked_consent
from adcp_tracker.exceptions import ConfigurationError
from adcp_tracker.web.click_ids import read_cookie

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from adcp_tracker.web.request import Request


MAX_CHARACTERS = 16_384
"""The longest string that is read; the longest real ones, with every vendor, are below 3,000."""

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
        """Return whether the shopper consents to `purpose`."""
        return purpose in self.purposes

    def allows_vendor(self, vendor: int) -> bool:
        """Return whether the shopper consents to `vendor`, by its number in the global list."""
        return any(first <= vendor <= last for first, last in self.vendors)


class _EndOfBitsError(Exception):
    """The string is shorter than its own fields say."""


class _Bits:
    """The bits of base64 text, six per character, as one large integer."""

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
    """Parse the core of a TC string; return ``None`` if it isn't one of version 2."""
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


GRANTED_WORDS = ("1", "true", "yes", "granted", "accepted", "accept", "allow", "all")
DENIED_WORDS = ("0", "false", "no", "denied", "rejected", "reject", "deny", "none")

_MAX_COOKIE_CHARACTERS = 8192
_GCS = re.compile(r"G1([01-])([01-])")
_GCS_SIGNALS = ("ad_storage", "analytics_storage")


@runtime_checkable
class ConsentReader(Protocol):
    """Reads the shopper's consent from a request. Implement it for another banner."""

    def read(self, request: Request) -> Consent:
        """Return the shopper's answer; ``UNKNOWN`` if there is none."""


def _words(words: Iterable[str]) -> frozenset[str]:
    return frozenset(word.lower() for word in words)


@attrs.frozen
class ConsentCookie:
    """Reads the answer from a cookie that holds one word.

    Attributes:
        name: The cookie's name.
        granted: Words that mean yes, in any case.
        denied: Words that mean no. Any other word counts as no answer.
    """

    name: str
    granted: frozenset[str] = attrs.field(default=GRANTED_WORDS, converter=_words)
    denied: frozenset[str] = attrs.field(default=DENIED_WORDS, converter=_words)

    def read(self, request: Request) -> Consent:
        """Return the cookie's answer."""
        return _spoken(_cookie(request, self.name), self.granted, self.denied)


@attrs.frozen
class ConsentHeader:
    """Reads the answer from a header that a trusted gateway or the site's own scripts set.

    Attributes:
        name: The header's name.
        granted: Words that mean yes, in any case.
        denied: Words that mean no. Any other word counts as no answer.
    """

    name: str
    granted: frozenset[str] = attrs.field(default=GRANTED_WORDS, converter=_words)
    denied: frozenset[str] = attrs.field(default=DENIED_WORDS, converter=_words)

    def read(self, request: Request) -> Consent:
        """Return the header's answer; ``UNKNOWN`` if it has two different ones."""
        said = {_spoken(line, self.granted, self.denied) for line in request.header(self.name)}
        return said.pop() if len(said) == 1 else Consent.UNKNOWN


@attrs.frozen
class TcfConsent:
    """Reads a TC string of the IAB's framework, version 2.

    Attributes:
        purposes: The shopper has to consent to all of these. 1 is storing on the device,
            7 is measuring the performance of advertising.
        vendor: A vendor in the global list that the shopper has to consent to as well.
        cookie: The cookie that holds the string.
    """

    purposes: tuple[int, ...] = attrs.field(default=(1, 7), converter=tuple[int, ...])
    vendor: int | None = None
    cookie: str = "euconsent-v2"

    def __attrs_post_init__(self) -> None:
        if not self.purposes or not set(self.purposes) <= set(range(1, 25)):
            raise ConfigurationError(
                f"TcfConsent.purposes: expected numbers from 1 to 24, got {self.purposes!r}"
            )

    def read(self, request: Request) -> Consent:
        """Return whether the string allows everything; ``UNKNOWN`` if it can't be read."""
        tc_string = read_tc_string(_cookie(request, self.cookie) or "")
        if tc_string is None:
            return Consent.UNKNOWN
        if not all(map(tc_string.allows, self.purposes)):
            return Consent.DENIED
        if self.vendor is not None and not tc_string.allows_vendor(self.vendor):
            return Consent.DENIED
        return Consent.GRANTED


@attrs.frozen
class GoogleConsentMode:
    """Reads a cookie that holds the state of Google's consent mode.

    There is no standard cookie for it: banners store either the signals as a JSON object,
    ``{"ad_storage": "granted", …}``, or Google's own short form, such as ``G111``.

    Attributes:
        cookie: The cookie in which your banner stores it.
        signals: All of these have to be granted.
    """

    cookie: str
    signals: tuple[str, ...] = attrs.field(default=("ad_storage",), converter=tuple[str, ...])

    def read(self, request: Request) -> Consent:
        """Return whether all signals are granted; ``UNKNOWN`` if one is missing."""
        states = _signals(_cookie(request, self.cookie) or "")
        spoken = {_spoken(states.get(signal), _GRANTED, _DENIED) for signal in self.signals}
        if Consent.DENIED in spoken:
            return Consent.DENIED
        return Consent.GRANTED if spoken == {Consent.GRANTED} else Consent.UNKNOWN


_GRANTED = frozenset({"granted", "1"})
_DENIED = frozenset({"denied", "0"})


@attrs.frozen
class CallableConsent:
    """Asks a function of your own, which gets the framework's request."""

    function: Callable[[object], object]

    def read(self, request: Request) -> Consent:
        """Return the function's answer.

        Raises:
            ConfigurationError: If it isn't ``True``, ``False``, ``None`` or a Consent.
        """
        return checked_consent(self.function(request.framework_request))


HEADER_READERS = (ConsentCookie, ConsentHeader, TcfConsent, GoogleConsentMode)
"""Readers that only read headers."""


def consent_reader(given: object) -> ConsentReader:
    """Return the reader for the ``consent`` option.

    Raises:
        ConfigurationError: If the option is neither a reader nor a plain function.
    """
    if isinstance(given, ConsentReader) and not isinstance(given, type):
        return given
    if callable(given) and not isinstance(given, type) and not inspect.iscoroutinefunction(given):
        return CallableConsent(given)
    raise ConfigurationError(
        "consent: expected a function of the request that is not async, or a reader such as "
        f"ConsentCookie('marketing'), got {type(given).__name__}"
    )


def opts_out_globally(request: Request) -> bool:
    """Return whether the browser sends Global Privacy Control, ``Sec-GPC: 1``."""
    return any(line.strip() == "1" for line in request.header("Sec-GPC"))


def _cookie(request: Request, name: str) -> str | None:
    raw = read_cookie(request.header("Cookie"), name)
    return unquote(raw[:_MAX_COOKIE_CHARACTERS]).strip('" ') if raw else None


def _spoken(word: str | None, granted: frozenset[str], denied: frozenset[str]) -> Consent:
    lower = (word or "").strip().lower()
    if lower in granted:
        return Consent.GRANTED
    return Consent.DENIED if lower in denied else Consent.UNKNOWN


def _signals(text: str) -> dict[str, str]:
    if match := _GCS.fullmatch(text):
        return dict(zip(_GCS_SIGNALS, match.groups(), strict=True))
    try:
        state = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    pairs = state.items() if isinstance(state, dict) else ()
    return {key: value for key, value in pairs if isinstance(value, str)}
