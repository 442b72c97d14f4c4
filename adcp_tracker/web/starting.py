"""A process's first request: from then on the process takes part in delivering what waits.

Not when the application is loaded: a server may do that once and fork its workers afterwards.
Not at the first event either: what a killed process left on disk need not wait for one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from adcp_tracker.log import logger

if TYPE_CHECKING:
    from adcp_tracker.tracker import Tracker


def start_quietly(tracker: Tracker) -> None:
    """Start to deliver what waits on disk; log what keeps it from it, and never raise.

    An adapter calls it once a process, at its first request.

    Args:
        tracker: Whose thread starts, if it has one and it does not run yet.
    """
    try:
        tracker.start()
    except Exception as error:  # noqa: BLE001 - a page must be served all the same
        logger.warning("flusher.not_started", error=type(error).__name__)
