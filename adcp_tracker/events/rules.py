"""What the protocol allows in a field: one function per kind of value.

Each function makes a *check*: called with a value, it returns what is written in the event's
JSON, or raises :class:`InvalidField`, which says what was expected and what was found. The
tables in :mod:`.model` say which field has which kind, and :mod:`.validation` runs them.

A check returns ``None`` for a value that is left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from socket import AF_INET, AF_INET6, inet_pton
from typing import TYPE_CHECKING, Any, Final, Literal, NoReturn

import attrs
import orjson

from adcp_tracker._formatting import describe, format_choice, format_code, format_number, is_name
from adcp_tracker.events.parsing import (
    MAX_NUMBER,
    clean_id,
    normalize_url,
    parse_amount,
    unbox,
)
from adcp_tracker.exceptions import FieldError

if TYPE_CHECKING:
    from adcp_tracker.events.parsing import Unvalidated

AdcpVersion = Literal["3.0", "3.1", "3.2"]
"""A version of the protocol that sellers speak."""

Check = Callable[[Any], Any]
"""Returns the JSON value of a field's value, or raises :class:`InvalidField`."""

MIN_EXPONENT: Final = -20
"""Decimals begin above this power of ten, so that none explodes into a million zeros."""

MAX_URL: Final = 32_768
"""Characters in a page's address, more than any browser or server takes."""

MAX_DIGITS: Final = 100
"""How many digits a number may have."""

MAX_DEPTH: Final = 16
"""How deep lists and objects may be nested in custom keys and extensions."""

MAX_ELEMENTS: Final = 2**15
"""How many elements of a list are read; an event of more can't be sent."""

MAX_BROKEN: Final = 200
"""After so many broken elements, the rest of a list isn't looked at."""

COMMON_CURRENCIES: Final = frozenset({"AUD", "CAD", "CHF", "EUR", "GBP", "JPY", "USD"})
"""Currencies that need no second look."""

DIGEST_LENGTH: Final = 64
"""Hex digits of a SHA-256."""

WRONG_TYPE: Final = "wrong_type"
MALFORMED: Final = "malformed"
OUT_OF_RANGE: Final = "out_of_range"
TOO_LONG: Final = "too_long"
UNKNOWN_VALUE: Final = "unknown_value"
UNKNOWN_FIELD: Final = "unknown_field"
MISSING: Final = "missing"
TOO_LARGE: Final = "too_large"

REASONS: Final = frozenset(
    {
        WRONG_TYPE,
        MALFORMED,
        OUT_OF_RANGE,
        TOO_LONG,
        UNKNOWN_VALUE,
        UNKNOWN_FIELD,
        MISSING,
        TOO_LARGE,
        "invalid",
    }
)
"""Every value that :attr:`.FieldError.code` can have."""

is_currency: Final = re.compile(r"[A-Z]{3}").fullmatch
"""Match what looks like a code of ISO 4217."""

_BASELINE: Final[AdcpVersion] = "3.0"
_MAX_BITS: Final = 64
_MAX_CUSTOM_DIGITS: Final = 400
_MAX_IP: Final = 45
_MAX_CACHED: Final = 4096
_MILLISECOND: Final = 1000
_MINUTE: Final = timedelta(minutes=1)
_UTC: Final = timezone.utc
_DATETIMES: Final = frozenset({datetime})  # orjson takes no subclass
_UTC_OFFSET: Final = "+00:00"
_find_control: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]").search
_is_digest: Final = re.compile(rf"[0-9a-f]{{{DIGEST_LENGTH}}}").fullmatch
_is_money: Final = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,20})?").fullmatch
_number_cache: Final[dict[str, orjson.Fragment]] = {}


class InvalidField(Exception):  # noqa: N818 - a signal between checks, never seen by a caller
    """A value breaks its rule.

    Attributes:
        errors: What is wrong; each path begins at the value, as in ``.contents[2].id``.
    """

    def __init__(self, errors: list[FieldError]) -> None:
        self.errors = errors


@attrs.frozen
class Nested:
    """The check of a value with fields or elements of its own.

    Attributes:
        encode: Returns the JSON value. Given a list, it leaves out what is optional and breaks
            its rule, and adds that to the list; without one it raises for everything.
        view: Returns the typed value of what was read from JSON.
    """

    encode: Callable[[Any, list[FieldError] | None], Any]
    view: Callable[[Any], Any]


