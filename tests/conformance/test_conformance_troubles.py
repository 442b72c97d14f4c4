"""What sellers and machines do to a batch on its way, with the SDK's seller at the other end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from adcp_tracker import Agent, Tracker
from adcp_tracker.delivery.outcomes import RetryPolicy
from adcp_tracker.destinations.base import Timeouts
from tests.conformance.installed import needs_sdk
from tests.conformance.selling import SOURCE, TOKEN, SdkSeller
from tests.support.destinations import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = needs_sdk

HURRIED = Timeouts(read=0.7)
COUNT = 40
IDS = [f"order-{number}" for number in range(COUNT)]


class Impatient(RetryPolicy):
    """Waits a second at most, so that a test ends however often a seller is asked in vain."""

    def delay(self, failures: int, retry_after: float | None = None) -> float:
        """Return the seconds to wait."""
        return min(super().delay(failures, retry_after), 1.0)


def selling(seller: SdkSeller, directory: Path, **more: Any) -> Tracker:  # noqa: ANN401 - settings differ
    """Return a tracker that sends to the SDK's seller."""
    agent = Agent(url=seller.url, event_source_id=SOURCE, token=TOKEN, **more)
    policy = Impatient(lambda: 0.5)
    return Tracker([agent], directory=directory, flush_interval=0.05, _policy=policy)


def place_orders(directory: Path) -> None:
    """Put orders on disk, to be sent as one batch."""
    with Tracker(directory=directory) as shop:
        for event_id in IDS:
            shop.track_purchase({"id": event_id, "total": "9.50", "currency": "EUR"})


def deliver(tracker: Tracker) -> None:
    """Deliver everything, whatever the seller suffers."""
    with tracker:
        counts = tracker.flush(60.0).total()
    assert (counts.delivered, counts.pending, counts.dead) == (COUNT, 0, 0)


def test_an_answer_lost_is_had_again_by_a_replay(sdk_seller: SdkSeller, tmp_path: Path) -> None:
    """A slow seller took the batch; the same bytes under the same key get its first answer."""
    sdk_seller.suffer({"kind": "slow", "seconds": 2.0})
    place_orders(tmp_path)
    deliver(selling(sdk_seller, tmp_path, timeout=HURRIED))
    first, *again = sdk_seller.calls()
    assert again
    assert all(call == first for call in again)
    assert sdk_seller.taken_ids() == IDS


def test_a_conflict_is_escaped_by_a_fresh_key(sdk_seller: SdkSeller, tmp_path: Path) -> None:
    """A seller that knows the key for another request gets the same events under a new one."""
    sdk_seller.suffer({"kind": "conflict"})
    place_orders(tmp_path)
    deliver(selling(sdk_seller, tmp_path))
    first, second = sdk_seller.calls()
    assert first["key"] != second["key"]
    assert first["ids"] == second["ids"] == sdk_seller.taken_ids() == IDS


@pytest.mark.parametrize("code", ["RATE_LIMITED", "SERVICE_UNAVAILABLE"])
def test_a_seller_that_asks_for_patience_gets_it(
    code: str, sdk_seller: SdkSeller, tmp_path: Path
) -> None:
    """A rate limit, in the SDK's own words, delays the same bytes and key, and loses nothing."""
    sdk_seller.suffer({"kind": "refuse", "code": code, "retry_after": 1})
    place_orders(tmp_path)
    deliver(selling(sdk_seller, tmp_path))
    first, second = sdk_seller.calls()
    assert first == second
    assert sdk_seller.taken_ids() == IDS


SHOP = """
import sys
from adcp_tracker import Agent, Tracker
from tests.conformance.selling import SOURCE, TOKEN
url, directory = sys.argv[1:]
tracker = Tracker(
    [Agent(url=url, event_source_id=SOURCE, token=TOKEN)], directory=directory, flush_interval=0.05
)
tracker.flush(60.0)
"""


def test_keys_are_the_same_after_a_crash_of_ours(sdk_seller: SdkSeller, tmp_path: Path) -> None:
    """Killed while it waits for the answer, the library asks again, and the seller replays."""
    sdk_seller.suffer({"kind": "slow", "seconds": 3.0})
    place_orders(tmp_path)
    shop = subprocess.Popen([sys.executable, "-c", SHOP, sdk_seller.url, str(tmp_path)])
    wait_until(sdk_seller.taken)
    os.kill(shop.pid, signal.SIGKILL)
    shop.wait(10.0)
    deliver(selling(sdk_seller, tmp_path))
    first, second = sdk_seller.calls()
    assert first == second
    assert sdk_seller.taken_ids() == IDS


@pytest.fixture
def mortal_seller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SdkSeller]:
    """A seller of the test's own, which may die."""
    seller = SdkSeller(tmp_path_factory.mktemp("mortal"))
    seller.start()
    yield seller
    seller.stop()


def test_a_seller_that_dies_in_mid_batch_gets_it_again(
    mortal_seller: SdkSeller, tmp_path: Path
) -> None:
    """Dead before it took the batch, and dead after: the same bytes and key wait for it."""
    place_orders(tmp_path)
    tracker = selling(mortal_seller, tmp_path)
    mortal_seller.suffer({"kind": "die before"}, {"kind": "die after"})
    for taken in (0, 1):
        tracker.start()
        mortal_seller.wait_for_death()
        assert len(mortal_seller.taken()) == taken
        mortal_seller.start()
    deliver(tracker)
    calls = mortal_seller.calls()
    assert len(calls) >= 3
    assert len({(call["key"], call["digest"]) for call in calls}) == 1
    assert set(mortal_seller.taken_ids()) == set(IDS)
