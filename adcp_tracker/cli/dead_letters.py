"""dead list/show/replay/drop, retire."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Annotated, Final

import typer

from adcp_tracker.cli import _output
from adcp_tracker.cli._common import (
    FINE,
    LEFT,
    AsJson,
    Directory,
    Handover,
    Yes,
    command,
    confirmed,
)
from adcp_tracker.cli._queue import (
    at_work,
    configured_names,
    encryption,
    existing_queue,
    tracker_of,
)
from adcp_tracker.exceptions import ConfigurationError

if TYPE_CHECKING:
    from adcp_tracker.cli._queue import Standing
    from adcp_tracker.delivery.commands import Replayed
    from adcp_tracker.delivery.stats import Stats
    from adcp_tracker.outbox.dead_letters import DeadLetter, DeadLetters


Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Which, by their ids.")]
Every = Annotated[bool, typer.Option("--all", help="Every one.")]
Code = Annotated[
    str | None, typer.Option("--code", metavar="CODE", help="Those set aside for this code.")
]
Destination = Annotated[
    str | None, typer.Option("--destination", metavar="NAME", help="Those of this destination.")
]
_SHOWN: Final = ("id", "destination", "died_at", "code", "message", "remedy", "replayable")
_UTC: Final = timezone.utc

dead = typer.Typer(
    help="The events that were set aside, and what becomes of them.",
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
    """List dead letters, the newest first.

    Needs no credentials. Exits with 1 if the destination is unknown.
    """
    if _is_unknown(destination, directory):
        return LEFT
    found, locked = _letters(directory, code, destination), _kept(directory).locked()
    newest = found[: -limit - 1 : -1]
    if as_json:
        letters = [_document(each) for each in newest]
        _output.emit({"count": len(found), "locked": locked, "letters": letters})
        return FINE
    if newest:
        _output.table(
            ("id", "died", "destination", "event", "code", "reason"),
            [
                (each.id, _when(each), each.destination, _event_id(each), each.code, each.message)
                for each in newest
            ],
        )
        _output.say()
    _output.say(f"{len(newest):,} of {len(found):,} dead letters.")
    if locked:
        _output.say(
            f"{locked:,} more cannot be read: add the key that sealed them to "
            "ADCP_ENCRYPTION_KEYS.",
            "yellow",
        )
    return FINE


@dead.command("show")
@command
def show(
    letter_id: Annotated[str, typer.Argument(metavar="ID", help="Which.")],
    *,
    directory: Directory = None,
    as_json: AsJson = False,
) -> int:
    """Show one dead letter with its event. Needs no credentials."""
    letter = next((each for each in _letters(directory) if each.id == letter_id), None)
    if letter is None:
        _output.complain(
            f"{letter_id}: expected the id of a dead letter; see: adcp-tracker dead list"
        )
        return LEFT
    if as_json:
        _output.emit(letter.summary() | {"died_at": _when(letter)})
        return FINE
    for name in _SHOWN:
        value = _when(letter) if name == "died_at" else getattr(letter, name)
        _output.say(f"{name}: {value}")
    _output.say("event:")
    for line in json.dumps(letter.summary()["event"], indent=2).splitlines():
        _output.say(line, indent=len(line) - len(line.lstrip()))
    return FINE


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
    """Send dead letters again, once what killed them is mended.

    Needs no credentials: whoever uploads sends them. Exits with 1 if one is unknown, or cannot
    be sent as it is, because its fault is in the event.
    """
    if _is_unknown(destination, directory):
        return LEFT
    found = _letters(directory, code, destination)
    chosen = _chosen(ids, found, filtered=every or _any(code, destination))
    with at_work(tracker_of(directory, max_bytes=None)) as tracker:
        outcome = tracker.replay(chosen, timeout)
        stats = tracker.stop()
    if as_json:
        replayed, refused, unknown = outcome.replayed, outcome.refused, outcome.unknown
        _output.emit({"replayed": replayed, "refused": refused, "unknown": unknown})
    else:
        _tell_replayed(outcome, stats)
    return LEFT if outcome.refused or outcome.unknown else FINE


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
    """Give dead letters up for good, and erase them from the disk.

    Needs no credentials. Exits with 1 if one is unknown, or nobody confirmed it.
    """
    if _is_unknown(destination, directory):
        return LEFT
    found = _letters(directory, code, destination)
    chosen = _chosen(ids, found, filtered=every or _any(code, destination))
    unknown = sorted(chosen - {letter.id for letter in found})
    known = chosen.difference(unknown)
    agreed = not known or confirmed(f"Give {len(known):,} dead letters up for good?", yes=yes)
    dropped = 0
    if known and agreed:
        with at_work(tracker_of(directory)) as tracker:
            dropped = tracker.drop(known, timeout)
    if as_json:
        _output.emit({"dropped": dropped, "unknown": unknown})
    else:
        _output.say(f"{dropped:,} dead letters dropped.")
        _tell_unknown(unknown)
    return FINE if agreed and not unknown else LEFT


def _letters(
    directory: str | None, code: str | None = None, destination: str | None = None
) -> list[DeadLetter]:
    return [
        letter
        for letter in _kept(directory)
        if code in (None, letter.code) and destination in (None, letter.destination)
    ]


def _is_unknown(destination: str | None, directory: str | None) -> bool:
    """Complain of a destination that has no letters, no books and no configuration."""
    from adcp_tracker.cli._queue import standing  # noqa: PLC0415 - for a quick --help

    if destination is None:
        return False
    known = {*configured_names(), *(letter.destination for letter in _kept(directory))}
    if destination in known:
        return False
    known.update(standing(existing_queue(directory), ()).stats.destinations)
    if destination in known:
        return False
    words = ", ".join(sorted(known)) or "none"
    _output.complain(f"{destination}: expected a known destination, got another; known: {words}")
    return True


def _kept(directory: str | None) -> DeadLetters:
    from adcp_tracker.outbox.dead_letters import DeadLetters  # noqa: PLC0415 - for a quick --help

    return DeadLetters(existing_queue(directory), encryption())


def _any(*filters: str | None) -> bool:
    return any(each is not None for each in filters)


def _chosen(ids: list[str] | None, found: list[DeadLetter], *, filtered: bool) -> set[str]:
    if bool(ids) == filtered:
        raise ConfigurationError(
            "which letters: expected either their ids, or --all, --code or --destination, "
            f"got {'both' if filtered else 'none of them'}"
        )
    return set(ids) if ids else {letter.id for letter in found}


def _tell_replayed(outcome: Replayed, stats: Stats) -> None:
    _output.say(f"{len(outcome.replayed):,} dead letters are on their way again.")
    if outcome.refused:
        _output.say(
            f"{len(outcome.refused):,} cannot be sent as they are: {', '.join(outcome.refused)}. "
            "Each one's reason is in: adcp-tracker dead show ID"
        )
    _tell_unknown(outcome.unknown)
    if stats.pending:
        _output.say(f"{stats.pending:,} deliveries wait for whoever uploads: adcp-tracker flush")


def _tell_unknown(unknown: tuple[str, ...] | list[str]) -> None:
    if unknown:
        _output.say(f"{len(unknown):,} are no dead letter's id: {', '.join(unknown)}.")


def _document(letter: DeadLetter) -> dict[str, object]:
    document: dict[str, object] = {name: getattr(letter, name) for name in _SHOWN}
    return document | {
        "died_at": _when(letter),
        "event_id": _event_id(letter),
        "test_event_code": letter.test_event_code,
    }


def _when(letter: DeadLetter) -> str:
    return datetime.fromtimestamp(letter.died_at, _UTC).isoformat(" ", "seconds")


def _event_id(letter: DeadLetter) -> str:
    event = letter.summary()["event"]
    return str(event.get("event_id", "")) if isinstance(event, dict) else ""


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
    from adcp_tracker.cli._queue import standing  # noqa: PLC0415 - for a quick --help

    queue = existing_queue(directory)
    with at_work(tracker_of(directory)) as tracker:
        names = [each.name for each in tracker.destinations]
        found = standing(queue, names)
        why_not = _objection(destination, names, found)
        if why_not:
            _output.complain(why_not)
        elif not confirmed(_question(destination, found), yes=yes):
            why_not = "not confirmed"
        elif not tracker.retire(destination, timeout):
            why_not = f"{destination}: it is gone, or in use"
            _output.complain(why_not)
    if as_json:
        _output.emit({"destination": destination, "retired": not why_not, "reason": why_not})
    elif not why_not:
        _output.say(f"{destination} is forgotten.")
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
