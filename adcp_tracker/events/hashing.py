"""Collect a shopper's identifiers, and hash e-mail addresses and phone numbers.

- An e-mail address is trimmed, lower-cased and hashed. Dots and plus signs stay,
  for Gmail too, and Unicode is not normalized any further.
- A phone number is hashed in E.164 form with its plus. One without a country code is read
  in an explicit region, and rejected without one.
- A SHA-256 is only lower-cased.

Each way of writing an address or a number gives the hash of its normal form, or is rejected.
The hashes are pseudonymous personal data: anyone with a list of addresses can find one by
its hash.
"""

from __future__ import annotations

import re
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final, NoReturn

import attrs

from adcp_tracker._formatting import describe
from adcp_tracker.events.model import MAX_TOKEN, identifies
from adcp_tracker.events.parsing import INVISIBLE, Unvalidated, is_absent
from adcp_tracker.exceptions import FieldError, InvalidEventError

if TYPE_CHECKING:
    from hashlib import sha256

    from adcp_tracker.context import Context
    from adcp_tracker.events.rules import Check
    from adcp_tracker.events.validation import JsonDict

else:
    # Python's own SHA-256 does a short text in two thirds of what OpenSSL takes to begin one.
    try:
        from _sha2 import sha256  # since 3.12
    except ImportError:
        try:
            from _sha256 import sha256
        except ImportError:  # an interpreter that was built without
            from hashlib import sha256

EMAIL_PATH: Final = "$.user_match.hashed_email"
PHONE_PATH: Final = "$.user_match.hashed_phone"

_MAX_EMAIL: Final = 254
_MAX_PHONE: Final = 100
_MAX_LOCAL: Final = 64
_MAX_LABEL: Final = 63
_LOCAL: Final = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
PLAIN_EMAIL: Final = re.compile(
    rf"{_LOCAL}(?:\.{_LOCAL})*@(?:[A-Za-z0-9]+(?:-+[A-Za-z0-9]+)*\.)+[A-Za-z]{{2,63}}"
)
"""Matches addresses that need no change but to small letters."""

_is_plain_email: Final = PLAIN_EMAIL.fullmatch
_is_local: Final = re.compile(
    r"""[^\s."(),:;<>@\[\]\\\x00-\x20\x7f]+(?:\.[^\s."(),:;<>@\[\]\\\x00-\x20\x7f]+)*"""
).fullmatch
_is_label: Final = re.compile(r"[^\W_](?:[\w-]*[^\W_])?").fullmatch
_find_bracketed: Final = re.compile(r"<([^<>]*)>[\s.,;]*\Z").search
_invisible: Final = dict.fromkeys(map(ord, INVISIBLE))

CERTAIN_E164: Final = re.compile(
    r"\+(?:1[2-9][0-9]{9}|31[1-9][0-9]{8}|32[1-9][0-9]{7,8}|33[1-9][0-9]{8}|34[1-9][0-9]{8}"
    r"|351[1-9][0-9]{8}|353[1-9][0-9]{6,8}|358[1-9][0-9]{5,10}|39[03][0-9]{8,9}|41[1-9][0-9]{8}"
    r"|420[1-9][0-9]{8}|43[1-9][0-9]{7,11}|44(?!180020)[1-9][0-9]{9}|45[1-9][0-9]{7}"
    r"|46[1-9][0-9]{6,8}|47[2-9][0-9]{7}|48[1-9][0-9]{8}|49[1-9][0-9]{6,10}|52[2-9][0-9]{9}"
    r"|55[1-8][0-9]{9,10}|61[2-9][0-9]{8}|64[1-9][0-9]{7,8}|65[1-9][0-9]{7}|81[1-9][0-9]{8,9}"
    r"|82[1-9][0-9]{7,9}|861[3-9][0-9]{9}|91[1-9][0-9]{9})"
)
"""Matches numbers that phonenumbers would return unchanged.

They have a possible length and no national prefix after the country code.
"""

_is_certain_e164: Final = CERTAIN_E164.fullmatch
_cut_label: Final = re.compile(
    r"\A\s*(?:tel|phone|mobile|cell|callto)\s*[.:]+\s*", re.IGNORECASE
).sub
_replace_old_mexican: Final = re.compile(
    r"\A([+\uff0b]\s*52)[\s().-]*1(?=(?:[\s().-]*[0-9]){10}\Z)"
).sub
_replace_plus_zeros: Final = re.compile(r"\A[\s(]*[+\uff0b]+[\s(]*0+").sub
_replace_00: Final = re.compile(r"\A[\s(]*00[\s)]*(?=[1-9])").sub
_has_plus: Final = re.compile(r"\A[\s(\[.-]*[+\uff0b]").match
_is_sha256: Final = re.compile(r"[0-9a-f]{64}").fullmatch


