"""Others who open the queue's database: to repair it, to hold it, or only to look."""

from __future__ import annotations

import sqlite3
import warnings
from contextlib import closing
from typing import TYPE_CHECKING

import diskcache

from adcp_tracker.destinations.base import Batch, EventFailure, Outcome, Rejected, Retry
from tests.support.booked import balanced, track
from tests.support.destinations import ScriptedDestination, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.faults.conftest import Make

_BATCHES = 50
_PER_BATCH_BYTES = 100_000


def _refuse_the_first(batch: Batch) -> Outcome:
    del batch
    return Rejected("BAD", "no", (EventFailure("BAD", "no", index=0),))


def test_a_repair_of_the_database_removes_no_event(make: Make, tmp_path: Path) -> None:
    """That of diskcache deletes each file that it has no row for; ours lie elsewhere."""
    seller = ScriptedDestination(outcomes=[_refuse_the_first])
    seller.always = lambda _: Retry("http_503", "down", retry_after=1.0)
    tracker = make(seller)
    ids = track(tracker, 5)
    wait_until(lambda: balanced(tracker).retrying)
    tracker.close(0.0)
    ids += track(make(uploader="external"), 5, first=5)
    with (
        warnings.catch_warnings(),
        closing(diskcache.Cache(str(tmp_path / "queue/state"))) as cache,
    ):
        warnings.simplefilter("ignore")
        cache.check(fix=True)
    seller = ScriptedDestination()
    tracker = make(seller)
    tracker.flush(10.0)
    counts = balanced(tracker)
    assert sorted(seller.ids) == sorted(ids[1:])
    assert (counts.delivered, counts.dead, counts.pending, counts.dropped) == (9, 1, 0, {})


def test_a_database_that_somebody_else_holds_costs_no_event(make: Make, tmp_path: Path) -> None:
    """After a wait delivery goes on from memory; what came of it is written once it is free."""
    seller = ScriptedDestination()
    tracker = make(seller)
    ids = track(tracker, 1)
    wait_until(lambda: balanced(tracker).delivered == 1)
    with closing(sqlite3.connect(tmp_path / "queue/state/cache.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        ids += track(tracker, 3, first=1)
        wait_until(lambda: seller.ids == ids)
        other.rollback()
    tracker.close(10.0)
    assert balanced(make(uploader="external")).delivered == 4
    make(seller).flush(20.0)
    assert seller.ids == ids


def test_somebody_who_looks_at_the_database_does_not_make_it_grow_for_good(
    make: Make, tmp_path: Path
) -> None:
    """Its log keeps what a reader may still need, a little a batch, and shrinks afterwards."""
    seller = ScriptedDestination(max_events=1)
    tracker = make(seller)
    track(tracker, 1)
    wait_until(lambda: balanced(tracker).delivered == 1)
    log = tmp_path / "queue/state/cache.db-wal"
    with closing(sqlite3.connect(tmp_path / "queue/state/cache.db")) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM Settings").fetchall()
        track(tracker, _BATCHES, first=1)
        wait_until(lambda: len(seller.ids) == _BATCHES + 1)
        assert log.stat().st_size < _BATCHES * _PER_BATCH_BYTES
    tracker.close(10.0)
    assert not log.exists()
    assert balanced(make(uploader="external")).delivered == _BATCHES + 1
