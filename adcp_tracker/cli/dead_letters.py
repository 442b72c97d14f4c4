"""``adcp-tracker dead list/show/replay/edit/export/drop`` and ``retire``."""

from __future__ import annotations

import json
import os
import stat
import sys
from collections import defaultdict
from datetime import datetime, timezone
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import click
import typer

from adcp_tracker.cli import _common
from adcp_tracker.cli._common import (
    EXIT_ATTENTION,
    EXIT_OK,
    AsJson,
    Directory,
    Handover,
    Yes,
    command,
    confirm,
    plural,
)
from adcp_tracker.cli.queue import (
    configured_names,
    make_tracker,
    open_existing_queue,
    read_status,
    stopping,
)
from adcp_tracker.exceptions import ConfigurationError, InvalidEventError
from adcp_tracker.orders.events import purchase_event, refund_event
from adcp_tracker.orders.reader import to_order

if TYPE_CHECKING:
    from collections.abc import Collection

    from adcp_tracker.cli.queue import QueueStatus
    from adcp_tracker.delivery.api import ReplayResult
    from adcp_tracker.delivery.stats import Stats
    from adcp_tracker.events.builder import EventFields
    from adcp_tracker.outbox.dead_letters import DeadLetter
    from adcp_tracker.outbox.storage import DeadLetters


Ids = Annotated[
    list[str] | None, typer.Argument(metavar="[ID]...", help="The ids of dead letters.")
]
Every = Annotated[bool, typer.Option("--all", help="All of them.")]
Code = Annotated[
    str | None, typer.Option("--code", metavar="CODE", help="Only those with this code.")
]
Destination = Annotated[
    str | None,
    typer.Option("--destination", metavar="NAME", help="Only those of this destination."),
]
_SHOWN: Final = ("id", "destination", "died_at", "code", "message", "remedy", "replayable")
_UTC: Final = timezone.utc
_COLUMNS: Final = 80

dead = typer.Typer(
    help="List, show, replay, edit or drop dead letters: events that could not be delivered.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@dead.command("list")
@command
def list_letters(
    *,
    code: Code = None,
    destination: Destination = None,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="Show the newest N.")] = 50,
    directory: Directory = None,
    as_json: AsJson = False,
) -> int:
    """List dead letters by reason and destination, newest first.

    Needs no credentials. Exits with 1 if the destination is unknown.
    """
    found = _find_letters(directory, code, destination)
    locked = sum(each.undecrypted() for each in _open_dead_letters(directory))
    newest = found[: -limit - 1 : -1]
    if as_json:
        letters = [_document(each) for each in newest]
        _common.print_json({"count": len(found), "locked": locked, "letters": letters})
        return EXIT_OK
    _print_groups(newest)
    _common.print_line(f"{len(newest):,} of {len(found):,} dead letters.")
    if locked:
        _common.print_line(
            f"{locked:,} more can't be decrypted. Add their key to ADCP_ENCRYPTION_KEYS.",
            "yellow",
        )
    return EXIT_OK


def _print_groups(letters: list[DeadLetter]) -> None:
    """Print letters under their reason and destination."""
    groups: defaultdict[tuple[str, str], list[DeadLetter]] = defaultdict(list)
    for letter in letters:
        groups[letter.reason, letter.destination].append(letter)
    for found in sorted(groups.values(), key=len, reverse=True):
        first = found[0]
        _common.print_line(f"{len(found):,} × {first.code} at {first.destination}", "yellow")
        for line in (first.message, remedy_of(first)):
            if line:
                _common.print_text(line, indent=2, unknown=_COLUMNS)
        _common.print_table(
            ("id", "died", "event"), [(each.id, _died_at(each), _event_id(each)) for each in found]
        )
        _common.print_line()


@dead.command("export")
@command
def export(
    file: Annotated[
        str, typer.Argument(metavar="[FILE]", help="Where to write; - for stdout.")
    ] = "-",
    *,
    code: Code = None,
    destination: Destination = None,
    directory: Directory = None,
) -> int:
    """Write dead letters with their events, as one JSON object per line.

    Needs no credentials. The file is readable only by you, as events may identify people.
    """
    found = _find_letters(directory, code, destination)
    letters = _common.track_progress(found, "exporting", len(found), hidden=file == "-")
    lines = (f"{json.dumps(each.summary())}\n" for each in letters)
    if file == "-":
        sys.stdout.writelines(lines)
        return EXIT_OK
    flags = os.O_CREAT | os.O_TRUNC | os.O_WRONLY
    with os.fdopen(os.open(file, flags, 0o600), "w", encoding="utf-8") as out:
        if stat.S_ISREG(os.fstat(out.fileno()).st_mode):
            os.fchmod(out.fileno(), 0o600)  # one that was there may have others
        out.writelines(lines)
    _common.print_line(f"{plural(len(found), 'dead letter')} written to {file}.")
    return EXIT_OK


