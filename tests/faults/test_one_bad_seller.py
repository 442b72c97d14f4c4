"""A seller that rejects everything takes no room from the others."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from adcp_tracker._platform import SystemClock
from adcp_tracker.delivery.outcomes import RetryPolicy
from adcp_tracker.delivery.uploader import Uploader, UploaderConfig
from adcp_tracker.destinations.base import Delivered, EventFailure, Retry
from adcp_tracker.journal.files import QueueDirectory
from adcp_tracker.journal.reader import SegmentStore
from adcp_tracker.journal.records import DROPPED
from adcp_tracker.journal.writer import JournalWriter
from adcp_tracker.outbox.dead_letters import DeadLetter, DeadLetterStore
from adcp_tracker.outbox.directory import DirectoryStore
from adcp_tracker.tracker import Tracker
from tests.support.booked import balanced, track
from tests.support.destinations import ScriptedDestination, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from adcp_tracker.destinations.base import Batch, Outcome

NOW_MS = 1_767_225_600_123


def _reject_all(batch: Batch) -> Outcome:
    failures = [EventFailure("NO", "no", index=place) for place in range(len(batch.events))]
    return Delivered(failures=tuple(failures))


def test_dead_letters_of_one_seller_take_no_room_from_events(tmp_path: Path) -> None:
    """They don't count against max_bytes: the healthy seller gets every event."""
    bad = ScriptedDestination("bad", outcomes=[_reject_all] * 1000)
    good = ScriptedDestination("good")
    tracker = Tracker(
        [bad, good],
        directory=tmp_path / "queue",
        max_bytes=64 * 1024,
        flush_interval=0.01,
        handle_sigterm=False,
    )
    for first in range(0, 1000, 50):
        track(tracker, 50, first=first)
        wait_until(lambda: tracker.stats().pending == 0)
    assert len(set(good.ids)) == 1000
    assert tracker.close(20.0).total().dropped == {}


def _away(_: Batch) -> Outcome:
    return Retry("refused", "nobody answers")


@pytest.mark.parametrize("own_limit", [None, 16 * 1024])
@pytest.mark.parametrize("known", [True, False])
def test_events_of_a_seller_that_is_away_take_no_room_from_the_others(
    tmp_path: Path, own_limit: int | None, *, known: bool
) -> None:
    """Its oldest are dropped and counted for it alone, also if no process knows it any more."""
    away = ScriptedDestination("away", outcomes=[_away] * 100_000)
    good = ScriptedDestination("good")

    def make(*destinations: ScriptedDestination) -> Tracker:
        return Tracker(
            destinations,
            directory=tmp_path / "queue",
            max_bytes=64 * 1024,
            max_destination_bytes=own_limit,
            flush_interval=0.01,
            handle_sigterm=False,
        )

    with make(away, good) as tracker:
        track(tracker, 1)
        wait_until(lambda: len(good.ids) == 1)
    tracker = make(away, good) if known else make(good)
    for first in range(1, 1001, 50):
        track(tracker, 50, first=first)
        wait_until(lambda: tracker.stats().destinations["good"].pending == 0)
    stats = tracker.stop(20.0)
    assert len(good.ids) == len(set(good.ids)) == 1001
    assert stats.destinations["good"].dropped == {}
    counts = stats.destinations["away"]
    assert counts.dropped.keys() == {"full"}
    assert counts.accepted == 1001 == counts.pending + counts.dropped["full"]
    assert counts.pending


def test_the_newest_events_are_kept_for_a_seller_that_was_away(tmp_path: Path) -> None:
    """What was dropped is never sent; what is kept is sent once; both are counted."""
    seller = ScriptedDestination(outcomes=[_away])
    directory = QueueDirectory(tmp_path / "queue")
    journal = JournalWriter(directory, segment_bytes=1000)
    store = DirectoryStore(directory)
    clock = SystemClock()
    config = UploaderConfig(
        store, [seller], RetryPolicy(lambda: 0.0), clock, 1.0, destination_bytes=10_000
    )
    journal.append_record(b'{"full":3}', NOW_MS, DROPPED)
    for number in range(1000):
        journal.append(b'{"event_id":"A-%03d"}' % number, NOW_MS)
    uploader = Uploader(config, lambda: None)
    wait_until(lambda: uploader.run_once() >= 0 and uploader.is_drained())
    counts = uploader.stats().destinations["scripted"]
    uploader.close()
    sent = sorted(set(seller.ids))
    assert sent == [f"A-{number:03d}" for number in range(1000 - len(sent), 1000)]
    assert len(sent) * 48 <= 10_000
    assert (counts.accepted, counts.delivered) == (1003, len(sent))
    assert counts.dropped == {"full": 1003 - len(sent)}


