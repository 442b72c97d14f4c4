"""The health of a tracker, for the endpoints ``/healthz`` and ``/readyz``.

Liveness says that the process answers. Readiness says that it can record events durably: it
fails while the disk refuses them, so that they would be lost with the process. A seller that is
down fails neither, because events wait for it on disk.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import attrs

from adcp_tracker._signals import reraise_interruption

if TYPE_CHECKING:
    from adcp_tracker.tracker import Tracker

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


def liveness() -> Health:
    """Return that the process answers."""
    return Health(200, {"status": "ok"})


def readiness(tracker: Tracker) -> Health:
    """Return whether the process records events durably. Never raises.

    Args:
        tracker: The application's tracker. Its stats are read, which takes a file or a query.
    """
    try:
        stats = tracker.stats()
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


def health_at(path: str, tracker: Tracker) -> Health | None:
    """Return the answer for a path that ends in ``/healthz`` or ``/readyz``; else ``None``."""
    name = path.rpartition("/")[2]
    if name == "healthz":
        return liveness()
    return readiness(tracker) if name == "readyz" else None