@dead.command("show")
@command
def show(
    letter_id: Annotated[str, typer.Argument(metavar="ID", help="The id of a dead letter.")],
    *,
    directory: Directory = None,
    as_json: AsJson = False,
) -> int:
    """Show one dead letter with its event. Needs no credentials."""
    letter = _find_letter(directory, letter_id)
    if as_json:
        _common.print_json(letter.summary() | {"died_at": _died_at(letter)})
        return EXIT_OK
    shown = _document(letter) | {"remedy": remedy_of(letter)}
    for name in _SHOWN:
        _common.print_line(f"{name}: {shown[name]}")
    _common.print_line("event:")
    for line in json.dumps(letter.summary()["event"], indent=2).splitlines():
        _common.print_line(line, indent=len(line) - len(line.lstrip()))
    return EXIT_OK


@dead.command("replay")
@command
def replay(  # noqa: PLR0913 - options, each by its name
    ids: Ids = None,
    *,
    every: Every = False,
    code: Code = None,
    destination: Destination = None,
    timeout: Handover = 10.0,
    directory: Directory = None,
    as_json: AsJson = False,
) -> int:
    """Send dead letters again, once the cause is fixed.

    Needs no credentials: the process that uploads sends them. Exits with 1 if an id is unknown
    or the event itself is invalid.
    """
    found = _find_letters(directory, code, destination)
    chosen = _select(ids, found, filters=(every, code, destination))
    with (
        stopping(make_tracker(directory, max_bytes=None)) as tracker,
        _common.progress("replaying", hidden=as_json) as show,
    ):
        outcome = tracker.dead_letters.replay(chosen, timeout, on_progress=show)
        stats = tracker.stop()
    return _print_replayed(outcome, stats, as_json=as_json)


@dead.command("edit")
@command
def edit(  # noqa: PLR0913 - options
    letter_id: Annotated[str, typer.Argument(metavar="ID", help="The id of a dead letter.")],
    *,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PATH=VALUE", help="Such as custom_data.currency=EUR."),
    ] = None,
    file: Annotated[
        str | None, typer.Option("--file", metavar="FILE", help="The whole event; - for stdin.")
    ] = None,
    order: Annotated[
        str | None, typer.Option("--order", metavar="FILE", help="The order as JSON; - for stdin.")
    ] = None,
    timeout: Handover = 10.0,
    directory: Directory = None,
    as_json: AsJson = False,
) -> int:
    """Correct the event of a dead letter and send it again.

    Without an option, opens it in $EDITOR. Dead letters of other destinations with the same
    event are corrected, too. Needs no credentials. Exits with 1 if the event is still invalid.
    """
    letter = _find_letter(directory, letter_id)
    if sum(map(bool, (changes, file, order))) > 1:
        raise ConfigurationError("Use only one of --set, --file and --order.")
    try:
        with stopping(make_tracker(directory, max_bytes=None)) as tracker:
            event = _corrected(letter, changes, file, order)
            outcome = tracker.dead_letters.correct(letter.id, event, timeout)
            stats = tracker.stop()
    except InvalidEventError as error:
        _common.print_error(f"The event is invalid: {error}")
        return EXIT_ATTENTION
    return _print_replayed(outcome, stats, as_json=as_json)


def _corrected(
    letter: DeadLetter, changes: list[str] | None, file: str | None, order: str | None
) -> str | bytes | dict[str, object]:
    if order:
        return _event_of_order(letter, _read_text(order))
    if file:
        return _read_text(file)
    if changes:
        return _with_changes(letter, changes)
    if not sys.stdin.isatty():
        raise ConfigurationError("Standard input is not a terminal: use --set, --file or --order.")
    text = click.edit(json.dumps(letter.summary()["event"], indent=2), extension=".json")
    if text is None:
        raise ConfigurationError("The event was not changed.")
    return text


