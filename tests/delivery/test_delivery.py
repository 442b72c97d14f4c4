"""From the disk to the destinations: order, independence, patience and handovers."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from typing import TYPE_CHECKING

import pytest

from adcp_tracker.delivery.outcomes import RetryPolicy
from adcp_tracker.delivery.stats import read_stats
from adcp_tracker.destinations.base import (
    Batch,
    Delivered,
    EventFailure,
    Outcome,
    Paused,
    Retry,
    TooLarge,
)
from adcp_tracker.exceptions import OutboxError
from adcp_tracker.journal.files import QueueDirectory
from adcp_tracker.outbox.directory import DirectoryStore
from adcp_tracker.tracker import Tracker
from tests.support.booked import balanced as counts
from tests.support.booked import track
from tests.support.destinations import HandClock, MemoryOutbox, ScriptedDestination, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping
    from pathlib import Path

    Make = Callable[..., Tracker]

STEADY = RetryPolicy(lambda: 0.5)


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Return a maker of trackers over one directory, closed at the end."""
    made: list[Tracker] = []

    def maker(*destinations: ScriptedDestination, **settings: object) -> Tracker:
        options: dict[str, object] = {
            "directory": tmp_path / "queue",
            "flush_interval": 0.02,
            "handle_sigterm": False,
            "_policy": STEADY,
            **settings,
        }
        tracker = Tracker(destinations, **options)  # type: ignore[arg-type]  # by name, as given
        made.append(tracker)
        return tracker

    yield maker
    for tracker in made:
        tracker.close(timeout=0.5)


def test_events_arrive_in_order_without_asking(make: Make) -> None:
    """The first event starts the thread, and nothing else is needed."""
    destination = ScriptedDestination()
    ids = track(make(destination), 20)
    wait_until(lambda: len(destination.delivered) == 20)
    assert destination.ids == ids


def test_no_thread_and_no_file_before_the_first_event(make: Make, tmp_path: Path) -> None:
    """A tracker that tracks nothing costs nothing."""
    before = set(threading.enumerate())
    make(ScriptedDestination())
    assert set(threading.enumerate()) <= before
    assert not (tmp_path / "queue").exists()


def test_flush_waits_and_says_what_is_left(make: Make) -> None:
    """After a flush everything is delivered, and the segments are gone once closed."""
    destination = ScriptedDestination()
    tracker = make(destination)
    track(tracker, 10)
    assert tracker.flush(10.0).pending == 0
    assert len(destination.delivered) == 10
    assert counts(tracker).delivered == 10


def test_nothing_is_left_behind_after_close(make: Make, tmp_path: Path) -> None:
    """Delivered events do not stay on disk."""
    tracker = make(ScriptedDestination())
    track(tracker, 10)
    tracker.close(10.0)
    assert list((tmp_path / "queue" / "segments").iterdir()) == []


def test_events_wait_until_there_is_a_destination(make: Make) -> None:
    """Without destinations events stay on disk, and the first one gets them all."""
    tracker = make()
    ids = track(tracker, 5)
    tracker.close()
    destination = ScriptedDestination()
    later = make(destination)
    assert later.flush(10.0).pending == 0
    assert destination.ids == ids


def test_a_slow_destination_holds_up_nobody_else(make: Make) -> None:
    """While one seller does not answer, the other gets everything."""
    slow, quick = ScriptedDestination("slow"), ScriptedDestination("quick")
    slow.gate.clear()
    tracker = make(slow, quick)
    ids = track(tracker, 5)
    wait_until(lambda: len(quick.delivered) == 5)
    ids += track(tracker, 5, first=5)
    wait_until(lambda: len(quick.delivered) == 10)
    assert slow.delivered == []
    slow.gate.set()
    assert tracker.flush(10.0).pending == 0
    assert slow.ids == quick.ids == ids


@pytest.mark.slow
def test_an_hour_of_silence_delays_nobody_else_and_loses_nothing(make: Make) -> None:
    """One of two is down for an hour of frozen time; it catches up, the other is never late."""
    clock = HandClock()
    down, well = ScriptedDestination("down"), ScriptedDestination("well")
    down.always = lambda _: Retry("connect_timeout", "nobody there")
    tracker = make(down, well, _clock=clock)
    ids: list[str] = []
    for minute in range(60):
        ids += track(tracker, 2, first=2 * minute)
        wait_until(lambda: len(well.delivered) == len(ids))  # noqa: B023 - waited for at once
        clock.time += 60.0
    tries = len(down.batches)
    assert 20 <= tries <= 130
    down.always = None

    def caught_up() -> bool:
        clock.time += 1.0
        return len(down.delivered) == len(ids)

    wait_until(caught_up)
    assert sorted(down.ids) == sorted(well.ids) == sorted(ids)
    assert len({batch.identity for batch in down.batches[:tries]}) == 1


