"""validate(event) -> every FieldError, with its JSON path."""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Final, TypeVar

import attrs

from adcp_tracker._formatting import describe, format_choice, format_code, format_number, is_name
from adcp_tracker.events.model import (
    COMMON_CURRENCIES,
    DIGEST_LENGTH,
    MAX_ID,
    MAX_NUMBER,
    MAX_PERCENT,
    MAX_TOKEN,
    MAX_TYPE,
    MAX_WORD,
    MIN_EXPONENT,
    ActionSource,
    Content,
    CustomData,
    EventType,
    Surface,
    SurfaceCategory,
    UidType,
    UniversalId,
    UserMatch,
    is_currency,
)
from adcp_tracker.events.urls import normalize_url
from adcp_tracker.exceptions import FieldError

if TYPE_CHECKING:
    from collections.abc import Callable
    from enum import Enum

    from adcp_tracker.events.event import Event


MAX_DEPTH: Final = 16
"""How deep lists and objects may be nested in custom keys and extensions."""

_MAX_BITS: Final = 64
_MAX_IP: Final = 45
_MAX_DIGITS: Final = 400
_find_control: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]").search
_is_digest: Final = re.compile(rf"[0-9a-f]{{{DIGEST_LENGTH}}}").fullmatch


@attrs.define
class FieldErrors:
    """The faults found so far; every method looks at one value and adds what is wrong.

    Attributes:
        errors: In the order in which they were found.
    """

    errors: list[FieldError] = attrs.field(factory=list)

    def add(self, path: str, expected: str, got: str = "nothing") -> None:
        """Note that `path` should hold what is `expected`."""
        self.errors.append(FieldError(path, expected, got))

    def text(self, path: str, value: object, longest: int | None = None) -> None:
        """Ask for a string of at most `longest` characters that can be written as UTF-8."""
        expected = "a string" if longest is None else f"a string of at most {longest} characters"
        if not isinstance(value, str) or (longest is not None and len(value) > longest):
            self.add(path, expected, describe(value))
        elif _is_torn(value):
            self.add(path, "a string of whole characters", "half of a surrogate pair")

    def identifier(self, path: str, value: object, longest: int) -> None:
        """Ask for 1 to `longest` characters without control characters, such as an id."""
        if not isinstance(value, str) or not 0 < len(value) <= longest:
            self.add(path, f"a string of 1–{longest} characters", describe(value))
        elif _find_control(value):
            self.add(path, "a string without control characters", f"{describe(value)} with some")
        elif _is_torn(value):
            self.add(path, "a string of whole characters", "half of a surrogate pair")

    def choice(self, path: str, value: object, words: type[Enum]) -> None:
        """Ask for a member of an enumeration, or a string of the same value."""
        known = [word.value for word in words]
        if not isinstance(value, str) or value not in known:
            self.add(path, f"one of {', '.join(known)}", format_choice(value, known))

    def currency(self, path: str, value: object) -> None:
        """Ask for what looks like a code of ISO 4217."""
        if not isinstance(value, str) or not is_currency(value):
            self.add(
                path, "three capital letters, such as USD", format_code(value, COMMON_CURRENCIES)
            )

    def number(self, path: str, value: object, most: int | None = None) -> None:
        """Ask for an exact number from 0, up to `most` where there is one."""
        expected = "a number ≥ 0" if most is None else f"a number from 0 to {most}"
        fits = type(value) is int or (type(value) is Decimal and value.is_finite())
        if not fits or value < 0 or (most is not None and value > most):  # type: ignore[operator]
            self.add(path, expected, format_number(value))
        elif value >= MAX_NUMBER:  # type: ignore[operator]
            self.add(path, "a number below 2^53", format_number(value))
        elif type(value) is Decimal and value.adjusted() <= MIN_EXPONENT:
            self.add(
                path, f"a number not finer than 10^{MIN_EXPONENT}", "a Decimal finer than that"
            )

    def integer(self, path: str, value: object, least: int) -> None:
        """Ask for an integer from `least`; ``True`` is none."""
        if type(value) is not int or value < least:
            shown = f"the float {value!r}" if type(value) is float else format_number(value)
            self.add(path, f"an integer ≥ {least}", shown)
        elif value >= MAX_NUMBER:
            self.add(path, "an integer below 2^53", format_number(value))

    def time(self, path: str, value: object) -> None:
        """Ask for an instant: a datetime with its offset, in whole minutes as RFC 3339 has it."""
        expected = "a datetime with its UTC offset"
        if not isinstance(value, datetime):
            self.add(path, expected, describe(value))
        elif (offset := value.utcoffset()) is None:
            self.add(path, expected, "a naive datetime, which could be any of 24 hours")
        elif offset % timedelta(minutes=1):
            self.add(path, "a UTC offset of whole minutes", "one with seconds")

    def uri(self, path: str, value: object) -> None:
        """Ask for an absolute URI, or for what can be escaped to be one."""
        if not isinstance(value, str) or normalize_url(value) is None:
            self.add(path, "an absolute URI, percent-encoded", describe(value))

    def sha256(self, path: str, value: object) -> None:
        """Ask for a SHA-256."""
        if not isinstance(value, str) or not _is_digest(value):
            self.add(path, "a SHA-256 of 64 lower-case hex digits", describe(value))

    def address(self, path: str, value: object) -> None:
        """Ask for an IPv4 or IPv6 address, without a zone."""
        if not isinstance(value, str) or not is_address(value):
            self.add(path, "an IPv4 or IPv6 address", describe(value))

    def json_object(self, path: str, value: object) -> None:
        """Ask for a mapping that JSON can write."""
        if isinstance(value, Mapping):
            self.json(path, value)
        else:
            self.add(path, "a mapping", describe(value))

    def json(self, path: str, value: object, depth: int = 0) -> None:
        """Ask for a value that JSON can write, without nulls."""
        if depth > MAX_DEPTH:
            self.add(path, f"at most {MAX_DEPTH} levels of nesting", "more")
        elif isinstance(value, Mapping):
            for key, member in value.items():
                self.key(path, key)
                self.json(join(path, key), member, depth + 1)
        elif isinstance(value, (list, tuple)):
            for index, member in enumerate(value):
                self.json(f"{path}[{index}]", member, depth + 1)
        elif isinstance(value, str):
            self.text(path, value)
        elif not _is_json_scalar(value):
            expected = "a string, a finite number, true, false, a list or a mapping"
            self.add(path, expected, describe(value))

    def key(self, path: str, key: object) -> None:
        """Ask for a key that a JSON object can have."""
        if not isinstance(key, str) or _is_torn(key):
            self.add(path, "keys that are strings", f"{describe(key)} as a key")


