"""Erase or export a person: the two commands that a leader runs on the queue."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timezone
from typing import TYPE_CHECKING

import attrs
import orjson

from adcp_tracker.delivery.stats import write_stats
from adcp_tracker.privacy.matching import PersonMatcher, SearchResult, search

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from adcp_tracker.context import RequestContext
    from adcp_tracker.delivery.relay import Relay
    from adcp_tracker.delivery.uploader import Uploader
    from adcp_tracker.journal.buffer import WriteBuffer
    from adcp_tracker.journal.records import Record
    from adcp_tracker.outbox.dead_letters import DeadLetter
    from adcp_tracker.privacy.context_store import ContextStore
    from adcp_tracker.privacy.matching import Match, Person


_UTC = timezone.utc

_BY_HAND = (
    "Expire the click-id cookie at the browser's next request: see Capture.expire_cookie.",
    "Delete the context tokens that you stored with the person's orders, and backups of the queue.",
    "Events of open database transactions are written when these commit: erase again then.",
)
_SENT = "Ask {} to delete what they received: {} of the erased events had been delivered."
_SENT_BEFORE = "Ask every seller to delete what was delivered earlier; the queue doesn't keep it."
_IN_FLIGHT = "Erase again shortly: {} in a request and can't be taken back."
_UNSEARCHED = "Erase again with your context_keys: {} signed by other keys."
_UNDECRYPTED = "Erase again with every key in encryption_keys: {} can't be decrypted."
_UNREACHED = (
    "Erase again once {} can reach the database, or there: what they have not shipped was not "
    "searched."
)
_LEFTOVER = "Check {}: they still contain something of the person, for example in another's event."


def _count(number: int, one: str, several: str) -> str:
    return f"{number} {one if number == 1 else several}"


@attrs.frozen
class ErasureReport:
    """What was erased of a person, and what is left to do.

    Attributes:
        events: Events overwritten on disk, including those already delivered.
        undelivered: Deliveries that won't be made, one for each event and destination.
        sent: How many of these events each destination had already received.
        in_flight: Events that were in a request at that moment.
        dead_letters: Dead letters that were erased.
        in_memory: Events erased from this process's memory, where they waited for the disk.
        remembered: Remembered contexts that were deleted, including expired ones.
        unsearched: Remembered contexts signed with keys that this process doesn't have.
        unreadable: Corrupt spans and quarantined files that can't be searched, so they were
            removed whole.
        undecrypted: Events and dead letters encrypted with a missing key.
        leftover_files: Files that still contain something of the person.
        unreached: Machines whose relay is silent or behind, so that what they have not shipped to
            the database was not searched.
    """

    events: int = 0
    undelivered: int = 0
    sent: dict[str, int] = attrs.field(factory=dict)
    in_flight: int = 0
    dead_letters: int = 0
    in_memory: int = 0
    remembered: int = 0
    unsearched: int = 0
    unreadable: int = 0
    undecrypted: int = 0
    leftover_files: tuple[str, ...] = ()
    unreached: tuple[str, ...] = ()

    @classmethod
    def sum(cls, reports: Sequence[ErasureReport]) -> ErasureReport:
        """Return one report of several queues."""
        sent: Counter[str] = Counter()
        for each in reports:
            sent.update(each.sent)
        numbers = {
            field.name: sum(getattr(each, field.name) for each in reports)
            for field in attrs.fields(cls)
            if field.default == 0
        }
        leftover = {name for each in reports for name in each.leftover_files}
        return cls(sent=dict(sent), leftover_files=tuple(sorted(leftover)), **numbers)

    @property
    def is_complete(self) -> bool:
        """Whether nothing of the person is left in the queue."""
        left = self.in_flight or self.unsearched or self.undecrypted or self.leftover_files
        return not (left or self.unreached)

    @property
    def remaining_steps(self) -> tuple[str, ...]:
        """What only you can do, in sentences."""
        steps = []
        if self.unreached:
            steps.append(_UNREACHED.format(", ".join(self.unreached)))
        if self.leftover_files:
            steps.append(_LEFTOVER.format(", ".join(self.leftover_files)))
        if self.undecrypted:
            steps.append(_UNDECRYPTED.format(_count(self.undecrypted, "event", "events")))
        if self.unsearched:
            contexts = _count(self.unsearched, "remembered context is", "remembered contexts are")
            steps.append(_UNSEARCHED.format(contexts))
        if self.in_flight:
            steps.append(_IN_FLIGHT.format(_count(self.in_flight, "event was", "events were")))
        if self.sent:
            steps.append(_SENT.format(", ".join(sorted(self.sent)), sum(self.sent.values())))
        return (*steps, _SENT_BEFORE, *_BY_HAND)

    def as_json(self) -> dict[str, object]:
        """Return the report as a JSON-compatible dict."""
        steps = self.remaining_steps
        return attrs.asdict(self) | {"is_complete": self.is_complete, "remaining_steps": steps}


@attrs.frozen
class PersonData:
    """One person's data in a queue. Its methods are commands for the uploader.

    Attributes:
        buffer: This process's write buffer.
        contexts: The remembered contexts.
        person: The person.
        follow: Also take the other events of the same orders.
        erase_copies: Erases the person from what a relay has shipped.
    """

    buffer: WriteBuffer
    contexts: ContextStore
    person: Person
    follow: bool = True
    erase_copies: Callable[[Person], object] | None = None

    def erase(self, uploader: Uploader) -> ErasureReport:
        """Erase the person and return a report.

        Raises:
            OSError: If the disk refuses a write. What was erased before stays erased.
        """
        result = self._search(uploader)
        matcher = PersonMatcher(result.person)
        status = DeliveryStatus(uploader)
        stands = Counter(
            one for each in result.events for one in status.of(each.segment, each.record).items()
        )
        _erase(uploader, result)
        if self.erase_copies is not None:
            self.erase_copies(result.person)
        in_memory = self.buffer.erase(matcher.owns)
        in_flight = uploader.discard_erased(matcher.owns)
        waiting = sum(number for (_, stand), number in stands.items() if stand in OPEN)
        unreadable = sum(map(len, result.damages.values())) + uploader.queue.discard_quarantined()
        remembered, unsearched = self.contexts.delete(self.contexts.of_person(result.person))
        self._scrub_messages(uploader, result.person.identifying_texts())
        return ErasureReport(
            events=len(result.events),
            undelivered=waiting - in_flight,
            sent={name: n for (name, stand), n in sorted(stands.items()) if stand == SENT},
            in_flight=in_flight,
            dead_letters=len(result.letters),
            in_memory=in_memory,
            remembered=remembered,
            unsearched=unsearched,
            unreadable=unreadable,
            undecrypted=result.undecrypted,
            leftover_files=uploader.queue.places_with(self.person.identifying_texts()),
        )

    def export(self, uploader: Uploader) -> list[dict[str, object]]:
        """Return everything that was found as JSON-compatible dicts, each with its place."""
        result = self._search(uploader)
        status = DeliveryStatus(uploader)
        events = [_event(status, match) for match in result.events]
        letters = [_letter(letter) for letter in result.letters]
        kept: list[dict[str, object]] = [
            {"kind": "remembered", "where": each.name, "context": _context(each.context)}
            for each in self.contexts.of_person(result.person)
            if each.context is not None
        ]
        return [*events, *letters, *kept, *_undecrypted(result.undecrypted)]

    def _search(self, uploader: Uploader) -> SearchResult:
        """Find the person in everything that was tracked until now."""
        self.buffer.flush()
        uploader.apply_arrived()
        return search(uploader, self.person, follow=self.follow)

    def _scrub_messages(self, uploader: Uploader, identifying_texts: frozenset[str]) -> None:
        """Remove the person from sellers' messages, also from freed pages of the database."""
        _scrub_state(uploader, identifying_texts)
        uploader.commit()
        if uploader.queue.state_contains(identifying_texts):
            uploader.close_state()
            try:
                uploader.queue.compact_state()
            finally:
                uploader.reopen_state()
        write_stats(uploader.queue, uploader.stats())


