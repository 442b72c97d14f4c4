"""``adcp-tracker status``: the state of the queue."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from adcp_tracker.cli import _output
from adcp_tracker.cli._common import EXIT_ATTENTION, EXIT_OK, AsJson, Directory, command
from adcp_tracker.cli._output import plural, print_stats, state_of
from adcp_tracker.cli._queue import configured_names, open_existing_queue

if TYPE_CHECKING:
    from adcp_tracker.cli._queue import QueueStatus
    from adcp_tracker.delivery.stats import Stats

_UNITS = ("bytes", "kB", "MB", "GB")
_STEP = 1000
_MINUTE = 60
_SILENT_SECONDS = 60.0
EXPECTED_DROPS = frozenset({"consent", "crawler", "erased", "link_preview", "operator", "prefetch"})


@command
def status(
    *,
    expect_uploader: Annotated[
        bool, typer.Option("--expect-uploader", help="Exit with 1 if no process uploads.")
    ] = False,
    directory: Directory = None,
    as_json: AsJson = False,
) -> int:
    """Show what became of all events, by destination.

    Needs no credentials and sends nothing. The state is ok, idle if no process uploads and
    nothing is pending, warning if events or parts of events were dropped, or error. Exits with
    1 for an error: a destination is paused, events are dead or can't be decrypted, or events
    are pending while no process uploads or the one that does is stuck.
    """
    from adcp_tracker.cli._queue import read_status  # noqa: PLC0415 - for a quick --help

    queue = open_existing_queue(directory)
    names = configured_names()
    found = read_status(queue, names)
    errors = _errors(found, expect_uploader=expect_uploader)
    warnings = _warnings(found.stats)
    state = _state(found, errors, warnings)
    if as_json:
        problems = {"state": state, "errors": errors, "warnings": warnings}
        _output.print_json(_document(found, queue.location) | problems)
    else:
        _print(found, queue.location, names)
        _print_verdict(state, errors, warnings)
    return EXIT_ATTENTION if errors else EXIT_OK


def _state(found: QueueStatus, errors: list[str], warnings: list[str]) -> str:
    if errors:
        return "error"
    if warnings:
        return "warning"
    return "idle" if found.leader is None else "ok"


def _errors(found: QueueStatus, *, expect_uploader: bool) -> list[str]:
    """Return what keeps events from being delivered."""
    stats, errors = found.stats, []
    if found.damage:
        errors.append(f"The queue's state can't be read: {found.damage}")
    if found.leader is None and (expect_uploader or stats.pending):
        errors.append("No process uploads.")
    silent = time.time() - stats.taken_at
    if found.leader is not None and silent > _SILENT_SECONDS:
        since = f"for {age(silent)}" if stats.taken_at else "yet"
        errors.append(
            f"Process {found.leader or 'unknown'} uploads, but has not reported {since}. "
            "It is stuck, or killed again and again."
        )
    for name, books in stats.destinations.items():
        if books.paused:
            errors.append(f"{name} is paused: {books.paused}")
        if books.missing_keys:
            errors.append(f"{name} has events that can't be decrypted.")
        if books.dead:
            errors.append(f"{name} has {plural(books.dead, 'dead letter')}.")
    return errors


def _warnings(stats: Stats) -> list[str]:
    """Return what was lost of events, and what is probably wrong with them."""
    warnings = []
    for name, books in stats.destinations.items():
        lost = {why: count for why, count in books.dropped.items() if why not in EXPECTED_DROPS}
        if lost:
            reasons = ", ".join(f"{count:,} {why}" for why, count in lost.items())
            warnings.append(f"{name} dropped {plural(sum(lost.values()), 'event')}: {reasons}.")
        if books.unconfirmed:
            warnings.append(
                f"{name}: the seller did not confirm {plural(books.unconfirmed, 'event')}."
            )
        if books.omitted:
            fields = ", ".join(f"{count:,} {what}" for what, count in books.omitted.items())
            number = plural(sum(books.omitted.values()), "unusable field")
            warnings.append(f"{name} got events without {number}: {fields}.")
        warnings += [f"{name}: {advice}" for advice in books.advice]
    return warnings


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
        _output.print_line("The next process that uploads rebuilds the state; no event is lost.")
    idle = found.leader is None
    _output.print_line(f"Uploading: {'no process' if idle else _process(found)}")
    if stats.waiting:
        waiting = plural(stats.waiting, "event")
        _output.print_line(f"{waiting} waiting for a destination to be configured.")
    if stats.oldest_at is not None:
        _output.print_line(f"The oldest pending event is {age(time.time() - stats.oldest_at)} old.")
    if stats.destinations:
        _output.print_line()
        print_stats(stats, names, is_uploaded=not idle)


def _process(found: QueueStatus) -> str:
    reported = age(time.time() - found.stats.taken_at) if found.stats.taken_at else ""
    since = f", reported {reported} ago" if reported else ", has not reported yet"
    return f"process {found.leader or 'unknown'}{since}"


def _print_verdict(state: str, errors: list[str], warnings: list[str]) -> None:
    _output.print_line()
    style = {"error": "red", "warning": "yellow", "ok": "green"}.get(state, "")
    _output.print_line(f"State: {state}", style)
    for line in errors:
        _output.print_text(line, "red", indent=2)
        if line == "No process uploads.":
            remedy = "Start your application, or run adcp-tracker worker or adcp-tracker flush."
            _output.print_text(remedy, indent=2)
    for line in warnings:
        _output.print_text(line, "yellow", indent=2)


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
