"""``adcp-tracker retire``: forget a destination that is not configured any more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from adcp_tracker.cli import screen
from adcp_tracker.cli.exits import FINE, LEFT, command
from adcp_tracker.cli.opening import existing_queue, tracker_of
from adcp_tracker.cli.options import AsJson, Directory, Handover, Yes, confirmed
from adcp_tracker.cli.working import at_work

if TYPE_CHECKING:
    from adcp_tracker.cli.standing import Standing


@command
def retire(
    destination: Annotated[
        str, typer.Argument(metavar="NAME", help="Its name, as the status shows it.")
    ],
    *,
    yes: Yes = False,
    timeout: Handover = 10.0,
    directory: Directory = None,
    as_json: AsJson = False,
) -> int:
    """Forget a destination that is not configured any more.

    What waits for it is let go; until then, events are kept for it on disk. Its dead letters
    stay. Exits with 1 if it is unknown, or still in use.
    """
    from adcp_tracker.cli.standing import standing  # noqa: PLC0415 - for a quick --help

    queue = existing_queue(directory)
    with at_work(tracker_of(directory)) as tracker:
        names = [each.name for each in tracker.destinations]
        found = standing(queue, names)
        why_not = _objection(destination, names, found)
        if why_not:
            screen.complain(why_not)
        elif not confirmed(_question(destination, found), yes=yes):
            why_not = "not confirmed"
        elif not tracker.retire(destination, timeout):
            why_not = f"{destination}: it is gone, or in use"
            screen.complain(why_not)
    if as_json:
        screen.emit({"destination": destination, "retired": not why_not, "reason": why_not})
    elif not why_not:
        screen.say(f"{destination} is forgotten.")
    return LEFT if why_not else FINE


def _objection(destination: str, names: list[str], found: Standing) -> str:
    if destination in names:
        return f"{destination}: expected one that is not configured; take it out of ADCP_* first"
    books = found.stats.destinations.get(destination)
    if books is None:
        known = ", ".join(found.stats.destinations) or "none"
        return f"{destination}: expected a known destination, got another; known: {known}"
    if found.leader is not None and books.configured:
        return (
            f"{destination}: expected one that is not configured, but process {found.leader} "
            "sends to it; restart that one without it first"
        )
    return ""


def _question(destination: str, found: Standing) -> str:
    pending = found.stats.destinations[destination].pending
    return f"Forget {destination}, and {pending:,} events that wait for it?"
