"""The leader's state: cursors, frozen batches, counts, pauses.

It is held in memory by the one process that uploads, and written to the outbox
in one transaction after each change. It stays small however many events wait.
"""

from __future__ import annotations

import hashlib
import re
from bisect import bisect_right
from collections import Counter
from functools import cache
from typing import TYPE_CHECKING

import attrs
from cattrs import BaseValidationError
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override
from cattrs.preconf.orjson import make_converter

from adcp_tracker.outbox.storage import DamagedOutboxError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from cattrs.preconf.orjson import OrjsonConverter

    from adcp_tracker.outbox.storage import Outbox

_DESTINATION = "destination:"
_DELIVERY = "delivery:"
_HOUR = 3600
_HOURS_KEPT = 35 * 24
_MATCH_HOURS_KEPT = 7 * 24
_WARNINGS_KEPT = 10
_CODES_KEPT = 30
_NUMBERS = re.compile(r"[0-9]+")
_STORED_NAMES = {
    "successes_near_limit": "taken_at_limit",
    "single_rejections": "refused_alone",
    "missing_keys": "locked",
}
"""Fields whose key on disk is another than their name."""


@attrs.frozen
class Span:
    """Adjacent whole records of one segment.

    Attributes:
        segment: The segment's name.
        start: Where the first begins, in bytes.
        stop: Where the last ends.
    """

    segment: str
    start: int
    stop: int


@attrs.frozen
class FrozenBatch:
    """A frozen batch of events for one destination.

    Attributes:
        destination: Whose it is.
        number: Its place in the order of that destination's batches.
        spans: Its records, in their frozen order. Segments never change, so neither does it.
        count: How many they are.
        test_event_code: Marks the whole batch as a test.
        generation: Counts the idempotency keys it has had, from 0.
        attempts: How often it has been tried.
        budgeted: How many of those tries failed for an unknown reason.
        unreadable: How many of those tries the seller answered with a success that can't be read.
        next_attempt_at: Not before, in seconds since the epoch.
        last_code: Why the last try failed, in one word.
        last_message: Why, for a person.
    """

    destination: str
    number: int
    spans: tuple[Span, ...]
    count: int
    test_event_code: str | None = None
    generation: int = 0
    attempts: int = 0
    budgeted: int = 0
    unreadable: int = 0
    next_attempt_at: float = 0.0
    last_code: str = ""
    last_message: str = ""

    @property
    def size(self) -> int:
        """The size of its records in bytes."""
        return sum(span.stop - span.start for span in self.spans)

    def holds(self, segment: str, offset: int) -> bool:
        """Return whether the record at an offset of a segment is one of its events."""
        return any(
            each.segment == segment and each.start <= offset < each.stop for each in self.spans
        )

    @property
    def identity(self) -> bytes:
        """Identifies its exact bytes and generation."""
        frozen = (
            self.generation,
            self.test_event_code,
            [(s.segment, s.start, s.stop) for s in self.spans],
        )
        return hashlib.sha256(repr(frozen).encode()).digest()


@attrs.frozen
class Pause:
    """Why a destination sends nothing until its configuration is fixed.

    Attributes:
        code: In one word.
        message: For a person.
        remedy: What to change.
        since: Seconds since the epoch.
    """

    code: str
    message: str
    remedy: str
    since: float


