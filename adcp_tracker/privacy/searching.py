"""Finding a person's events in everything that the queue keeps on disk."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import attrs

from adcp_tracker.privacy.person import Recognition
from adcp_tracker.queue.records import DROPPED, ERASED, LOCKED, Damage, Record

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from adcp_tracker.delivery.leadership import Leadership
    from adcp_tracker.privacy.person import Facts, Person
    from adcp_tracker.queue.deadletters import DeadLetter
    from adcp_tracker.queue.segments import Segments

_PIECE_BYTES = 4 * 1024 * 1024


class Found(NamedTuple):
    """One event of the person's in a segment.

    Attributes:
        segment: The segment's name.
        record: Its record.
        event: Its JSON.
    """

    segment: str
    record: Record
    event: bytes


@attrs.define(repr=False)
class Findings:
    """Everything of one person's.

    Attributes:
        person: The person, with all that was learned on the way.
        events: Their events in segments.
        letters: Their events among the dead letters.
        damages: What could not be read, and so not be searched, by segment.
        locked: How many events and dead letters were sealed with a key that is not given.
    """

    person: Person
    events: list[Found]
    letters: list[DeadLetter]
    damages: dict[str, list[Damage]]
    locked: int = 0


def search(leadership: Leadership, person: Person, *, follow: bool) -> Findings:
    """Look through segments and dead letters.

    Args:
        leadership: The queue, which only its leader may look through.
        person: Whose events.
        follow: Look for what shares an order, a click or an id with them as well.
    """
    while True:
        found, facts = _pass(leadership, person)
        further = person.following(facts) if follow else person
        if further == person:
            return found
        person = further


def _pass(leadership: Leadership, person: Person) -> tuple[Findings, list[Facts]]:
    recognition = Recognition(person)
    known: list[Facts] = []
    findings = Findings(person, [], [], {}, leadership.dead_letters.locked())
    for name, size in leadership.segments.sizes().items():
        for records, damages in pieces(leadership.segments, name, size):
            if damages:
                findings.damages.setdefault(name, []).extend(damages)
            for record in records:
                if record.kind in LOCKED:
                    findings.locked += 1
                elif record.kind not in (DROPPED, ERASED):
                    event = record.opened()[1]
                    facts = recognition.facts(event)
                    if facts is not None:
                        known.append(facts)
                        findings.events.append(Found(name, record, event))
    for letter in leadership.dead_letters:
        facts = recognition.facts(letter.event)
        if facts is not None:
            known.append(facts)
            findings.letters.append(letter)
    return findings, known


def pieces(segments: Segments, name: str, size: int) -> Iterator[tuple[list[Record], list[Damage]]]:
    """Read a segment, a few megabytes at a time.

    What follows its last line feed is being written, or was never finished.
    """
    start = 0
    while start < size:
        data = segments.read(name, start, min(size - start, _PIECE_BYTES))
        end = data.rfind(b"\n") + 1
        if end:
            yield segments.scan(data[:end], start)
        elif len(data) == _PIECE_BYTES or (data and segments.is_finished(name)):
            end = len(data)
            yield [], [Damage(start, data)]
        else:
            return
        start += end


def mentions(path: Path, traits: frozenset[str]) -> bool:
    """Say whether a file still holds anything that gives the person away."""
    try:
        text = path.read_bytes().decode(errors="replace").casefold()
    except FileNotFoundError:  # gone in the meantime, as a segment that was delivered
        return False
    return any(trait in text for trait in traits)


def traces(root: Path, traits: frozenset[str]) -> tuple[str, ...]:
    """Return the files below `root` that still hold anything of the person."""
    files = (path for path in root.rglob("*") if path.is_file() and not path.is_symlink())
    return tuple(sorted(str(path.relative_to(root)) for path in files if mentions(path, traits)))
