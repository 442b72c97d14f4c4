"""A process that forks many others, which all track at once and end as workers do.

Run as ``python -m tests.faults.crowd SETTINGS``.
"""

from __future__ import annotations

import json
import os
import sys

from tests.support.booked import track
from tests.support.shop import make_tracker

_FAILED = 7


def main() -> None:
    """Fork the crowd, and wait for it."""
    settings = json.loads(sys.argv[1])
    tracker = make_tracker(settings["directory"], settings["url"], sigterm=False)
    children = []
    starting, start = os.pipe()
    for number in range(settings["processes"]):
        child = os.fork()
        if child == 0:
            status = _FAILED
            try:
                os.close(start)
                os.read(starting, 1)  # nothing comes, but the end of it once all are there
                track(tracker, settings["each"], first=number * settings["each"])
                tracker.close(60.0)  # time for an answer that comes late, or the next sends again
                status = 0
            finally:
                os._exit(status)
        children.append(child)
    os.close(start)
    failed = [child for child in children if os.waitpid(child, 0)[1]]
    tracker.flush(60.0)
    sys.stdout.write(
        json.dumps({"failed": len(failed), "stats": tracker.close(10.0).as_json()}) + "\n"
    )


if __name__ == "__main__":
    main()
