"""Operations on event sources, shared by REST and MCP."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from adcp_tracker.sandbox.event_sources import SyncRequest, check_sources
from adcp_tracker.sandbox.failures import ApiError
from adcp_tracker.sandbox.schema import Issue
from adcp_tracker.sandbox.seller import validation_error

if TYPE_CHECKING:
    from collections.abc import Mapping

    from adcp_tracker.sandbox.seller import Seller

_MOST_SOURCES = 50
_HOUR = timedelta(hours=1)
_START = datetime(1970, 1, 1, tzinfo=timezone.utc)


def sync_sources(
    seller: Seller, body: Mapping[str, object], account: str, via: str
) -> dict[str, object]:
    """Register the event sources of `body`, or list those of `account` if it has none.

    Raises:
        ApiError: If the list is invalid; an invalid source only fails itself.
    """
    if "event_sources" not in body:
        return list_sources(seller, account, via)
    issues = check_sources(body["event_sources"], _MOST_SOURCES)
    delete = body.get("delete_missing", False)
    if not isinstance(delete, bool):
        issues.append(Issue("/delete_missing", "must be true or false", "type"))
    if issues:
        raise validation_error(issues)
    items: list[object] = body["event_sources"]  # type: ignore[assignment]
    config = seller.config
    sync = SyncRequest(account, items, bool(delete), config.needs_name, config.instructions, via)
    return {"event_sources": seller.sources.sync(sync)}


def list_sources(
    seller: Seller, account: str, via: str, take: int | None = None, skip: int = 0
) -> dict[str, object]:
    """List the event sources of `account` with their health."""
    known = seller.sources.of(account)
    shown = known[skip:] if take is None else known[skip : skip + take]
    return {
        "event_sources": [
            source.shown() | {"action": "unchanged", "health": seller.sources.health(source, via)}
            for source in shown
        ],
        "total": len(known),
    }


def summarize(
    seller: Seller, account: str, start: str | None, end: str | None
) -> dict[str, object]:
    """Count the live events of `account` per hour and source.

    Args:
        seller: The seller.
        account: The account.
        start: The first hour, in ISO 8601; UTC if it has no offset.
        end: The hour after the last.

    Raises:
        ApiError: If an hour is invalid.
    """
    late = int((seller.now() - seller.config.summary_delay_s) // 3600) + 1
    stop = min(_hour(end, "endHour"), late)
    counted = seller.sources.hours(account, "REST", _hour(start, "startHour"), stop)
    hours = [
        {
            "hour": (_START + hour * _HOUR).strftime("%Y-%m-%dT%H:00:00Z"),
            "event_source_id": source_id,
            "events_received": number,
        }
        for source_id, hour, number in counted
    ]
    return {"hours": hours, "total": sum(number for _, _, number in counted)}


def _hour(text: str | None, name: str) -> int:
    try:
        moment = datetime.fromisoformat((text or "").replace("Z", "+00:00"))
    except ValueError as error:
        raise ApiError(400, "BAD_REQUEST", f"{name} must be an ISO 8601 time.") from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return (moment - _START) // _HOUR