def hash_email(raw: object, *, path: str = EMAIL_PATH) -> str:
    """Hash an e-mail address, trimmed and lower-cased, as sellers expect it.

    Invisible characters, ``mailto:``, angle brackets and trailing punctuation are removed.

    Args:
        raw: The address, or its SHA-256 in hex.
        path: Where it is in the event, for the error.

    Returns:
        64 lower-case hex digits.

    Raises:
        InvalidEventError: If `raw` isn't an address.
    """
    if type(raw) is str and len(raw) <= _MAX_LOCAL and _is_plain_email(raw):
        return sha256(raw.lower().encode()).hexdigest()
    text = str.__str__(raw) if isinstance(raw, str) else ""
    address = bare_address(text) if len(text) <= 2 * _MAX_EMAIL else ""
    if _is_address(address):
        return sha256(address.encode()).hexdigest()
    if _is_sha256(address):
        return address
    return _reject(path, "an e-mail address or its SHA-256", describe(raw))


def bare_address(text: str) -> str:
    """Return what is left of an address without what people and programs put around it."""
    address = text.translate(_invisible).strip()
    if found := _find_bracketed(address):
        address = found[1].strip()
    address = address.lower()
    if address.startswith("mailto:"):
        address = address[len("mailto:") :].partition("?")[0]
        if "@" not in address:
            address = address.replace("%40", "@")
    address = address.strip().rstrip(".,;:")
    if address[:1] in {"'", '"'} and address[-1:] == address[:1]:
        address = address[1:-1]
    return address.strip()


def _is_address(address: str) -> bool:
    local, _, domain = address.rpartition("@")
    labels = domain.split(".")
    return (
        len(address) <= _MAX_EMAIL
        and len(local) <= _MAX_LOCAL
        and _is_local(local) is not None
        and len(labels) > 1
        and all(len(label) <= _MAX_LABEL and _is_label(label) for label in labels)
        and not labels[-1].isdecimal()
        and address.isprintable()
    )


def hash_phone(raw: object, default_region: str | None = None, *, path: str = PHONE_PATH) -> str:
    """Hash a phone number in its E.164 form, plus included, as sellers expect it.

    Args:
        raw: The number, or its SHA-256 in hex, or a ``PhoneNumber`` of ``phonenumbers``,
            as a shop's own model may hold one.
        default_region: Two letters of ISO 3166, such as ``GB``: the region of a number
            without a country code.
        path: Where it is in the event, for the error.

    Returns:
        64 lower-case hex digits.

    Raises:
        InvalidEventError: If `raw` isn't a number, or can't be read without a region.
    """
    if type(raw) is str and _is_certain_e164(raw):
        return sha256(raw.encode()).hexdigest()
    text = raw if isinstance(raw, str) else _formatted(raw)
    if text is None or len(text) > _MAX_PHONE:
        _reject(path, "a phone number or its SHA-256", describe(raw))
    number = _cut_label("", str.__str__(text).translate(_invisible).strip())
    if _is_sha256(number.lower()):
        return number.lower()
    return sha256(to_e164(number, default_region, path).encode()).hexdigest()


def _formatted(raw: object) -> str | None:
    """Return the text of a ``PhoneNumber``; ``None`` for anything else."""
    # Such an object can only exist if the library is loaded.
    library = sys.modules.get("phonenumbers")
    if library is None or not isinstance(raw, library.PhoneNumber):
        return None
    if raw.country_code and raw.national_number:
        return str(library.format_number(raw, library.PhoneNumberFormat.E164))
    return None if raw.raw_input is None else str(raw.raw_input)


def to_e164(raw: str, default_region: str | None, path: str) -> str:
    """Return the E.164 form of a number.

    A number without a plus has to be a valid one of its region: a number of another country
    often has a possible length, too.
    """
    if find_spec("phonenumbers") is None:
        # The package phonenumberslite has the same module, without the names of places.
        expected = "phonenumbers or phonenumberslite installed, to read a number in this form"
        _reject(path, expected, describe(raw))
    region = default_region.strip().upper() if isinstance(default_region, str) else None
    number = None
    if _has_plus(raw):
        plain = _replace_plus_zeros("+", raw)
        number = _read(_replace_old_mexican(r"\1", plain), None, must_be_valid=plain != raw)
    else:
        abroad = _replace_00("+", raw)
        if region is not None:
            number = _read(raw, region, must_be_valid=True)
        if number is None and abroad != raw:
            number = _read(_replace_old_mexican(r"\1", abroad), None, must_be_valid=True)
        elif region is None:
            expected = (
                "a number in E.164 form, such as +12065551234, or a default_region to read it by"
            )
            got = f"{describe(raw)} without a country code, and no default_region"
            _reject(path, expected, got)
    if number is None:
        expected = (
            "a phone number" if region is None else f"a phone number, read as one of {region}"
        )
        _reject(path, expected, describe(raw))
    return number


