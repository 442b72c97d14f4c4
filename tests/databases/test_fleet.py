"""Workers share the queues of one database, come and go."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adcp_tracker import ConfigurationError, Tracker
from adcp_tracker.destinations.base import Retry
from adcp_tracker.outbox.database import Database, Lead, Tables, choose, migrate
from adcp_tracker.outbox.schema import queue_of
from adcp_tracker.testing import RecordingDestination
from tests.support.destinations import wait_until
from tests.support.seller import ADVERTISER, SOURCE, TOKEN

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.seller import SellerProcess

QUEUES = 8


def _lead(queue: int, worker: str) -> Lead:
    is_live = worker != "gone"
    return Lead(queue, worker, is_live=is_live, free_seconds=0.0, is_wanted=False)


@given(
    st.integers(1, 12),
    st.lists(st.sampled_from("abcd"), min_size=1, max_size=4, unique=True),
    st.data(),
)
def test_workers_end_up_with_as_many_queues_each(
    queues: int, workers: list[str], data: st.DataObject
) -> None:
    """From whoever led them before, each queue has a leader in the end, and none two too many."""
    before = st.sampled_from([*workers, "gone"])
    leads = [_lead(number, data.draw(before)) for number in range(queues)]
    for _ in range(4 * queues):
        for worker in workers:
            for number in range(queues):
                if leads[number].worker == worker and leads[number].is_live:
                    continue
                choice = choose(leads, number, worker)
                if choice == "take" or (choice == "ask" and leads[number].is_live):
                    leads[number] = _lead(number, worker)
    held = Counter(each.worker for each in leads)
    assert all(each.is_live for each in leads)
    assert max(held[each] for each in workers) - min(held[each] for each in workers) <= 1


def test_an_event_id_always_has_the_same_queue() -> None:
    """And all queues are used."""
    queues = (0, 2, 5)
    bodies = [b'{"event_id":"A-%d","event_type":"purchase"}' % number for number in range(100)]
    later = [b'{"only":"x"}\t' + each.replace(b"purchase", b"refund") for each in bodies]
    found = [queue_of(each, queues) for each in bodies]
    assert found == [queue_of(each, queues) for each in later]
    assert set(found) == set(queues)


def test_a_tracker_that_uploads_has_one_queue() -> None:
    """Workers alone share several."""
    with pytest.raises(ConfigurationError, match="uploader='external'"):
        Tracker([], queue="postgresql:///shop", queues="0-3")
    with pytest.raises(ConfigurationError, match="queues: expected numbers"):
        Tracker([], queue="postgresql:///shop", queues="all")


@pytest.fixture
def url(any_database: str) -> str:
    """Return the URL of a database of each kind, with several queues."""
    migrate(any_database, queues=QUEUES)
    return any_database


def test_the_api_works_on_all_queues(url: str) -> None:
    """Stats, dead letters, erasure and export are those of all."""
    with Tracker([], queue=url, queues=f"0-{QUEUES - 1}", uploader="external") as shop:
        for number in range(30):
            order = {"id": f"A-{number}", "total": "5.00", "currency": "EUR"}
            shop.track_purchase({**order, "email": f"{number % 2}@example.com"})
        assert shop.stats().waiting == 30
        assert len(shop.privacy.export(email="1@example.com")) == 15
        assert shop.privacy.erase(email="1@example.com").events == 15
        seller = RecordingDestination()
        for queue in range(QUEUES):
            with Tracker([seller], queue=url, queues=queue) as worker:
                worker.flush(30)
        stats = shop.stats()
    assert len(seller.events) == 15
    assert stats.destinations[seller.name].delivered == 15
    assert stats.pending == 0


def test_all_queues_leave_a_seller_alone_that_asks_one_of_them(url: str) -> None:
    """A `Retry-After` counts for the seller, whoever was told."""
    limited = RecordingDestination(answer=lambda _: Retry("rate_limited", "later", retry_after=60))
    other = RecordingDestination()
    with Tracker([limited], queue=url, flush_interval=0.05) as first:
        first.track_purchase({"id": "A-1", "total": "5.00", "currency": "EUR"})
        wait_until(lambda: limited.batches)
        tables = Tables(Database(url), 0)
        wait_until(lambda: tables.query("SELECT 1 FROM adcp_gate WHERE not_before > 0"))
        with Tracker([other], queue=url, queues=1, flush_interval=0.05) as second:
            second.track_purchase({"id": "A-2", "total": "5.00", "currency": "EUR"})
            assert second.flush(3.0).pending == 1
            tables.query("UPDATE adcp_gate SET not_before = 0")
            wait_until(lambda: len(other.events) == 1)
        first.stop(0.0)


class Fleet:
    """Workers of the same queues."""

    def __init__(self, url: str, seller: SellerProcess) -> None:
        self.url = url
        self._tables = Tables(Database(url), 0)
        self._environ = os.environ | {
            "ADCP_QUEUE": url,
            "ADCP_BASE_URL": seller.url,
            "ADCP_ADVERTISER_ID": ADVERTISER,
            "ADCP_EVENT_SOURCE_ID": SOURCE,
            "ADCP_API_KEY": TOKEN,
            "ADCP_FLUSH_INTERVAL": "0.5",
        }
        self.workers: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Start one more worker."""
        command = [sys.executable, "-m", "adcp_tracker", "worker", "--queues", f"0-{QUEUES - 1}"]
        self.workers.append(subprocess.Popen(command, env=self._environ, stdout=subprocess.DEVNULL))

    def end(self, sign: int) -> None:
        """End the oldest worker."""
        worker = self.workers.pop(0)
        worker.send_signal(sign)
        worker.wait()

    def shares(self) -> list[int]:
        """Return how many queues each running worker leads, the most first."""
        rows = self._tables.query("SELECT holder FROM adcp_queue WHERE until > {now}")
        held = Counter(int(holder.split(":")[1]) for (holder,) in rows)
        return sorted((held[each.pid] for each in self.workers), reverse=True)

    def unled_seconds(self) -> float:
        """Return for how long the queue that waits longest has had no leader."""
        ((seconds,),) = self._tables.query("SELECT {now} - min(until) FROM adcp_queue")
        return float(seconds)


