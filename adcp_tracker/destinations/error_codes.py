"""The table: what each code, recovery and status of a seller means to a delivery.

Order of judgement: codes with a cure of their own (a smaller request, a fresh key), then
``recovery``, then the code, then the HTTP status. A code nobody knows, with neither recovery
nor a telling status, is transient on a budget. Message text never decides anything.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping


class Action(Enum):
    """What a delivery does about an answer."""

    RETRY = "the same bytes again, later"
    SLOW_DOWN = "the same bytes again, later: the seller is well, only asked too often"
    BUDGET = "the same bytes again, later, a bounded number of times"
    FRESH_KEY = "the same events again under a new key"
    SPLIT = "half as much, now and from now on"
    REJECT = "named events to the dead letters; when none is named, find them by bisection"
    REJECT_NAMED = "named events to the dead letters; when none is named, pause"
    PAUSE = "keep everything, send nothing, be loud, probe rarely"


@attrs.frozen
class ErrorRule:
    """One row: what to do, and what a person can do.

    Attributes:
        action: What the delivery does.
        remedy: What to change, for a person.
    """

    action: Action
    remedy: str = ""


_EVENT = "Mend the event where it is made, then replay the dead letter."
_CREDENTIAL = "Give this destination a valid credential: it is missing, wrong or expired."
_RIGHTS = "Ask the seller to grant this credential the right to log events for this event source."
_ACCOUNT = "Settle the account with the seller; sending resumes by itself afterwards."
_ADDRESS = "Check the address, the advertiser id and the event source id; sync event sources first."
_OFFER = "Check with the seller that it offers log_event and everything these events use."

CODES: Mapping[str, ErrorRule] = {
    "RATE_LIMITED": ErrorRule(Action.SLOW_DOWN),
    "RATE_LIMIT_EXCEEDED": ErrorRule(Action.SLOW_DOWN),
    "TOO_MANY_REQUESTS": ErrorRule(Action.SLOW_DOWN),
    "SERVICE_UNAVAILABLE": ErrorRule(Action.RETRY),
    "INTERNAL_ERROR": ErrorRule(Action.RETRY),
    "INTERNAL_SERVER_ERROR": ErrorRule(Action.RETRY),
    "TIMEOUT": ErrorRule(Action.RETRY),
    "CONFLICT": ErrorRule(Action.RETRY),
    "IDEMPOTENCY_IN_FLIGHT": ErrorRule(Action.RETRY),
    "IDEMPOTENCY_CONFLICT": ErrorRule(Action.FRESH_KEY),
    "IDEMPOTENCY_EXPIRED": ErrorRule(Action.FRESH_KEY),
    "BATCH_TOO_LARGE": ErrorRule(Action.SPLIT),
    "PAYLOAD_TOO_LARGE": ErrorRule(Action.SPLIT),
    "REQUEST_TOO_LARGE": ErrorRule(Action.SPLIT),
    "VALIDATION_ERROR": ErrorRule(Action.REJECT, _EVENT),
    "INVALID_REQUEST": ErrorRule(Action.REJECT, _EVENT),
    "BAD_REQUEST": ErrorRule(Action.REJECT, _EVENT),
    "INVALID_EVENT": ErrorRule(Action.REJECT, _EVENT),
    "INVALID_EVENT_TYPE": ErrorRule(
        Action.REJECT,
        "Use an event type that the event source lists, or add the type to the source.",
    ),
    "INVALID_EVENT_TIME": ErrorRule(
        Action.REJECT,
        "Give the time it happened, with an offset, within the window the seller takes.",
    ),
    "MISSING_USER_MATCH": ErrorRule(
        Action.REJECT,
        "Give an identifier: e-mail, phone, click id, universal id, or IP with user agent.",
    ),
    "INVALID_USER_MATCH": ErrorRule(
        Action.REJECT,
        "Give hashes as 64 lower-case hex digits, and IP together with user agent.",
    ),
    "INVALID_CURRENCY": ErrorRule(Action.REJECT, "Use a currency that the event source declares."),
    "INVALID_VALUE": ErrorRule(
        Action.REJECT, "Give a value of zero or more; a refund is positive, too."
    ),
    "EVENT_TOO_OLD": ErrorRule(
        Action.REJECT, "Send events sooner: this one is outside the window."
    ),
    "FIELD_NOT_PERMITTED": ErrorRule(Action.REJECT_NAMED, _OFFER),
    "POLICY_VIOLATION": ErrorRule(
        Action.REJECT_NAMED, "Leave out what the seller's policy forbids."
    ),
    "UNSUPPORTED_FEATURE": ErrorRule(Action.REJECT_NAMED, _OFFER),
    "VERSION_UNSUPPORTED": ErrorRule(
        Action.PAUSE,
        "Set adcp_version to a line the seller speaks.",
    ),
    "REFERENCE_NOT_FOUND": ErrorRule(Action.PAUSE, _ADDRESS),
    "EVENT_SOURCE_NOT_FOUND": ErrorRule(
        Action.PAUSE,
        "Check event_source_id, or register the event source with the seller first.",
    ),
    "ADVERTISER_NOT_FOUND": ErrorRule(Action.PAUSE, "Check advertiser_id."),
    "NOT_FOUND": ErrorRule(Action.PAUSE, _ADDRESS),
    "UNAUTHORIZED": ErrorRule(Action.PAUSE, _CREDENTIAL),
    "UNAUTHENTICATED": ErrorRule(Action.PAUSE, _CREDENTIAL),
    "INVALID_TOKEN": ErrorRule(Action.PAUSE, _CREDENTIAL),
    "FORBIDDEN": ErrorRule(Action.PAUSE, _RIGHTS),
    "ACCESS_DENIED": ErrorRule(Action.PAUSE, _RIGHTS),
    "PERMISSION_DENIED": ErrorRule(Action.PAUSE, _RIGHTS),
    "SCOPE_INSUFFICIENT": ErrorRule(Action.PAUSE, _RIGHTS),
    "READ_ONLY_SCOPE": ErrorRule(Action.PAUSE, _RIGHTS),
    "BRAND_REQUIRED": ErrorRule(Action.PAUSE, _ACCOUNT),
    "METHOD_NOT_FOUND": ErrorRule(Action.PAUSE, _OFFER),
    "TOOL_NOT_FOUND": ErrorRule(Action.PAUSE, _OFFER),
}
"""What is known by its code."""

FAMILIES: Mapping[str, ErrorRule] = {
    "AUTH_": ErrorRule(Action.PAUSE, _CREDENTIAL),
    "AUTHENTICATION": ErrorRule(Action.PAUSE, _CREDENTIAL),
    "AUTHORIZATION": ErrorRule(Action.PAUSE, _RIGHTS),
    "ACCOUNT_": ErrorRule(Action.PAUSE, _ACCOUNT),
    "AGENT_": ErrorRule(Action.PAUSE, _ACCOUNT),
    "_NOT_FOUND": ErrorRule(Action.PAUSE, _ADDRESS),
}
"""What is known by the beginning or the end of its code."""

STATUSES: tuple[tuple[int, int, ErrorRule], ...] = (
    (300, 399, ErrorRule(Action.PAUSE, "Configure the address it redirects to; none is followed.")),
    (400, 400, ErrorRule(Action.REJECT, _EVENT)),
    (401, 401, ErrorRule(Action.PAUSE, _CREDENTIAL)),
    (402, 402, ErrorRule(Action.PAUSE, _ACCOUNT)),
    (403, 403, ErrorRule(Action.PAUSE, _RIGHTS)),
    (404, 404, ErrorRule(Action.PAUSE, _ADDRESS)),
    (405, 406, ErrorRule(Action.PAUSE, _ADDRESS)),
    (407, 407, ErrorRule(Action.PAUSE, "Give the proxy in the environment its credential.")),
    (408, 408, ErrorRule(Action.RETRY)),
    (409, 409, ErrorRule(Action.RETRY)),
    (410, 410, ErrorRule(Action.PAUSE, _ADDRESS)),
    (413, 413, ErrorRule(Action.SPLIT)),
    (415, 415, ErrorRule(Action.PAUSE, "Check the address: what answers there takes no JSON.")),
    (421, 421, ErrorRule(Action.RETRY)),
    (422, 422, ErrorRule(Action.REJECT, _EVENT)),
    (425, 425, ErrorRule(Action.RETRY)),
    (426, 426, ErrorRule(Action.PAUSE, _ADDRESS)),
    (429, 429, ErrorRule(Action.SLOW_DOWN)),
    (451, 451, ErrorRule(Action.PAUSE, _ACCOUNT)),
    (500, 599, ErrorRule(Action.RETRY)),
)
"""What is known by the HTTP status alone: from, to, row."""

TASK_STATUSES: Mapping[str, ErrorRule] = {
    "failed": ErrorRule(Action.BUDGET),
    "rejected": ErrorRule(Action.BUDGET),
    "canceled": ErrorRule(Action.BUDGET),
    "input-required": ErrorRule(Action.PAUSE, _OFFER),
    "auth-required": ErrorRule(Action.PAUSE, _CREDENTIAL),
}
"""What a task's status means where it comes without an error; any other is success."""