@attrs.frozen
class Rule:
    """What a field may hold.

    Attributes:
        check: The check of its kind.
        view: Returns the typed value of what was read from JSON.
        vital: Without a usable value for one of these reasons, the part that has the field
            is left out as a whole.
        since: The first AdCP version that has the field.
    """

    check: Check | Nested
    view: Callable[[Any], Any] | None = None
    vital: frozenset[str] = frozenset()
    since: AdcpVersion = _BASELINE


def rule(
    check: Check | Nested,
    *,
    view: Callable[[Any], Any] | None = None,
    vital: frozenset[str] = frozenset(),
    since: AdcpVersion = _BASELINE,
) -> dict[str, Rule]:
    """Return the metadata of an attrs field that has a rule."""
    if isinstance(check, Nested):
        view = check.view
    return {"rule": Rule(check, view, vital, since)}


def rule_of(field: attrs.Attribute[Any]) -> Rule | None:
    """Return the rule of an attrs field, if it has one."""
    found: Rule | None = field.metadata.get("rule")
    return found


def fail(code: str, expected: str, got: str = "nothing", path: str = "") -> NoReturn:
    """Raise the error of one value."""
    raise InvalidField([FieldError(path, expected, got, code)])


def below(errors: list[FieldError], step: str) -> list[FieldError]:
    """Return `errors` with their paths one `step` further from the root."""
    return [attrs.evolve(error, path=step + error.path) for error in errors]


def errors_of(check: Check, value: object, path: str) -> list[FieldError]:
    """Return what is wrong with one value that stands at `path`."""
    try:
        check(value)
    except InvalidField as invalid:
        return below(invalid.errors, path)
    return []


def at_root(errors: list[FieldError]) -> list[FieldError]:
    """Return `errors` with the paths they have in the whole event."""
    return below(errors, "$")


def newer_fields(kind: type[attrs.AttrsInstance]) -> frozenset[str]:
    """Return the fields that came after the first AdCP version."""
    return frozenset(
        field.name
        for field in attrs.fields(kind)
        if (found := rule_of(field)) is not None and found.since != _BASELINE
    )


def step_to(key: object) -> str:
    """Return the step of a path to `key`; a key that is not an ordinary name stays hidden."""
    return f".{key}" if is_name(key) else "[…]"


def text(longest: int | None = None) -> Check:
    """Make the check of a string that can be written as UTF-8."""
    expected = "a string" if longest is None else f"a string of at most {longest} characters"

    def check(given: object) -> str:
        value = given if type(given) is str else _as_str(given, expected)
        if longest is not None and len(value) > longest:
            fail(TOO_LONG, expected, describe(value))
        if not value.isascii():
            _check_characters(value)
        if not value or value.isspace():
            fail(MISSING, expected, describe(value))
        return value

    return check


def identifier(longest: int) -> Check:
    """Make the check of 1 to `longest` characters without control characters, such as an id.

    It returns the id without what is invisible around it, see :func:`.clean_id`.
    """
    expected = f"a string of 1–{longest} characters"

    def check(given: object) -> str:
        value = (given if type(given) is str else _as_str(given, expected)).strip()
        is_printable = value.isprintable()
        if not is_printable:
            value = clean_id(value)
        if len(value) > longest:
            fail(TOO_LONG, expected, describe(given))
        if not value:
            unseen = ", none of them visible" if given else ""
            fail(MISSING, expected, f"{describe(given)}{unseen}")
        if not is_printable:
            if _find_control(value):
                fail(
                    MALFORMED, "a string without control characters", f"{describe(value)} with some"
                )
            _check_characters(value)
        return value

    return check


def _as_str(value: object, expected: str) -> str:
    """Return a member of an enumeration, or of a caller's own class of strings, as plain text."""
    if not isinstance(value, str):
        fail(WRONG_TYPE, expected, describe(value))
    return str.__str__(str(value.value) if isinstance(value, Enum) else value)


