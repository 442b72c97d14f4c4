"""The health of a tracker, for the endpoints ``/healthz`` and ``/readyz``.

Liveness of a web process says that it answers. Liveness of a process whose only work is to
deliver says that its uploading thread goes on, too: a restart may help if it is stuck.
Readiness says that the process can record events durably. It fails while the queue can't be used,
or while the disk refuses events, so that they would be lost with the process. A seller that is
down fails neither, because events wait for it on disk.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import attrs

from adcp_tracker._platform import reraise_interruption
from adcp_tracker.exceptions import OutboxError
from adcp_tracker.journal.files import QueueDirectory

if TYPE_CHECKING:
    from adcp_tracker.delivery.stats import Stats
    from adcp_tracker.tracker import Tracker

STUCK_SECONDS = 60.0
HEADERS = {"Content-Type": "application/json", "Cache-Control": "no-store"}


@attrs.frozen
class Health:
    """The answer of a health endpoint.

    Attributes:
        status: The HTTP status: 200 or 503.
        details: The answer's JSON.
    """

    status: int
    details: dict[str, object]

    @property
    def body(self) -> bytes:
        """The JSON as bytes."""
        return json.dumps(self.details).encode() + b"\n"


def liveness(tracker: Tracker | None = None) -> Health:
    """Return whether the process goes on.

    Args:
        tracker: The tracker of a process that only delivers; left out, answering is enough.
    """
    # Not from the stats: whether a database answers says nothing about this process.
    overdue = 0.0 if tracker is None else tracker._pipeline.flusher.overdue  # noqa: SLF001 - not for users
    if overdue < STUCK_SECONDS:
        return Health(200, {"status": "ok"})
    return Health(503, {"status": "error", "error": "stuck", "overdue": round(overdue, 1)})


def readiness(tracker: Tracker) -> Health:
    """Return whether the process records events durably. Never raises.

    Args:
        tracker: The application's tracker. Its stats are read, which takes a file or a query.
    """
    try:
        stats = _check_queue(tracker)
    except Exception as error:  # noqa: BLE001 - an error is an answer here
        reraise_interruption(error)
        return Health(503, {"status": "error", "error": type(error).__name__})
    is_ready = not stats.in_memory
    total = stats.total()
    return Health(
        200 if is_ready else 503,
        {
            "status": "ok" if is_ready else "error",
            "pending": stats.pending,
            "in_memory": stats.in_memory,
            "dead": total.dead,
            "dropped": sum(total.dropped.values()),
            "oldest_at": stats.oldest_at,
            "taken_at": stats.taken_at,
        },
    )


def _check_queue(tracker: Tracker) -> Stats:
    """Return the stats; raise if events can't be recorded. Creates nothing."""
    if tracker.settings.directory is not None:
        QueueDirectory(tracker.settings.directory).check_usable()
        return tracker.stats(live=False)
    stats = tracker.stats(live=False)
    if stats.stale:  # no answer in time
        raise OutboxError(stats.stale)
    tracker.prepare()
    return stats


def health_at(path: str, tracker: Tracker, *, delivers: bool = False) -> Health | None:
    """Return the answer for a path that ends in ``/healthz`` or ``/readyz``; else ``None``.

    Args:
        path: The path of a request.
        tracker: The process's tracker.
        delivers: Whether the process does nothing but deliver.
    """
    name = path.rpartition("/")[2]
    if name == "healthz":
        return liveness(tracker if delivers else None)
    return readiness(tracker) if name == "readyz" else None
