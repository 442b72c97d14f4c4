"""The commands ``flask adcp …``, for the queue of one application."""

from __future__ import annotations

import functools
import json
import signal
import threading
from typing import TYPE_CHECKING, ParamSpec

import click
from flask.cli import AppGroup

from adcp_tracker.destinations.responses import sanitize
from adcp_tracker.exceptions import AdcpTrackerError
from adcp_tracker.web.setup import as_uploader
from adcp_tracker_flask.extension import get_tracker

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from adcp_tracker.delivery.stats import DestinationStats, Stats
    from adcp_tracker.outbox.dead_letters import DeadLetter

P = ParamSpec("P")

_LONGEST = 2000

adcp = AppGroup("adcp", help="Look after the queue of conversion events.")
_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of words.")
_timeout = click.option(
    "--timeout", type=click.FloatRange(min=0), default=10.0, help="Seconds to take at most."
)
_ids = click.argument("ids", nargs=-1, required=True)


def _one_line(command: Callable[P, None]) -> Callable[P, None]:
    """Let a user's mistake, or a machine that fails, end in one line."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except (AdcpTrackerError, OSError) as error:
            raise click.ClickException(str(error)) from None

    return run


@adcp.command()
@_as_json
@_one_line
def status(*, as_json: bool) -> None:
    """Show what became of all events."""
    _show(get_tracker().stats(), as_json=as_json)


@adcp.command()
@_timeout
@_as_json
@_one_line
def flush(timeout: float, *, as_json: bool) -> None:
    """Deliver what waits; exit with 1 if anything is left."""
    with as_uploader(get_tracker()) as tracker:
        stats = tracker.flush(timeout)
    _show(stats, as_json=as_json)
    if stats.pending:
        raise click.exceptions.Exit(1)


@adcp.command()
@_one_line
def worker() -> None:
    """Deliver events as they come, until SIGTERM or Ctrl-C."""
    stop = threading.Event()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    tracker = as_uploader(get_tracker())
    tracker.start()
    click.echo(f"Delivering from {tracker.settings.directory}; stop with Ctrl-C.")
    stop.wait()
    _show(tracker.close(), as_json=False)


@adcp.group()
def dead() -> None:
    """Look at events that were set aside."""


@dead.command("list")
@_as_json
@_one_line
def list_letters(*, as_json: bool) -> None:
    """List them, with the reason of each."""
    letters = get_tracker().dead_letters.list()
    if as_json:
        click.echo(json.dumps([letter.summary() for letter in letters]))
        return
    for letter in letters:
        click.echo(sanitize(f"{letter.id}  {letter.destination}  {letter.code}: {letter.message}"))
    click.echo(f"{len(letters)} dead")


@dead.command()
@_ids
@_one_line
def show(ids: tuple[str, ...]) -> None:
    """Show some whole, as JSON."""
    for letter in _found(ids):
        click.echo(json.dumps(letter.summary(), indent=2))


@dead.command()
@_ids
@_one_line
def replay(ids: tuple[str, ...]) -> None:
    """Send some again."""
    replayed = get_tracker().dead_letters.replay(ids)
    for how, which in (
        ("on its way again", replayed.replayed),
        ("cannot be sent as it is", replayed.refused),
        ("unknown", replayed.unknown),
    ):
        for name in which:
            click.echo(f"{name}: {how}")
    if replayed.refused or replayed.unknown:
        raise click.exceptions.Exit(1)


@dead.command()
@_ids
@_one_line
def drop(ids: tuple[str, ...]) -> None:
    """Give some up for good."""
    _found(ids)
    click.echo(f"{get_tracker().dead_letters.discard(ids)} dropped")


def _found(ids: tuple[str, ...]) -> list[DeadLetter]:
    found = {letter.id: letter for letter in get_tracker().dead_letters.list() if letter.id in ids}
    for name in ids:
        if name not in found:
            raise click.ClickException(f"{name}: expected the id of a dead letter, see dead list")
    return list(found.values())


def _show(stats: Stats, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(stats.as_json()))
        return
    for name, books in stats.destinations.items():
        click.echo(sanitize(f"{name}: {_counts(books)}", _LONGEST))
        for trouble in (books.paused, books.retrying):
            if trouble:
                click.echo(sanitize(f"  {trouble}", _LONGEST))
    if stats.waiting or not stats.destinations:
        click.echo(f"{stats.waiting} waiting for a destination")


def _counts(books: DestinationStats) -> str:
    dropped = "".join(f", {count} {reason}" for reason, count in sorted(books.dropped.items()))
    return (
        f"{books.accepted} accepted, {books.delivered} delivered, "
        f"{books.unconfirmed} unconfirmed, {books.pending} pending, {books.dead} dead, "
        f"{sum(books.dropped.values())} dropped{dropped}"
    )
