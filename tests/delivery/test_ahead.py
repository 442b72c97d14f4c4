"""Batches that are frozen while another is on its way, and what is kept of them in memory."""

from __future__ import annotations

import gc
import weakref
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from adcp_tracker.delivery.outcomes import RetryPolicy
from adcp_tracker.delivery.uploader import Sender, Uploader, UploaderConfig
from adcp_tracker.destinations.base import Batch, Delivered, Outcome, Retry, TooLarge
from adcp_tracker.journal.files import QueueDirectory
from adcp_tracker.journal.writer import JournalWriter
from adcp_tracker.outbox.directory import DirectoryStore
from tests.support.destinations import HandClock, MemoryOutbox, ScriptedDestination, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOW_MS = 1_767_225_600_123


@contextmanager
def led(path: Path, seller: ScriptedDestination, count: int) -> Iterator[Uploader]:
    """Lead a queue with so many events, step by step."""
    directory = QueueDirectory(path / "queue")
    directory.prepare()
    journal = JournalWriter(directory)
    for number in range(count):
        journal.append(b'{"event_id":"A-%04d","event_type":"lead"}' % number, NOW_MS)
    setting = UploaderConfig(
        DirectoryStore(directory, None, lambda _: MemoryOutbox()),
        [seller],
        RetryPolicy(lambda: 0.5),
        HandClock(),
        1.0,
    )
    uploader = Uploader(setting, lambda: None)
    try:
        yield uploader
    finally:
        seller.gate.set()
        while uploader.is_sending:
            uploader.apply_arrived()
        uploader.close()
        journal.roll()


def frozen(uploader: Uploader) -> list[int]:
    """Return how many events are in each frozen batch."""
    return [each.count for each in uploader.state.batches["scripted"]]


def step_until(uploader: Uploader, seller: ScriptedDestination, sent: int) -> None:
    """Go on until the seller was sent so many batches."""

    def has_come() -> bool:
        uploader.run_once()
        return len(seller.batches) >= sent

    wait_until(has_come)


def test_a_full_batch_is_frozen_while_another_is_on_its_way(tmp_path: Path) -> None:
    """Once the seller has taken one, the next stands ready; what would be no full one waits."""
    seller = ScriptedDestination(max_events=5)
    seller.gate.clear()
    with led(tmp_path, seller, 18) as uploader:
        step_until(uploader, seller, 1)
        uploader.run_once()
        assert frozen(uploader) == [5]
        seller.gate.set()
        wait_until(lambda: len(seller.ids) == 5)
        seller.gate.clear()
        step_until(uploader, seller, 2)
        assert frozen(uploader) == [5, 5]
        uploader.run_once()
        assert frozen(uploader) == [5, 5]
        seller.gate.set()
        step_until(uploader, seller, 4)
    assert [len(batch.events) for batch in seller.batches] == [5, 5, 5, 3]
    assert seller.ids == [f"A-{number:04d}" for number in range(18)]


@pytest.mark.parametrize("outcome", [Retry("http_503", "down"), TooLarge("http_413", "less")])
def test_nothing_is_frozen_ahead_for_a_seller_that_has_taken_nothing(
    tmp_path: Path, outcome: Outcome
) -> None:
    """A seller that is down, or has a limit to be learned, costs one batch of that size."""
    seller = ScriptedDestination(outcomes=[outcome], max_events=6)
    seller.gate.clear()
    with led(tmp_path, seller, 30) as uploader:
        step_until(uploader, seller, 1)
        uploader.run_once()
        assert frozen(uploader) == [6]


def test_a_sender_keeps_no_batch_that_it_has_sent() -> None:
    """A batch of megabytes is let go before the next one comes, which may be long."""
    seller = ScriptedDestination()
    lane = Sender(seller, lambda: None)
    batch = Batch([b'{"event_id":"A-1"}'], b"identity")
    kept = weakref.ref(batch)
    lane.send(batch)
    wait_until(lambda: isinstance(lane.take_outcome(), Delivered))
    del batch
    seller.batches.clear()
    gc.collect()
    assert kept() is None
    lane.stop()
