"""A producer that goes on until it is told to end, and after each kill where it was.

Run as ``python -m tests.support.producers KIND SEED RATE PLACE``. The kinds are those of
``tests.support.checkouts``, with ``SHOP_DATABASE`` naming the database, and ``relay``, with
``ADCP_DIRECTORY`` and ``ADCP_QUEUE``. What it has begun and done is in a file that a kill does
not take away. An error is no end: the database is killed as well.
"""

from __future__ import annotations

import mmap
import os
import signal
import struct
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.checkouts import SHOPS, ChangedMindError, plan_of, track

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RELAY = "relay"
_NUMBERS = struct.Struct("qq")
_LATEST_S = 1.0
_REST_S = 0.2


class Progress:
    """How far a producer came, in a file.

    Args:
        place: The file.
    """

    def __init__(self, place: Path) -> None:
        self._place = place
        self._unsure = place.with_suffix(".unsure")
        if not place.exists():
            place.write_bytes(bytes(_NUMBERS.size))
        with place.open("r+b") as file:
            self._page = mmap.mmap(file.fileno(), _NUMBERS.size)

    def read(self) -> tuple[int, int]:
        """Return the number that was begun last, and the one that was done last."""
        begun, done = _NUMBERS.unpack(self._page[:])
        return begun, done

    def write(self, begun: int, done: int) -> None:
        """Note both."""
        self._page[:] = _NUMBERS.pack(begun, done)

    def resume(self) -> None:
        """Note that nobody knows what became of the number that a kill cut short."""
        begun, done = self.read()
        if begun != done:
            with self._unsure.open("a") as file:
                file.write(f"{begun}\n")
            self.write(begun, begun)

    def unsure(self) -> set[int]:
        """Return the numbers that were cut short."""
        return set(map(int, self._unsure.read_text().split())) if self._unsure.exists() else set()


def _make_relay(kind: str) -> Callable[[int], None]:
    from adcp_tracker import Tracker  # noqa: PLC0415 - a shop has its own

    tracker = Tracker(
        directory=os.environ["ADCP_DIRECTORY"],
        queue=os.environ["ADCP_QUEUE"],
        queues=os.environ["ADCP_QUEUES"],
        flush_interval=0.1,
        handle_sigterm=False,
    )
    return lambda number: track(tracker, f"{kind}-{number}")


def _make_shop(kind: str, seed: int) -> Callable[[int], None]:
    checkout = SHOPS[kind](os.environ["SHOP_DATABASE"])

    def sell(number: int) -> None:
        try:
            checkout(plan_of(kind, seed, number))
        except ChangedMindError:
            return
        except Exception as error:  # noqa: BLE001 - of the framework or the driver, which are several
            sys.stderr.write(f"{kind}-{number}: {type(error).__name__}\n")
            with suppress(Exception):
                checkout(None)
            time.sleep(_REST_S)

    return sell


def _numbers(progress: Progress, rate: float, ended: list[int]) -> Iterator[int]:
    """Yield numbers, so many a second; what was missed for long is not caught up with."""
    progress.resume()
    due = time.monotonic()
    while not ended:
        time.sleep(max(due - time.monotonic(), 0.0))
        due = max(due, time.monotonic() - _LATEST_S) + 1.0 / rate
        begun, done = progress.read()
        progress.write(begun + 1, done)
        yield begun + 1
        progress.write(begun + 1, begun + 1)


def main(kind: str, seed: str, rate: str, place: str) -> None:
    """Produce until SIGTERM."""
    ended: list[int] = []  # an event's lock could be held by what the signal interrupts
    sell = _make_relay(kind) if kind.startswith(RELAY) else _make_shop(kind, int(seed))
    signal.signal(signal.SIGTERM, lambda number, _: ended.append(number))
    for number in _numbers(Progress(Path(place)), float(rate), ended):
        sell(number)


if __name__ == "__main__":
    main(*sys.argv[1:])