def _read_text(path: str) -> str:
    return sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")


def _with_changes(letter: DeadLetter, changes: list[str]) -> dict[str, object]:
    event: dict[str, Any] = json.loads(letter.event, parse_float=Decimal)
    for change in changes:
        path, equals, value = change.partition("=")
        *parents, last = path.split(".")
        if not equals or not last:
            raise ConfigurationError(f"--set: expected PATH=VALUE, got {change!r}")
        target = event
        for name in parents:
            if not isinstance(target.get(name), dict):
                target[name] = {}
            target = target[name]
        target[last] = _parse_value(value)
    return event


def _parse_value(text: str) -> object:
    """Read a value as JSON, or as plain text if it isn't JSON."""
    try:
        return json.loads(text, parse_float=Decimal)
    except ValueError:
        return text


def _event_of_order(letter: DeadLetter, text: str) -> bytes:
    """Build the event of a dead letter anew from its order, at the original time."""
    try:
        source = json.loads(text, parse_float=Decimal)
    except ValueError as error:
        raise ConfigurationError(f"--order: expected a JSON object: {error}") from None
    stored = json.loads(letter.event)
    fields: EventFields = {}
    if isinstance(stored.get("event_id"), str) and stored["event_id"]:
        fields["event_id"] = stored["event_id"]
    died_at = datetime.fromtimestamp(letter.died_at, _UTC)
    if stored.get("event_type") == "refund":
        return refund_event(to_order(source), now=died_at, **fields).json
    return purchase_event(to_order(source), now=died_at, **fields).json


@dead.command("drop")
@command
def drop(  # noqa: PLR0913 - options, each by its name
    ids: Ids = None,
    *,
    every: Every = False,
    code: Code = None,
    destination: Destination = None,
    yes: Yes = False,
    timeout: Handover = 10.0,
    directory: Directory = None,
    as_json: AsJson = False,
) -> int:
    """Delete dead letters permanently.

    Needs no credentials. Exits with 1 if an id is unknown, or if not confirmed.
    """
    found = _find_letters(directory, code, destination)
    chosen = _select(ids, found, filters=(every, code, destination))
    unknown = sorted(chosen - {letter.id for letter in found})
    known = chosen.difference(unknown)
    agreed = not known or confirm(
        f"Delete {plural(len(known), 'dead letter')} permanently?", yes=yes
    )
    dropped = 0
    if known and agreed:
        with (
            stopping(make_tracker(directory)) as tracker,
            _common.progress("dropping", hidden=as_json),
        ):
            dropped = tracker.dead_letters.discard(known, timeout)
    if as_json:
        _common.print_json({"dropped": dropped, "unknown": unknown})
    else:
        _common.print_line(f"{plural(dropped, 'dead letter')} dropped.")
        _print_unknown(unknown)
    return EXIT_OK if agreed and not unknown else EXIT_ATTENTION


def _find_letters(
    directory: str | None, code: str | None = None, destination: str | None = None
) -> list[DeadLetter]:
    """Return dead letters; end the command if nothing is known of the destination."""
    every = [letter for letters in _open_dead_letters(directory) for letter in letters]
    if destination is not None:
        _require_known(destination, every, directory)
    return [
        letter
        for letter in every
        if code in (None, letter.code) and destination in (None, letter.destination)
    ]


def _find_letter(directory: str | None, letter_id: str) -> DeadLetter:
    """Return a dead letter; end the command if there is none with this id."""
    letter = next((each for each in _find_letters(directory) if each.id == letter_id), None)
    if letter is None:
        _common.print_error(f"{letter_id}: no such dead letter; see: adcp-tracker dead list")
        raise typer.Exit(EXIT_ATTENTION)
    return letter


def _require_known(destination: str, letters: list[DeadLetter], directory: str | None) -> None:
    known = {*configured_names(), *(letter.destination for letter in letters)}
    if destination not in known:
        known.update(read_status(open_existing_queue(directory), ()).stats.destinations)
    if destination not in known:
        words = ", ".join(sorted(known)) or "none"
        _common.print_error(f"{destination}: unknown destination; known: {words}")
        raise typer.Exit(EXIT_ATTENTION)


def _open_dead_letters(directory: str | None) -> list[DeadLetters]:
    """Return the dead letters of each queue."""
    return [shard.open().dead_letters for shard in open_existing_queue(directory).shards()]


