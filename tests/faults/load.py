"""A process with a backlog that no seller takes, until one does; it says what memory it took.

Run as ``python -m tests.faults.load DIRECTORY COUNT``.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

from adcp_tracker.delivery.outcomes import RetryPolicy
from adcp_tracker.destinations.base import Batch, Delivered, Outcome, Retry
from adcp_tracker.tracker import Tracker
from tests.support.booked import balanced
from tests.support.destinations import ScriptedDestination, wait_until

_SAMPLES = 50


class Counting(ScriptedDestination):
    """A destination that counts what it takes, and keeps none of it."""

    is_down = True
    taken = 0

    def send(self, batch: Batch) -> Outcome:
        """Take a batch, once it is up."""
        if self.is_down:
            return Retry("http_503", "down")
        self.taken += len(batch.events)
        return Delivered()


def _resident_kb() -> int:
    """Return the least of a second, as a try that is just being made is no backlog."""
    seen = []
    for _ in range(_SAMPLES):
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        seen.append(pages * resource.getpagesize() // 1024)
        time.sleep(1.0 / _SAMPLES)
    return min(seen)


def main() -> None:
    """Track while the seller is down, note the memory; then deliver, and note it again."""
    directory, count = sys.argv[1], int(sys.argv[2])
    seller = Counting()
    tracker = Tracker(
        [seller],
        directory=directory,
        handle_sigterm=False,
        max_bytes=None,
        _policy=RetryPolicy(lambda: 0.5),
    )
    for number in range(count):
        tracker.track_lead(event_id=f"L-{number}", email="a@example.com")
    wait_until(lambda: balanced(tracker).retrying)
    waiting_kb, pending = _resident_kb(), balanced(tracker).pending
    seller.is_down = False
    left = tracker.flush(600.0).pending
    counts = balanced(tracker)
    told = {
        "waiting_kb": waiting_kb,
        "peak_kb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        "pending": pending,
        "taken": seller.taken,
        "delivered": counts.delivered,
        "left": left,
    }
    sys.stdout.write(json.dumps(told) + "\n")
    tracker.close(10.0)


if __name__ == "__main__":
    main()
