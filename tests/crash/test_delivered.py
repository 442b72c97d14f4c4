"""250 of 250 events are delivered, each id once, however the process ends.

Real processes, real signals and a real seller over HTTP. Each case is repeated
``--crash-rounds`` times.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.shop import TRACKED, make_tracker, order

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from adcp_tracker.delivery.stats import Stats
    from adcp_tracker.sandbox import Sandbox

COUNT = 250
EVERY_ID = sorted(f"order-{number}" for number in range(COUNT))
_ROOT = Path(__file__).parents[2]
_WAIT_S = 60.0
_PROMPT_S = 15.0


@contextmanager
def _shop(queue: Path, seller: Sandbox, ending: str) -> Iterator[subprocess.Popen[bytes]]:
    settings = {"directory": str(queue), "url": seller.url, "ending": ending, "count": COUNT}
    command = [sys.executable, "-m", "tests.support.shop", json.dumps(settings)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=_ROOT) as shop:
        try:
            yield shop
        finally:
            shop.kill()


def _promised(shop: subprocess.Popen[bytes], enough: int = COUNT) -> list[str]:
    """Read the ids that the shop was promised, until there are enough of them."""
    assert shop.stdout is not None
    ids: list[str] = []
    for line in shop.stdout:
        if line.decode().strip() == TRACKED:
            break
        ids.append(line.decode().strip())
        if len(ids) == enough and enough < COUNT:
            break
    return ids


def _rest(shop: subprocess.Popen[bytes]) -> list[str]:
    """Read what the shop still said before it ended."""
    assert shop.stdout is not None
    return [line for line in shop.stdout.read().decode().splitlines() if line != TRACKED]


def _end(shop: subprocess.Popen[bytes], number: signal.Signals) -> None:
    shop.send_signal(number)
    assert shop.wait(_WAIT_S) == -number


def _restart(queue: Path, seller: Sandbox, again: range = range(0)) -> Stats:
    """Start a tracker on the directory, as the shop's next process would, and flush."""
    tracker = make_tracker(str(queue), seller.url, sigterm=False)
    for number in again:
        tracker.track_purchase(order(number))
    tracker.flush(_WAIT_S)
    return tracker.close(_WAIT_S)


def _received(seller: Sandbox) -> list[str]:
    return sorted(each.event_id for each in seller.received)


def _check(queue: Path, seller: Sandbox, stats: Stats, *, accepted: int = COUNT) -> None:
    """Check that the seller has each id once, that the counts balance and nothing is left."""
    totals = stats.total()
    assert _received(seller) == EVERY_ID
    assert (totals.accepted, totals.delivered, totals.pending) == (accepted, accepted, 0)
    assert (totals.dead, totals.dropped) == (0, {})
    assert list((queue / "segments").iterdir()) == []


@pytest.mark.parametrize(
    "ending", ["clean exit", "fork before the first event", "fork after the first event"]
)
def test_a_clean_end_delivers_everything(
    tmp_path: Path, seller: Sandbox, ending: str, crash_round: int
) -> None:
    """A process that simply ends, or forks and ends, leaves nothing for the next one to send."""
    del crash_round
    with _shop(tmp_path / "queue", seller, ending) as shop:
        promised = _promised(shop)
        assert shop.wait(_WAIT_S) == 0
    assert len(promised) == len(set(promised)) == COUNT
    assert seller.counts["good"] == COUNT
    _check(tmp_path / "queue", seller, _restart(tmp_path / "queue", seller))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=lambda each: each.name)
def test_a_signal_after_the_last_event_loses_nothing(
    tmp_path: Path, seller: Sandbox, number: signal.Signals, crash_round: int
) -> None:
    """Whatever the signal finds undelivered is delivered by the next process."""
    del crash_round
    with _shop(tmp_path / "queue", seller, "wait") as shop:
        promised = _promised(shop)
        _end(shop, number)
    assert len(promised) == COUNT
    if number == signal.SIGTERM:
        assert seller.counts["good"] == COUNT, "SIGTERM leaves time to deliver"
    _check(tmp_path / "queue", seller, _restart(tmp_path / "queue", seller))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=lambda each: each.name)
