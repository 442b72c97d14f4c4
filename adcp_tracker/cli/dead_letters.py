"""``adcp-tracker dead list/show/replay/drop`` and ``retire``."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Annotated, Final

import typer

from adcp_tracker.cli import _output
from adcp_tracker.cli._common import (
    EXIT_ATTENTION,
    EXIT_OK,
    AsJson,
    Directory,
    Handover,
    Yes,
    command,
    confirm,
)
from adcp_tracker.cli._queue import (
    configured_names,
    encryption,
    make_tracker,
    open_existing_queue,
    stopping,
)
from adcp_tracker.exceptions import ConfigurationError

if TYPE_CHECKING:
    from adcp_tracker.cli._queue import QueueStatus
    from adcp_tracker.delivery.commands import ReplayResult
    from adcp_tracker.delivery.stats import Stats
    from adcp_tracker.outbox.dead_letters import DeadLetter, DeadLetterStore


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

dead = typer.Typer(
    help="List, show, replay or drop dead letters: events that could not be delivered.",
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
    """List dead letters, newest first.

    Needs no credentials. Exits with 1 if the destination is unknown.
    """
    if _is_unknown(destination, directory):
        return EXIT_ATTENTION
    found, locked = (
        _find_letters(directory, code, destination),
        _open_dead_letters(directory).undecrypted(),
    )
    newest = found[: -limit - 1 : -1]
    if as_json:
        letters = [_document(each) for each in newest]
        _output.print_json({"count": len(found), "locked": locked, "letters": letters})
        return EXIT_OK
    if newest:
        _output.print_table(
            ("id", "died", "destination", "event", "code", "reason"),
            [
                (
                    each.id,
                    _died_at(each),
                    each.destination,
                    _event_id(each),
                    each.code,
                    each.message,
                )
                for each in newest
            ],
        )
        _output.print_line()
    _output.print_line(f"{len(newest):,} of {len(found):,} dead letters.")
    if locked:
        _output.print_line(
            f"{locked:,} more can't be decrypted. Add their key to ADCP_ENCRYPTION_KEYS.",
            "yellow",
        )
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
    letter = next((each for each in _find_letters(directory) if each.id == letter_id), None)
    if letter is None:
        _output.print_error(f"{letter_id}: no such dead letter; see: adcp-tracker dead list")
        return EXIT_ATTENTION
    if as_json:
        _output.print_json(letter.summary() | {"died_at": _died_at(letter)})
        return EXIT_OK
    for name in _SHOWN:
        value = _died_at(letter) if name == "died_at" else getattr(letter, name)
        _output.print_line(f"{name}: {value}")
    _output.print_line("event:")
    for line in json.dumps(letter.summary()["event"], indent=2).splitlines():
        _output.print_line(line, indent=len(line) - len(line.lstrip()))
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
    if _is_unknown(destination, directory):
        return EXIT_ATTENTION
    found = _find_letters(directory, code, destination)
    chosen = _select(ids, found, filtered=every or _is_filtered(code, destination))
    with stopping(make_tracker(directory, max_bytes=None)) as tracker:
        outcome = tracker.dead_letters.replay(chosen, timeout)
        stats = tracker.stop()
    if as_json:
        replayed, refused, unknown = outcome.replayed, outcome.refused, outcome.unknown
        _output.print_json({"replayed": replayed, "refused": refused, "unknown": unknown})
    else:
        _print_replayed(outcome, stats)
    return EXIT_ATTENTION if outcome.refused or outcome.unknown else EXIT_OK


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
    if _is_unknown(destination, directory):
        return EXIT_ATTENTION
    found = _find_letters(directory, code, destination)
    chosen = _select(ids, found, filtered=every or _is_filtered(code, destination))
    unknown = sorted(chosen - {letter.id for letter in found})
    known = chosen.difference(unknown)
    agreed = not known or confirm(f"Delete {len(known):,} dead letters permanently?", yes=yes)
    dropped = 0
    if known and agreed:
        with stopping(make_tracker(directory)) as tracker:
            dropped = tracker.dead_letters.discard(known, timeout)
    if as_json:
        _output.print_json({"dropped": dropped, "unknown": unknown})
    else:
        _output.print_line(f"{dropped:,} dead letters dropped.")
        _print_unknown(unknown)
    return EXIT_OK if agreed and not unknown else EXIT_ATTENTION


def _find_letters(
    directory: str | None, code: str | None = None, destination: str | None = None
) -> list[DeadLetter]:
    return [
        letter
        for letter in _open_dead_letters(directory)
        if code in (None, letter.code) and destination in (None, letter.destination)
    ]


def _is_unknown(destination: str | None, directory: str | None) -> bool:
    """Return whether nothing is known of a destination; print an error if so."""
    from adcp_tracker.cli._queue import read_status  # noqa: PLC0415 - for a quick --help

    if destination is None:
        return False
    known = {*configured_names(), *(letter.destination for letter in _open_dead_letters(directory))}
    if destination in known:
        return False
    known.update(read_status(open_existing_queue(directory), ()).stats.destinations)
    if destination in known:
        return False
    words = ", ".join(sorted(known)) or "none"
    _output.print_error(f"{destination}: unknown destination; known: {words}")
    return True


def _open_dead_letters(directory: str | None) -> DeadLetterStore:
    from adcp_tracker.outbox.dead_letters import DeadLetterStore  # noqa: PLC0415 - for a quick --help

    return DeadLetterStore(open_existing_queue(directory), encryption())


def _is_filtered(*filters: str | None) -> bool:
    return any(each is not None for each in filters)


def _select(ids: list[str] | None, found: list[DeadLetter], *, filtered: bool) -> set[str]:
    if bool(ids) == filtered:
        raise ConfigurationError(
            "Select dead letters either by ids or by --all, --code or --destination, "
            f"not {'both' if filtered else 'by neither'}."
        )
    return set(ids) if ids else {letter.id for letter in found}


def _print_replayed(outcome: ReplayResult, stats: Stats) -> None:
    _output.print_line(f"{len(outcome.replayed):,} dead letters will be sent again.")
    if outcome.refused:
        _output.print_line(
            f"{len(outcome.refused):,} have invalid events: {', '.join(outcome.refused)}. "
            "For the reason, run: adcp-tracker dead show ID"
        )
    _print_unknown(outcome.unknown)
    if stats.pending:
        _output.print_line(
            f"{stats.pending:,} deliveries are pending. To send them now: adcp-tracker flush"
        )


def _print_unknown(unknown: tuple[str, ...] | list[str]) -> None:
    if unknown:
        _output.print_line(f"{len(unknown):,} ids are unknown: {', '.join(unknown)}.")


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
    from adcp_tracker.cli._queue import read_status  # noqa: PLC0415 - for a quick --help

    queue = open_existing_queue(directory)
    with stopping(make_tracker(directory)) as tracker:
        names = [each.name for each in tracker.destinations]
        found = read_status(queue, names)
        why_not = _why_not_removable(destination, names, found)
        if why_not:
            _output.print_error(why_not)
        elif not confirm(_question(destination, found), yes=yes):
            why_not = "not confirmed"
        elif not tracker.remove_destination(destination, timeout):
            why_not = f"{destination}: it is already removed, or in use"
            _output.print_error(why_not)
    if as_json:
        _output.print_json({"destination": destination, "retired": not why_not, "reason": why_not})
    elif not why_not:
        _output.print_line(f"Removed {destination}.")
    return EXIT_ATTENTION if why_not else EXIT_OK


def _why_not_removable(destination: str, names: list[str], found: QueueStatus) -> str:
    if destination in names:
        return f"{destination} is configured. Remove it from the ADCP_* variables first."
    books = found.stats.destinations.get(destination)
    if books is None:
        known = ", ".join(found.stats.destinations) or "none"
        return f"{destination}: unknown destination; known: {known}"
    if found.leader is not None and books.configured:
        return (
            f"{destination} is configured in process {found.leader}. "
            "Restart that process without it first."
        )
    return ""


def _question(destination: str, found: QueueStatus) -> str:
    pending = found.stats.destinations[destination].pending
    return f"Remove {destination} and drop its {pending:,} pending events?"
