"""Erasing a person from everything that the queue keeps.

It runs in the leading thread, under the leader's lock, so that nobody seals, sends
or deletes meanwhile; writers in any process go on, as they only append.
Records are overwritten in place. Every step can be done again: after a crash in the
middle, the same call does what is left.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from collections import Counter
from typing import TYPE_CHECKING

import attrs

from adcp_tracker.delivery.books import publish
from adcp_tracker.privacy.forgotten import Forgotten
from adcp_tracker.privacy.person import Recognition
from adcp_tracker.privacy.searching import Findings, mentions, search, traces
from adcp_tracker.privacy.standing import OPEN, SENT, Standing
from adcp_tracker.queue.directory import open_private, sync_directory

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from adcp_tracker.delivery.leadership import Leadership
    from adcp_tracker.privacy.person import Person
    from adcp_tracker.privacy.remembering import Memory
    from adcp_tracker.queue.directory import QueueDirectory
    from adcp_tracker.queue.intake import Intake
    from adcp_tracker.queue.records import Damage


@attrs.frozen
class Erasure:
    """Erases one person, as an errand of the leading thread.

    Attributes:
        directory: The queue directory.
        intake: What this process holds in memory.
        memory: The contexts that are remembered.
        person: Whom.
        follow: Erase what shares an order, a click or an id with their events as well.
    """

    directory: QueueDirectory
    intake: Intake
    memory: Memory
    person: Person
    follow: bool = True

    def __call__(self, leadership: Leadership) -> Forgotten:
        """Erase, and report.

        Raises:
            OSError: If the disk does not take it; what was erased by then stays erased.
        """
        self.intake.settle()
        leadership.settle_arrived()
        findings = search(leadership, self.person, follow=self.follow)
        recognition = Recognition(findings.person)
        standing = Standing(leadership)
        stands = Counter(
            one
            for each in findings.events
            for one in standing.of(each.segment, each.record).items()
        )
        _erase(self.directory, leadership, findings)
        in_memory = self.intake.erase(recognition.owns)
        on_the_way = leadership.let_go(recognition.owns)
        waiting = sum(number for (_, stand), number in stands.items() if stand in OPEN)
        unreadable = self._remove_unreadable(findings)
        remembered, unsearched = self.memory.forget(self.memory.of(findings.person))
        self._hush(leadership, findings.person.traits())
        return Forgotten(
            events=len(findings.events),
            undelivered=waiting - on_the_way,
            sent={name: n for (name, stand), n in sorted(stands.items()) if stand == SENT},
            on_the_way=on_the_way,
            dead_letters=len(findings.letters),
            in_memory=in_memory,
            remembered=remembered,
            unsearched=unsearched,
            unreadable=unreadable,
            locked=findings.locked,
            traces=traces(self.directory.path, self.person.traits()),
        )

    def _remove_unreadable(self, findings: Findings) -> int:
        """Remove what cannot be searched, since any of it may be the person's."""
        removed = sum(map(len, findings.damages.values()))
        self.directory.check(self.directory.damaged)
        for path in sorted(self.directory.damaged.iterdir()):
            path.unlink()
            removed += 1
        for path in sorted(self.directory.path.glob("state.damaged-*")):
            shutil.rmtree(path)
            removed += 1
        for folder in (self.directory.damaged, self.directory.path):
            sync_directory(folder)
        return removed

    def _hush(self, leadership: Leadership, traits: frozenset[str]) -> None:
        """Take the person out of what sellers said, also where a database has freed it."""
        _hush_state(leadership, traits)
        leadership.commit()
        state = self.directory.state
        if any(mentions(path, traits) for path in state.iterdir()):
            leadership.suspend()
            try:
                for database in state.glob("*.db"):
                    with contextlib.closing(sqlite3.connect(database)) as connection:
                        connection.execute("VACUUM")
            finally:
                leadership.resume()
        publish(self.directory, leadership.books())


def _erase(directory: QueueDirectory, leadership: Leadership, findings: Findings) -> None:
    for segment in sorted({found.segment for found in findings.events}):
        records = [found.record for found in findings.events if found.segment == segment]
        leadership.segments.erase(segment, records)
    for segment, damages in findings.damages.items():
        _blank(directory.segments / segment, damages)
    leadership.dead_letters.remove({letter.id for letter in findings.letters})


def _blank(path: Path, damages: Iterable[Damage]) -> None:
    """Overwrite what is no record, and leave its lines as many as they were."""
    descriptor = open_private(path, os.O_RDWR)
    try:
        for damage in damages:
            os.pwrite(descriptor, b" " * len(damage.data), damage.start)
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)


def _hush_state(leadership: Leadership, traits: frozenset[str]) -> None:
    def tells(message: str) -> bool:
        folded = message.casefold()
        return any(trait in folded for trait in traits)

    for deliveries in list(leadership.state.deliveries.values()):
        for delivery in list(deliveries):
            if tells(delivery.last_message):
                leadership.state.replace(delivery, attrs.evolve(delivery, last_message=""))
    for state in leadership.state.destinations.values():
        if state.pause is not None and tells(state.pause.message):
            state.pause = attrs.evolve(state.pause, message="")
