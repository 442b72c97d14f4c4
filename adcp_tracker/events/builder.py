"""Build an event from its fields and the request's context, and derive its id."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime, timezone
from decimal import Decimal
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final, TypedDict

import attrs

from adcp_tracker._formatting import describe, is_name
from adcp_tracker._platform import reraise_interruption
from adcp_tracker.events.event import Event, encode_event, event_of, redact_rejected
from adcp_tracker.events.hashing import identify
from adcp_tracker.events.model import (
    MAX_EVENT_BYTES,
    ActionSource,
    CustomData,
    EventType,
    UserMatch,
)
from adcp_tracker.events.parsing import (
    Unvalidated,
    clean_id,
    is_absent,
    parse_id,
    parse_time,
    strip_page_url,
)
from adcp_tracker.events.rules import (
    MAX_URL,
    TOO_LARGE,
    UNKNOWN_FIELD,
    InvalidField,
    at_root,
    below,
    instant,
)
from adcp_tracker.events.validation import JsonDict, omissions_of
from adcp_tracker.exceptions import FieldError, InvalidEventError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from typing_extensions import Unpack

    from adcp_tracker.context import Context
    from adcp_tracker.events.model import Surface, UniversalId


class EventFields(TypedDict, total=False):
    """The fields that any event may have.

    Attributes:
        event_id: Its stable id, 1–256 characters.
        event_time: When it happened, with the UTC offset; left out, now.
        user_match: Identifiers made elsewhere, instead of the following ones.
        email: The shopper's address, raw or as its SHA-256.
        phone: The shopper's number, raw or as its SHA-256.
        uids: Universal ids.
        click_id: The click that brought the shopper.
        click_id_type: Which kind of click id.
        client_ip: The shopper's address.
        client_user_agent: The shopper's browser.
        custom_data: What it was about; unknown keys are custom ones.
        action_source: Where it happened; left out, the website if a page is known.
        event_source_url: The page it happened on; sent with its query, without user info and
            fragment.
        custom_event_name: The name of a custom event.
        surface: Where it happened, in detail.
        ext: Extensions.
    """

    event_id: str | None
    event_time: datetime | str | None
    user_match: UserMatch | Mapping[str, object] | None
    email: str | None
    phone: str | None
    uids: Sequence[UniversalId | Mapping[str, object]] | None
    click_id: str | None
    click_id_type: str | None
    client_ip: str | None
    client_user_agent: str | None
    custom_data: CustomData | Mapping[str, object] | None
    action_source: ActionSource | str | None
    event_source_url: str | None
    custom_event_name: str | None
    surface: Surface | Mapping[str, object] | None
    ext: Mapping[str, object] | None


class TrackOptions(EventFields, total=False):
    """What each ``track_…`` method takes besides the fields.

    Attributes:
        key: Identifies this event, such as a subscription's id. The same key always gives the
            same event id.
        context: The request it came with, or the token of one; left out, the current one.
        default_region: The region of phone numbers without a country code, such as ``GB``;
            left out, the tracker's.
        test_event_code: Marks this event as a test; 1–255 characters.
    """

    key: object
    context: Context | str | None
    default_region: str | None
    test_event_code: str | None


IDENTIFIERS: Final = (
    "email",
    "phone",
    "uids",
    "click_id",
    "click_id_type",
    "client_ip",
    "client_user_agent",
)
"""The fields that identify the shopper, as :func:`.identify` takes them."""

_DIGEST_BYTES = 16


def refund_id(order_id: str, refund_id: str | None = None) -> str:
    """Return the event id of an order's refund.

    Args:
        order_id: The refunded order.
        refund_id: The refund's own id; ``None`` for the one full refund an order can have.

    Returns:
        The order's id and the refund's. It isn't cut if it is too long for an event id,
        because a cut id could be that of another refund.

    Raises:
        InvalidEventError: If the refund's id is an object without a text of its own.
    """
    named = parse_id(refund_id)
    return f"{order_id}:refund" if named is None else f"{order_id}:refund:{_key_text(named)}"


def derive_event_id(event_type: str, *parts: object) -> str:
    """Derive an event id from a business key: the same key always gives the same id.

    Each part is hashed with its length, so ``("ab", "c")`` and ``("a", "bc")`` differ.

    Args:
        event_type: The event's type; the id begins with it.
        *parts: The business key. The id contains only its digest, 32 hex digits.

    Raises:
        InvalidEventError: If a part is an object without a text of its own.
    """
    digest = blake2b(digest_size=_DIGEST_BYTES)
    for part in parts:
        text = _key_text(part).encode("utf-8", "surrogatepass")
        digest.update(b"%d:" % len(text))
        digest.update(text)
    return f"{event_type}:{digest.hexdigest()}"


def keyed_id(event_type: str, key: Unvalidated) -> Unvalidated:
    """Derive an event id from a key; return one without a text itself, to be found invalid."""
    try:
        return derive_event_id(event_type, key)
    except InvalidEventError:
        return key


def _key_text(key: object) -> str:
    """Return the text of a key: the same in each process, as the address of an object isn't."""
    kind = type(key)
    try:
        if kind.__str__ is not object.__str__ or kind.__repr__ is not object.__repr__:
            return str(key)
    except Exception as error:  # noqa: BLE001 - whatever the shop's class does
        reraise_interruption(error)
    raise InvalidEventError([FieldError("$.event_id", "a key with a text", describe(key))])


