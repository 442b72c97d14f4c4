"""The table of errors: what to do for each code, ``recovery`` and HTTP status of a seller.

Looked up in this order: codes that need a smaller request or a fresh key, then ``recovery``,
then the code, then the HTTP status. An unknown code without any of these is retried a bounded
number of times. Message texts never decide anything.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping


class Action(Enum):
    """What to do with the batch."""

    RETRY = "send the same bytes again later"
    SLOW_DOWN = "send the same bytes again later: the seller is healthy, only asked too often"
    BUDGET = "send the same bytes again later, a bounded number of times"
    FRESH_KEY = "send the same events again under a new key"
    SPLIT = "send half as much, now and from now on"
    REJECT = "named events become dead letters; if none is named, bisect"
    REJECT_NAMED = "named events become dead letters; if none is named, pause"
    PAUSE = "keep every event, log an error, and only probe from time to time"


@attrs.frozen
class ErrorRule:
    """What to do about an error, and what you can do about it.

    Attributes:
        action: What the library does.
        remedy: What you can change.
    """

    action: Action
    remedy: str = ""


_EVENT = "Fix the code that creates the event, then replay the dead letter."
_CREDENTIAL = "Give this destination a valid credential. It is missing, wrong or expired."
_RIGHTS = "Ask the seller to allow this credential to log events for this event source."
_ACCOUNT = "Resolve the account's problem with the seller. Sending then resumes by itself."
_ADDRESS = "Check the address, the advertiser id and the event source id. Sync event sources first."
_OFFER = "Ask the seller whether it offers log_event and everything these events use."

_ASK = "Ask the seller what this code means. Fix the event if it is to blame, then replay it."
_REPLAY = "Replay the dead letter later. The seller was too busy or out of order."
_SMALLER = "Make the event smaller, with fewer items or shorter texts, and replay it."

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
        "Use an event type that the event source accepts, or add the type to the source.",
    ),
    "INVALID_EVENT_TIME": ErrorRule(
        Action.REJECT,
        "Pass the time the event happened, with its UTC offset, within the seller's window.",
    ),
    "MISSING_USER_MATCH": ErrorRule(
        Action.REJECT,
        "Pass an identifier: email, phone, click id, universal id, or IP with user agent.",
    ),
    "INVALID_USER_MATCH": ErrorRule(
        Action.REJECT,
        "Pass hashes as 64 lower-case hex digits, and the IP together with a user agent.",
    ),
    "INVALID_CURRENCY": ErrorRule(Action.REJECT, "Use a currency that the event source accepts."),
    "INVALID_VALUE": ErrorRule(
        Action.REJECT, "Pass a value of zero or more. The value of a refund is positive, too."
    ),
    "EVENT_TOO_OLD": ErrorRule(
        Action.REJECT, "Send events sooner. This one is older than the seller accepts."
    ),
    "FIELD_NOT_PERMITTED": ErrorRule(Action.REJECT_NAMED, _OFFER),
    "POLICY_VIOLATION": ErrorRule(
        Action.REJECT_NAMED, "Leave out what the seller's policy doesn't allow."
    ),
    "UNSUPPORTED_FEATURE": ErrorRule(Action.REJECT_NAMED, _OFFER),
    "VERSION_UNSUPPORTED": ErrorRule(
        Action.PAUSE,
        "Set adcp_version to a version that the seller speaks.",
    ),
    "REFERENCE_NOT_FOUND": ErrorRule(Action.PAUSE, _ADDRESS),
    "EVENT_SOURCE_NOT_FOUND": ErrorRule(
        Action.PAUSE,
        "Check event_source_id, or sync the event source first.",
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
"""Rules by error code."""

FAMILIES: Mapping[str, ErrorRule] = {
    "AUTH_": ErrorRule(Action.PAUSE, _CREDENTIAL),
    "AUTHENTICATION": ErrorRule(Action.PAUSE, _CREDENTIAL),
    "AUTHORIZATION": ErrorRule(Action.PAUSE, _RIGHTS),
    "ACCOUNT_": ErrorRule(Action.PAUSE, _ACCOUNT),
    "AGENT_": ErrorRule(Action.PAUSE, _ACCOUNT),
    "_NOT_FOUND": ErrorRule(Action.PAUSE, _ADDRESS),
}
"""Rules by the beginning or the end of an error code."""

STATUSES: tuple[tuple[int, int, ErrorRule], ...] = (
    (
        300,
        399,
        ErrorRule(
            Action.PAUSE, "Configure the address it redirects to. Redirects aren't followed."
        ),
    ),
    (400, 400, ErrorRule(Action.REJECT, _EVENT)),
    (401, 401, ErrorRule(Action.PAUSE, _CREDENTIAL)),
    (402, 402, ErrorRule(Action.PAUSE, _ACCOUNT)),
    (403, 403, ErrorRule(Action.PAUSE, _RIGHTS)),
    (404, 404, ErrorRule(Action.PAUSE, _ADDRESS)),
    (405, 406, ErrorRule(Action.PAUSE, _ADDRESS)),
    (407, 407, ErrorRule(Action.PAUSE, "Add credentials to the proxy URL in the environment.")),
    (408, 408, ErrorRule(Action.RETRY)),
    (409, 409, ErrorRule(Action.RETRY)),
    (410, 410, ErrorRule(Action.PAUSE, _ADDRESS)),
    (413, 413, ErrorRule(Action.SPLIT)),
    (415, 415, ErrorRule(Action.PAUSE, "Check the address. The server there doesn't accept JSON.")),
    (421, 421, ErrorRule(Action.RETRY)),
    (422, 422, ErrorRule(Action.REJECT, _EVENT)),
    (425, 425, ErrorRule(Action.RETRY)),
    (426, 426, ErrorRule(Action.PAUSE, _ADDRESS)),
    (429, 429, ErrorRule(Action.SLOW_DOWN)),
    (451, 451, ErrorRule(Action.PAUSE, _ACCOUNT)),
    (500, 599, ErrorRule(Action.RETRY)),
)
"""Rules by HTTP status: first, last, rule."""

TASK_STATUSES: Mapping[str, ErrorRule] = {
    "failed": ErrorRule(Action.BUDGET),
    "rejected": ErrorRule(Action.BUDGET),
    "canceled": ErrorRule(Action.BUDGET),
    "input-required": ErrorRule(Action.PAUSE, _OFFER),
    "auth-required": ErrorRule(Action.PAUSE, _CREDENTIAL),
}
"""Rules by a task's status if it has no error; any other status is a success."""

