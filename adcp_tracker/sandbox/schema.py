"""Validation of requests, independent of the library's own."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal, get_args

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping


@attrs.frozen
class Issue:
    """One violation of the schema.

    Attributes:
        pointer: The location, as a JSON pointer from the request's root.
        message: What is expected; never the value found.
        keyword: The JSON Schema keyword.
    """

    pointer: str
    message: str
    keyword: str


Check = Callable[[object], Sequence[Issue]]
"""Returns the issues of a value; pointers are relative to it."""

NO_ISSUES: tuple[Issue, ...] = ()
"""The result of a check that passes."""

_TIME_PARTS = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.\d+)?"
    r"(?:[Zz]|([+-])([01]\d|2[0-3]):([0-5]\d))",
    re.ASCII,
)
_PLAIN = r"(?:[A-Za-z0-9._~:/?@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})"
_ABSOLUTE_URI = re.compile(
    rf"[A-Za-z][A-Za-z0-9+.-]*:(?=[^#])(?://\[[0-9A-Fa-f:.]+\](?=[:/?#]|\Z))?"
    rf"{_PLAIN}*(?:#{_PLAIN}*)?"
)
_LEAP_SECOND = 60


def check_text(shortest: int, longest: int | None = None) -> Check:
    """Require a string of a certain length."""
    most = sys.maxsize if longest is None else longest

    def check(value: object) -> Sequence[Issue]:
        if type(value) is not str:
            return wrong_type("a string", value)
        if shortest <= len(value) <= most:
            return NO_ISSUES
        if len(value) < shortest:
            return violation(f"must have {shortest} characters or more", "minLength")
        return violation(f"must have {longest} characters or fewer", "maxLength")

    return check


def check_string(passes: Callable[[str], object], expected: str, keyword: str) -> Check:
    """Require a string for which `passes` returns something true."""

    def check(value: object) -> Sequence[Issue]:
        if type(value) is not str:
            return wrong_type("a string", value)
        return NO_ISSUES if passes(value) else violation(f"must be {expected}", keyword)

    return check


def check_pattern(pattern: str, expected: str) -> Check:
    """Require a string that `pattern` matches completely."""
    return check_string(re.compile(pattern).fullmatch, expected, "pattern")


def check_choice(choices: frozenset[str]) -> Check:
    """Require one of `choices`."""
    return check_string(choices.__contains__, "one of the protocol's values", "enum")


def check_number(least: float, most: float | None = None) -> Check:
    """Require a number within bounds; true and false are not numbers."""
    highest = float("inf") if most is None else most

    def check(value: object) -> Sequence[Issue]:
        if type(value) is not int and type(value) is not float:
            return wrong_type("a number", value)
        if least <= value <= highest:
            return NO_ISSUES
        if value < least:
            return violation(f"must be {least} or more", "minimum")
        return violation(f"must be {most} or less", "maximum")

    return check


def check_whole_number(least: int, most: int | None = None) -> Check:
    """Require a whole number within bounds; 2.0 is one, as in JSON Schema."""
    in_bounds = check_number(least, most)

    def check(value: object) -> Sequence[Issue]:
        if type(value) is float and not value.is_integer():
            return violation("must be a whole number", "type")
        return in_bounds(value)

    return check


def check_list(item: Check, shortest: int = 0, longest: int | None = None) -> Check:
    """Require a list of a certain length whose items pass `item`."""

    def check(value: object) -> Sequence[Issue]:
        if type(value) is not list:
            return wrong_type("a list", value)
        found: list[Issue] = []
        if len(value) < shortest:
            found += violation(f"must have {shortest} items or more", "minItems")
        if longest is not None and len(value) > longest:
            found += violation(f"must have {longest} items or fewer", "maxItems")
        for index, entry in enumerate(value):
            issues = item(entry)
            if issues:
                found += prefix_pointers(f"/{index}", issues)
        return found

    return check


def check_object(fields: Mapping[str, Check], required: tuple[str, ...] = ()) -> Check:
    """Require an object whose known keys pass their checks; other values must not be null."""

    def check(value: object) -> Sequence[Issue]:
        if type(value) is not dict:
            return wrong_type("an object", value)
        found: list[Issue] = []
        for name in required:
            if name not in value:
                found += prefix_pointers(f"/{name}", violation("is required", "required"))
        for key, entry in value.items():
            issues = fields.get(key, check_no_null)(entry)
            if issues:
                found += prefix_pointers(f"/{escape_pointer(key)}", issues)
        return found

    return check


def check_anything(_value: object) -> Sequence[Issue]:
    """Accept any value; it is validated elsewhere."""
    return NO_ISSUES


def check_no_null(value: object) -> Sequence[Issue]:
    """Require a value without null at any depth."""
    if value is None:
        return wrong_type("a value", value)
    if type(value) is dict:
        return check_open_object(value)
    return _any_list(value) if type(value) is list else NO_ISSUES


check_open_object = check_object({})
"""Requires an object without null values."""
_any_list = check_list(check_no_null)


def violation(message: str, keyword: str) -> list[Issue]:
    """Return one issue located at the value itself."""
    return [Issue("", message, keyword)]


def wrong_type(expected: str, value: object) -> list[Issue]:
    """Return the issue for a value of another type, or for null."""
    if value is None:
        return violation(f"must be {expected}: null is never allowed, leave the key out", "type")
    return violation(f"must be {expected}", "type")


def prefix_pointers(step: str, issues: Sequence[Issue]) -> list[Issue]:
    """Return `issues` with `step` put before their pointers."""
    return [Issue(step + issue.pointer, issue.message, issue.keyword) for issue in issues]


def is_real_time(text: str) -> bool:
    """Return whether `text` is an RFC 3339 time that exists in the calendar."""
    match = _TIME_PARTS.fullmatch(text)
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


def escape_pointer(key: str) -> str:
    """Return a key as a part of a JSON pointer."""
    return key.replace("~", "~0").replace("/", "~1")


Dialect = Literal["interchange", "3.0", "3.1", "3.2"]
"""The rules that apply: Interchange's, or those of an AdCP version."""

