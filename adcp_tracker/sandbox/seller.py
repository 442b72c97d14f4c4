"""The seller itself: it takes events by the rules, whatever wire brings them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import attrs
import orjson

from adcp_tracker.sandbox.checks import Issue
from adcp_tracker.sandbox.config import SandboxConfig
from adcp_tracker.sandbox.faults import FaultBook
from adcp_tracker.sandbox.judgement import failure_of, judge, match_quality, warnings_about
from adcp_tracker.sandbox.limiter import RateLimiter
from adcp_tracker.sandbox.record import BadEvent, GoodEvent, Record
from adcp_tracker.sandbox.refusal import RefusalError
from adcp_tracker.sandbox.replays import Replays
from adcp_tracker.sandbox.rules import check_request
from adcp_tracker.sandbox.sources import SourceBook

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from adcp_tracker.sandbox.judgement import Failure
    from adcp_tracker.sandbox.rules import Dialect
    from adcp_tracker.sandbox.sources import Source


@attrs.frozen
class Delivery:
    """A request to log events, free of the wire it came over.

    Attributes:
        body: The request as decoded from JSON.
        dialect: Whose rules apply.
        advertiser_id: Whose event source it must be; ``None`` for anybody's.
        lose: How many of the last events are to be lost without a word.
    """

    body: object
    dialect: Dialect
    advertiser_id: str | None = None
    lose: int = 0


class Seller:
    """All that the seller knows and remembers.

    Attributes:
        config: How it behaves; replace it to change that while it runs.
        record: What came in.
        faults: What is to go wrong.
        sources: The event sources it knows.
        limiter: The requests of the current window.
        replays: The answers kept for their idempotency keys.
        sessions: The MCP sessions that are open.
        die: Ends the seller at once, as far as its host lets it.
    """

    def __init__(
        self,
        config: SandboxConfig | None = None,
        *,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.config = SandboxConfig() if config is None else config
        self.now = now
        self.record = Record(self.config)
        self.faults = FaultBook(self.config.seed)
        self.sources = SourceBook(self.config.advertisers, now)
        self.limiter = RateLimiter(monotonic)
        self.replays = Replays(now)
        self.sessions: set[str] = set()
        self.die: Callable[[], None] = _live

    def reset(self) -> None:
        """Forget what came, what was to fail and what was registered, but no setting."""
        self.record.reset(self.config)
        self.faults.clear(self.config.seed)
        self.sources = SourceBook(self.config.advertisers, self.now)
        self.replays.clear()
        self.limiter.started_at = float("-inf")

    def configure(self, config: SandboxConfig) -> None:
        """Behave by `config` from here on; advertisers it adds are known at once."""
        self.config = config
        self.sources.add(config.advertisers)

    def log_events(self, delivery: Delivery) -> dict[str, object]:
        """Take the events of `delivery`.

        Returns:
            The answer's body, without what is special to a wire.

        Raises:
            RefusalError: If the whole request is refused.
        """
        body = self._well_formed(delivery)
        source = self._source(body, delivery)
        events: list[object] = body["events"]  # type: ignore[assignment]
        faults = judge(events, delivery.dialect, source)
        if faults and self.config.strict:
            raise self._refuse(events, faults)
        failures = self._failures(events, faults, source)
        kept = len(events) - delivery.lose
        taken = [event for at, event in enumerate(events) if at not in failures and at < kept]
        self._take(taken, body, source)
        self.record.add_count("lost", len(events) - len(taken) - len(failures))
        return _answer(events, taken, failures, self.now())

    def _well_formed(self, delivery: Delivery) -> Mapping[str, object]:
        body = delivery.body
        if not isinstance(body, dict):
            raise RefusalError(400, "BAD_REQUEST", "The body must be a JSON object.")
        issues = check_request(body, delivery.dialect, self.config.max_events)
        most = self.config.max_nodes
        if not issues and most is not None and _count_nodes(body) > most:
            issues = [_too_many_nodes(most)]
        if issues:
            raise validation_error(list(issues))
        return body

    def _source(self, body: Mapping[str, object], delivery: Delivery) -> Source:
        source_id = str(body["event_source_id"])
        source = self.sources.find(delivery.advertiser_id, source_id)
        if source is None:
            rest = delivery.dialect == "interchange"
            code = "EVENT_SOURCE_NOT_FOUND" if rest else "REFERENCE_NOT_FOUND"
            raise RefusalError(404, code, "No such event source.", recovery="terminal")
        return source

    def _refuse(self, events: list[object], faults: Mapping[int, list[Issue]]) -> RefusalError:
        self._set_aside(events, faults)
        return validation_error([issue for issues in faults.values() for issue in issues])

    def _failures(
        self, events: list[object], faults: Mapping[int, list[Issue]], source: Source
    ) -> dict[int, Failure]:
        found: dict[int, Failure] = {}
        now = self.now()
        for index, event in enumerate(events):
            failure = failure_of(event, faults.get(index, ()), source, self.config, now)
            if failure is not None:
                found[index] = failure
        bad = [
            BadEvent(orjson.dumps(events[index]), failure.code, tuple(faults.get(index, ())))
            for index, failure in found.items()
        ]
        self.record.add_bad(bad)
        return found

    def _set_aside(self, events: list[object], faults: Mapping[int, list[Issue]]) -> None:
        self.record.add_bad(
            [
                BadEvent(orjson.dumps(events[index]), "VALIDATION_ERROR", tuple(issues))
                for index, issues in faults.items()
            ]
        )

    def _take(self, events: list[object], body: Mapping[str, object], source: Source) -> None:
        code = body.get("test_event_code")
        test_event_code = None if code is None else str(code)
        now = self.now()
        self.record.add_good(
            [
                GoodEvent(
                    event_id=event["event_id"],  # type: ignore[index]
                    event_type=event["event_type"],  # type: ignore[index]
                    event_source_id=source.event_source_id,
                    advertiser_id=source.account,
                    received_at=now,
                    test_event_code=test_event_code,
                    body=b"" if self.config.ids_only else orjson.dumps(event),
                )
                for event in events
            ]
        )
        if test_event_code is None:
            self.sources.count(source, len(events))


def _live() -> None:
    pass


def validation_error(issues: list[Issue]) -> RefusalError:
    """Return the refusal of a request for the sake of `issues`."""
    message = f"The request is not valid; the first of its faults: {issues[0].message}."
    return RefusalError(400, "VALIDATION_ERROR", message, issues=tuple(issues))


def _too_many_nodes(most: int) -> Issue:
    return Issue("/events", f"must not make the request hold over {most} values", "payload_size")


def _count_nodes(value: object) -> int:
    if isinstance(value, dict):
        return 1 + sum(map(_count_nodes, value.values()))
    if isinstance(value, list):
        return 1 + sum(map(_count_nodes, value))
    return 1


def _answer(
    events: list[object], taken: list[object], failures: Mapping[int, Failure], now: float
) -> dict[str, object]:
    answer: dict[str, object] = {
        "events_received": len(events),
        "events_processed": len(taken),
        "match_quality": match_quality(taken),
    }
    if failures:
        answer["partial_failures"] = [attrs.asdict(failure) for failure in failures.values()]
    warnings = warnings_about(taken, now)
    if warnings:
        answer["warnings"] = warnings
    return answer