def test_a_retry_is_the_same_batch_again(make: Make) -> None:
    """The same bytes in the same order under the same identity, though more has come."""
    clock = HandClock()
    destination = ScriptedDestination(outcomes=[Retry("http_503", "busy")] * 2)
    tracker = make(destination, _clock=clock)

    def tried(tries: int) -> bool:
        clock.time += 1.0  # also after an answer that was late, and moved the next try
        return len(destination.batches) >= tries

    track(tracker, 3)
    for tries in (1, 2, 3):
        wait_until(partial(tried, tries))
        track(tracker, 1, first=10 * tries)
    first, second, third = destination.batches[:3]
    assert first == second == third
    wait_until(lambda: len(destination.delivered) == 6)


def test_a_retry_survives_the_process(make: Make) -> None:
    """Another tracker sends what the first one froze, under the same identity."""
    clock = HandClock()
    failing = ScriptedDestination(outcomes=[Retry("http_503", "busy")])
    tracker = make(failing, _clock=clock)
    track(tracker, 3)
    wait_until(lambda: counts(tracker).retrying)
    tracker.close(0.0)
    clock.time += 60.0
    well = ScriptedDestination()
    later = make(well, _clock=clock)
    track(later, 1, first=3)
    assert later.flush(10.0).pending == 0
    assert well.batches[0] == failing.batches[0]
    assert len(well.delivered) == 4


def test_a_pause_is_probed_rarely_and_ends_when_fixed(make: Make) -> None:
    """A wrong credential keeps everything and asks once in five minutes."""
    clock = HandClock()
    destination = ScriptedDestination()
    destination.always = lambda _: Paused("http_401", "unknown token", "Set the token.")
    tracker = make(destination, _clock=clock)
    track(tracker, 3)
    wait_until(lambda: counts(tracker).paused)
    clock.time += 299.0
    left = tracker.flush(0.2)
    assert left.pending == 3
    assert "Set the token." in left.destinations["scripted"].paused
    assert len(destination.batches) == 1
    destination.always = None
    clock.time += 2.0
    wait_until(lambda: len(destination.delivered) == 3)


def test_a_restart_probes_a_pause_at_once(make: Make) -> None:
    """Whoever restarts may have mended the configuration."""
    clock = HandClock()
    destination = ScriptedDestination(outcomes=[Paused("http_401", "unknown token", "Set it.")])
    tracker = make(destination, _clock=clock)
    track(tracker, 3)
    wait_until(lambda: destination.batches)
    tracker.close(0.0)
    assert make(destination, _clock=clock).flush(10.0).pending == 0
    assert len(destination.delivered) == 3


def test_flush_does_not_wait_for_what_cannot_come(make: Make) -> None:
    """With everything resting until after the deadline, a flush returns and says so."""
    destination = ScriptedDestination()
    destination.always = lambda _: Retry("RATE_LIMITED", "later", retry_after=3600.0)
    tracker = make(destination)
    track(tracker, 3)
    started = time.monotonic()
    left = tracker.flush(60.0)
    assert time.monotonic() - started < 30.0
    assert left.pending == 3
    assert left.destinations["scripted"].retrying == "RATE_LIMITED"


def test_a_seller_with_a_limit_is_learned_and_served(make: Make) -> None:
    """A seller that takes seven events at most gets everything, and is not asked for more."""

    def small(batch: Batch) -> Outcome:
        return Delivered() if len(batch.events) <= 7 else TooLarge("http_413", "at most seven")

    destination = ScriptedDestination()
    destination.always = small
    tracker = make(destination)
    ids = track(tracker, 100)
    assert tracker.flush(20.0).pending == 0
    assert sorted(destination.ids) == sorted(ids)
    before = len(destination.batches)
    track(tracker, 50, first=100)
    assert tracker.flush(20.0).pending == 0
    assert all(len(batch.events) <= 7 for batch in destination.batches[before:])


