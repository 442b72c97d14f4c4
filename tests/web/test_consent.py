"""Consent: what each ready reader hears, and that silence and garbage are not a yes."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adcp_tracker.context import Consent
from adcp_tracker.exceptions import ConfigurationError
from adcp_tracker.web.consent import (
    ConsentCookie,
    ConsentHeader,
    ConsentReader,
    GoogleConsentMode,
    TcfConsent,
    consent_reader,
    opts_out_globally,
)
from adcp_tracker.web.request import WsgiRequest

# Purposes 1, 2, 3 and 7; vendors 2 and 4 to 6. Made bit by bit after the specification.
TC_STRING = "CP1R2oAP1R2oBAfKABEEAwEgBeIAAKqqqoYgADQAgABQAEAAYA"


def request(**headers: str) -> WsgiRequest:
    """Make a request with these headers."""
    return WsgiRequest({f"HTTP_{name.upper()}": value for name, value in headers.items()})


@pytest.mark.parametrize(
    ("cookie", "consent"),
    [
        ("marketing=yes", Consent.GRANTED),
        ("a=1; marketing=TRUE", Consent.GRANTED),
        ("marketing=%22granted%22", Consent.GRANTED),
        ("marketing=no", Consent.DENIED),
        ("marketing=0", Consent.DENIED),
        ("marketing=perhaps", Consent.UNKNOWN),
        ("marketing=", Consent.UNKNOWN),
        ("unmarketing=yes", Consent.UNKNOWN),
        ("", Consent.UNKNOWN),
    ],
)
def test_a_cookie_answers_in_one_word(cookie: str, consent: Consent) -> None:
    """Only known words are an answer."""
    assert ConsentCookie("marketing").read(request(cookie=cookie)) is consent


def test_the_words_are_the_sites_own() -> None:
    """A banner in another language says yes in its own way."""
    reader = ConsentCookie("c", granted=["Ja"], denied=["nein"])
    assert reader.read(request(cookie="c=ja")) is Consent.GRANTED
    assert reader.read(request(cookie="c=NEIN")) is Consent.DENIED
    assert reader.read(request(cookie="c=yes")) is Consent.UNKNOWN


def test_a_header_answers_in_one_word() -> None:
    """A gateway may decide and tell."""
    reader = ConsentHeader("X-Consent")
    assert reader.read(request(x_consent=" Granted ")) is Consent.GRANTED
    assert reader.read(request(x_consent="denied")) is Consent.DENIED
    assert reader.read(request(x_consent="yes, no")) is Consent.UNKNOWN
    assert reader.read(request()) is Consent.UNKNOWN


@pytest.mark.parametrize(
    ("reader", "consent"),
    [
        (TcfConsent(), Consent.GRANTED),
        (TcfConsent(purposes=[1]), Consent.GRANTED),
        (TcfConsent(purposes=[1, 4]), Consent.DENIED),
        (TcfConsent(vendor=5), Consent.GRANTED),
        (TcfConsent(vendor=3), Consent.DENIED),
        (TcfConsent(cookie="other"), Consent.UNKNOWN),
    ],
)
def test_a_tc_string_answers_for_purposes_and_vendor(reader: TcfConsent, consent: Consent) -> None:
    """All purposes asked for have to be allowed, and the vendor, where one is asked for."""
    assert reader.read(request(cookie=f"euconsent-v2={TC_STRING}.YAAA")) is consent


@pytest.mark.parametrize("purposes", [[], [0], [25], ["1"]])
def test_purposes_out_of_range_are_refused(purposes: list[int]) -> None:
    """Asking for nothing would grant everything."""
    with pytest.raises(ConfigurationError, match="purposes"):
        TcfConsent(purposes=purposes)


@pytest.mark.parametrize(
    ("value", "consent"),
    [
        ('{"ad_storage":"granted","ad_user_data":"granted"}', Consent.GRANTED),
        ('{"ad_storage":"granted","ad_user_data":"denied"}', Consent.DENIED),
        ('{"ad_storage":"denied"}', Consent.DENIED),
        ('{"ad_storage":"granted"}', Consent.UNKNOWN),
        ('{"ad_storage":true,"ad_user_data":["granted"]}', Consent.UNKNOWN),
        ('["ad_storage"]', Consent.UNKNOWN),
        ("{", Consent.UNKNOWN),
        ("[" * 5000, Consent.UNKNOWN),
        ("G111", Consent.UNKNOWN),
        ("G101", Consent.DENIED),
    ],
)
def test_google_consent_mode_needs_every_signal(value: str, consent: Consent) -> None:
    """One denial denies, and one missing signal leaves the question open."""
    reader = GoogleConsentMode("mode", signals=["ad_storage", "ad_user_data"])
    assert reader.read(request(cookie=f"mode={quote(value)}")) is consent


@pytest.mark.parametrize(
    ("value", "consent"),
    [
        ("G111", Consent.GRANTED),
        ("G110", Consent.GRANTED),
        ("G101", Consent.DENIED),
        ("G1--", Consent.UNKNOWN),
        ("G1111", Consent.UNKNOWN),
    ],
)
def test_google_shorthand_is_read(value: str, consent: Consent) -> None:
    """The first digit behind G1 is ad_storage."""
    assert GoogleConsentMode("mode").read(request(cookie=f"mode={value}")) is consent


@pytest.mark.parametrize(
    ("said", "consent"),
    [
        (True, Consent.GRANTED),
        (False, Consent.DENIED),
        (None, Consent.UNKNOWN),
        (Consent.DENIED, Consent.DENIED),
    ],
)
def test_a_sites_own_function_answers(said: object, consent: Consent) -> None:
    """It gets the framework's request, and three answers are plain enough."""
    request = object()
    seen: list[object] = []

    def ask(given: object) -> object:
        seen.append(given)
        return said

    assert consent_reader(ask).read(WsgiRequest({}, request)) is consent
    assert seen == [request]


