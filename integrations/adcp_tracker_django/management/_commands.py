"""What the commands have in common: a tracker to look at, and its books to print."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from django.core.management.base import BaseCommand, CommandError

from adcp_tracker.exceptions import AdcpTrackerError
from adcp_tracker_django.config import make_integration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from adcp_tracker import Tracker
    from adcp_tracker.delivery.stats import DestinationStats, Stats

_FRESH_SECONDS = 1.0
_PATIENCE_SECONDS = 3.0
_POLL_SECONDS = 0.02


def open_tracker(**changes: object) -> Tracker:
    """Give a command a tracker of its own, by the site's settings but for some `changes`.

    Raises:
        CommandError: If the settings cannot be right, or the directory is not ours to use.
    """
    try:
        tracker = make_integration(**changes).tracker
        tracker.prepare()
    except (AdcpTrackerError, OSError) as error:
        raise CommandError(str(error), returncode=2) from None
    return tracker


def wait_for_stats(tracker: Tracker) -> Stats:
    """Return the books as they are now.

    The process that uploads writes them down every moment. Where none does, the books are
    old: then this one takes over, and delivers while it is at it, as any other would.
    """
    asked_at, deadline = time.time(), time.monotonic() + _PATIENCE_SECONDS
    tracker.start()
    while True:
        stats = tracker.stats()
        is_fresh = stats.taken_at > asked_at - tracker.settings.flush_interval - _FRESH_SECONDS
        if is_fresh or not tracker.destinations or time.monotonic() > deadline:
            return stats
        time.sleep(_POLL_SECONDS)


class StatsCommand(BaseCommand):
    """A command that ends by printing the books."""

    def show(self, stats: Stats, *, as_json: bool) -> None:
        """Print the books, for a person or for a program."""
        if as_json:
            self.stdout.write(json.dumps(stats.as_json()))
            return
        for line in format_stats(stats):
            self.stdout.write(line)


def format_stats(stats: Stats) -> Iterator[str]:
    """Say in lines what became of every event."""
    for name, books in sorted(stats.destinations.items()):
        yield name
        yield f"  {_counts(books)}"
        for reason, count in sorted(books.dropped.items()):
            yield f"  dropped {count}: {reason}"
        if books.paused:
            yield f"  paused: {books.paused}"
        if books.retrying:
            yield f"  retrying: {books.retrying}"
    if not stats.destinations:
        yield "No destination has had an event yet."


def _counts(books: DestinationStats) -> str:
    dropped = sum(books.dropped.values())
    return (
        f"accepted {books.accepted} = delivered {books.delivered}"
        f" + unconfirmed {books.unconfirmed} + pending {books.pending}"
        f" + dead {books.dead} + dropped {dropped}"
    )
