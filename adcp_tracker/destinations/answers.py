"""Turn a seller's answer into an outcome, by the table in :mod:`.table` alone.

Everything here is pure: bytes and headers in, one outcome out, whatever the bytes are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from adcp_tracker.destinations.base import (
    Delivered,
    EventFailure,
    Outcome,
    Paused,
    Rejected,
    Retry,
    TooLarge,
)
from adcp_tracker.destinations.receipts import read_receipt
from adcp_tracker.destinations.seller_errors import Issue, SellerError, find_error, read_error
from adcp_tracker.destinations.table import (
    TASK_STATUSES,
    UNKNOWN,
    Action,
    Row,
    judge,
    remedy_for,
)
from adcp_tracker.destinations.waits import asked_wait
from adcp_tracker.destinations.words import CODE_LENGTH, clean

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from adcp_tracker.destinations.replies import Reply


def from_http(reply: Reply, count: int) -> Outcome:
    """Return what an answer of a REST seller means for the request it answers.

    Args:
        reply: The seller's answer.
        count: How many events the request carried.
    """
    payload = reply.json()
    found = find_error(payload)
    if reply.is_success and found is None:
        return read_receipt(_unwrapped(payload), reply, count)
    return refused(read_error(found or {}), reply, count)


def from_task(task: object, reply: Reply, count: int) -> Outcome:
    """Return what a task's structured result means for the request it answers.

    Args:
        task: The decoded result, of any type.
        reply: The HTTP answer that carried it.
        count: How many events the request carried.
    """
    found = find_error(task)
    if found is not None:
        replayed = isinstance(task, dict) and task.get("replayed") is True
        return refused(read_error(found, replayed=replayed), reply, count)
    if isinstance(task, dict):
        status = clean(task.get("status"), CODE_LENGTH)
        if status in TASK_STATUSES:
            error = SellerError(f"task_{status}", clean(task.get("message")))
            return apply(TASK_STATUSES[status], error, reply, count)
        if status in {"submitted", "working"} and "events_received" not in task:
            return Delivered(warnings=("The seller took the events for later processing.",))
    return read_receipt(task, reply, count)


def refused(error: SellerError, reply: Reply, count: int) -> Outcome:
    """Return what an error means for the request it answers."""
    if error.about_answer:
        # The seller's own check of its own answer: the events are taken and not to blame.
        return apply(UNKNOWN, error, reply, count)
    if any(issue.is_about_size for issue in error.issues):
        return TooLarge(_code(error, reply), _message(error, reply))
    row = judge(error.code, error.recovery, reply.status)
    return apply(row, error, reply, count)


def apply(row: Row, error: SellerError, reply: Reply, count: int) -> Outcome:
    """Return what a row of the table makes of an error."""
    if row.action is Action.PAUSE:
        return _pause(row, error, reply)
    return _ACTIONS[row.action](row, error, reply, count)


def _again(row: Row, error: SellerError, reply: Reply, _count: int) -> Outcome:
    fresh = row.action is Action.FRESH_KEY
    return Retry(
        code=_code(error, reply),
        message=_message(error, reply),
        retry_after=asked_wait(reply.headers, error.retry_after, reply.now),
        fresh_key=fresh or error.replayed,
        budgeted=row.action is Action.BUDGET or fresh,
        rate_limited=row.action is Action.SLOW_DOWN,
    )


def _shrink(_row: Row, error: SellerError, reply: Reply, _count: int) -> Outcome:
    return TooLarge(_code(error, reply), _message(error, reply))


def _reject(row: Row, error: SellerError, reply: Reply, count: int) -> Outcome:
    failures = _named(row, error, reply, count)
    fields = {issue.request_field for issue in error.issues} - {None}
    if not failures and fields:
        names = ", ".join(sorted(filter(None, fields)))
        return _pause(Row(Action.PAUSE, f"Mend the request's own fields: {names}."), error, reply)
    if not failures and row.action is Action.REJECT_NAMED:
        return _pause(row, error, reply)
    return Rejected(_code(error, reply), _message(error, reply), failures)


def _pause(row: Row, error: SellerError, reply: Reply) -> Outcome:
    if error.replayed:
        # Once the configuration is mended, the old key would still get the old answer.
        return Retry(_code(error, reply), _message(error, reply), fresh_key=True)
    message = _message(error, reply)
    if error.supported_versions:
        message += f" The seller supports: {', '.join(error.supported_versions)}."
    return Paused(_code(error, reply), message, row.remedy)


_ACTIONS: Mapping[Action, Callable[[Row, SellerError, Reply, int], Outcome]] = {
    Action.RETRY: _again,
    Action.SLOW_DOWN: _again,
    Action.BUDGET: _again,
    Action.FRESH_KEY: _again,
    Action.SHRINK: _shrink,
    Action.REJECT: _reject,
    Action.REJECT_NAMED: _reject,
}


def _named(row: Row, error: SellerError, reply: Reply, count: int) -> tuple[EventFailure, ...]:
    found: dict[int, Issue] = {}
    for issue in error.issues:
        index = issue.event_index
        if index is not None and index < count:
            found.setdefault(index, issue)
    code = _code(error, reply)
    remedy = row.remedy or remedy_for(code)
    return tuple(
        EventFailure(code, _at(issue, error), index=index, remedy=remedy)
        for index, issue in sorted(found.items())
    )


def _at(issue: Issue, error: SellerError) -> str:
    words = issue.message or error.message
    return f"{issue.path}: {words}" if words else issue.path


def _unwrapped(payload: object) -> object:
    if isinstance(payload, dict) and isinstance(payload.get("data"), dict):
        return payload["data"]
    return payload


def _code(error: SellerError, reply: Reply) -> str:
    return error.code or f"http_{reply.status}"


def _message(error: SellerError, reply: Reply) -> str:
    return error.message or f"The seller answered HTTP {reply.status}."