def _read(text: str, region: str | None, *, must_be_valid: bool) -> str | None:
    """Read a number by the rules of its country; ``None`` if there is no such number."""
    # Imported when needed: it takes longer to import than all of this library.
    import phonenumbers  # noqa: PLC0415
    from phonenumbers import PhoneNumberFormat, ValidationResult  # noqa: PLC0415

    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return None
    if must_be_valid and not phonenumbers.is_valid_number(number):
        return None
    if phonenumbers.is_possible_number_with_reason(number) != ValidationResult.IS_POSSIBLE:
        return None
    return str(phonenumbers.format_number(number, PhoneNumberFormat.E164))


def _reject(path: str, expected: str, got: str) -> NoReturn:
    # Without a cause: its message could contain the address or number.
    raise InvalidEventError([FieldError(path, expected, got)]) from None


@attrs.frozen
class IdentifierChecks:
    """The checks of the identifiers that aren't hashed.

    Attributes:
        uids: The check of universal ids.
        click_id: The check of a click id.
        click_id_type: The check of its type.
        client_ip: The check of an address.
        client_user_agent: The check of a browser's name.
    """

    uids: Check
    click_id: Check
    click_id_type: Check
    client_ip: Check
    client_user_agent: Check


def unchanged(value: Unvalidated) -> Unvalidated:
    """Return a value as it is; it is checked later."""
    return value


_UNCHECKED: Final = IdentifierChecks(*[unchanged] * len(attrs.fields(IdentifierChecks)))


def identify(  # noqa: C901, PLR0913, PLR0917 - the identifiers there are, while a shopper waits
    email: Unvalidated,
    phone: Unvalidated,
    uids: Unvalidated,
    click_id: Unvalidated,
    click_id_type: Unvalidated,
    client_ip: Unvalidated,
    client_user_agent: Unvalidated,
    default_region: str | None,
    context: Context | None,
    errors: list[FieldError],
    check: IdentifierChecks = _UNCHECKED,
) -> JsonDict | None:
    """Collect the shopper's identifiers: the given ones, or else those of the request.

    A click id and its type belong together: a given id never gets the request's type.

    Args:
        email: Raw, or hashed already.
        phone: Raw, or hashed already.
        uids: Universal ids, also as mappings of ``type`` and ``value``.
        click_id: The click that brought the shopper.
        click_id_type: Which kind of click id.
        client_ip: The shopper's address.
        client_user_agent: Cut to 512 characters.
        default_region: The region of phone numbers without a country code.
        context: The request's context.
        errors: Receives the errors of an unreadable e-mail address or phone number.
        check: The checks of the other identifiers.

    Returns:
        The identifiers; ``None`` if a seller couldn't match the shopper by them, such as
        an IP address without a user agent.
    """
    if context is not None:
        client_ip = client_ip or context.client_ip
        client_user_agent = client_user_agent or context.client_user_agent
        if not click_id and context.click_id:
            click_id, click_id_type = context.click_id, context.click_id_type
    match: JsonDict = {}
    try:
        if email:
            match["hashed_email"] = hash_email(email)
    except InvalidEventError as error:
        errors += () if is_absent(email) else error.errors
    try:
        if phone:
            match["hashed_phone"] = hash_phone(phone, default_region)
    except InvalidEventError as error:
        errors += () if is_absent(phone) else error.errors
    if uids:
        match["uids"] = check.uids(uids)
    if click_id:
        match["click_id"] = check.click_id(click_id)
    if click_id_type:
        match["click_id_type"] = check.click_id_type(click_id_type)
    if client_ip:
        match["client_ip"] = check.client_ip(client_ip)
    if client_user_agent:
        if type(client_user_agent) is str and len(client_user_agent) > MAX_TOKEN:
            client_user_agent = client_user_agent[:MAX_TOKEN]
        match["client_user_agent"] = check.client_user_agent(client_user_agent)
    return match if "hashed_email" in match or identifies(match) else None