RPC_CODES: Mapping[int, ErrorRule] = {
    -32603: ErrorRule(Action.RETRY),
    -32602: ErrorRule(Action.REJECT, _EVENT),
    -32601: ErrorRule(Action.PAUSE, _OFFER),
}
"""What an error of JSON-RPC itself means where nothing else is told; any other is unknown."""

UNKNOWN = ErrorRule(Action.BUDGET)

_OWN_CURE = frozenset({Action.SPLIT, Action.FRESH_KEY})
_RECOVERIES: Mapping[str, tuple[frozenset[Action], ErrorRule]] = {
    "transient": (frozenset({Action.RETRY, Action.SLOW_DOWN}), ErrorRule(Action.RETRY)),
    "correctable": (
        frozenset({Action.REJECT, Action.REJECT_NAMED, Action.PAUSE}),
        ErrorRule(Action.REJECT, _EVENT),
    ),
}
_TERMINAL = (
    frozenset({Action.REJECT, Action.REJECT_NAMED, Action.PAUSE}),
    ErrorRule(
        Action.REJECT_NAMED, "Ask the seller about this code: it says trying again is of no use."
    ),
)


def classify(code: str, recovery: str | None, status: int) -> ErrorRule:
    """Return the row that decides an error.

    Args:
        code: The seller's code; may be empty.
        recovery: The seller's ``recovery``; any word but the protocol's three is terminal.
        status: The HTTP status.
    """
    known, by_status = rule_for_code(code), rule_for_status(status)
    for row in filter(None, (known, by_status)):
        if row.action in _OWN_CURE:
            return row
    if recovery is None:
        return known or by_status or UNKNOWN
    allowed, otherwise = _RECOVERIES.get(recovery, _TERMINAL)
    # Beside a recovery, a status only tells what a configuration lacks: a terminal
    # 400 must not set off a search for the one event that is to blame.
    paused = by_status if by_status and by_status.action is Action.PAUSE else None
    telling = known or paused
    return telling if telling and telling.action in allowed else otherwise


def rule_for_code(code: str) -> ErrorRule | None:
    """Return the row of `code`, or of the family it belongs to."""
    name = code.upper()
    family = (row for part, row in FAMILIES.items() if _belongs(name, part))
    return CODES.get(name) or next(family, None)


def _belongs(name: str, part: str) -> bool:
    return name.endswith(part) if part.startswith("_") else name.startswith(part)


def rule_for_status(status: int) -> ErrorRule | None:
    """Return the row of an HTTP status, or ``None`` where it tells nothing."""
    return next((row for first, last, row in STATUSES if first <= status <= last), None)


def remedy_for(code: str) -> str:
    """Return what the sender of an event can do about a seller's `code`."""
    known = rule_for_code(code)
    return (known and known.remedy) or _EVENT
