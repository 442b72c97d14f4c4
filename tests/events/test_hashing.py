"""Who the shopper is: raw in, hashes out."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from typing import Any

import phonenumbers
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adcp_tracker.context import RequestContext
from adcp_tracker.events.builder import build_event
from adcp_tracker.events.hashing import (
    CERTAIN_E164,
    PLAIN_EMAIL,
    bare_address,
    hash_email,
    hash_phone,
    to_e164,
)
from adcp_tracker.events.model import UidType, UniversalId, UserMatch
from adcp_tracker.exceptions import InvalidEventError
from tests.support.events import NOW

ALICE = "ff8d9819fc0e12bf0d24892e45987e249a28dce836a85cad60e28eaaa8c6d976"
USER = "b4c9a289323b21a01c3e940f150eb9b8c542587f1abfd8f0e1cc1ffc5e475514"
SEATTLE = "f48869b8f9aa60d5eb6147b2130ae29eae6e2d6877dbb9eb9448ce04fe90e3ca"


def sha256(text: str) -> str:
    """Hash as anybody would."""
    return hashlib.sha256(text.encode()).hexdigest()


def user_match(**details: Any) -> UserMatch | None:  # noqa: ANN401 - an event's own
    """Return who the shopper of an event is that has `details`."""
    return build_event("lead", now=NOW, **details).user_match


LONDON = sha256("+442079460958")


@pytest.mark.parametrize(
    ("raw", "hashed"),
    [
        ("alice@example.com", ALICE),
        ("  Alice@Example.COM\n", ALICE),
        ("user@example.com", USER),
        (ALICE, ALICE),
        (ALICE.upper(), ALICE),
        ("a.l.i.c.e+shop@gmail.com", sha256("a.l.i.c.e+shop@gmail.com")),
        ("Jürgen@Müller.example", sha256("jürgen@müller.example")),
        ("o'hara@sub.example.co.uk", sha256("o'hara@sub.example.co.uk")),
    ],
)
def test_addresses_are_trimmed_lowered_and_hashed(raw: str, hashed: str) -> None:
    """Nothing else is done to them, no dots or plus signs taken out."""
    assert hash_email(raw) == hashed


@pytest.mark.parametrize(
    "raw",
    [
        "alice",
        "alice@",
        "@example.com",
        "alice@example",
        "alice@example.",
        "alice@.example",
        "alice@home@example.com",
        "alice smith@example.com",
        "alice@exam\u00a0ple.com",
        "alice@example.com\r\nBcc: x@y.example",
        "alice\ud800@example.com",
        ALICE[:-1],
        ALICE + "0",
        None,
        42,
        b"alice@example.com",
    ],
)
def test_what_is_no_address_is_refused_without_being_shown(raw: object) -> None:
    """The error says where and what kind of thing was found, never the thing itself."""
    with pytest.raises(InvalidEventError) as caught:
        hash_email(raw)
    (fault,) = caught.value.errors
    assert fault.path == "$.user_match.hashed_email"
    assert "alice" not in str(caught.value)
    assert "example" not in str(caught.value)


@pytest.mark.parametrize(
    ("raw", "region", "hashed"),
    [
        ("+12065551234", None, SEATTLE),
        (" +12065551234 ", None, SEATTLE),
        ("+1 (206) 555-1234", None, SEATTLE),
        ("206-555-1234", "US", SEATTLE),
        ("1 206 555 1234", "us", SEATTLE),
        ("+442079460958", "US", LONDON),
        ("+44 (0)20 7946 0958", None, LONDON),
        ("020 7946 0958", "GB", LONDON),
        ("0044 20 7946 0958", "DE", LONDON),
        ("\uff0b44 20 7946 0958", None, LONDON),
        (SEATTLE, None, SEATTLE),
        (SEATTLE.upper(), "GB", SEATTLE),
    ],
)
def test_numbers_are_hashed_in_e164_with_their_plus(
    raw: str, region: str | None, hashed: str
) -> None:
    """A number with a country code keeps it, and another is read for the region given."""
    assert hash_phone(raw, region) == hashed


def test_a_phone_number_that_was_read_already_is_taken() -> None:
    """A shop's model may hold it as an object of phonenumbers, with or without a country."""
    assert hash_phone(phonenumbers.parse("020 7946 0958", "GB")) == LONDON
    unread = phonenumbers.PhoneNumber(raw_input="020 7946 0958")
    assert hash_phone(unread, "GB") == LONDON
    for nothing in (unread, phonenumbers.PhoneNumber()):
        with pytest.raises(InvalidEventError):
            hash_phone(nothing)