def test_a_batch_in_flight_is_never_dropped(tmp_path: Path) -> None:
    """Its answer is booked; a batch that waits for its retry is dropped with the oldest."""
    answer = threading.Event()

    def late(_: Batch) -> Outcome:
        answer.wait(20.0)
        return Delivered()

    seller = ScriptedDestination(outcomes=[late], max_events=10)
    directory = QueueDirectory(tmp_path / "queue")
    journal = JournalWriter(directory, segment_bytes=1000)
    config = UploaderConfig(
        DirectoryStore(directory),
        [seller],
        RetryPolicy(lambda: 0.0),
        SystemClock(),
        1.0,
        destination_bytes=10_000,
    )
    for number in range(10):
        journal.append(b'{"event_id":"A-%03d"}' % number, NOW_MS)
    uploader = Uploader(config, lambda: None)
    wait_until(lambda: uploader.run_once() >= 0 and len(seller.batches) == 1)
    for number in range(10, 1000):
        journal.append(b'{"event_id":"A-%03d"}' % number, NOW_MS)
    uploader.run_once()
    dropped = uploader.stats().destinations["scripted"].dropped["full"]
    answer.set()
    wait_until(lambda: uploader.run_once() >= 0 and uploader.is_drained())
    counts = uploader.stats().destinations["scripted"]
    uploader.close()
    assert dropped > 500
    assert seller.ids[:10] == [f"A-{number:03d}" for number in range(10)]
    assert counts.delivered == len(seller.ids) == 1000 - dropped


@pytest.mark.parametrize("limit", [2000, 20_000])
def test_the_oldest_dead_letters_over_the_limit_are_dropped_and_counted(
    tmp_path: Path, limit: int
) -> None:
    """Those of the seller that has too many; the newest stay, and the counts balance."""
    directory = QueueDirectory(tmp_path / "queue")
    store = DirectoryStore(directory)
    store.prepare()
    journal = JournalWriter(directory)
    for number in range(200):
        journal.append(b'{"event_id":"A-%03d"}' % number, NOW_MS)
    bad = ScriptedDestination("bad", outcomes=[_reject_all] * 100, max_events=10)
    config = UploaderConfig(
        store, [bad], RetryPolicy(lambda: 0.5), SystemClock(), 1.0, dead_letter_bytes=limit
    )
    uploader = Uploader(config, lambda: None)
    wait_until(lambda: uploader.run_once() > 0 and uploader.is_drained())
    stats = uploader.stats()
    uploader.close()
    left = list(DeadLetterStore(directory))
    counts = stats.destinations["bad"]
    assert (counts.dead, counts.dropped["dead_letters_full"]) == (len(left), 200 - len(left))
    assert 0 < len(left) < 200
    assert left[-1].event == b'{"event_id":"A-199"}'
    assert counts.accepted == counts.dead + sum(counts.dropped.values())
    assert sum(key.size for key in DeadLetterStore(directory).keys()) <= limit  # noqa: SIM118 - no dict


def test_quarantined_bytes_and_states_are_kept_up_to_a_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newest of them."""
    monkeypatch.setattr("adcp_tracker.journal.reader._QUARANTINE_BYTES", 1000)
    directory = QueueDirectory(tmp_path / "queue")
    directory.prepare()
    segments = SegmentStore(directory)
    for number in range(10):
        segments.quarantine(f"{number}.log", bytes(300))
    assert sorted(path.name for path in directory.quarantine.iterdir()) == [
        "7.log",
        "8.log",
        "9.log",
    ]
    kept = [directory.quarantine_state() for _ in range(5)]
    assert sorted(directory.path.glob("state.damaged-*")) == sorted(kept[-3:])


def test_very_many_dead_letters_are_keyed_without_reading_them(tmp_path: Path) -> None:
    """A key says what the letter's id is, and how much it takes."""
    directory = QueueDirectory(tmp_path / "queue")
    directory.prepare()
    store = DeadLetterStore(directory)
    letters = [DeadLetter("a", "1.log", number, 1.0, "CODE", "message") for number in range(100)]
    store.add(letters, 1.0)
    keys = list(store.keys())
    assert [key.id for key in keys] == [letter.id for letter in letters]
    assert sum(key.size for key in keys) == sum(p.stat().st_size for p in directory.dead.iterdir())


def test_the_stats_of_a_bad_seller_balance(tmp_path: Path) -> None:
    """Across a restart, too."""
    bad = ScriptedDestination(outcomes=[_reject_all] * 100)
    with Tracker([bad], directory=tmp_path / "queue", handle_sigterm=False) as tracker:
        track(tracker, 100)
        tracker.flush(20.0)
    with Tracker([bad], directory=tmp_path / "queue", handle_sigterm=False) as tracker:
        tracker.flush(20.0)
        assert balanced(tracker).dead == 100
