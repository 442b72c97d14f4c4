"""A shop in a process of its own: it tracks orders and ends the way it is told.

Run as ``python -m tests.support.shop SETTINGS``. It writes the id of each order on a line of
its own to standard output once the tracker has taken it, so a reader knows what was promised.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import TYPE_CHECKING

from adcp_tracker import Interchange, Tracker
from tests.support.seller import ADVERTISER, SOURCE, TOKEN

if TYPE_CHECKING:
    from collections.abc import Iterable

TRACKED = "all tracked"
_FAILED = 7


def make_tracker(directory: str, url: str, *, sigterm: bool = True) -> Tracker:
    """Make a tracker with the one destination of these tests."""
    seller = Interchange(
        advertiser_id=ADVERTISER, event_source_id=SOURCE, api_key=TOKEN, base_url=url
    )
    return Tracker([seller], directory=directory, flush_interval=0.05, handle_sigterm=sigterm)


def order(number: int) -> dict[str, object]:
    """Return an order, the same each time."""
    return {
        "id": f"order-{number}",
        "total": f"{number}.50",
        "currency": "EUR",
        "email": f"shopper{number}@shop.example",
        "items": [{"id": f"sku-{number % 7}", "quantity": 1 + number % 3, "price": "0.50"}],
    }


def _say(line: str) -> None:
    os.write(1, line.encode() + b"\n")


def _sell(tracker: Tracker, numbers: Iterable[int]) -> None:
    for number in numbers:
        _say(tracker.track_purchase(order(number)).event_id)


def _in_child(tracker: Tracker, numbers: range) -> int:
    """Fork; the child sells and leaves as a server's worker does."""
    child = os.fork()
    if child == 0:
        status = _FAILED
        try:
            _sell(tracker, numbers)
            tracker.close(10.0)
            status = 0
        finally:
            os._exit(status)
    return child


def _await(*children: int) -> None:
    for child in children:
        _, status = os.waitpid(child, 0)
        if status:
            raise ChildProcessError(f"expected the child to end well, got status {status}")


def main() -> None:
    """Sell, and end."""
    settings = json.loads(sys.argv[1])
    ending, count = settings["ending"], settings["count"]
    tracker = make_tracker(settings["directory"], settings["url"])
    if ending == "fork before the first event":
        _await(_in_child(tracker, range(count // 2)), _in_child(tracker, range(count // 2, count)))
    elif ending == "fork after the first event":
        _sell(tracker, [0])
        child = _in_child(tracker, range(1, count // 2))
        _sell(tracker, range(count // 2, count))
        _await(child)
    else:
        _sell(tracker, range(count))
    _say(TRACKED)
    if ending == "wait":
        while True:
            signal.pause()


if __name__ == "__main__":
    main()
