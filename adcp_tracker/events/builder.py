"""build_event, event ids."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime, timezone
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final, TypedDict

import attrs

from adcp_tracker._formatting import is_name
from adcp_tracker.events._fast_init import quick
from adcp_tracker.events.event import ActionSource, CustomData, Event, EventType, Surface, UserMatch
from adcp_tracker.events.fast_path import known_uris
from adcp_tracker.events.hashing import user_match as gather
from adcp_tracker.events.parsing import (
    Unvalidated,
    parse_custom_data,
    parse_enum,
    parse_surface,
    parse_time,
    parse_user_match,
)
from adcp_tracker.events.rejected import redact_rejected
from adcp_tracker.events.urls import strip_page_url
from adcp_tracker.exceptions import FieldError, InvalidEventError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from adcp_tracker.context import Context
    from adcp_tracker.events.model import UniversalId


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
        key: What makes this event itself: the same key always makes the same event id.
        context: The request it came with, or the token of one; left out, the current one.
        default_region: Where a phone number without a plus is, as in ``GB``; left out,
            the tracker's.
        test_event_code: Marks this event as a test; 1–255 characters.
    """

    key: object
    context: Context | str | None
    default_region: str | None
    test_event_code: str | None


_DIGEST_BYTES = 16


def purchase_id(order_id: str) -> str:
    """Name the purchase of an order, which there is one of: by the order's own id."""
    return order_id


def refund_id(order_id: str, refund_id: str | None = None) -> str:
    """Name a refund of an order.

    Args:
        order_id: The refunded order.
        refund_id: Which refund of the order; ``None`` is the one full refund it can have.

    Returns:
        The order's id with the refund's, which may be longer than an event id can be;
        that is refused by the event rather than cut, as a cut id could be another's.
    """
    return f"{order_id}:refund" if refund_id is None else f"{order_id}:refund:{refund_id}"


def lead_id(lead_id: str) -> str:
    """Name a lead by its own id."""
    return lead_id


def derive_event_id(event_type: str, *parts: object) -> str:
    """Name an event by what makes it the same event, such as who did what on which day.

    Each part counts with its length, so ``("ab", "c")`` and ``("a", "bc")`` differ.

    Args:
        event_type: The event's type, which the id begins with.
        *parts: The business key; only its digest is in the id, 32 hex digits.
    """
    digest = blake2b(digest_size=_DIGEST_BYTES)
    for part in parts:
        text = str(part).encode("utf-8", "surrogatepass")
        digest.update(b"%d:" % len(text))
        digest.update(text)
    return f"{event_type}:{digest.hexdigest()}"


def random_id() -> str:
    """Name an event that nothing identifies; tracked twice, it counts twice."""
    return os.urandom(_DIGEST_BYTES).hex()


MISSING_ID: Final[Unvalidated] = object()
"""Stands for an id that is missing, and that no random one may replace."""

_event: Final = quick(Event)
_UTC: Final = timezone.utc
_WEBSITE: Final = ActionSource.WEBSITE
_NO_DETAILS: Final = frozenset({"event_type", "now", "context", "unknown", "return"})


def build_event(  # noqa: PLR0913 - an event's fields and the identifiers, each by its name
    event_type: EventType | str,
    *,
    now: datetime,
    event_id: str | None = None,
    event_time: datetime | str | None = None,
    context: Context | None = None,
    user_match: UserMatch | Mapping[str, object] | None = None,
    email: str | None = None,
    phone: str | None = None,
    uids: Sequence[UniversalId | Mapping[str, object]] | None = None,
    click_id: str | None = None,
    click_id_type: str | None = None,
    client_ip: str | None = None,
    client_user_agent: str | None = None,
    default_region: str | None = None,
    custom_data: CustomData | Mapping[str, object] | None = None,
    action_source: ActionSource | str | None = None,
    event_source_url: str | None = None,
    custom_event_name: str | None = None,
    surface: Surface | Mapping[str, object] | None = None,
    ext: Mapping[str, object] | None = None,
    **unknown: object,
) -> Event:
    """Build an event; what the caller says wins over what the request tells.

    Args:
        event_type: One of the protocol's types.
        now: The event's time if none is given.
        event_id: Its stable id; left out, it gets a random one.
        event_time: When it happened.
        context: The request's side of it.
        user_match: A :class:`.UserMatch` is taken as it is; a mapping is one of the
            identifiers below, ``hashed_email`` and ``hashed_phone``, and goes before them.
        email: Raw, or hashed already.
        phone: Raw, or hashed already.
        uids: Universal ids.
        click_id: The click that brought the shopper.
        click_id_type: Which kind of click id.
        client_ip: The shopper's address.
        client_user_agent: The shopper's browser.
        default_region: Where phone numbers are that do not begin with a plus.
        custom_data: What it was about; unknown keys are custom ones.
        action_source: Where it happened; left out, it is the website if a page is known.
        event_source_url: The page it happened on.
        custom_event_name: The name of a custom event.
        surface: Where it happened, in detail.
        ext: Extensions.
        **unknown: Anything else is a fault, so that an event with a misspelt detail is set
            aside like any other that breaks a rule, and its author reads why.

    Raises:
        InvalidEventError: If a rule is broken; it lists every broken one, and
            carries what may be kept of the event.
    """
    given: dict[str, Any] = {
        "email": email,
        "phone": phone,
        "uids": uids,
        "click_id": click_id,
        "click_id_type": click_id_type,
        "client_ip": client_ip,
        "client_user_agent": client_user_agent,
    }
    if event_id is None:
        event_id = random_id()
    elif event_id is MISSING_ID:
        event_id = None
    match, faults = _identify(user_match, given, default_region, context)
    if unknown:
        faults = (*map(_unknown, unknown), *faults)
    return finish_event(
        event_id,
        parse_enum(event_type, EventType),
        now if event_time is None else event_time,
        match,
        parse_custom_data(custom_data),
        context,
        faults,
        action_source=action_source,
        event_source_url=event_source_url,
        custom_event_name=custom_event_name,
        surface=surface,
        ext=ext,
    )


