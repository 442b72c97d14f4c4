"""A leader keeps events for destinations that it is not configured with."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from adcp_tracker import Tracker
from adcp_tracker.destinations.base import Retry
from adcp_tracker.journal.files import QueueDirectory
from adcp_tracker.outbox.directory import KnownDestinations
from tests.support.booked import balanced, track
from tests.support.destinations import ScriptedDestination, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Make = Callable[..., Tracker]

_WAIT_S = 20.0


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Return a maker of trackers over one directory, closed at the end."""
    made: list[Tracker] = []

    def maker(*destinations: ScriptedDestination) -> Tracker:
        tracker = Tracker(
            destinations, directory=tmp_path / "queue", flush_interval=0.02, handle_sigterm=False
        )
        made.append(tracker)
        return tracker

    yield maker
    for tracker in made:
        tracker.close(0.5)


def test_a_leader_of_an_older_deployment_leaves_events_for_a_new_destination(make: Make) -> None:
    """Both run beside each other while a new version is rolled out."""
    first = ScriptedDestination("first")
    old = make(first)
    track(old, 1)
    wait_until(lambda: first.ids)
    new = make(ScriptedDestination("first"), ScriptedDestination("second"))
    ids = track(new, 5, first=1)
    wait_until(lambda: len(first.ids) == 6)
    new.stop()
    old.flush(_WAIT_S)
    old.close(_WAIT_S)
    second = ScriptedDestination("second")
    last = make(ScriptedDestination("first"), second)
    last.flush(_WAIT_S)
    assert set(ids) <= set(second.ids)
    balanced(last, "second")


def test_a_lost_database_loses_nothing_of_who_is_not_configured(make: Make, tmp_path: Path) -> None:
    """Its name stands beside the database, not only in it."""
    first, second = ScriptedDestination("first"), ScriptedDestination("second")
    second.always = lambda _: Retry("http_503", "down")
    tracker = make(first, second)
    ids = track(tracker, 5)
    wait_until(lambda: len(first.ids) == 5 and second.batches)
    tracker.close(0.1)
    shutil.rmtree(tmp_path / "queue" / "state")
    alone = make(ScriptedDestination("first"))
    alone.flush(_WAIT_S)
    alone.close(_WAIT_S)
    back = ScriptedDestination("second")
    both = make(ScriptedDestination("first"), back)
    both.flush(_WAIT_S)
    assert back.ids == ids
    balanced(both, "second")


def test_a_destination_of_an_older_queue_is_entered_by_its_next_leader(
    make: Make, tmp_path: Path
) -> None:
    """Databases of earlier versions know names that stand nowhere else."""
    away = ScriptedDestination("away")
    away.always = lambda _: Retry("http_503", "down")
    tracker = make(away)
    track(tracker, 1)
    wait_until(lambda: away.batches)
    tracker.close(0.1)
    directory = QueueDirectory(tmp_path / "queue")
    shutil.rmtree(directory.destinations)
    other = make(ScriptedDestination("other"))
    other.flush(_WAIT_S)
    assert sorted(KnownDestinations(directory)) == ["away", "other"]


def test_who_is_retired_is_kept_nothing_for(make: Make, tmp_path: Path) -> None:
    """Neither by the database nor by its name beside it."""
    away = ScriptedDestination("away")
    away.always = lambda _: Retry("http_503", "down")
    tracker = make(away)
    track(tracker, 1)
    wait_until(lambda: away.batches)
    tracker.close(0.1)
    other = make(ScriptedDestination("other"))
    other.flush(_WAIT_S)
    assert other.remove_destination("away", _WAIT_S)
    other.close(_WAIT_S)
    assert list(KnownDestinations(QueueDirectory(tmp_path / "queue"))) == ["other"]
    assert not list((tmp_path / "queue" / "segments").iterdir())