def _check_characters(value: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError:
        fail(MALFORMED, "a string of whole characters", "half of a surrogate pair")


def choice(kind: type[Enum]) -> Check:
    """Make the check of a member of an enumeration, or of its value."""
    known = [member.value for member in kind]
    values: dict[object, str] = {member: member.value for member in kind}
    values.update({each: each for each in known})

    def check(value: object) -> str:
        try:
            return values[value]
        except (KeyError, TypeError):
            fail(UNKNOWN_VALUE, f"one of {', '.join(known)}", format_choice(value, known))

    return check


def currency_code(value: object) -> str:
    """Check what looks like a code of ISO 4217."""
    if type(value) is str and (value in COMMON_CURRENCIES or is_currency(value)):
        return value
    if isinstance(value, str) and is_currency(value):
        return _as_str(value, "")
    shown = format_code(value, COMMON_CURRENCIES)
    fail(MALFORMED, "three capital letters, such as USD", shown)


def number(most: int | None = None) -> Check:
    """Make the check of an exact number from 0, up to `most` where there is one.

    A float counts by the digits it is written with, never by its binary value.
    """
    expected = "a number ≥ 0" if most is None else f"a number from 0 to {most}"

    def check(value: Unvalidated) -> object:
        if type(value) is Decimal and most is None:
            digits = str(value)
            found = _number_cache.get(digits)
            if found is not None:
                return found
            if _is_money(digits):
                return _cached(digits)
        elif type(value) is int and 0 <= value < MAX_NUMBER and (most is None or value <= most):
            return value
        return _checked_number(_as_number(value), most, expected)

    return check


def _as_number(value: object) -> object:
    plain = unbox(value)
    return parse_amount(plain) if type(plain) is float else plain


def _checked_number(value: Unvalidated, most: int | None, expected: str) -> object:
    if type(value) is not int and (type(value) is not Decimal or not value.is_finite()):
        fail(WRONG_TYPE, expected, format_number(value))
    if value < 0 or (most is not None and value > most):
        fail(OUT_OF_RANGE, expected, format_number(value))
    if value >= MAX_NUMBER:
        fail(OUT_OF_RANGE, "a number below 2^53", format_number(value))
    if not isinstance(value, Decimal):
        return value
    value = value or value.copy_abs()  # -0.00 is nothing less than 0.00
    if value.adjusted() <= MIN_EXPONENT:
        finer = "a Decimal finer than that"
        fail(OUT_OF_RANGE, f"a number not finer than 10^{MIN_EXPONENT}", finer)
    if abs(value.adjusted()) > MAX_DIGITS or len(str(value)) > MAX_DIGITS:
        fail(OUT_OF_RANGE, f"a number of at most {MAX_DIGITS} digits", "a Decimal of more")
    return orjson.Fragment(format(value, "f"))


def _cached(digits: str) -> orjson.Fragment:
    """Return a number's own digits for orjson, which has no Decimal. Kept, as prices repeat."""
    if len(_number_cache) >= _MAX_CACHED:
        _number_cache.clear()
    return _number_cache.setdefault(digits, orjson.Fragment(digits))


def integer(least: int) -> Check:
    """Make the check of an integer from `least`; ``True`` isn't one."""

    def check(value: Unvalidated) -> int:
        if type(value) is int and least <= value < MAX_NUMBER:
            return value
        plain = unbox(value)
        if type(plain) is int and plain is not value:
            return check(plain)
        if type(value) is int and value >= MAX_NUMBER:
            fail(OUT_OF_RANGE, "an integer below 2^53", format_number(value))
        shown = f"the float {value!r}" if type(value) is float else format_number(value)
        is_number = isinstance(value, (int, float, Decimal)) and not isinstance(value, bool)
        fail(OUT_OF_RANGE if is_number else WRONG_TYPE, f"an integer ≥ {least}", shown)

    return check


def sha256(value: object) -> str:
    """Check a SHA-256 in lower-case hex digits."""
    if isinstance(value, str) and len(value) == DIGEST_LENGTH and _is_digest(value):
        return value if type(value) is str else _as_str(value, "")
    fail(MALFORMED, "a SHA-256 of 64 lower-case hex digits", describe(value))


def address(value: object) -> str:
    """Check an IPv4 or IPv6 address, without a zone."""
    if isinstance(value, str) and len(value) <= _MAX_IP and "%" not in value:
        try:
            inet_pton(AF_INET6 if ":" in value else AF_INET, value)
        except (OSError, ValueError):
            pass
        else:
            return value if type(value) is str else _as_str(value, "")
    if isinstance(value, str) and clean_id(value) != value:
        return address(clean_id(value))
    fail(MALFORMED, "an IPv4 or IPv6 address", describe(value))


def url(value: object) -> str:
    """Check an absolute URI, or what can be escaped to be one."""
    plain = value if type(value) is str else _as_str(value, "an absolute URI, percent-encoded")
    if len(plain) > MAX_URL:
        fail(TOO_LONG, f"an absolute URI of at most {MAX_URL} characters", describe(plain))
    found = normalize_url(clean_id(plain))
    if found is None:
        fail(MALFORMED, "an absolute URI, percent-encoded", describe(plain))
    return found


def instant(value: Unvalidated) -> object:
    """Check a datetime with its offset, in whole minutes as RFC 3339 has it."""
    expected = "a datetime with its UTC offset"
    if type(value) in _DATETIMES and value.tzinfo is _UTC:
        microsecond = value.microsecond
        return value if microsecond % _MILLISECOND or not microsecond else format_time(value)
    if not isinstance(value, datetime):
        fail(WRONG_TYPE, expected, describe(value))
    offset = value.utcoffset()
    if offset is None:
        fail(MALFORMED, expected, "a naive datetime, which could be any of 24 hours")
    if offset % _MINUTE:
        fail(MALFORMED, "a UTC offset of whole minutes", "one with seconds")
    return format_time(value)


def format_time(value: datetime) -> str:
    """Write an instant in RFC 3339, with no more digits than it has."""
    precision = "seconds"
    if value.microsecond:
        precision = "microseconds" if value.microsecond % _MILLISECOND else "milliseconds"
    written = value.isoformat(timespec=precision)
    return written.removesuffix(_UTC_OFFSET) + "Z" if written.endswith(_UTC_OFFSET) else written


def json_object(value: object) -> object:
    """Check a mapping that JSON can write."""
    if not isinstance(value, Mapping):
        fail(WRONG_TYPE, "a mapping", describe(value))
    return json_value(value)


def json_value(value: object, depth: int = 0) -> object:  # noqa: C901, PLR0911 - a line a kind
    """Check a value that JSON can write, without nulls.

    An integer of 2^53 or more is written in a string, as in the JSON of Protocol Buffers: as
    a number it would lose digits in most parsers, and RFC 8785 can't write it.
    """
    if type(value) is int and -MAX_NUMBER < value < MAX_NUMBER:
        return value
    if isinstance(value, str):
        return _any_text(value)
    if value is True or value is False:
        return value
    if depth > MAX_DEPTH:
        fail(TOO_LARGE, f"at most {MAX_DEPTH} levels of nesting", "more")
    if isinstance(value, Mapping):
        return _json_members(value, depth)
    if isinstance(value, (list, tuple)):
        return _json_elements(value, depth)
    if isinstance(value, Enum) and isinstance(value, int):
        value = value.value
    if type(value) is float and value - value == 0:
        return value
    if (
        isinstance(value, Decimal)
        and value.is_finite()
        and abs(value.adjusted()) < _MAX_CUSTOM_DIGITS
    ):
        return _json_decimal(value)
    if isinstance(value, int) and value.bit_length() <= _MAX_BITS:
        return int(value) if -MAX_NUMBER < value < MAX_NUMBER else str(int(value))
    expected = "a string, a finite number, true, false, a list or a mapping"
    fail(WRONG_TYPE, expected, describe(value))


def _any_text(value: object) -> str:
    plain = value if type(value) is str else _as_str(value, "a string")
    if not plain.isascii():
        _check_characters(plain)
    return plain


def _json_decimal(value: Decimal) -> object:
    digits = format(value, "f")
    is_unsafe = "." not in digits and not -MAX_NUMBER < value < MAX_NUMBER
    return digits if is_unsafe else orjson.Fragment(digits)


def _json_members(value: Mapping[Any, object], depth: int) -> dict[str, object]:
    members: dict[str, object] = {}
    errors: list[FieldError] = []
    for key, member in value.items():
        try:
            name = json_key(key)
        except InvalidField as error:
            errors += error.errors
            continue
        try:
            members[name] = json_value(member, depth + 1)
        except InvalidField as error:
            errors += below(error.errors, step_to(key))
    if errors:
        raise InvalidField(errors)
    return members


def _json_elements(value: list[Any] | tuple[Any, ...], depth: int) -> list[object]:
    elements: list[object] = []
    errors: list[FieldError] = []
    for index, element in enumerate(value):
        try:
            elements.append(json_value(element, depth + 1))
        except InvalidField as error:  # noqa: PERF203 - each is named
            errors += below(error.errors, f"[{index}]")
    if errors:
        raise InvalidField(errors)
    return elements


def json_key(key: object) -> str:
    """Check a key that a JSON object can have."""
    try:
        return _any_text(key)
    except InvalidField:
        fail(WRONG_TYPE, "keys that are strings", f"{describe(key)} as a key")
