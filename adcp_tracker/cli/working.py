"""Working on a queue: one tracker for one piece of work, which it got to do or not."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from adcp_tracker.delivery.books import Stats
    from adcp_tracker.tracker import Tracker


@contextmanager
def at_work(tracker: Tracker, grace: float | None = None) -> Iterator[Tracker]:
    """Have a tracker end with the work it was made for, however that ends.

    Args:
        tracker: The tracker.
        grace: How long its last request may take, in seconds.

    Raises:
        TimeoutError: If it was not let to work by another process.
        OutboxError: If it was not let to work by the queue's own state.
    """
    try:
        yield tracker
    except TimeoutError:
        tracker.stop(grace)
        _look_at_state(tracker)
        raise
    finally:
        tracker.stop(grace)


def expect_led(stats: Stats, began: float, tracker: Tracker, timeout: float) -> None:
    """Ask for books that tell how the queue stands since the work began.

    Args:
        stats: The books it came to.
        began: When it began, in seconds since the epoch.
        tracker: What was to do it.
        timeout: How long it had, in seconds.

    Raises:
        TimeoutError: If another process kept the queue to itself.
    """
    if stats.leader == os.getpid() or (stats.taken_at >= began and not stats.pending):
        return
    who = f"process {stats.leader}" if stats.leader else "another process"
    raise TimeoutError(
        f"{tracker.settings.directory}: expected {who}, which uploads, to step aside within "
        f"{timeout:g} s, and it did not; try again, or stop it"
    )


def _look_at_state(tracker: Tracker) -> None:
    """Find out whether it was the state that could not be read, rather than another process."""
    from adcp_tracker.cli.standing import standing  # noqa: PLC0415 - for a quick --help
    from adcp_tracker.queue.directory import QueueDirectory  # noqa: PLC0415 - likewise

    standing(QueueDirectory(tracker.settings.directory), ())
