"""Ready ways to learn whether a shopper consents to being measured.

A reader is anything with ``read(facts)``, or a plain function of the framework's request that
returns ``True``, ``False``, ``None`` for no answer yet, or a :class:`Consent`.
Readers say ``UNKNOWN`` where the shopper has not answered; what that means is the site's
setting. Everything read here comes from the client, so all of it may be garbage.
"""

from __future__ import annotations

import inspect
import json
import re
from base64 import urlsafe_b64decode
from typing import TYPE_CHECKING, Protocol, runtime_checkable
from urllib.parse import unquote

import attrs

from adcp_tracker.context import Consent
from adcp_tracker.exceptions import ConfigurationError
from adcp_tracker.web.click_ids import read_cookie

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from adcp_tracker.web.request import Request


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


GRANTED_WORDS = ("1", "true", "yes", "granted", "accepted", "accept", "allow", "all")
DENIED_WORDS = ("0", "false", "no", "denied", "rejected", "reject", "deny", "none")

_MAX_CHARACTERS = 8192
_GCS = re.compile(r"G1([01-])([01-])")
_GCS_SIGNALS = ("ad_storage", "analytics_storage")


@runtime_checkable
class ConsentReader(Protocol):
    """Learns from a request what the shopper consents to. Implement it for another banner."""

    def read(self, request: Request) -> Consent:
        """Return the shopper's word; ``UNKNOWN`` if there is none."""


def _words(words: Iterable[str]) -> frozenset[str]:
    return frozenset(word.lower() for word in words)


@attrs.frozen
class ConsentCookie:
    """The answer stands in a cookie, as one word.

    Attributes:
        name: The cookie.
        granted: Words that mean yes, in any case.
        denied: Words that mean no; any other word is no answer.
    """

    name: str
    granted: frozenset[str] = attrs.field(default=GRANTED_WORDS, converter=_words)
    denied: frozenset[str] = attrs.field(default=DENIED_WORDS, converter=_words)

    def read(self, request: Request) -> Consent:
        """Return what the cookie says."""
        return _spoken(_cookie(request, self.name), self.granted, self.denied)


@attrs.frozen
class ConsentHeader:
    """The answer stands in a header, set by a trusted gateway or the site's own scripts.

    Attributes:
        name: The header.
        granted: Words that mean yes, in any case.
        denied: Words that mean no; any other word is no answer.
    """

    name: str
    granted: frozenset[str] = attrs.field(default=GRANTED_WORDS, converter=_words)
    denied: frozenset[str] = attrs.field(default=DENIED_WORDS, converter=_words)

    def read(self, request: Request) -> Consent:
        """Return what the header says; two different answers are none."""
        said = {_spoken(line, self.granted, self.denied) for line in request.header(self.name)}
        return said.pop() if len(said) == 1 else Consent.UNKNOWN


@attrs.frozen
class TcfConsent:
    """The answer stands in a TC string of the IAB's framework, version 2.

    Attributes:
        purposes: All of these have to be consented to. 1 is storing on the device,
            7 is measuring the performance of advertising.
        vendor: A vendor in the global list that has to be consented to as well.
        cookie: Where the string is kept.
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
        """Return whether the string allows it all; one that cannot be read is no answer."""
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
    """The answer stands in a cookie that keeps the state of Google's consent mode.

    There is no standard cookie for it: banners keep either the signals as a JSON object,
    ``{"ad_storage": "granted", …}``, or Google's own shorthand, as in ``G111``.

    Attributes:
        cookie: Where the site's banner keeps it.
        signals: All of these have to be granted.
    """

    cookie: str
    signals: tuple[str, ...] = attrs.field(default=("ad_storage",), converter=tuple[str, ...])

    def read(self, request: Request) -> Consent:
        """Return whether all signals are granted; a missing one is no answer."""
        states = _signals(_cookie(request, self.cookie) or "")
        spoken = {_spoken(states.get(signal), _GRANTED, _DENIED) for signal in self.signals}
        if Consent.DENIED in spoken:
            return Consent.DENIED
        return Consent.GRANTED if spoken == {Consent.GRANTED} else Consent.UNKNOWN


_ANSWERS = {None: Consent.UNKNOWN, True: Consent.GRANTED, False: Consent.DENIED}
_GRANTED = frozenset({"granted", "1"})
_DENIED = frozenset({"denied", "0"})


def checked_consent(answer: object) -> Consent:
    """Return an answer as a :class:`Consent`.

    Raises:
        ConfigurationError: if it is anything but ``True``, ``False``, ``None`` or a Consent.
    """
    if isinstance(answer, Consent):
        return answer
    if answer is None or isinstance(answer, bool):
        return _ANSWERS[answer]
    raise ConfigurationError(
        f"consent: expected True, False, None or a Consent, got {type(answer).__name__}; "
        "other values aren't interpreted, because the string 'no' is truthy"
    )


@attrs.frozen
class CallableConsent:
    """The site's own function of its framework's request."""

    function: Callable[[object], object]

    def read(self, request: Request) -> Consent:
        """Return what the function says.

        Raises:
            ConfigurationError: if it says anything but ``True``, ``False``, ``None`` or a Consent.
        """
        return checked_consent(self.function(request.framework_request))


HEADER_READERS = (ConsentCookie, ConsentHeader, TcfConsent, GoogleConsentMode)
"""Readers that look at nothing of a request but its headers."""


def consent_reader(given: object) -> ConsentReader:
    """Make a reader of whatever a site configured.

    Raises:
        ConfigurationError: if it is neither a reader nor a plain function.
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
    """Say whether the browser sends Global Privacy Control, ``Sec-GPC: 1``."""
    return any(line.strip() == "1" for line in request.header("Sec-GPC"))


def _cookie(request: Request, name: str) -> str | None:
    raw = read_cookie(request.header("Cookie"), name)
    return unquote(raw[:_MAX_CHARACTERS]).strip('" ') if raw else None


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