@pytest.mark.parametrize("raw", ["020 7946 0958", "2065551234", "12065551234"])
def test_an_ambiguous_number_is_refused_rather_than_guessed(raw: str) -> None:
    """A national number is somebody's in many countries."""
    with pytest.raises(InvalidEventError) as caught:
        hash_phone(raw)
    assert str(caught.value) == (
        "$.user_match.hashed_phone: expected a number in E.164 form, such as +12065551234,"
        f" or a default_region to read it by, got a string of {len(raw)} characters"
        " without a country code, and no default_region"
    )


@pytest.mark.parametrize(
    ("raw", "region"),
    [
        ("020 7946 0958", "US"),
        ("030 1234567", "US"),
        ("0301234567", "US"),
        ("+1 000 0000", None),
        ("+49 30 123456 / +49 30 123457", None),
        ("00" * 50, "DE"),
        ("+" + "4" * 1_000_000, None),
        ("555-1234", "US"),
        ("12", "DE"),
        ("+1", None),
        ("+999999999999999999", None),
        ("n/a", "US"),
        ("call me", "GB"),
        ("2065551234", "XX"),
        (12065551234, "US"),
        (None, "US"),
        (b"+12065551234", None),
    ],
)
def test_what_is_no_number_is_refused_without_being_shown(raw: object, region: str | None) -> None:
    """Too short, too long, of no known region, or no text at all."""
    with pytest.raises(InvalidEventError) as caught:
        hash_phone(raw, region, path="$.phone")
    (fault,) = caught.value.errors
    assert fault.path == "$.phone"
    assert str(raw) not in str(fault)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@settings(deadline=None)  # The first number that has to be read imports a large package.
@given(
    st.text()
    | st.emails()
    | st.text("+0123456789 -()", max_size=16)
    | st.text("0123456789abcdefABCDEF", min_size=64, max_size=64)
)
def test_any_text_is_hashed_or_refused(raw: str) -> None:
    """No text makes another error, or comes through as it is unless it is a hash."""
    for read in (hash_email, hash_phone, lambda text: hash_phone(text, "US")):
        try:
            hashed = read(raw)
        except InvalidEventError:
            continue
        assert len(hashed) == 64
        assert set(hashed) <= set("0123456789abcdef")


@pytest.mark.slow
@given(st.emails())
def test_any_ordinary_address_is_taken(address: str) -> None:
    """The check is for slips of the pen, not for taste."""
    assert hash_email(f" {address} ") == sha256(address.lower())


@pytest.mark.slow
@settings(max_examples=500, deadline=None)
@given(st.from_regex(CERTAIN_E164, fullmatch=True))
def test_a_number_that_is_hashed_at_once_is_one_that_would_be_read_so(number: str) -> None:
    """The short way is taken only where it leads to the same hash as the long one."""
    assert to_e164(number, None, "$") == number
    assert hash_phone(number) == hash_phone(number, "GB") == sha256(number)


@pytest.mark.slow
@settings(max_examples=500, deadline=None)
@given(
    st.from_regex(CERTAIN_E164, fullmatch=True),
    st.sampled_from(["", " ", "-", ".", "\u00a0", "\u2011", ") ", "/"]),
    st.sampled_from(["", "tel:", "Tel.: ", "\u202a", "\ufeff", " ", "("]),
    st.sampled_from(["", "\u202c", "\u200b", "\n", " ext. 12", ";ext=12"]),
    st.lists(st.integers(1, 12), max_size=3),
)
def test_every_way_of_writing_a_number_has_one_hash(
    number: str, separator: str, before: str, behind: str, places: list[int]
) -> None:
    """What people and programs put into a number does not change it."""
    digits = [*number]
    for place in sorted(places, reverse=True):
        if place < len(digits) - 1:
            digits.insert(place + 1, separator)
    written = before + "".join(digits) + behind
    assert hash_phone(written) == sha256(number)


def hash_or_none(raw: str) -> str | None:
    """Hash a number, if it can be one."""
    try:
        return hash_phone(raw)
    except InvalidEventError:
        return None


@settings(max_examples=200, deadline=None)
@given(st.from_regex(r"\A\+[1-9][0-9]{6,14}\Z"))
def test_a_number_in_e164_form_is_normalized_or_rejected(number: str) -> None:
    """With spaces or without, the same digits have the same hash, or none."""
    spaced = f"{number[:3]} {number[3:]}"
    assert hash_or_none(number) == hash_or_none(spaced)


