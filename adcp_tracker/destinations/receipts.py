"""Read what a seller says it took."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adcp_tracker.destinations.base import Delivered, EventFailure, Retry
from adcp_tracker.destinations.replies import OVERSIZE, UNDECODABLE
from adcp_tracker.destinations.table import remedy_for
from adcp_tracker.destinations.waits import asked_wait, exhausted_wait
from adcp_tracker.destinations.words import CODE_LENGTH, clean, is_clean

if TYPE_CHECKING:
    from collections.abc import Mapping

    from adcp_tracker.destinations.replies import Reply

_MOST_WARNINGS = 20
_ID_LENGTH = 256
_COUNTS = ("received", "processed")
_OWN_TYPES = frozenset({"application/json", "text/event-stream"})


def read_receipt(payload: object, reply: Reply, count: int) -> Delivered | Retry:
    """Return what a body without an error says became of `count` events.

    Args:
        payload: The decoded body, unwrapped, of any type.
        reply: The HTTP answer that carried it.
        count: How many events the request carried.
    """
    if not isinstance(payload, dict):
        return _unreadable(reply)
    received, processed = (_count(payload.get(f"events_{name}")) for name in _COUNTS)
    listed = payload.get("partial_failures") or []
    if received is processed is None or not isinstance(listed, list):
        return _unreadable(reply)
    failures, nameless = _partial_failures(listed)
    return Delivered(
        failures=failures,
        received=received,
        processed=processed,
        warnings=(*_warnings(payload), *_doubts(received, count, nameless)),
        match_quality=_share(payload.get("match_quality")),
        replayed=payload.get("replayed") is True,
        wait=exhausted_wait(reply.headers, reply.now),
    )


def _unreadable(reply: Reply) -> Retry:
    """Try again: the seller may have taken the events, and knows them by their ids.

    A connection that broke, and a body that does not even claim to be JSON because
    somebody in between answered, say nothing about the events and cost them no budget.
    """
    foreign = bool(reply.media_type) and reply.media_type not in _OWN_TYPES
    broken = bool(reply.cut) and reply.cut not in {OVERSIZE, UNDECODABLE}
    return Retry(
        code=reply.cut or ("not_json" if foreign else "unreadable_answer"),
        message=f"HTTP {reply.status}, but its body is no answer to log_event.",
        retry_after=asked_wait(reply.headers, None, reply.now),
        budgeted=not (foreign or broken),
    )


def _count(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        return None
    return value


def _share(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if 0 <= value <= 1 else None


def _partial_failures(listed: list[object]) -> tuple[tuple[EventFailure, ...], int]:
    failures: dict[str, EventFailure] = {}
    for item in listed:
        event_id = _event_id(item)
        if event_id and isinstance(item, dict):
            failures.setdefault(event_id, _partial_failure(event_id, item))
    nameless = sum(1 for item in listed if not _event_id(item))
    return tuple(failures.values()), nameless


def _event_id(item: object) -> str | None:
    event_id = item.get("event_id") if isinstance(item, dict) else None
    return event_id if isinstance(event_id, str) and is_clean(event_id, _ID_LENGTH) else None


def _partial_failure(event_id: str, item: Mapping[str, object]) -> EventFailure:
    code = clean(item.get("code"), CODE_LENGTH) or "PARTIAL_FAILURE"
    message = clean(item.get("message"))
    return EventFailure(code, message, event_id=event_id, remedy=remedy_for(code))


def _warnings(payload: Mapping[str, object]) -> list[str]:
    listed = payload.get("warnings")
    words = [clean(word) for word in listed[:_MOST_WARNINGS]] if isinstance(listed, list) else []
    return [word for word in words if word]


def _doubts(received: int | None, count: int, nameless: int) -> list[str]:
    doubts = []
    if received is not None and received != count:
        doubts.append(f"The seller counts {received} events received, {count} were sent.")
    if nameless:
        doubts.append(f"The seller reports {nameless} failures without naming the event.")
    return doubts
