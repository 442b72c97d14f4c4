"""``adcp-tracker status``: the state of the queue."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from adcp_tracker.cli import _output
from adcp_tracker.cli._common import EXIT_ATTENTION, EXIT_OK, AsJson, Directory, command
from adcp_tracker.cli._output import print_stats, state_of
from adcp_tracker.cli._queue import configured_names, open_existing_queue

if TYPE_CHECKING:
    from adcp_tracker.cli._queue import QueueStatus

_UNITS = ("bytes", "kB", "MB", "GB")
_STEP = 1000
_MINUTE = 60


@command
def status(*, directory: Directory = None, as_json: AsJson = False) -> int:
    """Show what became of all events, by destination.

    Needs no credentials and sends nothing. Exits with 1 if a destination is paused, events are
    dead or can't be decrypted, or events are pending while no process uploads.
    """
    from adcp_tracker.cli._queue import read_status  # noqa: PLC0415 - for a quick --help

    queue = open_existing_queue(directory)
    names = configured_names()
    found = read_status(queue, names)
    if as_json:
        _output.print_json(_document(found, str(queue.path)))
    else:
        _print(found, str(queue.path), names)
    return EXIT_ATTENTION if _needs_attention(found) else EXIT_OK


def _needs_attention(found: QueueStatus) -> bool:
    every = found.stats.destinations.values()
    troubled = any(books.paused or books.dead or books.missing_keys for books in every)
    return troubled or bool(found.damage) or (found.leader is None and found.stats.pending > 0)


def _document(found: QueueStatus, path: str) -> dict[str, object]:
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


def _print(found: QueueStatus, path: str, names: list[str]) -> None:
    stats = found.stats
    _output.print_line(f"{path}: {size(found.used_bytes)}")
    if found.damage:
        _output.print_line(f"The queue's state can't be read: {found.damage}", "red")
        _output.print_line("The next process that uploads rebuilds it; no event is lost.")
    idle = found.leader is None
    uploads = "no process" if idle else f"process {found.leader or 'unknown'}"
    is_stuck = idle and stats.pending > 0
    _output.print_line(f"Uploading: {uploads}", "red" if is_stuck else "")
    if is_stuck:
        _output.print_line(
            "No process uploads. Start your application, or run adcp-tracker worker or flush.",
            "red",
        )
    if stats.waiting:
        _output.print_line(
            f"{stats.waiting:,} events are waiting for a destination to be configured."
        )
    if stats.oldest_at is not None:
        _output.print_line(f"The oldest pending event is {age(time.time() - stats.oldest_at)} old.")
    if stats.destinations:
        _output.print_line()
        print_stats(stats, names, is_uploaded=not idle)


def size(number: float) -> str:
    """Format a number of bytes."""
    for unit in _UNITS[:-1]:
        if number < _STEP:
            return f"{number:.3g} {unit}"
        number /= _STEP
    return f"{number:,.3g} {_UNITS[-1]}"


def age(seconds: float) -> str:
    """Format a duration in seconds."""
    whole = max(int(seconds), 0)
    hours, minutes = divmod(whole // _MINUTE, _MINUTE)
    if hours:
        return f"{hours:,} h {minutes} min"
    return f"{minutes} min {whole % _MINUTE} s" if minutes else f"{whole} s"