def random_id() -> str:
    """Return a random event id. An event that is tracked again gets another, and counts twice."""
    return os.urandom(_DIGEST_BYTES).hex()


MISSING_ID: Final[Unvalidated] = object()
"""Stands for a missing id that must not be replaced by a random one."""

_UTC: Final = timezone.utc
_DETAILS: Final = tuple(EventFields.__annotations__)
_KEPT: Final = frozenset({"event_id", "event_type", "event_time", "custom_data"})
_SALES: Final = frozenset({"purchase", "refund"})
_VITAL_TO_A_SALE: Final = frozenset({"$.custom_data.value", "$.custom_data.currency"})
_HASHED: Final = ("hashed_email", "hashed_phone")


def build_event(
    event_type: EventType | str,
    *,
    now: datetime,
    context: Context | None = None,
    default_region: str | None = None,
    strict: bool = True,
    **details: Unpack[EventFields],
) -> Event:
    """Build an event. What the caller gives takes precedence over the request's context.

    Args:
        event_type: One of the protocol's types.
        now: The event's time if none is given.
        context: The request's context.
        default_region: The region of phone numbers without a country code.
        strict: Whether every broken rule is an error. If not, an optional field that breaks
            its rule is left out and listed in the event's ``omissions``.
        **details: See :class:`EventFields`. An unknown name breaks a rule, too.

    Raises:
        InvalidEventError: If the event is invalid. It lists every broken rule and holds
            what may be kept of the event.
    """
    return assemble(event_type, details, [], now, context, default_region, strict=strict)


def assemble(  # noqa: PLR0913, PLR0917 - what an event is made of
    event_type: object,
    details: Mapping[str, Any],
    errors: list[FieldError],
    now: datetime,
    context: Context | None = None,
    default_region: str | None = None,
    *,
    strict: bool = True,
) -> Event:
    """Build an event from `details`; `errors` were found earlier."""
    details = {name: tame(value) for name, value in details.items()}
    get = details.get
    event_id, event_time = get("event_id"), get("event_time")
    if event_id is MISSING_ID:
        event_id = None
    else:
        event_id = random_id() if (event_id := parse_id(event_id)) is None else event_id
    errors = [*(_unknown(name) for name in details if name not in _DETAILS), *errors]
    identifiers = {name: get(name) for name in IDENTIFIERS}
    match = _match(get("user_match"), identifiers, default_region, context, errors)
    fields = {
        "event_id": event_id,
        "event_type": tame(event_type),
        "event_time": event_time,
        "user_match": match,
        "custom_data": get("custom_data"),
        "action_source": get("action_source"),
        "event_source_url": get("event_source_url"),
        "custom_event_name": get("custom_event_name"),
        "surface": get("surface"),
        "ext": get("ext"),
    }
    return finish_event(fields, errors, now, context, strict=strict)


def with_currency(
    data: CustomData | Mapping[str, object] | None, currency: str
) -> CustomData | Mapping[str, object] | None:
    """Return an event's data with a currency if it has a value and none of its own."""
    if isinstance(data, CustomData):
        is_priced = not is_absent(data.value) and is_absent(data.currency)
        return attrs.evolve(data, currency=currency) if is_priced else data
    if isinstance(data, Mapping) and not is_absent(data.get("value")):
        return {**data, "currency": currency} if is_absent(data.get("currency")) else data
    return data


def _unknown(name: str) -> FieldError:
    """Return the error for an unknown field name, with a suggestion if one is similar."""
    from difflib import get_close_matches  # noqa: PLC0415 - for those who mistype a name

    # "emial" is nearly one of them, and "ip" the end of one; "id" is neither.
    meant = get_close_matches(name, _DETAILS, 1, 0.75) or [
        each for each in _DETAILS if each.endswith(f"_{name}")
    ]
    expected = f"{meant[0]}, as it seems" if meant else f"one of {', '.join(_DETAILS)}"
    path = f"$.{name}" if is_name(name) else "$"
    return FieldError(path, expected, "a name that no detail of an event has", UNKNOWN_FIELD)


def _match(
    match: UserMatch | Mapping[str, object] | None,
    given: dict[str, Any],
    default_region: str | None,
    context: Context | None,
    errors: list[FieldError],
) -> object:
    """Return a shopper's identifiers. Those in a mapping take precedence over single ones."""
    if match is not None and not isinstance(match, Mapping):
        return match
    unknown: dict[str, object] = {}
    for key, value in (match or {}).items():
        name = key.removeprefix("hashed_") if key in _HASHED else key
        (given if name in given else unknown)[name] = tame(value)
    found = identify(*given.values(), default_region, context, errors)  # type: ignore[call-arg]  # seven
    if found is None:
        # A mapping without identifiers is an error; no mapping at all isn't.
        return match if not errors else None
    return {**found, **unknown}


