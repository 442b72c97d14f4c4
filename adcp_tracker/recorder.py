"""Record a validated event: write it to the journal, drop it, or store it as a dead letter."""

from __future__ import annotations

import re
import time
from functools import partial
from typing import TYPE_CHECKING, Final

import attrs

from adcp_tracker import _development
from adcp_tracker._formatting import describe
from adcp_tracker._logging import ThrottledLogger, logger
from adcp_tracker._platform import raised_by_signal_handler, reraise_interruption
from adcp_tracker.context import Consent
from adcp_tracker.events.event import RejectedEvent, encode_within, redact_rejected
from adcp_tracker.events.model import IGNORED_FOR_BOTS, MAX_CODE, MAX_EVENT_BYTES, EventType
from adcp_tracker.events.parsing import clean_id
from adcp_tracker.events.rules import errors_of, identifier
from adcp_tracker.exceptions import (
    FieldError,
    InvalidEventError,
    OutsideTransactionError,
    QueueFullError,
)
from adcp_tracker.journal.records import ENVELOPED, EVENT, encode_record, with_envelope
from adcp_tracker.outbox.schema import PendingRecord, describe_error, queue_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from adcp_tracker.context import Context
    from adcp_tracker.delivery.pipeline import Pipeline
    from adcp_tracker.event_sources.rules import EventRules
    from adcp_tracker.events.event import Event
    from adcp_tracker.journal.buffer import WriteBuffer
    from adcp_tracker.settings import OnDenied, Settings


NO_CONSENT: Final = "consent"
"""The reason for dropping an event of a shopper who denied consent."""

_NS_PER_MS: Final = 1_000_000
_LONGEST_MESSAGE: Final = 4000
_HOUR_SECONDS: Final = 3600.0
_BROWSING: Final = frozenset(each.value for each in IGNORED_FOR_BOTS)
"""Types of events that a visit repeats, and that rarely have an id of their own."""
_INVALID_CODE: Final = "INVALID_EVENT"
_CODE: Final = "$.test_event_code"
_TYPE: Final = re.compile(rb'\{"event_id":"[^"\\]*(?:\\.[^"\\]*)*","event_type":"([a-z_]+)"')
_check_code: Final = identifier(MAX_CODE)
_REMEDY: Final = (
    "Fix the code that creates this event, and correct this one with: adcp-tracker dead edit"
)


