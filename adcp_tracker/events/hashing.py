"""Who the shopper is: raw e-mail addresses and phone numbers in, hashes out.

The protocol's rules, and no others:

- An e-mail address is trimmed, lower-cased and hashed. Dots and plus signs stay,
  for Gmail too, and Unicode is not normalised any further.
- A phone number is hashed in E.164 form with its plus. One that is written so is taken
  as it is; any other is read for an explicit region, and refused without one rather than guessed.
- What is a SHA-256 already is only lower-cased.

The hashes are pseudonymous personal data: whoever has a list of addresses can find
one by its hash.
"""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Final, NoReturn

from adcp_tracker._formatting import describe
from adcp_tracker.events._fast_init import quick
from adcp_tracker.events.model import MAX_TOKEN, UniversalId, UserMatch
from adcp_tracker.events.parsing import Unvalidated, parse_universal_id
from adcp_tracker.events.validation import identifies
from adcp_tracker.exceptions import FieldError, InvalidEventError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from hashlib import sha256

    from adcp_tracker.context import Context
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

_user_match: Final = quick(UserMatch)
_is_plain_email: Final = re.compile(r"[!-?A-~]+@[!-?A-~]+\.[!-?A-~]+").fullmatch
_is_e164: Final = re.compile(r"\+[1-9][0-9]{6,14}").fullmatch
_is_sha256: Final = re.compile(r"[0-9a-f]{64}").fullmatch


def hash_email(raw: object, *, path: str = EMAIL_PATH) -> str:
    """Hash an e-mail address, trimmed and lower-cased, as sellers expect it.

    Args:
        raw: The address, or its SHA-256 in hex.
        path: Where it stands, for the error.

    Returns:
        64 lower-case hex digits.

    Raises:
        InvalidEventError: If `raw` cannot be an address.
    """
    if type(raw) is str and _is_plain_email(raw):
        return sha256(raw.lower().encode()).hexdigest()
    address = raw.strip().lower() if isinstance(raw, str) else ""
    local, _, domain = address.partition("@")
    if (
        local
        and "." in domain[1:-1]
        and "@" not in domain
        and " " not in address
        and address.isprintable()
    ):
        return sha256(address.encode()).hexdigest()
    if _is_sha256(address):
        return address
    return _reject(path, "an e-mail address or its SHA-256", describe(raw))


def hash_phone(raw: object, default_region: str | None = None, *, path: str = PHONE_PATH) -> str:
    """Hash a phone number in its E.164 form, plus included, as sellers expect it.

    Args:
        raw: The number, or its SHA-256 in hex, or a number that ``phonenumbers`` has read
            already, as a shop's own model may hold one.
        default_region: Two letters of ISO 3166, such as ``GB``: where a number is
            that does not begin with a plus.
        path: Where it stands, for the error.

    Returns:
        64 lower-case hex digits.

    Raises:
        InvalidEventError: If `raw` cannot be a number, or not without a region.
    """
    if isinstance(raw, str) and _is_e164(raw):
        return sha256(raw.encode()).hexdigest()
    text = raw if isinstance(raw, str) else _formatted(raw)
    if text is None:
        _reject(path, "a phone number or its SHA-256", describe(raw))
    number = text.strip()
    if _is_sha256(number.lower()):
        return number.lower()
    if not _is_e164(number):
        number = _to_e164(number, default_region, path)
    return sha256(number.encode()).hexdigest()


def _formatted(raw: object) -> str | None:
    """Write out a number that was read already; ``None`` if it is nothing of the kind."""
    # Whoever has such an object has loaded the library, so that nobody else need load it.
    library = sys.modules.get("phonenumbers")
    if library is None or not isinstance(raw, library.PhoneNumber):
        return None
    if raw.country_code and raw.national_number:
        return str(library.format_number(raw, library.PhoneNumberFormat.E164))
    return None if raw.raw_input is None else str(raw.raw_input)


def _to_e164(raw: str, default_region: str | None, path: str) -> str:
    # Only here, as it takes longer to import than all of this library.
    import phonenumbers  # noqa: PLC0415
    from phonenumbers import PhoneNumberFormat, ValidationResult  # noqa: PLC0415

    region = None if default_region is None else default_region.upper()
    if region is None and not raw.startswith(("+", "\N{FULLWIDTH PLUS SIGN}")):
        expected = "a number in E.164 form, such as +12065551234, or a default_region to read it by"
        _reject(path, expected, f"{describe(raw)} without a country code, and no default_region")
    expected = "a phone number" if region is None else f"a phone number, read as one of {region}"
    try:
        number = phonenumbers.parse(raw, region)
    except phonenumbers.NumberParseException:
        _reject(path, expected, describe(raw))
    if phonenumbers.is_possible_number_with_reason(number) != ValidationResult.IS_POSSIBLE:
        _reject(path, expected, f"{describe(raw)}, which is too short or too long")
    return str(phonenumbers.format_number(number, PhoneNumberFormat.E164))


def _reject(path: str, expected: str, got: str) -> NoReturn:
    # No cause is kept: its message could repeat the address or number.
    raise InvalidEventError([FieldError(path, expected, got)]) from None


def user_match(  # noqa: PLR0913 - the identifiers there are, each by its name
    *,
    email: str | None = None,
    phone: str | None = None,
    uids: Sequence[UniversalId | Mapping[str, object]] | None = None,
    click_id: str | None = None,
    click_id_type: str | None = None,
    client_ip: str | None = None,
    client_user_agent: str | None = None,
    default_region: str | None = None,
    context: Context | None = None,
) -> UserMatch | None:
    """Gather every identifier there is: what is given, and else what the request tells.

    A click id and its type go together, so the request's type never joins a given id.
    Empty strings count as nothing.

    Args:
        email: Raw, or hashed already.
        phone: Raw, or hashed already.
        uids: Universal ids, also as mappings of ``type`` and ``value``.
        click_id: The click that brought the shopper.
        click_id_type: Which kind of click id.
        client_ip: The shopper's address.
        client_user_agent: Cut to 512 characters.
        default_region: Where phone numbers are that do not begin with a plus.
        context: The request's side of it.

    Returns:
        The identifiers; ``None`` if together they identify nobody, such as an address
        without a user agent.

    Raises:
        InvalidEventError: If the e-mail address or the phone number is refused.
    """
    faults: tuple[FieldError, ...] = ()
    hashed_email = hashed_phone = None
    if context is not None:
        client_ip = client_ip or context.client_ip
        client_user_agent = client_user_agent or context.client_user_agent
        if not click_id and context.click_id:
            click_id, click_id_type = context.click_id, context.click_id_type
    if isinstance(client_user_agent, str):
        client_user_agent = client_user_agent[:MAX_TOKEN]
    try:
        hashed_email = hash_email(email) if email else None
    except InvalidEventError as error:
        faults = error.errors
    try:
        hashed_phone = hash_phone(phone, default_region) if phone else None
    except InvalidEventError as error:
        faults += error.errors
    if faults:
        raise InvalidEventError(faults)
    match = _user_match(
        hashed_email,
        hashed_phone,
        _uids(uids) if uids else None,
        click_id or None,
        click_id_type or None,
        client_ip or None,
        client_user_agent or None,
    )
    return match if identifies(match) else None


def _uids(uids: Sequence[UniversalId | Mapping[str, object]]) -> Unvalidated:
    return tuple(map(parse_universal_id, uids)) if isinstance(uids, (list, tuple)) else uids
