"""``adcp-tracker coach``: how well sellers can match the events, and what to change."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import attrs
import orjson

from adcp_tracker._advice import (
    IDENTIFIERS,
    EventSample,
    find_suspicions,
    identifier_shares,
    missing_identifiers,
)
from adcp_tracker.cli import _common
from adcp_tracker.cli._common import EXIT_ATTENTION, EXIT_OK, AsJson, Directory, command, plural
from adcp_tracker.cli.dead_letters import remedy_of
from adcp_tracker.cli.queue import destinations, make_settings, open_existing_queue, read_status
from adcp_tracker.event_sources.rules import declared, load
from adcp_tracker.exceptions import ConfigurationError
from adcp_tracker.journal.records import DROPPED, ERASED, HEADER_BYTES, UNDECRYPTED, accepted_ms
from adcp_tracker.outbox.directory import DirectoryStore

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from adcp_tracker.journal.records import Record
    from adcp_tracker.outbox.dead_letters import DeadLetter
    from adcp_tracker.outbox.storage import Queue, Segments, Store

_MOST_EVENTS: Final = 500
_TAIL_BYTES: Final = 1024 * 1024
_UNREADABLE: Final = frozenset({DROPPED, ERASED, *UNDECRYPTED})
_QUEUE: Final = "queue"


@attrs.frozen
class View:
    """Some events, with what their seller says of them.

    Attributes:
        name: ``queue``, or the destination they were sent to.
        about: Which events these are.
        counts: The counts of an :class:`.EventSample`.
        match_quality: The share of the latest events that the seller could match, 0–1.
        warnings: The seller's warnings.
    """

    name: str
    about: str
    counts: Mapping[str, int]
    match_quality: float | None = None
    warnings: tuple[str, ...] = ()

    def as_json(self) -> dict[str, object]:
        """Return it as a JSON-serializable dict."""
        shares = identifier_shares(self.counts)
        return {
            "name": self.name,
            "events": self.counts.get("events", 0),
            "identifiers": {name: round(share, 4) for name, share in shares.items()},
            "suspicions": [attrs.asdict(each) for each in find_suspicions(self.counts)],
            "match_quality": self.match_quality,
            "warnings": list(self.warnings),
        }


@command
def coach(*, directory: Directory = None, as_json: AsJson = False) -> int:
    """Show how well sellers can match your events, and what to change.

    Looks at the newest events in the queue, at dead letters, and at what was counted over a
    sample of the events that were sent. Needs no credentials, sends nothing, and shows no value
    of any event. Exits with 1 if something is suspicious.
    """
    store = open_existing_queue(directory)
    sent = list(_views_of_destinations(store))
    queues = [shard.open() for shard in store.shards()]
    letters = [letter for each in queues for letter in each.dead_letters]
    views = [_view_of_queue(queues, letters, _accepted_currencies(store, directory)), *sent]
    remedies = {(each.reason, each.remedy): remedy_of(each) for each in letters}
    reasons = Counter(
        (each.reason, each.destination, remedies[each.reason, each.remedy]) for each in letters
    )
    if as_json:
        _common.print_json(_document(store, views, reasons))
    else:
        _print(store, views, reasons)
    is_suspicious = reasons or any(find_suspicions(each.counts) for each in views)
    return EXIT_ATTENTION if is_suspicious else EXIT_OK


def _view_of_queue(
    queues: list[Queue], letters: list[DeadLetter], currencies: Collection[str]
) -> View:
    """Look at the newest events in the queue, sent or not, and at dead letters."""
    sample = EventSample()
    segments = [each.segments for each in queues]
    most = _MOST_EVENTS // len(segments)
    found = [*(itertools.islice(_newest_records(each), most) for each in segments)]
    found.append(itertools.islice(_lost_letters(segments, letters), _MOST_EVENTS))
    every = itertools.islice(itertools.chain(*found), _MOST_EVENTS)
    for event, tracked_at, is_test in every:
        sample.add(event, tracked_at, is_test=is_test, currencies=currencies)
    counts = sample.counts()
    number = plural(counts.get("events", 0), "event")
    return View(_QUEUE, f"the newest {number} in the queue, delivered or not", counts)


def _newest_records(segments: Segments) -> Iterator[tuple[dict[str, object], float, bool]]:
    """Yield the events of each segment's end, newest first, with their time."""
    for name, size in reversed(segments.sizes().items()):
        start = max(size - _TAIL_BYTES, 0)
        data = b""
        with suppress(OSError):  # deleted meanwhile
            data = segments.read(name, start, size - start)
        first = data.find(b"\n") + 1 if start else 0
        whole = data[first : data.rfind(b"\n") + 1]
        records, _ = segments.parse(whole, start + first)
        for record in reversed(records):
            yield from _decode(record, whole, start + first)


