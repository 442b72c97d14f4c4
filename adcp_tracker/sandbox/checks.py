"""The small checks that the written rules are put together from."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping


@attrs.frozen
class Issue:
    """One broken rule.

    Attributes:
        pointer: Where, as a JSON pointer from the request's root.
        message: What the rule asks for; never the value that was found.
        keyword: The rule's name in the words of JSON Schema.
    """

    pointer: str
    message: str
    keyword: str


Check = Callable[[object], Sequence[Issue]]
"""Look at a value, and say what is wrong with it; pointers start at the value itself."""

GOOD: tuple[Issue, ...] = ()
"""What a check returns when nothing is wrong."""

_TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.\d+)?"
    r"(?:[Zz]|([+-])([01]\d|2[0-3]):([0-5]\d))",
    re.ASCII,
)
_PLAIN = r"(?:[A-Za-z0-9._~:/?@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})"
_URI = re.compile(
    rf"[A-Za-z][A-Za-z0-9+.-]*:(?=[^#])(?://\[[0-9A-Fa-f:.]+\](?=[:/?#]|\Z))?"
    rf"{_PLAIN}*(?:#{_PLAIN}*)?"
)
_LEAP_SECOND = 60


def check_text(shortest: int, longest: int | None = None) -> Check:
    """Ask for a string of so many characters."""
    most = sys.maxsize if longest is None else longest

    def check(value: object) -> Sequence[Issue]:
        if type(value) is not str:
            return wrong_type("a string", value)
        if shortest <= len(value) <= most:
            return GOOD
        if len(value) < shortest:
            return broken(f"must have {shortest} characters or more", "minLength")
        return broken(f"must have {longest} characters or fewer", "maxLength")

    return check


def check_pattern(pattern: re.Pattern[str], expected: str) -> Check:
    """Ask for a string that the whole of `pattern` matches."""

    def check(value: object) -> Sequence[Issue]:
        if type(value) is not str:
            return wrong_type("a string", value)
        return GOOD if pattern.fullmatch(value) else broken(f"must be {expected}", "pattern")

    return check


def check_word(choices: frozenset[str]) -> Check:
    """Ask for one of the protocol's words."""

    def check(value: object) -> Sequence[Issue]:
        if type(value) is not str:
            return wrong_type("a string", value)
        return GOOD if value in choices else broken("must be a word of the protocol", "enum")

    return check


def check_number(least: float, most: float | None = None) -> Check:
    """Ask for a number within bounds; JSON's true and false are none."""
    highest = float("inf") if most is None else most

    def check(value: object) -> Sequence[Issue]:
        if type(value) is not int and type(value) is not float:
            return wrong_type("a number", value)
        if least <= value <= highest:
            return GOOD
        if value < least:
            return broken(f"must be {least} or more", "minimum")
        return broken(f"must be {most} or less", "maximum")

    return check


def check_whole_number(least: int, most: int | None = None) -> Check:
    """Ask for a whole number within bounds; 2.0 is one, as in JSON Schema."""
    in_bounds = check_number(least, most)

    def check(value: object) -> Sequence[Issue]:
        if type(value) is float and not value.is_integer():
            return broken("must be a whole number", "type")
        return in_bounds(value)

    return check


def check_list(item: Check, shortest: int = 0, longest: int | None = None) -> Check:
    """Ask for a list of so many items, each of which passes `item`."""

    def check(value: object) -> Sequence[Issue]:
        if type(value) is not list:
            return wrong_type("a list", value)
        found: list[Issue] = []
        if len(value) < shortest:
            found += broken(f"must have {shortest} items or more", "minItems")
        if longest is not None and len(value) > longest:
            found += broken(f"must have {longest} items or fewer", "maxItems")
        for index, entry in enumerate(value):
            issues = item(entry)
            if issues:
                found += under(f"/{index}", issues)
        return found

    return check


def check_object(fields: Mapping[str, Check], required: tuple[str, ...] = ()) -> Check:
    """Ask for an object whose known keys pass their checks; others hold anything but null."""

    def check(value: object) -> Sequence[Issue]:
        if type(value) is not dict:
            return wrong_type("an object", value)
        found: list[Issue] = []
        for name in required:
            if name not in value:
                found += under(f"/{name}", broken("is required", "required"))
        for key, entry in value.items():
            issues = fields.get(key, check_no_null)(entry)
            if issues:
                found += under(f"/{_escape(key)}", issues)
        return found

    return check


def check_anything(_value: object) -> Sequence[Issue]:
    """Ask for nothing: what is there is looked at elsewhere."""
    return GOOD


def check_no_null(value: object) -> Sequence[Issue]:
    """Ask for anything that holds no null, however deep."""
    if value is None:
        return wrong_type("a value", value)
    if type(value) is dict:
        return check_open_object(value)
    return _any_list(value) if type(value) is list else GOOD


check_open_object = check_object({})
"""Ask for an object that may hold anything but null."""
_any_list = check_list(check_no_null)


def check_time(value: object) -> Sequence[Issue]:
    """Ask for a moment by RFC 3339, which always names its offset."""
    if type(value) is not str:
        return wrong_type("a string", value)
    if is_moment(value):
        return GOOD
    return broken("must be an RFC 3339 time with its UTC offset", "format")


def check_uri(value: object) -> Sequence[Issue]:
    """Ask for an absolute URI by RFC 3986."""
    if type(value) is not str:
        return wrong_type("a string", value)
    return GOOD if _URI.fullmatch(value) else broken("must be an absolute URI", "format")


def broken(message: str, keyword: str) -> list[Issue]:
    """Return one broken rule, at the value itself."""
    return [Issue("", message, keyword)]


def wrong_type(expected: str, value: object) -> list[Issue]:
    """Return the broken rule of a value that is of another type, or null."""
    if value is None:
        return broken(f"must be {expected}: null is never allowed, leave the key out", "type")
    return broken(f"must be {expected}", "type")


def under(step: str, issues: Sequence[Issue]) -> list[Issue]:
    """Return `issues` as seen from one step further up."""
    return [Issue(step + issue.pointer, issue.message, issue.keyword) for issue in issues]


def is_moment(text: str) -> bool:
    """Say whether `text` is a moment by RFC 3339 that the calendar has."""
    match = _TIME.fullmatch(text)
    if match is None:
        return False
    year, month, day, hour, minute, second = map(int, match.groups()[:6])
    leap = second == _LEAP_SECOND
    try:
        local = datetime(year, month, day, hour, minute, 59 if leap else second)  # noqa: DTZ001 - the offset is applied below
    except ValueError:
        return False
    return not leap or _is_last_minute(local, match)


def _is_last_minute(local: datetime, match: re.Match[str]) -> bool:
    # Leap seconds end a day of UTC and nothing else.
    sign, hours, minutes = match.groups()[6:]
    offset = timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
    try:
        utc = local + offset if sign == "-" else local - offset
    except OverflowError:
        return False
    return (utc.hour, utc.minute) == (23, 59)


def _escape(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")