def _unknown(name: str) -> FieldError:
    """Say that an event has no such detail, and which one may be meant."""
    from difflib import get_close_matches  # noqa: PLC0415 - for those who mistype a name

    details = [each for each in build_event.__annotations__ if each not in _NO_DETAILS]
    # "emial" is nearly one of them, and "ip" the end of one; "id" is neither.
    meant = get_close_matches(name, details, 1, 0.75) or [
        each for each in details if each.endswith(f"_{name}")
    ]
    expected = f"{meant[0]}, as it seems" if meant else f"one of {', '.join(details)}"
    path = f"$.{name}" if is_name(name) else "$"
    return FieldError(path, expected, "a name that no detail of an event has")


def finish_event(  # noqa: PLR0913, PLR0917 - an event's fields
    event_id: Unvalidated,
    event_type: Unvalidated,
    event_time: Unvalidated,
    match: Unvalidated,
    data: Unvalidated,
    context: Context | None,
    faults: tuple[FieldError, ...],
    *,
    action_source: Unvalidated = None,
    event_source_url: str | None = None,
    custom_event_name: str | None = None,
    surface: Unvalidated = None,
    ext: Mapping[str, object] | None = None,
) -> Event:
    """Add where an event happened, and let it be judged together with `faults` found before.

    Raises:
        InvalidEventError: If a rule is broken, or was before.
    """
    if action_source is not None and type(action_source) is not ActionSource:
        action_source = parse_enum(action_source, ActionSource)
    if action_source is None or action_source is _WEBSITE:
        if event_source_url is None and context is not None:
            event_source_url = context.event_source_url
        if event_source_url is not None:
            action_source = _WEBSITE
    if isinstance(event_source_url, str) and event_source_url not in known_uris:
        event_source_url = strip_page_url(event_source_url)
    if type(event_time) is not datetime or event_time.tzinfo is not _UTC:
        event_time = _in_utc(event_time)
    if surface is not None:
        surface = parse_surface(surface)
    try:
        event = _event(
            event_id,
            event_type,
            event_time,
            match,
            data,
            action_source,
            event_source_url,
            custom_event_name,
            surface,
            ext,
        )
    except InvalidEventError as error:
        found = (*faults, *error.errors)
        kept = redact_rejected(event_id, event_type, event_time, data, found)
        raise InvalidEventError(found, event=kept) from None
    if faults:
        kept = redact_rejected(event_id, event_type, event_time, data, faults)
        raise InvalidEventError(faults, event=kept)
    return event


def _in_utc(event_time: object) -> Unvalidated:
    """Turn a time into UTC, which sellers prefer, if it is known where it stands."""
    event_time = parse_time(event_time)
    if isinstance(event_time, datetime) and event_time.utcoffset() is not None:
        return event_time.astimezone(_UTC)
    return event_time


def _identify(
    match: UserMatch | Mapping[str, object] | None,
    given: dict[str, Any],
    default_region: str | None,
    context: Context | None,
) -> tuple[Unvalidated, tuple[FieldError, ...]]:
    unknown: dict[str, object] = {}
    if isinstance(match, Mapping):
        for key, value in match.items():
            name = key.removeprefix("hashed_") if key in _HASHED else key
            (given if name in given else unknown)[name] = value
    elif match is not None:
        return match, ()
    try:
        gathered = gather(default_region=default_region, context=context, **given)
    except InvalidEventError as error:
        return None, error.errors
    if match is not None and gathered is None:
        # Whoever gives a mapping that identifies nobody is told so.
        return parse_user_match(match), ()
    if gathered is not None and unknown:
        return attrs.evolve(gathered, extra=unknown), ()
    return gathered, ()


_HASHED: Final = ("hashed_email", "hashed_phone")
