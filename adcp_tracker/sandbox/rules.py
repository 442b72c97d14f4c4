"""The written rules of a conversion event, checked strictly and on their own.

Nothing here knows the library's own validators: what a sender believes to be right
is held against a second reading of the protocol.
Each fault carries a JSON pointer (RFC 6901) and the keyword of the rule it breaks.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

from adcp_tracker.sandbox.checks import (
    Issue,
    broken,
    check_anything,
    check_list,
    check_number,
    check_object,
    check_open_object,
    check_pattern,
    check_text,
    check_time,
    check_uri,
    check_whole_number,
    check_word,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from adcp_tracker.sandbox.checks import Check

Dialect = Literal["interchange", "3.0", "3.1", "3.2"]
"""Whose reading of the protocol applies: Interchange's, or that of a protocol line."""

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

_HASH = check_pattern(re.compile(r"[a-f0-9]{64}"), "64 lower-case hexadecimal digits")
_CURRENCY = check_pattern(re.compile(r"[A-Z]{3}"), "three capital letters")
_KEY = check_pattern(
    re.compile(r"[A-Za-z0-9_.:-]{16,255}"), "16 to 255 characters out of A-Z a-z 0-9 _ . : -"
)
_VERSION = check_pattern(
    re.compile(r"\d+\.\d+(-[A-Za-z0-9.-]+)?"), "a release such as 3.1, without a patch number"
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
    "currency": _CURRENCY,
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
        "category": check_word(ACTION_SOURCES | {"owned_property"}),
        "property_type": check_text(1, 128),
        "namespace": check_text(1, 128),
        "property_id": check_text(1, 256),
        "ext": check_open_object,
    },
    required=("category",),
)


def _user_match(uid_types: frozenset[str]) -> Check:
    uid = check_object(
        {"type": check_word(uid_types), "value": check_text(1, 512)}, required=("type", "value")
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
            "event_type": check_word(EVENT_TYPES_3_0 if old else EVENT_TYPES),
            "event_time": check_time,
            "user_match": _user_match(UID_TYPES_3_0 if old else UID_TYPES),
            "custom_data": check_object(custom_data),
            "action_source": check_word(INTERCHANGE_ACTION_SOURCES if rest else ACTION_SOURCES),
            "event_source_url": check_uri,
            "custom_event_name": check_text(1),
            "ext": check_open_object,
        }
        | newer,
        required=("event_id", "event_type", "event_time"),
    )


_EVENT: dict[Dialect, Check] = {
    "interchange": _event("interchange"),
    "3.0": _event("3.0"),
    "3.1": _event("3.1"),
    "3.2": _event("3.2"),
}
_IDENTIFIERS = ("hashed_email", "hashed_phone", "uids", "click_id")
_ADCP_ONLY = ("idempotency_key", "adcp_version", "adcp_major_version", "context", "ext")


def _foreign(_value: object) -> Sequence[Issue]:
    return broken("belongs to AdCP agents only: leave it out", "not")


_REQUEST: dict[str, Check] = {
    "event_source_id": check_text(1, 255),
    "test_event_code": check_text(1),
}
_REST_REQUEST = _REQUEST | dict.fromkeys(_ADCP_ONLY, _foreign)
_ADCP_REQUEST = _REQUEST | {
    "idempotency_key": _KEY,
    "adcp_version": _VERSION,
    "adcp_major_version": check_whole_number(1, 99),
    "context": check_open_object,
    "ext": check_open_object,
}


def check_event(event: object, dialect: Dialect) -> Sequence[Issue]:
    """List every rule that `event` breaks.

    Args:
        event: The event as decoded from JSON.
        dialect: Whose rules apply.

    Returns:
        The faults, in the order of the event's own keys; empty for a good event.
    """
    found = _EVENT[dialect](event)
    if isinstance(event, dict):
        return [*found, *_check_conditions(event, dialect)]
    return found


def check_request(request: object, dialect: Dialect, most: int) -> Sequence[Issue]:
    """List the rules that the request breaks around its events.

    Args:
        request: The body as decoded from JSON; its events are only counted.
        dialect: Whose rules apply.
        most: How many events the seller takes at once.
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
