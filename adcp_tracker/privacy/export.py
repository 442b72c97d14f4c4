"""Export a person's data from the queue."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING

import attrs
import orjson

from adcp_tracker.journal.records import accepted_ms
from adcp_tracker.privacy.matching import search

if TYPE_CHECKING:
    from adcp_tracker.context import Context
    from adcp_tracker.delivery.uploader import Uploader
    from adcp_tracker.journal.buffer import WriteBuffer
    from adcp_tracker.journal.records import Record
    from adcp_tracker.outbox.dead_letters import DeadLetter
    from adcp_tracker.outbox.state import FrozenBatch
    from adcp_tracker.privacy.context_store import ContextStore
    from adcp_tracker.privacy.matching import Match, Person


WAITING, PENDING, DEAD, SENT = "waiting", "pending", "dead", "sent"
"""Not in a batch yet; in an unfinished batch; a dead letter; delivered."""

OPEN = frozenset({WAITING, PENDING})


class DeliveryStatus:
    """The delivery status of events at this moment.

    Args:
        uploader: The queue.
    """

    def __init__(self, uploader: Uploader) -> None:
        self._state = uploader.state
        self._dead = {
            (each.destination, each.segment, each.offset) for each in uploader.dead_letters
        }

    def of(self, segment: str, record: Record) -> dict[str, str]:
        """Return an event's status for each of its destinations."""
        only = record.unpack()[0].get("only")
        return {
            name: self._with(name, segment, record)
            for name in self._state.destinations
            if only in (None, name)
        }

    def _with(self, name: str, segment: str, record: Record) -> str:
        if self._state.destinations[name].cursors.get(segment, 0) <= record.start:
            return WAITING
        if any(_holds(each, segment, record) for each in self._state.batches[name]):
            return PENDING
        return DEAD if (name, segment, record.start) in self._dead else SENT


def _holds(batch: FrozenBatch, segment: str, record: Record) -> bool:
    return any(
        span.segment == segment and span.start <= record.start < span.stop for span in batch.spans
    )


_UTC = timezone.utc
_HEAD_BYTES = 25


@attrs.frozen
class Export:
    """A command for the uploader that lists one person's data.

    Attributes:
        intake: This process's write buffer.
        memory: The remembered contexts.
        person: The person.
        follow: Also list the other events of the same orders.
    """

    intake: WriteBuffer
    memory: ContextStore
    person: Person
    follow: bool = True

    def __call__(self, uploader: Uploader) -> list[dict[str, object]]:
        """Return everything that was found as JSON-compatible dicts, each with its place."""
        self.intake.flush()
        uploader.apply_arrived()
        result = search(uploader, self.person, follow=self.follow)
        status = DeliveryStatus(uploader)
        events = [_event(uploader, status, match) for match in result.events]
        letters = [_letter(letter) for letter in result.letters]
        kept: list[dict[str, object]] = [
            {"kind": "remembered", "where": each.name, "context": _context(each.context)}
            for each in self.memory.of_person(result.person)
            if each.context is not None
        ]
        return [*events, *letters, *kept, *_undecrypted(result.undecrypted)]


def _event(uploader: Uploader, status: DeliveryStatus, match: Match) -> dict[str, object]:
    head = uploader.segments.read(match.segment, match.record.start, _HEAD_BYTES)
    return {
        "kind": "event",
        "where": f"segments/{match.segment}:{match.record.start}",
        "accepted_at": _time(accepted_ms(head) / 1000),
        "destinations": status.of(match.segment, match.record),
        "event": orjson.loads(match.event),
    }


def _letter(letter: DeadLetter) -> dict[str, object]:
    return {
        "kind": "dead_letter",
        "where": f"dead/{letter.id}",
        "died_at": _time(letter.died_at),
        "destination": letter.destination,
        "code": letter.code,
        "message": letter.message,
        "event": orjson.loads(letter.event),
    }


def _undecrypted(count: int) -> list[dict[str, object]]:
    """Return an entry that counts the events that couldn't be searched, if there are any."""
    if not count:
        return []
    remedy = "Export again with every key in encryption_keys."
    return [
        {"kind": "undecrypted", "where": "segments and dead", "events": count, "remedy": remedy}
    ]


def _context(context: Context) -> dict[str, object]:
    return {
        "client_ip": context.client_ip,
        "client_user_agent": context.client_user_agent,
        "event_source_url": context.event_source_url,
        "click_id": context.click_id,
        "click_id_type": context.click_id_type,
        "consent": context.consent.value,
    }


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, _UTC).isoformat().replace("+00:00", "Z")