def test_a_signal_amid_the_events_loses_none_that_was_promised(
    tmp_path: Path, seller: Sandbox, number: signal.Signals, crash_round: int
) -> None:
    """The next process tracks what nobody was promised; an order tracked twice counts once."""
    del crash_round
    queue = tmp_path / "queue"
    with _shop(queue, seller, "wait") as shop:
        promised = _promised(shop, random.randrange(1, COUNT))  # noqa: S311 - any place will do
        _end(shop, number)
        promised += _rest(shop)
    on_disk = _restart(queue, seller).total().accepted
    assert len(promised) <= on_disk <= len(promised) + 1, "at most the one being written"
    assert set(promised) <= set(_received(seller))
    stats = _restart(queue, seller, range(len(promised), COUNT))
    _check(queue, seller, stats, accepted=on_disk + COUNT - len(promised))


def test_a_seller_that_is_down_at_exit_gets_everything_later(
    tmp_path: Path, seller: Sandbox, crash_round: int
) -> None:
    """The process does not wait for a dead seller; the next one delivers."""
    del crash_round
    seller.stop()
    with _shop(tmp_path / "queue", seller, "clean exit") as shop:
        assert len(_promised(shop)) == COUNT
        began = time.monotonic()
        assert shop.wait(_WAIT_S) == 0
    assert time.monotonic() - began < _PROMPT_S
    seller.start()
    _check(tmp_path / "queue", seller, _restart(tmp_path / "queue", seller))


def _delete(database: Path) -> None:
    database.unlink()


def _delete_all(database: Path) -> None:
    for path in database.parent.iterdir():
        path.unlink()


def _empty(database: Path) -> None:
    os.truncate(database, 0)


def _cut(database: Path) -> None:
    os.truncate(database, database.stat().st_size // 2)


def _scribble(database: Path) -> None:
    database.write_bytes(random.Random(1).randbytes(database.stat().st_size))  # noqa: S311 - noise


def _drop_wal(database: Path) -> None:
    for path in database.parent.glob("*-wal"):
        path.unlink()


@pytest.mark.parametrize("destroy", [_delete, _delete_all, _empty, _cut, _scribble, _drop_wal])
def test_a_destroyed_database_loses_no_event_that_waits(
    tmp_path: Path, seller: Sandbox, destroy: Callable[[Path], None], crash_round: int
) -> None:
    """The queue's state is rebuilt from the segments."""
    del crash_round
    queue = tmp_path / "queue"
    seller.stop()
    with _shop(queue, seller, "wait") as shop:
        assert len(_promised(shop)) == COUNT
        _wait_for(queue / "state" / "cache.db")
        _end(shop, signal.SIGKILL)
    destroy(queue / "state" / "cache.db")
    seller.start()
    _check(queue, seller, _restart(queue, seller))


@pytest.mark.parametrize("destroy", [_delete, _delete_all, _empty, _cut, _scribble, _drop_wal])
def test_dead_letters_survive_a_destroyed_database(
    tmp_path: Path, seller: Sandbox, destroy: Callable[[Path], None]
) -> None:
    """What was set aside is still there, counted once, and can be sent again."""
    queue = tmp_path / "queue"
    seller.configure(refuse_events={f"order-{number}": "MISSING_USER_MATCH" for number in (3, 99)})
    tracker = make_tracker(str(queue), seller.url, sigterm=False)
    for number in range(COUNT):
        tracker.track_purchase(order(number))
    dead = tracker.close(_WAIT_S).total().dead
    letters = {letter.id: letter.event for letter in tracker.dead_letters.list()}
    assert dead == len(letters) == 2

    destroy(queue / "state" / "cache.db")
    tracker = make_tracker(str(queue), seller.url, sigterm=False)
    after = tracker.flush(_WAIT_S).total()
    assert (after.dead, after.accepted - after.delivered) == (dead, dead)
    assert {letter.id: letter.event for letter in tracker.dead_letters.list()} == letters
    seller.configure(refuse_events={})
    assert len(tracker.dead_letters.replay(letters).replayed) == dead
    tracker.close(_WAIT_S)
    assert _received(seller) == EVERY_ID
    assert tracker.dead_letters.list() == []


def _wait_for(path: Path) -> None:
    deadline = time.monotonic() + _WAIT_S
    while not path.exists() or not path.stat().st_size:
        assert time.monotonic() < deadline, path
        time.sleep(0.01)
