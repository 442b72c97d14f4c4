"""``adcp-tracker status``: how the queue stands."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from adcp_tracker.cli import _output
from adcp_tracker.cli._common import FINE, LEFT, AsJson, Directory, command
from adcp_tracker.cli._output import print_books, state_of
from adcp_tracker.cli._queue import configured_names, existing_queue

if TYPE_CHECKING:
    from adcp_tracker.cli._queue import Standing

_UNITS = ("bytes", "kB", "MB", "GB")
_STEP = 1000
_MINUTE = 60


@command
def status(*, directory: Directory = None, as_json: AsJson = False) -> int:
    """Show the books of each destination and whether all is well.

    Needs no credentials and sends nothing. Exits with 1 if a destination is paused, events
    are dead or cannot be read, or events wait while no process uploads.
    """
    from adcp_tracker.cli._queue import standing  # noqa: PLC0415 - for a quick --help

    queue = existing_queue(directory)
    names = configured_names()
    found = standing(queue, names)
    if as_json:
        _output.emit(_document(found, str(queue.path)))
    else:
        _print(found, str(queue.path), names)
    return LEFT if _needs_somebody(found) else FINE


def _needs_somebody(found: Standing) -> bool:
    every = found.stats.destinations.values()
    troubled = any(books.paused or books.dead or books.locked for books in every)
    return troubled or bool(found.damage) or (found.leader is None and found.stats.pending > 0)


def _document(found: Standing, path: str) -> dict[str, object]:
    stats = found.stats.as_json()
    states = {name: state_of(books) for name, books in found.stats.destinations.items()}
    return stats | {
        "directory": path,
        "leader": found.leader,
        "pending": found.stats.pending,
        "used_bytes": found.used_bytes,
        "damage": found.damage,
        "states": states,
    }


def _print(found: Standing, path: str, names: list[str]) -> None:
    stats = found.stats
    _output.say(f"{path}: {size(found.used_bytes)}")
    if found.damage:
        _output.say(f"The queue's state cannot be read: {found.damage}", "red")
        _output.say("The next process that uploads rebuilds it from the events; none is lost.")
    idle = found.leader is None
    uploads = "no process" if idle else f"process {found.leader or 'unknown'}"
    is_stuck = idle and stats.pending > 0
    _output.say(f"Uploading: {uploads}", "red" if is_stuck else "")
    if is_stuck:
        _output.say(
            "Nothing uploads: start the application, or run adcp-tracker flush or "
            "adcp-tracker worker.",
            "red",
        )
    if stats.waiting:
        _output.say(f"{stats.waiting:,} events wait until a destination is configured.")
    if stats.oldest_at is not None:
        _output.say(f"The oldest event waits for {age(time.time() - stats.oldest_at)}.")
    if stats.destinations:
        _output.say()
        print_books(stats, names, is_uploaded=not idle)


def size(number: float) -> str:
    """Return a number of bytes as people read it."""
    for unit in _UNITS[:-1]:
        if number < _STEP:
            return f"{number:.3g} {unit}"
        number /= _STEP
    return f"{number:,.3g} {_UNITS[-1]}"


def age(seconds: float) -> str:
    """Return a time span as people read it."""
    whole = max(int(seconds), 0)
    hours, minutes = divmod(whole // _MINUTE, _MINUTE)
    if hours:
        return f"{hours:,} h {minutes} min"
    return f"{minutes} min {whole % _MINUTE} s" if minutes else f"{whole} s"