@attrs.define
class Counts:
    """What became of a destination's events.

    Attributes:
        accepted: Those recorded for it.
        delivered: Those the seller accepted, confirmed or not.
        dead: Those that became dead letters.
        dropped: Those that were dropped, by reason.
        unconfirmed: Of those delivered, how many the seller doesn't say it processed. Stored
            as ``unprocessed``, as earlier versions did.
        omitted: Fields that were left out of events, as ``field reason``, by how many events.
        hourly: Of those delivered, the live ones by the hour, in hours since the epoch;
            the last 35 days that had any.
    """

    accepted: int = 0
    delivered: int = 0
    dead: int = 0
    dropped: Counter[str] = attrs.field(factory=Counter)
    unconfirmed: int = 0
    omitted: Counter[str] = attrs.field(factory=Counter)
    hourly: Counter[str] = attrs.field(factory=Counter)

    def drop(self, reason: str, count: int = 1) -> None:
        """Count accepted events that were dropped."""
        self.accepted += count
        self.dropped[reason] += count

    def deliver(self, count: int, now: float, *, live: bool) -> None:
        """Count events that the seller has as of `now`, in seconds since the epoch."""
        self.delivered += count
        if live and count:
            self.hourly[str(int(now // _HOUR))] += count
            if len(self.hourly) > _HOURS_KEPT:
                del self.hourly[min(self.hourly, key=int)]


@attrs.define
class Histogram:
    """Observed values, counted by the smallest bound that they don't exceed.

    Attributes:
        buckets: The number of values by bound, as text; ``+Inf`` for those above all bounds.
        sum: All values added up.
    """

    buckets: Counter[str] = attrs.field(factory=Counter)
    sum: float = 0.0

    @property
    def count(self) -> int:
        """How many values there are."""
        return sum(self.buckets.values())

    def copy(self) -> Histogram:
        """Return a copy that doesn't change."""
        return Histogram(Counter(self.buckets), self.sum)

    def __add__(self, other: Histogram) -> Histogram:
        return Histogram(self.buckets + other.buckets, self.sum + other.sum)

    def observe(self, values: Iterable[float], bounds: Sequence[float]) -> None:
        """Count `values` by ascending `bounds`."""
        ordered = sorted(values)
        below = 0
        for bound in bounds:
            upto = bisect_right(ordered, bound, below)
            if upto > below:
                self.buckets[f"{bound:g}"] += upto - below
            below = upto
        if below < len(ordered):
            self.buckets["+Inf"] += len(ordered) - below
        self.sum += sum(ordered)


LATENCY_SECONDS = (0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 21600, 86400)
BATCH_EVENTS = (1, 10, 100, 250, 500, 1000, 2500, 5000, 10000)


@attrs.define
class Measures:
    """What metrics need beside the counts. Nothing here ever decreases.

    Attributes:
        accepted: The most events that were counted as accepted. Unlike the count itself, it
            keeps an event whose dead letter is on its way again.
        latency: The seconds from accepting an event until the seller had it.
        batches: The events in each request that the seller accepted.
        retries: The requests that have to be sent again, by the reason in one word.
    """

    accepted: int = 0
    latency: Histogram = attrs.field(factory=Histogram)
    batches: Histogram = attrs.field(factory=Histogram)
    retries: Counter[str] = attrs.field(factory=Counter)

    def copy(self) -> Measures:
        """Return a copy that doesn't change."""
        retries = Counter(self.retries)
        return Measures(self.accepted, self.latency.copy(), self.batches.copy(), retries)

    def __add__(self, other: Measures) -> Measures:
        return Measures(
            self.accepted + other.accepted,
            self.latency + other.latency,
            self.batches + other.batches,
            self.retries + other.retries,
        )

    def deliver(self, times: Sequence[int], now: float, sent: int) -> None:
        """Add a request that the seller accepted.

        Args:
            times: When each event that the seller has was accepted, in milliseconds.
            now: When the seller had them, in seconds since the epoch.
            sent: How many events the request had.
        """
        now_ms = now * 1000
        latencies = [(now_ms - time) / 1000 for time in times]
        if latencies and min(latencies) < 0.0:  # the clock was set back
            latencies = [max(each, 0.0) for each in latencies]
        self.latency.observe(latencies, LATENCY_SECONDS)
        self.batches.observe([sent], BATCH_EVENTS)

    def retry(self, code: str) -> None:
        """Add a request that has to be sent again. Sellers choose codes, so only some are kept."""
        is_known = code in self.retries or len(self.retries) < _CODES_KEPT
        self.retries[code if is_known else "other"] += 1


@attrs.define
class SellerReport:
    """What a seller reports besides its counts.

    Attributes:
        warnings: Its latest warnings, each kind once, the newest last.
        match_quality: The latest share of events that it could match, 0–1.
        match_by_hour: Sums of shares and of events, by hour since the epoch.
    """

    warnings: list[str] = attrs.field(factory=list)
    match_quality: float | None = None
    match_by_hour: dict[str, tuple[float, int]] = attrs.field(factory=dict)

    def add(
        self, warnings: Iterable[str], match_quality: float | None, count: int, now: float
    ) -> None:
        """Add what a seller says of a request of `count` events, as of `now`."""
        for warning in warnings:
            kind = _kind_of(warning)
            self.warnings = [each for each in self.warnings if _kind_of(each) != kind]
            self.warnings = [*self.warnings, warning][-_WARNINGS_KEPT:]
        if match_quality is None:
            return
        self.match_quality = match_quality
        hour = str(int(now // _HOUR))
        total, events = self.match_by_hour.get(hour, (0.0, 0))
        self.match_by_hour[hour] = (total + match_quality * count, events + count)
        if len(self.match_by_hour) > _MATCH_HOURS_KEPT:
            del self.match_by_hour[min(self.match_by_hour, key=int)]

    def match_means(self) -> dict[str, float]:
        """Return the mean share by hour since the epoch."""
        means = self.match_by_hour.items()
        return {hour: round(total / count, 4) for hour, (total, count) in means if count}


def _kind_of(warning: str) -> str:
    """Return a warning without its numbers, which differ each time."""
    return _NUMBERS.sub("#", warning)


@attrs.define
class DestinationState:
    """The progress of one destination.

    Attributes:
        cursors: Up to where each segment is in its batches.
        failures: Tries that failed in a row, of whichever batch.
        resume_at: No request before, in seconds since the epoch.
        pause: Why it sends nothing, if so.
        max_events: The most events a request may carry, as learned from the seller.
        max_bytes: The most bytes, likewise.
        successes_near_limit: Requests taken that came near those, since they last changed.
        single_rejections: Events refused one by one since the last that was taken.
        next_number: The number of the next batch.
        counts: What it counted so far.
        missing_keys: The keys that are missing to read some of its events; empty if none is.
        report: What its seller says beside its counts.
        advice: What is probably wrong with its events.
        sample: Counts over a sample of its events.
        measures: What metrics need beside its counts.
    """

    cursors: dict[str, int] = attrs.field(factory=dict)
    failures: int = 0
    resume_at: float = 0.0
    pause: Pause | None = None
    max_events: int | None = None
    max_bytes: int | None = None
    successes_near_limit: int = 0
    single_rejections: int = 0
    next_number: int = 0
    counts: Counts = attrs.field(factory=Counts)
    missing_keys: str = ""
    report: SellerReport = attrs.field(factory=SellerReport)
    advice: list[str] = attrs.field(factory=list)
    sample: dict[str, int] = attrs.field(factory=dict)
    measures: Measures = attrs.field(factory=Measures)

    def copy(self) -> DestinationState:
        """Return a copy whose cursors and counts can be changed."""
        counts = attrs.evolve(
            self.counts,
            dropped=Counter(self.counts.dropped),
            omitted=Counter(self.counts.omitted),
        )
        return attrs.evolve(self, cursors=dict(self.cursors), counts=counts)


@cache  # made when first needed, by the one process that leads
def _converter() -> OrjsonConverter:
    converter = make_converter(omit_if_default=True)
    _keep_stored_names(converter, Counts, {"unconfirmed": "unprocessed"})
    _keep_stored_names(converter, DestinationState, _STORED_NAMES)
    return converter


def _keep_stored_names(
    converter: OrjsonConverter, kind: type[object], names: Mapping[str, str]
) -> None:
    overrides = {name: override(rename=stored) for name, stored in names.items()}
    read = make_dict_structure_fn(kind, converter, **overrides)  # type: ignore[arg-type]
    write = make_dict_unstructure_fn(
        kind,
        converter,
        _cattrs_omit_if_default=True,
        **overrides,  # type: ignore[arg-type]
    )
    converter.register_structure_hook(kind, read)
    converter.register_unstructure_hook(kind, write)


class State:
    """Everything in the outbox, as objects.

    Args:
        outbox: Where it is kept.
        destinations: The names of those to keep a place for, besides those it knows.

    Attributes:
        destinations: How far each has got, by name.
        batches: The frozen batches of each, in order.

    Raises:
        DamagedOutboxError: If the outbox holds something else.
        OutboxError: If it cannot be read for now.
    """

    def __init__(self, outbox: Outbox, destinations: Iterable[str]) -> None:
        self._outbox = outbox
        self._saved = outbox.load()
        self._foreign: dict[str, bytes] = {}
        self.destinations: dict[str, DestinationState] = {}
        self.batches: dict[str, list[FrozenBatch]] = {}
        try:
            for key, value in sorted(self._saved.items()):
                self._restore(key, value)
        except (BaseValidationError, TypeError, ValueError) as error:
            raise DamagedOutboxError(
                f"expected the state as written, got {type(error).__name__} on reading it"
            ) from error
        for batches in self.batches.values():
            batches.sort(key=lambda batch: batch.number)
        self.ensure([*self.destinations, *destinations])

    def ensure(self, names: Iterable[str]) -> None:
        """Add destinations that are missing; new ones begin at the oldest event."""
        for name in names:
            self.destinations.setdefault(name, DestinationState())
            self.batches.setdefault(name, [])

    def freeze(
        self, destination: str, spans: Iterable[Span], count: int, test_event_code: str | None
    ) -> FrozenBatch:
        """Add a frozen batch."""
        state = self.destinations[destination]
        number, state.next_number = state.next_number, state.next_number + 1
        batch = FrozenBatch(destination, number, tuple(spans), count, test_event_code)
        self.batches[destination].append(batch)
        return batch

    def replace(self, old: FrozenBatch, *new: FrozenBatch) -> None:
        """Replace a batch by others, or by none."""
        batches = self.batches[old.destination]
        place = next(i for i, each in enumerate(batches) if each.number == old.number)
        batches[place : place + 1] = new

    def remove(self, destination: str) -> None:
        """Remove a destination and its batches."""
        self.destinations.pop(destination, None)
        self.batches.pop(destination, None)

    def referenced_segments(self) -> set[str]:
        """Return the segments that batches still need."""
        return {
            span.segment
            for batches in self.batches.values()
            for batch in batches
            for span in batch.spans
        }

    def commit(self) -> None:
        """Write changes since the last commit, in one transaction.

        Raises:
            OutboxError: If it cannot be written; the next commit tries again.
        """
        current = self._encode()
        puts = {key: value for key, value in current.items() if self._saved.get(key) != value}
        removes = self._saved.keys() - current.keys()
        if puts or removes:
            self._outbox.apply(puts, removes)
            self._saved = current

    def close(self) -> None:
        """Close the outbox, keeping everything in memory."""
        self._outbox.close()

    def reopen(self, outbox: Outbox) -> None:
        """Continue with the same outbox, opened again.

        Raises:
            DamagedOutboxError: If it is not as it was left.
        """
        self._outbox = outbox
        if outbox.load() != self._saved:
            raise DamagedOutboxError("expected the state as it was left, got another")

    def _restore(self, key: str, value: bytes) -> None:
        if key.startswith(_DESTINATION):
            name = key.removeprefix(_DESTINATION)
            self.destinations[name] = _converter().loads(value, DestinationState)
        elif key.startswith(_DELIVERY):
            batch = _converter().loads(value, FrozenBatch)
            self.batches.setdefault(batch.destination, []).append(batch)
        else:  # a newer version's; it will want it back
            self._foreign[key] = value

    def _encode(self) -> dict[str, bytes]:
        encoded = self._foreign | {
            f"{_DESTINATION}{name}": _converter().dumps(state)
            for name, state in self.destinations.items()
        }
        for batches in self.batches.values():
            for each in batches:
                encoded[f"{_DELIVERY}{each.destination}:{each.number}"] = _converter().dumps(each)
        return encoded