EVENT_TYPES_3_0 = frozenset(
    [
        "page_view",
        "view_content",
        "select_content",
        "select_item",
        "search",
        "share",
        "add_to_cart",
        "remove_from_cart",
        "viewed_cart",
        "add_to_wishlist",
        "initiate_checkout",
        "add_payment_info",
        "purchase",
        "refund",
        "lead",
        "qualify_lead",
        "close_convert_lead",
        "disqualify_lead",
        "complete_registration",
        "subscribe",
        "start_trial",
        "app_install",
        "app_launch",
        "contact",
        "schedule",
        "donate",
        "submit_application",
        "custom",
    ]
)
EVENT_TYPES = EVENT_TYPES_3_0 | {"follow", "content_view", "watch_milestone"}
UID_TYPES_3_0 = frozenset(
    [
        "rampid",
        "rampid_derived",
        "id5",
        "uid2",
        "euid",
        "pairid",
        "maid",
        "hashed_email",
        "publisher_first_party",
        "other",
    ]
)
UID_TYPES = UID_TYPES_3_0 | {"world_id_nullifier"}
INTERCHANGE_ACTION_SOURCES = frozenset(
    ["website", "app", "in_store", "phone_call", "system_generated", "other"]
)
ACTION_SOURCES = INTERCHANGE_ACTION_SOURCES | {"offline", "chat", "email"}

_TIME = check_string(is_real_time, "an RFC 3339 time with its UTC offset", "format")
_URI = check_string(_ABSOLUTE_URI.fullmatch, "an absolute URI", "format")
_HASH = check_pattern(r"[a-f0-9]{64}", "64 lower-case hexadecimal digits")
CURRENCY = check_pattern(r"[A-Z]{3}", "three capital letters")
IDEMPOTENCY_KEY = check_pattern(
    r"[A-Za-z0-9_.:-]{16,255}", "16 to 255 characters out of A-Z a-z 0-9 _ . : -"
)
_VERSION = check_pattern(
    r"\d+\.\d+(-[A-Za-z0-9.-]+)?", "a release such as 3.1, without a patch number"
)

_CONTENT = check_object(
    {
        "id": check_text(0, 256),
        "quantity": check_whole_number(1),
        "price": check_number(0),
        "brand": check_text(0, 256),
    },
    required=("id",),
)
_CUSTOM_DATA: dict[str, Check] = {
    "value": check_number(0),
    "currency": CURRENCY,
    "order_id": check_text(0, 256),
    "content_ids": check_list(check_text(0, 256)),
    "content_type": check_text(0, 128),
    "content_name": check_text(0),
    "content_category": check_text(0),
    "num_items": check_whole_number(0),
    "search_string": check_text(0),
    "contents": check_list(_CONTENT),
    "ext": check_open_object,
}
_PROGRESS: dict[str, Check] = {
    "progress_percent": check_number(0, 100),
    "progress_seconds": check_number(0),
}
SURFACE = check_object(
    {
        "category": check_choice(ACTION_SOURCES | {"owned_property"}),
        "property_type": check_text(1, 128),
        "namespace": check_text(1, 128),
        "property_id": check_text(1, 256),
        "ext": check_open_object,
    },
    required=("category",),
)