def join(path: str, key: object) -> str:
    """Write the path of `key` in `path`; a key that is not an ordinary name stays hidden."""
    return f"{path}.{key}" if is_name(key) else f"{path}[…]"


def is_address(text: str) -> bool:
    """Tell whether `text` is an IPv4 or IPv6 address, without a zone."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return len(text) <= _MAX_IP and "%" not in text


def _is_torn(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _is_json_scalar(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, Decimal):
        return value.is_finite() and abs(value.adjusted()) < _MAX_DIGITS
    return isinstance(value, int) and value.bit_length() <= _MAX_BITS


_Part = TypeVar("_Part", UserMatch, CustomData, Surface)

_RAW: Final = frozenset({"email", "phone"})


def validate(event: Event) -> list[FieldError]:
    """List every rule that `event` breaks, in the order of its fields."""
    errors = FieldErrors()
    errors.identifier("$.event_id", event.event_id, MAX_ID)
    errors.choice("$.event_type", event.event_type, EventType)
    errors.time("$.event_time", event.event_time)
    _part(errors, "$.user_match", event.user_match, UserMatch, _match)
    _part(errors, "$.custom_data", event.custom_data, CustomData, _data)
    if event.action_source is not None:
        errors.choice("$.action_source", event.action_source, ActionSource)
    if event.event_source_url is not None:
        errors.uri("$.event_source_url", event.event_source_url)
    if event.custom_event_name is not None:
        errors.identifier("$.custom_event_name", event.custom_event_name, MAX_ID)
    _part(errors, "$.surface", event.surface, Surface, _surface)
    if event.ext is not None:
        errors.json_object("$.ext", event.ext)
    _extra(errors, "$", event)
    _conditions(errors, event)
    return errors.errors


def _conditions(errors: FieldErrors, event: Event) -> None:
    """Check what one field asks of another."""
    if event.action_source == ActionSource.WEBSITE and event.event_source_url is None:
        errors.add("$.event_source_url", 'the page\'s URL, as action_source is "website"')
    if event.event_type == EventType.CUSTOM and event.custom_event_name is None:
        errors.add("$.custom_event_name", 'a name, as event_type is "custom"')
    if event.event_type == EventType.WATCH_MILESTONE:
        data = event.custom_data
        percent = getattr(data, "progress_percent", None)
        if percent is getattr(data, "progress_seconds", None) is None:
            errors.add(
                "$.custom_data.progress_percent",
                'this or progress_seconds, as event_type is "watch_milestone"',
            )


def _match(errors: FieldErrors, path: str, match: UserMatch) -> None:
    if match.hashed_email is not None:
        errors.sha256(f"{path}.hashed_email", match.hashed_email)
    if match.hashed_phone is not None:
        errors.sha256(f"{path}.hashed_phone", match.hashed_phone)
    _each(errors, f"{path}.uids", match.uids, _uid)
    if match.click_id is not None:
        errors.identifier(f"{path}.click_id", match.click_id, MAX_TOKEN)
    if match.click_id_type is not None:
        errors.identifier(f"{path}.click_id_type", match.click_id_type, MAX_TYPE)
    if match.client_ip is not None:
        errors.address(f"{path}.client_ip", match.client_ip)
    if match.client_user_agent is not None:
        errors.text(f"{path}.client_user_agent", match.client_user_agent, MAX_TOKEN)
    extra: object = match.extra
    for raw in sorted(_RAW.intersection(extra if isinstance(extra, Mapping) else ())):
        errors.add(f"{path}.{raw}", f"hashed_{raw}, as it is never sent raw", "it raw")
    if not identifies(match):
        errors.add(
            path,
            "an identifier: uids, hashed_email, hashed_phone, click_id, "
            "or client_ip together with client_user_agent",
            "none",
        )


def identifies(match: UserMatch) -> bool:
    """Tell whether `match` holds what sellers count as an identifier."""
    return bool(
        match.hashed_email
        or match.hashed_phone
        or match.uids
        or match.click_id
        or (match.client_ip and match.client_user_agent)
    )


def _uid(errors: FieldErrors, path: str, uid: object) -> None:
    if not isinstance(uid, UniversalId):
        errors.add(path, "a UniversalId", describe(uid))
        return
    errors.choice(f"{path}.type", uid.type, UidType)
    errors.identifier(f"{path}.value", uid.value, MAX_TOKEN)
    _extra(errors, path, uid)


def _data(errors: FieldErrors, path: str, data: CustomData) -> None:
    if data.value is not None:
        errors.number(f"{path}.value", data.value)
    if data.currency is not None:
        errors.currency(f"{path}.currency", data.currency)
    if data.order_id is not None:
        errors.identifier(f"{path}.order_id", data.order_id, MAX_ID)
    _each(errors, f"{path}.contents", data.contents, _content)
    _each(errors, f"{path}.content_ids", data.content_ids, _content_id)
    if data.num_items is not None:
        errors.integer(f"{path}.num_items", data.num_items, 0)
    if data.content_type is not None:
        errors.identifier(f"{path}.content_type", data.content_type, MAX_WORD)
    for name in ("content_name", "content_category", "search_string"):
        if (text := getattr(data, name)) is not None:
            errors.text(f"{path}.{name}", text)
    if data.progress_percent is not None:
        errors.number(f"{path}.progress_percent", data.progress_percent, MAX_PERCENT)
    if data.progress_seconds is not None:
        errors.number(f"{path}.progress_seconds", data.progress_seconds)


def _content(errors: FieldErrors, path: str, content: object) -> None:
    if not isinstance(content, Content):
        errors.add(
            path, "a Content, or an item with an id, a quantity and a price", describe(content)
        )
        return
    errors.identifier(f"{path}.id", content.id, MAX_ID)
    if content.quantity is not None:
        errors.integer(f"{path}.quantity", content.quantity, 1)
    if content.price is not None:
        errors.number(f"{path}.price", content.price)
    if content.brand is not None:
        errors.text(f"{path}.brand", content.brand, MAX_ID)
    _extra(errors, path, content)


def _content_id(errors: FieldErrors, path: str, content_id: object) -> None:
    errors.identifier(path, content_id, MAX_ID)


def _surface(errors: FieldErrors, path: str, surface: Surface) -> None:
    errors.choice(f"{path}.category", surface.category, SurfaceCategory)
    if surface.property_type is not None:
        errors.identifier(f"{path}.property_type", surface.property_type, MAX_WORD)
    if surface.namespace is not None:
        errors.identifier(f"{path}.namespace", surface.namespace, MAX_WORD)
    if surface.property_id is not None:
        errors.identifier(f"{path}.property_id", surface.property_id, MAX_ID)


def _part(
    errors: FieldErrors,
    path: str,
    value: object,
    kind: type[_Part],
    inspect: Callable[[FieldErrors, str, _Part], None],
) -> None:
    if isinstance(value, kind):
        inspect(errors, path, value)
        _extra(errors, path, value)
    elif value is not None:
        errors.add(path, f"a {kind.__name__}", describe(value))


def _each(
    errors: FieldErrors,
    path: str,
    values: object,
    inspect: Callable[[FieldErrors, str, object], None],
) -> None:
    """Inspect a list's members; no list at all is fine where the field is optional."""
    if values is None:
        return
    if not isinstance(values, (list, tuple)):
        errors.add(path, "a tuple or list", describe(values))
        return
    for index, value in enumerate(values):
        inspect(errors, f"{path}[{index}]", value)


def _extra(errors: FieldErrors, path: str, part: attrs.AttrsInstance) -> None:
    """Inspect the keys the protocol does not name; ``ext`` is the one of them that has a kind."""
    extra: object = getattr(part, "extra", None)
    if not isinstance(extra, Mapping):
        errors.add(join(path, "extra"), "a mapping", describe(extra))
        return
    named = {field.name for field in attrs.fields(type(part)) if field.init} - {"extra"}
    for key, value in extra.items():
        errors.key(path, key)
        if key in named:
            errors.add(join(path, key), "an unknown key in extra", "a field's own name")
        elif key == "ext":
            errors.json_object(join(path, key), value)
        else:
            errors.json(join(path, key), value)