@pytest.mark.parametrize("said", ["no", "yes", 1, 0, object()])
def test_truth_is_not_guessed(said: object) -> None:
    """The string 'no' is true, so only real answers count."""
    with pytest.raises(ConfigurationError, match="expected True, False, None"):
        consent_reader(lambda _: said).read(request())


def test_readers_pass_through() -> None:
    """A ready reader, or one of the site's own make, is used as it is."""

    class Mine:
        def read(self, _: object) -> Consent:
            return Consent.GRANTED

    for reader in (ConsentCookie("c"), Mine()):
        assert isinstance(reader, ConsentReader)
        assert consent_reader(reader) is reader


async def ask_later(_: object) -> bool:
    """Answer too late."""
    return True


@pytest.mark.parametrize("given_", ["yes", True, None, ask_later, ConsentCookie])
def test_what_cannot_answer_is_refused(given_: object) -> None:
    """A coroutine cannot be waited for where an event is tracked; a class is no reader."""
    with pytest.raises(ConfigurationError, match="consent"):
        consent_reader(given_)


def test_global_privacy_control_is_heard() -> None:
    """The header has one meaning and one value."""
    assert opts_out_globally(request(sec_gpc="1"))
    assert not opts_out_globally(request(sec_gpc="0"))
    assert not opts_out_globally(request(sec_gpc="11"))
    assert not opts_out_globally(request())


READERS = [
    ConsentCookie("c"),
    ConsentHeader("C"),
    TcfConsent(cookie="c"),
    GoogleConsentMode("c"),
]
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@pytest.mark.slow
@given(st.sampled_from(READERS), st.text() | JSON.map(json.dumps))
def test_no_reader_ever_raises(reader: ConsentReader, value: str) -> None:
    """What comes from a browser may be anything, and garbage is never a yes."""
    found = reader.read(request(cookie=f"c={quote(value, errors='replace')}", c=value))
    assert isinstance(found, Consent)
    assert found is not Consent.GRANTED or value.strip('" ').lower() in {
        *["1", "true", "yes", "granted", "accepted", "accept", "allow", "all"]
    }