def _user_match(uid_types: frozenset[str]) -> Check:
    uid = check_object(
        {"type": check_choice(uid_types), "value": check_text(1, 512)}, required=("type", "value")
    )
    return check_object(
        {
            "uids": check_list(uid, shortest=1),
            "hashed_email": _HASH,
            "hashed_phone": _HASH,
            "click_id": check_text(1, 512),
            "click_id_type": check_text(1, 64),
            "client_ip": check_text(1, 45),
            "client_user_agent": check_text(1, 512),
            "ext": check_open_object,
        }
    )


def _event(dialect: Dialect) -> Check:
    old = dialect == "3.0"
    rest = dialect == "interchange"
    newer: dict[str, Check] = {} if old else {"surface": SURFACE}
    custom_data = _CUSTOM_DATA if old else _CUSTOM_DATA | _PROGRESS
    return check_object(
        {
            "event_id": check_text(1, 256),
            "event_type": check_choice(EVENT_TYPES_3_0 if old else EVENT_TYPES),
            "event_time": _TIME,
            "user_match": _user_match(UID_TYPES_3_0 if old else UID_TYPES),
            "custom_data": check_object(custom_data),
            "action_source": check_choice(INTERCHANGE_ACTION_SOURCES if rest else ACTION_SOURCES),
            "event_source_url": _URI,
            "custom_event_name": check_text(1),
            "ext": check_open_object,
        }
        | newer,
        required=("event_id", "event_type", "event_time"),
    )


_EVENT: dict[Dialect, Check] = {dialect: _event(dialect) for dialect in get_args(Dialect)}
_IDENTIFIERS = ("hashed_email", "hashed_phone", "uids", "click_id")
_ADCP_ONLY = ("idempotency_key", "adcp_version", "adcp_major_version", "context", "ext")


def _foreign(_value: object) -> Sequence[Issue]:
    return violation("belongs to AdCP agents only: leave it out", "not")


_REQUEST: dict[str, Check] = {
    "event_source_id": check_text(1, 255),
    "test_event_code": check_text(1),
}
_REST_REQUEST = _REQUEST | dict.fromkeys(_ADCP_ONLY, _foreign)
_ADCP_REQUEST = _REQUEST | {
    "idempotency_key": IDEMPOTENCY_KEY,
    "adcp_version": _VERSION,
    "adcp_major_version": check_whole_number(1, 99),
    "context": check_open_object,
    "ext": check_open_object,
}


def check_event(event: object, dialect: Dialect) -> Sequence[Issue]:
    """Return all issues of `event`.

    Args:
        event: The event as decoded from JSON.
        dialect: The rules to apply.

    Returns:
        The issues, in the order of the event's keys; empty for a valid event.
    """
    found = _EVENT[dialect](event)
    if isinstance(event, dict):
        return [*found, *_check_conditions(event, dialect)]
    return found


def check_request(request: object, dialect: Dialect, most: int) -> Sequence[Issue]:
    """Return the issues of a request, apart from its events.

    Args:
        request: The body as decoded from JSON; its events are only counted.
        dialect: The rules to apply.
        most: The maximum number of events per request.
    """
    events = {"events": check_list(check_anything, shortest=1, longest=most)}
    if dialect == "interchange":
        return check_object(_REST_REQUEST | events, ("event_source_id", "events"))(request)
    required = ("idempotency_key", "event_source_id", "events")
    return check_object(_ADCP_REQUEST | events, required)(request)


def _check_conditions(event: dict[str, object], dialect: Dialect) -> list[Issue]:
    found: list[Issue] = []
    match = event.get("user_match")
    if isinstance(match, dict) and not _identifies(match):
        found.append(Issue("/user_match", "holds no identifier", "anyOf"))
    if event.get("action_source") == "website" and "event_source_url" not in event:
        found.append(Issue("/event_source_url", "is required for a website event", "required"))
    kind = event.get("event_type")
    if kind == "custom" and dialect == "interchange" and "custom_event_name" not in event:
        found.append(Issue("/custom_event_name", "is required for a custom event", "required"))
    if kind == "watch_milestone" and dialect != "3.0" and not _has_progress(event):
        message = "needs progress_percent or progress_seconds for a watch_milestone"
        found.append(Issue("/custom_data", message, "anyOf"))
    return found


def _identifies(match: dict[str, object]) -> bool:
    if any(name in match for name in _IDENTIFIERS):
        return True
    return "client_ip" in match and "client_user_agent" in match


def _has_progress(event: dict[str, object]) -> bool:
    data = event.get("custom_data")
    return isinstance(data, dict) and bool(_PROGRESS.keys() & data.keys())