def _decode(
    record: Record, data: bytes, start: int
) -> Iterator[tuple[dict[str, object], float, bool]]:
    if record.kind in _UNREADABLE:
        return
    with suppress(ValueError):  # a kind of record that this version doesn't know
        envelope, body = record.unpack()
        event = orjson.loads(body)
        tracked_at = accepted_ms(data[record.start - start :][:HEADER_BYTES]) / 1000
        yield event, tracked_at, "test" in envelope


def _lost_letters(
    segments: list[Segments], letters: list[DeadLetter]
) -> Iterator[tuple[dict[str, object], float, bool]]:
    """Yield the events of dead letters that are whole and in no segment anymore."""
    kept = {name for each in segments for name in each.sizes()}
    places = set()
    for letter in letters:
        place = letter.segment, letter.offset
        if letter.replayable and letter.segment not in kept and place not in places:
            places.add(place)
            is_test = letter.test_event_code is not None
            yield orjson.loads(letter.event), letter.died_at, is_test


def _accepted_currencies(store: Store, directory: str | None) -> frozenset[str]:
    """Return the currencies that every known event source accepts; empty if any is fine."""
    known = load(store.directory) if isinstance(store, DirectoryStore) else {}
    with suppress(ConfigurationError):  # the coach needs no configuration
        sources = make_settings(directory).event_sources
        known |= declared({each.event_source_id: each for each in sources}, destinations())
    lists = [each.value_currencies for each in known.values() if each.value_currencies]
    return frozenset.intersection(*lists) if lists else frozenset()


def _views_of_destinations(store: Store) -> Iterator[View]:
    for name, counts in read_status(store, ()).stats.destinations.items():
        about = f"a sample of {plural(counts.sample.get('events', 0), 'event')} sent lately"
        warnings = tuple(counts.warnings)
        yield View(name, about, counts.sample, counts.match_quality, warnings)


def _missing(views: list[View]) -> dict[str, float]:
    """Return the identifiers missing in the view of most events."""
    return missing_identifiers(max(views, key=lambda each: each.counts.get("events", 0)).counts)


def _document(
    store: Store, views: list[View], reasons: Counter[tuple[str, str, str]]
) -> dict[str, object]:
    return {
        "queue": store.location,
        "views": [each.as_json() for each in views],
        "missing": [
            {
                "identifier": name,
                "share": round(share, 4),
                "worth": IDENTIFIERS[name].worth,
                "remedy": IDENTIFIERS[name].remedy,
            }
            for name, share in _missing(views).items()
        ],
        "dead_letters": [
            {"reason": reason, "destination": name, "remedy": remedy, "count": count}
            for (reason, name, remedy), count in reasons.most_common()
        ],
    }


def _print(store: Store, views: list[View], reasons: Counter[tuple[str, str, str]]) -> None:
    _common.print_text(f"Match coach: {store.location}")
    for view in _merge_equal(views):
        _print_view(view)
    if not any(each.counts for each in views):
        _common.print_text(
            "There is nothing to look at yet: a sample is counted as events are sent, and "
            "events are deleted once every destination has them."
        )
    missing = _missing(views)
    if missing:
        _common.print_line()
        _common.print_line("Missing identifiers")
    for name, share in missing.items():
        identifier = IDENTIFIERS[name]
        _common.print_text(
            f"{identifier.label}: {share:.0%} of the events have it. {identifier.worth}",
            "yellow",
            indent=2,
        )
        _common.print_text(identifier.remedy, indent=6)
    if reasons:
        _common.print_line()
        _common.print_line("Dead letters; see adcp-tracker dead list")
    kinds: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for (reason, name, remedy), count in reasons.most_common():
        kinds[reason, remedy].append(f"{count:,} at {name}")
    for (reason, remedy), places in kinds.items():
        _common.print_text(f"{reason}: {', '.join(places)}", "red", indent=2)
        _common.print_text(remedy, indent=6)


def _merge_equal(views: list[View]) -> list[View]:
    """Return the views with events, those that differ in their names alone as one."""
    merged: dict[object, View] = {}
    for view in views:
        if view.counts or view.warnings:
            key = (tuple(sorted(view.counts.items())), view.match_quality, view.warnings)
            before = merged.get(key)
            name = view.name if before is None else f"{before.name}, {view.name}"
            merged[key] = attrs.evolve(view, name=name)
    return list(merged.values())


def _print_view(view: View) -> None:
    _common.print_line()
    _common.print_text(f"{view.name}: {view.about}")
    shares = identifier_shares(view.counts)
    if shares:
        rows = [(IDENTIFIERS[name].label, f"{share:.0%}") for name, share in shares.items()]
        _common.print_table(("identifier", "events with it"), rows)
    if view.match_quality is not None:
        _common.print_text(f"The seller could match {view.match_quality:.0%} of the last events.")
    for warning in view.warnings:
        _common.print_text(f"The seller warns: {warning}", "yellow")
    suspicions = find_suspicions(view.counts)
    for each in suspicions:
        _common.print_text(each.problem, "yellow")
        _common.print_text(each.remedy, indent=4)
    if shares and not suspicions:
        _common.print_line("Nothing suspicious.", "green")