def tame(value: Unvalidated) -> Unvalidated:
    """Return the value, or a placeholder if testing its truth raises, as an array's does."""
    if type(value) in _TAME:
        return value
    try:
        bool(value)
    except Exception as error:  # noqa: BLE001 - whatever the shop's class does
        reraise_interruption(error)
        return _UNUSABLE
    return value


_TAME: Final = frozenset({str, int, float, Decimal, dict, list, tuple, datetime, type(None)})
_UNUSABLE: Final = object()


def finish_event(
    fields: dict[str, Any],
    errors: list[FieldError],
    now: datetime,
    context: Context | None,
    *,
    strict: bool,
) -> Event:
    """Add the page and the action source to an event, and check it.

    Args:
        fields: The event's fields, in their order.
        errors: Errors found earlier, of fields that can be left out.
        now: The time to use outside strict if the event's own can't be read.
        context: The request's context.
        strict: See :func:`build_event`.

    Raises:
        InvalidEventError: If the event is invalid.
    """
    _add_page(fields, context)
    if is_absent(fields["event_id"]):
        fields["event_id"] = None
    event_time = fields["event_time"]
    fields["event_time"] = now if is_absent(event_time) else in_utc(event_time)
    found: list[FieldError] = []
    try:
        wire = encode_event(fields)
    except InvalidField as invalid:
        found = at_root(invalid.errors)
    else:
        if not errors:
            event = event_of(wire)
            if strict or len(event.json) <= MAX_EVENT_BYTES:
                return event
    if strict:
        raise _rejection(fields, [*errors, *found])
    return _finish_tolerantly(fields, errors, found, now)


def _add_page(fields: dict[str, Any], context: Context | None) -> None:
    """Add the request's page. With a page, the action source is the website."""
    source, url = fields.get("action_source"), fields.get("event_source_url")
    if source is None or source == "website":
        if context is not None and is_absent(url):
            url = context.event_source_url
        if url is not None:
            fields["action_source"] = ActionSource.WEBSITE
    fields["event_source_url"] = page_of(url)


def page_of(url: Unvalidated) -> Unvalidated:
    """Return a page's URL without user info and fragment."""
    return strip_page_url(clean_id(url)) if isinstance(url, str) and len(url) <= MAX_URL else url


def in_utc(event_time: Unvalidated) -> Unvalidated:
    """Convert a time with an offset to UTC, which sellers prefer."""
    if isinstance(event_time, datetime) and event_time.tzinfo is _UTC:
        return event_time
    event_time = parse_time(event_time)
    try:
        if isinstance(event_time, datetime) and event_time.utcoffset() is not None:
            return event_time.astimezone(_UTC)
    except (ArithmeticError, ValueError):
        return event_time
    return event_time


def _finish_tolerantly(
    fields: dict[str, Any], errors: list[FieldError], found: list[FieldError], now: datetime
) -> Event:
    """Leave out invalid optional fields. Raise if what is left would be meaningless."""
    rejection = _rejection(fields, [*errors, *found])
    omitted: list[FieldError] = []
    try:
        instant(fields["event_time"])
    except InvalidField as invalid:
        omitted += below(invalid.errors, ".event_time")
        fields["event_time"] = now
    try:
        wire = encode_event(fields, omitted)
    except InvalidField:
        raise rejection from None
    left_out = [*errors, *at_root(omitted)]
    if wire["event_type"] in _SALES and any(error.path in _VITAL_TO_A_SALE for error in left_out):
        raise rejection
    event = event_of(wire, omissions_of(left_out))
    return event if len(event.json) <= MAX_EVENT_BYTES else _shrink(wire, left_out)


def _rejection(fields: dict[str, Any], errors: list[FieldError]) -> InvalidEventError:
    kept = redact_rejected(
        fields["event_id"],
        fields["event_type"],
        fields["event_time"],
        fields["custom_data"],
        errors,
    )
    return InvalidEventError(errors, event=kept)


def _shrink(wire: JsonDict, left_out: list[FieldError]) -> Event:
    """Make an event small enough: leave out item names, then items, then other keys."""
    for path in _smaller(wire):
        got = f"an event larger than {MAX_EVENT_BYTES} bytes"
        left_out.append(FieldError(path, "a smaller event", got, TOO_LARGE))
        event = event_of(wire, omissions_of(left_out))
        if len(event.json) <= MAX_EVENT_BYTES:
            break
    return event


def _smaller(wire: JsonDict) -> Iterator[str]:
    """Make an event smaller step by step. Yield the path of what each step left out."""
    data = wire.get("custom_data", {})
    lines: list[JsonDict] = data.get("contents", [])
    if any("name" in line for line in lines):
        for line in lines:
            line.pop("name", None)
        yield "$.custom_data.contents[0].name"
    while len(lines) > 1:
        for name in {"contents", "content_ids"} & data.keys():
            data[name] = data[name][: len(lines) // 2]
        lines = data["contents"]
        yield "$.custom_data.contents"
    for part, path in ((wire, "$"), (data, "$.custom_data")):
        for name in sorted(part, key=lambda key: len(str(part[key])), reverse=True):
            if name not in _KEPT:
                del part[name]
                yield f"{path}.{name}"