def _select(
    ids: list[str] | None, found: list[DeadLetter], *, filters: tuple[bool | str | None, ...]
) -> set[str]:
    filtered = any(each not in {None, False} for each in filters)
    if bool(ids) == filtered:
        raise ConfigurationError(
            "Select dead letters either by ids or by --all, --code or --destination, "
            f"not {'both' if filtered else 'by neither'}."
        )
    return set(ids) if ids else {letter.id for letter in found}


def _print_replayed(outcome: ReplayResult, stats: Stats, *, as_json: bool) -> int:
    """Print what was replayed, and return the exit code."""
    code = EXIT_ATTENTION if outcome.refused or outcome.unknown else EXIT_OK
    if as_json:
        names = ("replayed", "refused", "unknown")
        _common.print_json({name: getattr(outcome, name) for name in names})
        return code
    _common.print_line(f"{plural(len(outcome.replayed), 'dead letter')} will be sent again.")
    if outcome.refused:
        first = outcome.refused[0]
        _common.print_line(
            f"Invalid events, not sent: {', '.join(outcome.refused)}. For the reason, run: "
            f"adcp-tracker dead show {first}; to correct it, run: adcp-tracker dead edit {first}"
        )
    _print_unknown(outcome.unknown)
    if stats.pending:
        _common.print_line(
            f"Pending: {plural(stats.pending, 'delivery')}. To send now, run: adcp-tracker flush"
        )
    return code


def _print_unknown(unknown: Collection[str]) -> None:
    if unknown:
        _common.print_line(f"Unknown ids: {', '.join(unknown)}.")


def remedy_of(letter: DeadLetter) -> str:
    """Return what to do about a dead letter, with its id after a command that needs it."""
    return f"{letter.remedy} {letter.id}" if letter.remedy.endswith("dead edit") else letter.remedy


def _document(letter: DeadLetter) -> dict[str, object]:
    document: dict[str, object] = {name: getattr(letter, name) for name in _SHOWN}
    return document | {
        "died_at": _died_at(letter),
        "event_id": _event_id(letter),
        "test_event_code": letter.test_event_code,
    }


def _died_at(letter: DeadLetter) -> str:
    return datetime.fromtimestamp(letter.died_at, _UTC).isoformat(" ", "seconds")


def _event_id(letter: DeadLetter) -> str:
    event = letter.summary()["event"]
    return str(event.get("event_id", "")) if isinstance(event, dict) else ""


@command
def retire(
    destination: Annotated[
        str, typer.Argument(metavar="NAME", help="Its name in the output of status.")
    ],
    *,
    yes: Yes = False,
    timeout: Handover = 10.0,
    directory: Directory = None,
    as_json: AsJson = False,
) -> int:
    """Remove a destination that is no longer configured.

    Its pending events are dropped; until you do this, they are kept on disk. Its dead letters
    are kept. Exits with 1 if it is unknown or still in use.
    """
    queue = open_existing_queue(directory)
    with stopping(make_tracker(directory)) as tracker:
        names = [each.name for each in tracker.destinations]
        found = read_status(queue, names)
        why_not = _why_not_removable(destination, names, found)
        if why_not:
            _common.print_error(why_not)
        elif not confirm(_question(destination, found), yes=yes):
            why_not = "not confirmed"
        elif not tracker.remove_destination(destination, timeout):
            why_not = f"{destination}: it is already removed, or in use"
            _common.print_error(why_not)
    if as_json:
        _common.print_json({"destination": destination, "retired": not why_not, "reason": why_not})
    elif not why_not:
        _common.print_line(f"Removed {destination}.")
    return EXIT_ATTENTION if why_not else EXIT_OK


def _why_not_removable(destination: str, names: list[str], found: QueueStatus) -> str:
    if destination in names:
        return f"{destination} is configured. Remove it from the ADCP_* variables first."
    counts = found.stats.destinations.get(destination)
    if counts is None:
        known = ", ".join(found.stats.destinations) or "none"
        return f"{destination}: unknown destination; known: {known}"
    if found.leader is not None and counts.configured:
        return (
            f"{destination} is configured in process {found.leader}. "
            "Restart that process without it first."
        )
    return ""


def _question(destination: str, found: QueueStatus) -> str:
    pending = found.stats.destinations[destination].pending
    return f"Remove {destination} and drop its {pending:,} pending events?"
