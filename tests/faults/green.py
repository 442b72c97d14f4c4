"""A process in which gevent has replaced threads, locks and sockets; it tracks and delivers.

Run as ``python -m tests.faults.green DIRECTORY URL GREENLETS EACH``.
"""

# ruff: noqa: E402 - gevent must come before everything else
from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import json
import sys
import time

import gevent

from tests.support.booked import track
from tests.support.shop import make_tracker


def main() -> None:
    """Track from many greenlets at once, beside one that does other work."""
    directory, url, greenlets, each = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    tracker = make_tracker(directory, url, sigterm=False)
    turns = 0

    def work() -> None:
        nonlocal turns
        while True:
            gevent.sleep(0.005)
            turns += 1

    begun = time.monotonic()
    beside = gevent.spawn(work)
    jobs = [gevent.spawn(track, tracker, each, number * each) for number in range(greenlets)]
    gevent.joinall(jobs, raise_error=True)
    tracker.flush(30.0)
    seconds = time.monotonic() - begun
    beside.kill()
    told = {"turns": turns, "seconds": seconds, "stats": tracker.close(10.0).as_json()}
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main()
