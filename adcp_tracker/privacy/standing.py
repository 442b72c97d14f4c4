"""How far an event has got with each destination."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from adcp_tracker.delivery.leadership import Leadership
    from adcp_tracker.queue.records import Record
    from adcp_tracker.queue.state import Delivery

WAITING, PENDING, DEAD, SENT = "waiting", "pending", "dead", "sent"
"""Not in a batch yet; in a batch that is not settled; set aside; with the seller."""

OPEN = frozenset({WAITING, PENDING})


class Standing:
    """Tells how far events have got, as of now.

    Args:
        leadership: The queue.
    """

    def __init__(self, leadership: Leadership) -> None:
        self._state = leadership.state
        self._dead = {
            (each.destination, each.segment, each.offset) for each in leadership.dead_letters
        }

    def of(self, segment: str, record: Record) -> dict[str, str]:
        """Return an event's standing with each destination that it is for."""
        only = record.opened()[0].get("only")
        return {
            name: self._with(name, segment, record)
            for name in self._state.destinations
            if only in (None, name)
        }

    def _with(self, name: str, segment: str, record: Record) -> str:
        if self._state.destinations[name].cursors.get(segment, 0) <= record.start:
            return WAITING
        if any(_holds(each, segment, record) for each in self._state.deliveries[name]):
            return PENDING
        return DEAD if (name, segment, record.start) in self._dead else SENT


def _holds(delivery: Delivery, segment: str, record: Record) -> bool:
    return any(
        span.segment == segment and span.start <= record.start < span.stop
        for span in delivery.spans
    )
