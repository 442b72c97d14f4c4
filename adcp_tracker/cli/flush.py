"""``adcp-tracker flush``: deliver what waits, now."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from adcp_tracker.cli import screen
from adcp_tracker.cli.exits import FINE, LEFT, command
from adcp_tracker.cli.ledger import print_books
from adcp_tracker.cli.opening import existing_queue, uploading_tracker
from adcp_tracker.cli.options import LONGEST_SECONDS, AsJson, Directory
from adcp_tracker.cli.working import at_work, expect_led

if TYPE_CHECKING:
    from adcp_tracker.delivery.books import Stats


@command
def flush(
    *,
    timeout: Annotated[
        float,
        typer.Option(min=0.0, max=LONGEST_SECONDS, metavar="SECONDS", help="How long it may take."),
    ] = 60.0,
    directory: Directory = None,
    as_json: AsJson = False,
) -> int:
    """Deliver what waits, and say what is left and why.

    Whoever uploads otherwise is asked to step aside for it. Exits with 1 if anything is left,
    and with 4 if that is because another process did not step aside.
    """
    existing_queue(directory)
    began = time.time()
    with at_work(uploading_tracker(directory)) as tracker:
        names = [destination.name for destination in tracker.destinations]
        stats = tracker.flush(timeout)
        expect_led(stats, began, tracker, timeout)
    if as_json:
        screen.emit(stats.as_json() | {"pending": stats.pending})
    else:
        print_books(stats, names)
        _tell_rest(stats, timeout)
    return LEFT if stats.pending else FINE


def _tell_rest(stats: Stats, timeout: float) -> None:
    if not stats.pending:
        screen.say("Everything is delivered or settled.", "green")
        return
    screen.say(f"{stats.pending:,} deliveries are left, safe on disk.", "yellow")
    if not any(books.paused or books.retrying for books in stats.destinations.values()):
        screen.say(f"{timeout:g} s were not enough; give a longer --timeout, or flush again.")