class Recorder:
    """Writes events to the journal, as far as consent, size and event sources allow.

    Args:
        settings: The tracker's settings.
        pipeline: Where events are written, and which is started by the first one.
        rules: What the event sources accept.
    """

    def __init__(
        self,
        settings: Settings,
        pipeline: Pipeline,
        rules: EventRules,
    ) -> None:
        self._strict = settings.strict
        self._on_denied: OnDenied = settings.on_denied
        code = settings.test_event_code
        self._test_event_code = None if code is None else clean_id(code)
        self._pipeline = pipeline
        self._journal = pipeline.journal
        self._buffer = pipeline.buffer
        self._rules = rules
        self._outbox = outbox = settings.transactional_outbox
        self._transactional_events = frozenset(settings.transactional_events)
        self._outside = settings.outside_transaction
        self._savepoint = settings.savepoint
        self._queues = settings.queues
        self._on_commit = settings.on_commit or (None if outbox is None else outbox.defer)
        self._throttled_log = ThrottledLogger(pipeline.clock)
        self._hourly_log = ThrottledLogger(pipeline.clock, _HOUR_SECONDS)
        self._remote = pipeline.is_remote
        self._reporter = pipeline.reporter

    def record(  # noqa: C901, PLR0912 - written out, as each call would show in every purchase
        self, event: Event, body: bytes, context: Context | None, test_event_code: str | None
    ) -> Event | RejectedEvent:
        """Write a valid event to the journal, unless consent or a rule forbids it."""
        code = self._test_event_code
        try:
            if test_event_code is not None:
                code = _checked_code(test_event_code, event) or code
            if context is not None and (
                context.consent is Consent.DENIED or context.automated is not None
            ):
                reason = drop_reason(event, context, self._on_denied)
                if reason is not None:
                    self._count_dropped(reason, event)
                    return event
                event = strip_identifiers(event, context)
                body = event.json
            if len(body) > MAX_EVENT_BYTES:
                limit = f"at most {MAX_EVENT_BYTES} bytes"
                raise InvalidEventError([FieldError("$", limit, f"{len(body)} bytes")])  # noqa: TRY301 - as below
            plain = event.is_baseline
            if self._rules.known is not None and self._rules.rejects(event, strict=self._strict):
                plain = False
        except Exception as error:  # noqa: BLE001 - nothing may break a checkout
            return self.reject(error, event.event_type)
        if _development.active is not None and (capture := self._capturing()) is not None:
            capture.add(event)
            return event
        accepted_ms, buffer = time.time_ns() // _NS_PER_MS, self._buffer
        if not plain or code is not None or event.omissions:
            self._write_enveloped(event, body, accepted_ms, _envelope(event, code, plain=plain))
        elif self._on_commit is None or not self._insert_or_defer(event, {}, body, accepted_ms):
            try:
                self._journal.append(body, accepted_ms)
            except OSError as error:
                buffer.keep(error, body, accepted_ms)
            if buffer.waiting or buffer.drop_counts:
                buffer.flush_soon()
        if not self._pipeline.started:
            self._start()
        if self._reporter is not None:
            self._reporter.tracked(event)
        return event

    def _write_enveloped(
        self, event: Event, body: bytes, accepted_ms: int, envelope: dict[str, object]
    ) -> None:
        if self._on_commit is None or not self._insert_or_defer(event, envelope, body, accepted_ms):
            self._append(envelope, body, accepted_ms)
        self._log_omissions(event)

    def _insert_or_defer(
        self, event: Event, envelope: dict[str, object], body: bytes, accepted_ms: int
    ) -> bool:
        """Insert an event in the open transaction, or defer it; return whether that was done."""
        late = _LateWrite(partial(self._append, envelope, body, accepted_ms), self._buffer)
        return self._insert(event, envelope, body, accepted_ms, late) or self._defer(late)

    def _append(self, envelope: dict[str, object], body: bytes, accepted_ms: int) -> None:
        """Write an event to the journal."""
        if envelope:
            self._buffer.append_enveloped(envelope, body, accepted_ms)
        else:
            self._buffer.append(body, accepted_ms)

    def _defer(self, late: _LateWrite) -> bool:
        """Hand a write to ``on_commit``; return whether it makes it later, or has made it."""
        try:
            if self._on_commit is not None and self._on_commit(late):
                return True
        except Exception as error:  # noqa: BLE001 - nothing may break a checkout
            reraise_interruption(error)
            logger.error(
                "on_commit.failed",
                error=type(error).__name__,
                at=_raised_at(error),
                remedy="fix on_commit; the event was written at once",
            )
        was_done, late.is_done = late.is_done, True
        return was_done

    def _insert(
        self,
        event: Event,
        envelope: dict[str, object],
        body: bytes,
        accepted_ms: int,
        late: _LateWrite,
    ) -> bool:
        """Insert an event in the application's transaction; return whether it is dealt with."""
        outbox = self._outbox
        if outbox is None or type_of(event, body) not in self._transactional_events:
            return False
        if envelope:
            body, kind = with_envelope(envelope, body), ENVELOPED
        else:
            kind = EVENT
        queue = queue_of(body, self._queues)
        body, kind = self._journal.encode_for_disk(body, accepted_ms, kind)
        record = encode_record(body, accepted_ms, kind)
        pending = PendingRecord(record, queue, self._savepoint, late, self._count_failed_insert)
        try:
            if outbox.insert(pending):
                return True
        except Exception as error:
            reraise_interruption(error)
            self._count_failed_insert(error)
            if not self._savepoint:
                raise  # the application's transaction is lost
            return False
        return self._handle_outside(event, pending)

    def _handle_outside(self, event: Event, pending: PendingRecord) -> bool:
        """Handle an event outside of a transaction; return ``False`` if the journal has to."""
        if self._outside == "refuse":
            name = event.event_type.value
            message = f"{name}: expected an open transaction, got none; open one around the call"
            if self._strict:
                raise OutsideTransactionError(message)
            self._count_dropped("outside_transaction", event)
            self._throttled_log.warning(
                "event.dropped", reason="outside_transaction", field=name, error=message
            )
            return True
        if self._outside == "commit":
            commit = _LateWrite(partial(self._commit, pending), self._buffer)
            if not self._defer(commit):
                commit.write()
            return True
        return False

    def _commit(self, pending: PendingRecord) -> None:
        """Insert an event in a transaction of its own; if that fails, write it to the journal."""
        try:
            if self._outbox is not None:
                self._outbox.commit(pending.record, pending.queue)
        except Exception as error:  # noqa: BLE001 - nothing may break a checkout
            reraise_interruption(error)
            self._count_failed_insert(error)
            pending.write()

    def _count_failed_insert(self, error: Exception) -> None:
        """Count an event that couldn't be inserted, and log why."""
        self._pipeline.count_failed_insert()
        self._throttled_log.warning(
            "event.not_inserted",
            error=describe_error(error),
            remedy="see that the tables are there and may be written to: manage.py migrate, or "
            "adcp-tracker queue migrate; the event is written to the journal after the commit",
        )

    def _log_omissions(self, event: Event) -> None:
        for each in event.omissions:
            self._throttled_log.warning(
                "event.omitted", event_id=event.event_id, field=each.field, reason=each.reason
            )

    def _capturing(self) -> _development.Capture | None:
        """Return the capture of a running test, which takes events in place of the journal."""
        return _development.capture_for(remote=self._remote)

    def note_random_id(self, event_type: EventType | str) -> None:
        """Log that an event has no stable id: a repeated call would count it again."""
        name = event_type_name(event_type)
        if name in _BROWSING:
            logger.debug("event.random_id", event_type=name)
            return
        self._hourly_log.warning(
            "event.random_id",
            field=name,
            remedy="pass key= or event_id=, so that a repeated call counts once",
        )

    def _count_dropped(self, reason: str, event: Event | None = None) -> None:
        """Count a dropped event and start the flusher, so that the count is reported."""
        self._buffer.count_dropped(reason)
        if self._reporter is not None and event is not None:
            self._reporter.dropped(event, reason)
        if not self._pipeline.started:
            self._start()

    def _start(self) -> None:
        try:
            self._pipeline.start()
        except Exception as error:  # noqa: BLE001 - nothing may break a checkout
            reraise_interruption(error)
            logger.error("flusher.not_started", error=type(error).__name__, at=_raised_at(error))

    def reject(self, error: Exception, event_type: EventType | str) -> RejectedEvent:
        """Store an event that cannot be sent as a dead letter; raise if the tracker is strict."""
        capture = self._capturing()
        if self._strict or (capture is not None and capture.strict):
            raise error
        name = event_type_name(event_type)
        if capture is not None:
            return RejectedEvent(name, "", ())
        if raised_by_signal_handler(error):
            self._count_dropped("interrupted")
            raise error
        if not isinstance(error, InvalidEventError):
            # Not its message: it may contain parts of the order.
            got = f"{type(error).__name__}, raised at {_raised_at(error)}"
            error = InvalidEventError([FieldError("$", "arguments that can be read", got)])
        return self._store_rejected(error, name)

    def _store_rejected(self, error: InvalidEventError, event_type: str) -> RejectedEvent:
        """Write a dead letter, and only then report it."""
        kept = {"event_type": event_type, **error.event}
        is_named = all(each.path != "$.event_id" for each in error.errors)
        event_id = str(kept.get("event_id", "")) if is_named else ""
        message = str(error)[:_LONGEST_MESSAGE]
        envelope = {"code": _INVALID_CODE, "message": message, "remedy": _REMEDY}
        line = encode_within(kept, MAX_EVENT_BYTES)
        self._buffer.append_enveloped(envelope, line, time.time_ns() // _NS_PER_MS)
        if not self._pipeline.started:
            self._start()
        logger.error(
            "event.invalid",
            event_id=event_id,
            event_type=event_type,
            errors=[str(each) for each in error.errors],
        )
        if self._reporter is not None:
            self._reporter.rejected(event_id, event_type, error.errors, line)
        return RejectedEvent(event_type, event_id, error.errors)


@attrs.define(eq=False)
class _LateWrite:
    """A write that is made once, after a commit, when no caller is left to raise to."""

    write: Callable[[], None]
    buffer: WriteBuffer
    is_done: bool = False

    def __call__(self) -> None:
        if self.is_done:
            return
        self.is_done = True
        try:
            self.write()
        except QueueFullError:
            self.buffer.count_dropped("full")
            logger.warning("event.dropped", reason="full", after_commit=True)


def _envelope(event: Event, code: str | None, *, plain: bool) -> dict[str, object]:
    """Return the envelope that is written with an event; most need none."""
    envelope: dict[str, object] = {}
    if code is not None:
        envelope["test"] = code
    if not plain:
        envelope["look"] = 1
    if event.omissions:
        envelope["omitted"] = sorted({f"{each.field} {each.reason}" for each in event.omissions})
    return envelope


def event_type_name(event_type: EventType | str) -> str:
    """Return an event type as the protocol writes it; describe anything else."""
    if isinstance(event_type, EventType):
        return event_type.value
    try:
        return EventType(event_type).value
    except Exception as error:  # noqa: BLE001 - a caller's own class of strings may do anything
        reraise_interruption(error)
        return describe(event_type)


def type_of(event: Event, body: bytes) -> str:
    """Return the type in an event's JSON; other fields are not parsed for it."""
    found = _TYPE.match(body)
    return event.event_type.value if found is None else found[1].decode()


def _checked_code(given: object, event: Event) -> str:
    """Return a test code as plain text.

    Raises:
        InvalidEventError: If it is invalid, with what may be kept of the event.
    """
    code = str.__str__(given) if isinstance(given, str) else given
    errors = [] if type(code) is str and not code else errors_of(_check_code, code, _CODE)
    if errors:
        kept = redact_rejected(
            event.event_id, event.event_type, event.event_time, event.custom_data, errors
        )
        raise InvalidEventError(errors, event=kept)
    return clean_id(str(code))


def _raised_at(error: Exception) -> str:
    """Return the file and line where an error was raised."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "" if trace is None else f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"


def drop_reason(event: Event, context: Context, on_denied: OnDenied) -> str | None:
    """Return why an event must not be sent, in one word; ``None`` if it may be."""
    if context.automated is not None and event.event_type in IGNORED_FOR_BOTS:
        return context.automated
    if context.consent is Consent.DENIED and on_denied == "drop":
        return NO_CONSENT
    return None


def strip_identifiers(event: Event, context: Context) -> Event:
    """Return an event without the shopper's identifiers if consent was denied.

    The page's query is removed, too: it may contain a click id.
    """
    if context.consent is not Consent.DENIED:
        return event
    url = event.event_source_url
    page = url and url.partition("?")[0]
    stripped = attrs.evolve(event, user_match=None, event_source_url=page)
    object.__setattr__(stripped, "omissions", event.omissions)
    return stripped