@pytest.mark.parametrize(
    ("raw", "region", "e164"),
    [
        ("+4402079460958", None, "+442079460958"),
        ("+44(0)2079460958", None, "+442079460958"),
        ("+044 20 7946 0958", None, "+442079460958"),
        ("+0044 20 7946 0958", None, "+442079460958"),
        ("00442079460958", None, "+442079460958"),
        ("(0044) 20 7946 0958", None, "+442079460958"),
        ("0044 20 7946 0958", "US", "+442079460958"),
        ("011 44 20 7946 0958", "US", "+442079460958"),
        ("++442079460958", None, "+442079460958"),
        ("(+44) 20 7946 0958", None, "+442079460958"),
        ("TEL:+44-20-7946-0958", None, "+442079460958"),
        ("+5213312345678", None, "+523312345678"),
        ("005213312345678", None, "+523312345678"),
        ("+49 (0) 151 23456789", None, "+4915123456789"),
        ("+49015123456789", None, "+4915123456789"),
        ("0151 23456789", "DE", "+4915123456789"),
        ("+3906 698 12345", None, "+390669812345"),
        ("\u2066+33 (0)6 10 82 64 17\u2069", None, "+33610826417"),
        ("8 (912) 345-67-89", "RU", "+79123456789"),
        ("+7 912 345 67 89", None, "+79123456789"),
    ],
)
def test_the_forms_that_shoppers_type_are_normalized(
    raw: str, region: str | None, e164: str
) -> None:
    """Trunk zeros, doubled prefixes, brackets and invisible marks are read as meant."""
    assert hash_phone(raw, region) == sha256(e164)


@pytest.mark.parametrize(
    "raw",
    [
        "alice@example.com.",
        "alice@example.com;",
        "alice@example.com,",
        "<alice@example.com>",
        "Alice Liddell <Alice@Example.com>",
        '"alice@example.com"',
        "mailto:alice@example.com",
        "MAILTO:alice%40example.com?subject=Hi",
        "\ufeffalice@example.com",
        "alice@example.com\u200b",
        "al\u00adice@example.com",
        "\u2068alice@example.com\u2069",
    ],
)
def test_what_surrounds_an_address_is_no_part_of_it(raw: str) -> None:
    """An address is hashed as it is in a mail's header, whatever stands around it."""
    assert hash_email(raw) == sha256("alice@example.com")


@pytest.mark.slow
@given(st.from_regex(PLAIN_EMAIL, fullmatch=True))
def test_an_address_that_is_hashed_at_once_is_its_own_normal_form(address: str) -> None:
    """The short way is taken only where it leads to the same hash as the long one."""
    assert bare_address(address) == address.lower()
    assert hash_or_none_email(f" {address}") == hash_or_none_email(address)


def hash_or_none_email(raw: str) -> str | None:
    """Hash an address, if it can be one."""
    try:
        return hash_email(raw)
    except InvalidEventError:
        return None


@pytest.mark.parametrize(
    "raw",
    [
        "alice@example..com",
        "alice..liddell@example.com",
        ".alice@example.com",
        "alice.@example.com",
        "alice@-example.com",
        "alice@example-.com",
        "alice@example",
        "alice@127.0.0.1",
        "alice@example.com, bob@example.com",
        "alice@example.com;bob@example.com",
        "alice@bob@example.com",
        "al ice@example.com",
        "alice@exam ple.com",
        "alice(at)example.com",
        "alice@" + "a" * 64 + ".com",
        "a" * 65 + "@example.com",
        "a@" + "b." * 1_000_000 + "com",
        "@" * 1_000_000,
    ],
)
def test_what_is_no_address_is_not_hashed(raw: str) -> None:
    """A hash that no seller can match only looks like an identifier."""
    with pytest.raises(InvalidEventError):
        hash_email(raw)