def erase_copies(leader: Uploader | Relay, person: Person) -> None:
    """Erase a person from the segments that a relay has shipped and not deleted yet."""
    _erase(leader, search(leader, person, follow=False))


def _erase(uploader: Uploader | Relay, result: SearchResult) -> None:
    for segment in sorted({match.segment for match in result.events}):
        records = [match.record for match in result.events if match.segment == segment]
        uploader.segments.erase(segment, records)
    for segment, corrupt_spans in result.damages.items():
        uploader.segments.blank(segment, corrupt_spans)
    uploader.dead_letters.remove({letter.id for letter in result.letters})


def _scrub_state(uploader: Uploader, identifying_texts: frozenset[str]) -> None:
    def mentions(message: str) -> bool:
        folded = message.casefold()
        return any(text in folded for text in identifying_texts)

    for batches in list(uploader.state.batches.values()):
        for batch in list(batches):
            if mentions(batch.last_message):
                uploader.state.replace(batch, attrs.evolve(batch, last_message=""))
    for state in uploader.state.destinations.values():
        if state.pause is not None and mentions(state.pause.message):
            state.pause = attrs.evolve(state.pause, message="")


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
            name: self._of_destination(name, segment, record)
            for name in self._state.destinations
            if only in (None, name)
        }

    def _of_destination(self, name: str, segment: str, record: Record) -> str:
        if self._state.destinations[name].cursors.get(segment, 0) <= record.start:
            return WAITING
        if any(each.holds(segment, record.start) for each in self._state.batches[name]):
            return PENDING
        return DEAD if (name, segment, record.start) in self._dead else SENT


def _event(status: DeliveryStatus, match: Match) -> dict[str, object]:
    return {
        "kind": "event",
        "where": f"segments/{match.segment}:{match.record.start}",
        "accepted_at": _time(match.record.accepted_ms / 1000),
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


def _context(context: RequestContext) -> dict[str, object]:
    shown = attrs.asdict(context, filter=lambda field, _: field.name != "automated")
    return shown | {"consent": context.consent.value}


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, _UTC).isoformat().replace("+00:00", "Z")