@pytest.fixture
def fleet(url: str, seller_process: SellerProcess) -> Iterator[Fleet]:
    """Return a fleet that ends with the test."""
    several = Fleet(url, seller_process)
    try:
        yield several
    finally:
        for worker in several.workers:
            worker.kill()
            worker.wait()


@pytest.mark.timeout(300)
def test_one_to_four_workers_share_the_queues_fairly(
    fleet: Fleet, seller_process: SellerProcess
) -> None:
    """Whoever comes gets a fair share, whoever goes leaves its share to the others."""
    fleet.start()
    wait_until(lambda: fleet.shares() == [8], 60.0)
    for expected in ([4, 4], [3, 3, 2], [2, 2, 2, 2]):
        fleet.start()
        wait_until(lambda: fleet.shares() == expected, 60.0)  # noqa: B023 - at once
    with Tracker([], queue=fleet.url, queues=f"0-{QUEUES - 1}", uploader="external") as shop:
        for number in range(200):
            shop.track_purchase({"id": f"A-{number}", "total": "5.00", "currency": "EUR"})
        fleet.end(signal.SIGTERM)
        wait_until(lambda: fleet.shares() == [3, 3, 2], 60.0)
        wait_until(lambda: shop.stats().total().delivered == 200, 60.0)
        fleet.end(signal.SIGKILL)
        for number in range(200, 400):
            shop.track_purchase({"id": f"A-{number}", "total": "5.00", "currency": "EUR"})
        longest, began = 0.0, time.monotonic()
        while fleet.shares() != [4, 4]:
            longest = max(longest, fleet.unled_seconds())
            assert time.monotonic() - began < 60.0
        print(f"longest without a leader after a lease ran out: {longest:.2f} s")  # noqa: T201 - a figure
        wait_until(lambda: shop.stats().total().delivered == 400, 60.0)
    assert longest < 5.0  # on a busy machine; the rule is half a second
    assert (seller_process.counts["good"], seller_process.counts["duplicates"]) == (400, 0)