def test_a_seller_that_finds_everything_too_large_is_left_in_peace(make: Make) -> None:
    """A few requests tell that it is not the sizes, and none is learned from them."""
    seller = ScriptedDestination()
    seller.always = lambda _: TooLarge("http_413", "Request Entity Too Large")
    track(make(uploader="external"), 200)
    tracker = make(seller, _policy=RetryPolicy(lambda: 0.5))
    tracker.flush(0.1)
    wait_until(lambda: counts(tracker).paused)
    asked = len(seller.batches)
    assert asked < 20
    assert counts(tracker).dead == 5
    seller.always = None
    tracker.close()
    tracker = make(seller)  # a restart asks a paused seller again
    tracker.flush(20.0)
    assert (counts(tracker).delivered, counts(tracker).paused) == (195, "")
    more = len(seller.batches)
    track(make(uploader="external"), 200, first=200)
    tracker.flush(10.0)
    assert len(seller.batches[more].events) == 200


def test_a_destination_that_raises_is_tried_again(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody's destination may fail in any way: nothing is lost, and its words not logged."""
    clock = HandClock()

    def fail(_: Batch) -> Outcome:
        raise RuntimeError("secret words")

    destination = ScriptedDestination(outcomes=[fail])
    tracker = make(destination, _clock=clock)
    track(tracker, 3)
    wait_until(lambda: destination.batches)
    wait_until(lambda: counts(tracker).retrying == "raised")
    clock.time += 60.0
    wait_until(lambda: len(destination.delivered) == 3)
    assert "destination.raised" in caplog.text
    assert "secret words" not in caplog.text


def test_dead_letters_are_kept_replayed_and_dropped(make: Make) -> None:
    """A letter can go again, or be given up; the counts balance at every point."""
    failures = tuple(EventFailure("OLD", "too old", event_id=f"L-{each}") for each in (0, 1))
    destination = ScriptedDestination(outcomes=[Delivered(failures=failures)])
    tracker = make(destination)
    track(tracker, 4)
    tracker.flush(10.0)
    assert (counts(tracker).dead, counts(tracker).delivered) == (2, 2)
    first, second = tracker.dead_letters.list()
    replayed = tracker.dead_letters.replay([first.id, "unknown"])
    assert (replayed.replayed, replayed.unknown) == ((first.id,), ("unknown",))
    tracker.flush(10.0)
    assert (counts(tracker).dead, counts(tracker).delivered) == (1, 3)
    assert destination.ids == ["L-2", "L-3", "L-0"]
    assert tracker.dead_letters.discard([second.id]) == 1
    assert counts(tracker).dropped == {"operator": 1}
    assert tracker.dead_letters.list() == []


def test_a_letter_goes_only_where_it_died(make: Make) -> None:
    """Replaying one seller's letter sends the other one nothing."""
    failing = ScriptedDestination(
        "failing", [Delivered(failures=(EventFailure("OLD", "too old", event_id="L-0"),))]
    )
    other = ScriptedDestination("other")
    tracker = make(failing, other)
    track(tracker, 1)
    tracker.flush(10.0)
    seen: list[tuple[int, int]] = []
    ids = [letter.id for letter in tracker.dead_letters.list()]
    tracker.dead_letters.replay(ids, on_progress=lambda done, total: seen.append((done, total)))
    assert seen == [(number, len(ids)) for number in range(1, len(ids) + 1)]
    tracker.flush(10.0)
    assert failing.ids == other.ids == ["L-0"]
    assert counts(tracker, "other").accepted == 1


def test_another_process_uploads_and_hands_over_when_asked(make: Make, tmp_path: Path) -> None:
    """A flush in one process makes the one that uploads step down, and it takes over again."""
    code = (
        "import sys, time\n"
        "from adcp_tracker.tracker import Tracker\n"
        "from tests.support.destinations import ScriptedDestination\n"
        "t = Tracker([ScriptedDestination()], directory=sys.argv[1], flush_interval=0.02)\n"
        "t.start(); print('ready', flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "queue")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "ready\n"
        directory = QueueDirectory(tmp_path / "queue")
        wait_until(lambda: read_stats(DirectoryStore(directory)).leader == other.pid)
        destination = ScriptedDestination()
        tracker = make(destination)
        tracker.track_lead(event_id="L-0", email="a@example.com")
        assert tracker.flush(20.0).pending == 0
        assert read_stats(DirectoryStore(directory)).leader == os.getpid()
        tracker.close()
        wait_until(lambda: read_stats(DirectoryStore(directory)).leader == other.pid)
        other.send_signal(signal.SIGKILL)


@pytest.mark.slow
def test_the_next_takes_over_when_the_leader_dies(make: Make, tmp_path: Path) -> None:
    """The kernel frees a dead leader's lock, and its events are delivered by another."""
    code = (
        "import sys, time\n"
        "from adcp_tracker.tracker import Tracker\n"
        "from adcp_tracker.destinations.base import Retry\n"
        "from tests.support.destinations import ScriptedDestination\n"
        "d = ScriptedDestination(); d.always = lambda batch: Retry('http_503', 'busy')\n"
        "t = Tracker([d], directory=sys.argv[1], flush_interval=0.02)\n"
        "for n in range(50): t.track_lead(event_id=f'L-{n}', email='a@example.com')\n"
        "while not d.batches: time.sleep(0.01)\n"
        "print('sent', flush=True); sys.stdin.read()\n"
    )
    destination = ScriptedDestination()
    tracker = make(destination)
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "queue")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "sent\n"
        tracker.start()
        other.send_signal(signal.SIGKILL)
    wait_until(lambda: len(destination.delivered) == 50)
    assert sorted(destination.ids) == sorted(f"L-{n}" for n in range(50))
    assert counts(tracker).delivered == 50


def test_other_processes_see_the_stats_while_a_request_takes_long(
    make: Make, tmp_path: Path
) -> None:
    """They are written a little late then, but they are."""
    destination = ScriptedDestination()
    destination.gate.clear()
    track(make(destination), 20)
    wait_until(lambda: bool(destination.batches))
    wait_until(lambda: read_stats(DirectoryStore(QueueDirectory(tmp_path / "queue"))).pending == 20)
    destination.gate.set()
    wait_until(lambda: read_stats(DirectoryStore(QueueDirectory(tmp_path / "queue"))).pending == 0)


def test_stats_of_a_directory_that_is_not_led(make: Make) -> None:
    """A process that uploads nothing yet can still take the counts."""
    make().track_lead(event_id="L-0", email="a@example.com")
    assert make(ScriptedDestination()).stats().pending in {0, 1}


def test_a_worker_uploads_what_an_external_tracker_wrote(make: Make) -> None:
    """With an external uploader the web process has no thread, and waits for the worker."""
    web = make(ScriptedDestination(), uploader="external")
    before = set(threading.enumerate())
    ids = track(web, 5)
    assert set(threading.enumerate()) <= before
    destination = ScriptedDestination()
    make(destination).start()
    assert web.flush(20.0).pending == 0
    assert destination.ids == ids


class _SlowLooks(HandClock):
    """A clock that goes on by half a second whenever it is read."""

    slept = 0

    def monotonic(self) -> float:
        """Return a later time."""
        self.time += 0.5
        return self.time

    def sleep(self, seconds: float) -> None:
        """Count."""
        self.slept += 1
        self.time += seconds


def test_waiting_for_a_worker_leaves_the_processor_to_it(make: Make) -> None:
    """The longer it takes to count what is waiting, the less often that is done."""
    clock = _SlowLooks()
    web = make(ScriptedDestination(), uploader="external", _clock=clock)
    track(web, 1)
    assert web.flush(100.0).pending == 1
    assert clock.slept <= 100 / 5


class FullOutbox(MemoryOutbox):
    """An outbox on a full disk."""

    def apply(self, puts: Mapping[str, bytes], removes: Collection[str]) -> None:
        """Refuse."""
        raise OutboxError(f"disk is full: {len(puts)} puts, {len(removes)} removes")


def test_a_full_disk_is_drained(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    """If the outbox cannot be written, delivery goes on and segments are deleted."""
    destination = ScriptedDestination()
    tracker = make(destination, _outbox=lambda _: FullOutbox())
    with caplog.at_level(logging.WARNING):
        ids = track(tracker, 5)
        tracker.close(10.0)
    assert destination.ids == ids
    assert caplog.text.count("outbox.not_written") == 1
    assert not any(QueueDirectory(str(tracker.settings.directory)).segments.iterdir())
