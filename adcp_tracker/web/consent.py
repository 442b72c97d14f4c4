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
from typing import TYPE_CHECKING, Protocol, runtime_checkable
from urllib.parse import unquote

import attrs

from adcp_tracker.context import Consent
from adcp_tracker.exceptions import ConfigurationError
from adcp_tracker.web.clickids import read_cookie
from adcp_tracker.web.tcf import read_tc_string

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from adcp_tracker.web.requestfacts import RequestFacts

GRANTED_WORDS = ("1", "true", "yes", "granted", "accepted", "accept", "allow", "all")
DENIED_WORDS = ("0", "false", "no", "denied", "rejected", "reject", "deny", "none")

_MAX_CHARACTERS = 8192
_GCS = re.compile(r"G1([01-])([01-])")
_GCS_SIGNALS = ("ad_storage", "analytics_storage")


@runtime_checkable
class ConsentReader(Protocol):
    """Learns from a request what the shopper consents to. Implement it for another banner."""

    def read(self, facts: RequestFacts) -> Consent:
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

    def read(self, facts: RequestFacts) -> Consent:
        """Return what the cookie says."""
        return _spoken(_cookie(facts, self.name), self.granted, self.denied)


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

    def read(self, facts: RequestFacts) -> Consent:
        """Return what the header says; two different answers are none."""
        said = {_spoken(line, self.granted, self.denied) for line in facts.header(self.name)}
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

    def read(self, facts: RequestFacts) -> Consent:
        """Return whether the string allows it all; one that cannot be read is no answer."""
        tc_string = read_tc_string(_cookie(facts, self.cookie) or "")
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

    def read(self, facts: RequestFacts) -> Consent:
        """Return whether all signals are granted; a missing one is no answer."""
        states = _signals(_cookie(facts, self.cookie) or "")
        spoken = {_spoken(states.get(signal), _GRANTED, _DENIED) for signal in self.signals}
        if Consent.DENIED in spoken:
            return Consent.DENIED
        return Consent.GRANTED if spoken == {Consent.GRANTED} else Consent.UNKNOWN


_ANSWERS = {None: Consent.UNKNOWN, True: Consent.GRANTED, False: Consent.DENIED}
_GRANTED = frozenset({"granted", "1"})
_DENIED = frozenset({"denied", "0"})


@attrs.frozen
class CallableConsent:
    """The site's own function of its framework's request."""

    function: Callable[[object], object]

    def read(self, facts: RequestFacts) -> Consent:
        """Return what the function says.

        Raises:
            ConfigurationError: if it says anything but ``True``, ``False``, ``None`` or a Consent.
        """
        said = self.function(facts.request)
        if isinstance(said, Consent):
            return said
        if said is None or isinstance(said, bool):
            return _ANSWERS[said]
        raise ConfigurationError(
            f"consent: expected True, False, None or a Consent, got {type(said).__name__}; "
            "truth is not guessed, since 'no' is a true string"
        )


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


def opts_out_globally(facts: RequestFacts) -> bool:
    """Say whether the browser sends Global Privacy Control, ``Sec-GPC: 1``."""
    return any(line.strip() == "1" for line in facts.header("Sec-GPC"))


def _cookie(facts: RequestFacts, name: str) -> str | None:
    raw = read_cookie(facts.header("Cookie"), name)
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