RPC_CODES: Mapping[int, ErrorRule] = {
    -32603: ErrorRule(Action.RETRY),
    -32602: ErrorRule(Action.REJECT, _EVENT),
    -32601: ErrorRule(Action.PAUSE, _OFFER),
}
"""Rules by JSON-RPC error code if there is no AdCP error; any other code is unknown."""

UNKNOWN = ErrorRule(Action.BUDGET)

_REMEDIES: Mapping[Action, str] = {
    Action.RETRY: _REPLAY,
    Action.SLOW_DOWN: _REPLAY,
    Action.FRESH_KEY: _REPLAY,
    Action.SPLIT: _SMALLER,
}
_is_number = re.compile("-?[0-9]{1,9}").fullmatch

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
        Action.REJECT_NAMED, "Ask the seller about this code. It says that retrying doesn't help."
    ),
)


def classify(code: str, recovery: str | None, status: int) -> ErrorRule:
    """Return the rule for an error.

    Args:
        code: The seller's code; may be empty.
        recovery: The seller's ``recovery``; an unknown word is terminal.
        status: The HTTP status.
    """
    known, by_status = rule_for_code(code), rule_for_status(status)
    for rule in filter(None, (known, by_status)):
        if rule.action in _OWN_CURE:
            return rule
    if recovery is None:
        return known or by_status or UNKNOWN
    allowed, otherwise = _RECOVERIES.get(recovery, _TERMINAL)
    # Beside a recovery, a status only shows what is wrong with a configuration: a terminal
    # 400 must not start a bisection.
    paused = by_status if by_status and by_status.action is Action.PAUSE else None
    telling = known or paused
    return telling if telling and telling.action in allowed else otherwise


def rule_for_code(code: str) -> ErrorRule | None:
    """Return the rule of `code` or of its family."""
    name = code.upper()
    family = (rule for part, rule in FAMILIES.items() if _belongs(name, part))
    return CODES.get(name) or next(family, None)


def _belongs(name: str, part: str) -> bool:
    return name.endswith(part) if part.startswith("_") else name.startswith(part)


def rule_for_status(status: int) -> ErrorRule | None:
    """Return the rule of an HTTP status, if it has one."""
    return next((rule for first, last, rule in STATUSES if first <= status <= last), None)


def remedy_for(code: str) -> str:
    """Return what you can do about an event that became a dead letter with `code`."""
    rule = rule_for_code(code) or _rule_for_own_code(code)
    if rule is None:
        return _ASK
    return rule.remedy or _REMEDIES.get(rule.action, _ASK)


def _rule_for_own_code(code: str) -> ErrorRule | None:
    """Return the rule of a code that the library makes of a status or a number."""
    kind, _, name = code.partition("_")
    if kind == "task":
        return TASK_STATUSES.get(name)
    if kind not in {"http", "rpc"} or not _is_number(name):
        return None
    return rule_for_status(int(name)) if kind == "http" else RPC_CODES.get(int(name))