@pytest.mark.slow
@pytest.mark.parametrize("missing", ["geocoder", "carrier", "timezone", "geodata"])
def test_the_small_package_of_phonenumbers_will_do(missing: str) -> None:
    """The package phonenumberslite is the module without the names of places and carriers."""
    code = (
        f"import sys; sys.modules['phonenumbers.{missing}'] = None;"
        "from adcp_tracker.events.hashing import hash_phone;"
        "sys.exit(hash_phone('020 7946 0958', 'GB') != hash_phone('+442079460958'))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_phonenumbers_plain_numbers_are_hashed() -> None:
    """Others are rejected, and the error says what to install."""
    code = (
        "import sys, importlib.util as util; find = util.find_spec;"
        "util.find_spec = lambda name: None if name == 'phonenumbers' else find(name)\n"
        "from adcp_tracker.events.hashing import hash_phone\n"
        "hash_phone('+442079460958')\n"
        "try: hash_phone('020 7946 0958', 'GB')\n"
        "except ValueError as error: sys.exit('phonenumberslite' not in str(error))\n"
        "sys.exit(2)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_e164_needs_no_phonenumbers() -> None:
    """The large package is imported only when a number has to be read."""
    code = (
        "import sys; from adcp_tracker.events.hashing import hash_phone;"
        "hash_phone('+12065551234');"
        "sys.exit('phonenumbers' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


CONTEXT = RequestContext(
    client_ip="203.0.113.9",
    client_user_agent="Firefox",
    event_source_url="https://shop.example/",
    click_id="ctx-click",
    click_id_type="fbclid",
)


def test_the_request_fills_in_what_is_not_given() -> None:
    """Everything that is known of the shopper is sent."""
    match = user_match(email="alice@example.com", context=CONTEXT)
    assert match is not None
    assert match.hashed_email == ALICE
    assert match.client_ip == "203.0.113.9"
    assert match.client_user_agent == "Firefox"
    assert (match.click_id, match.click_id_type) == ("ctx-click", "fbclid")


def test_what_is_given_wins() -> None:
    """A caller knows better than the request."""
    match = user_match(client_ip="198.51.100.1", client_user_agent="Safari", context=CONTEXT)
    assert match is not None
    assert (match.client_ip, match.client_user_agent) == ("198.51.100.1", "Safari")


def test_a_click_and_its_type_go_together() -> None:
    """The request's type never joins a click id that was given without one."""
    match = user_match(click_id="own-click", context=CONTEXT)
    assert match is not None
    assert (match.click_id, match.click_id_type) == ("own-click", None)


@pytest.mark.parametrize(
    "context",
    [
        None,
        RequestContext(),
        RequestContext(client_ip="203.0.113.9"),
        RequestContext(client_user_agent="Firefox"),
        RequestContext(client_ip="", client_user_agent="Firefox", click_id=""),
    ],
)
def test_what_identifies_nobody_is_left_out(context: RequestContext | None) -> None:
    """An address without a user agent would make the event invalid, so it is not sent."""
    assert user_match(email="", phone="", uids=[], context=context) is None


def test_an_address_alone_stays_beside_another_identifier() -> None:
    """It helps to match, as long as something else identifies the shopper."""
    match = user_match(phone="+12065551234", context=RequestContext(client_ip="203.0.113.9"))
    assert match is not None
    assert match.client_ip == "203.0.113.9"


def test_a_long_user_agent_is_cut() -> None:
    """Browsers' names have no bound, so they are the one thing that is cut."""
    match = user_match(client_ip="203.0.113.9", client_user_agent="x" * 600)
    assert match is not None
    assert match.client_user_agent == "x" * 512


def test_universal_ids_are_sent_as_they_are() -> None:
    """Neither hashed nor changed, and mappings are as good."""
    match = user_match(uids=[UniversalId(UidType.UID2, "A=="), {"type": "id5", "value": "ID5*x"}])
    assert match is not None
    assert match.uids == (UniversalId(UidType.UID2, "A=="), UniversalId(UidType.ID5, "ID5*x"))


def test_both_rejections_are_reported_at_once() -> None:
    """Whoever mends the address need not find out about the number afterwards."""
    with pytest.raises(InvalidEventError) as caught:
        user_match(email="alice", phone="020 7946 0958")
    assert [fault.path for fault in caught.value.errors] == [
        "$.user_match.hashed_email",
        "$.user_match.hashed_phone",
    ]


@given(
    st.text(st.sampled_from("aA1.@+-_ '\x7f\x1f\xa0é\n"), max_size=12)
    | st.text(max_size=12)
    | st.emails()
)
def test_an_address_is_checked_alike_with_spaces_around_it(raw: str) -> None:
    """The short way of plain addresses takes, refuses and hashes what the long one does."""
    try:
        hashed: str | None = hash_email(f" {raw} ")
    except InvalidEventError:
        hashed = None
    if hashed is None:
        with pytest.raises(InvalidEventError):
            hash_email(raw)
    else:
        assert hash_email(raw) == hashed == sha256(raw.strip().lower())
