"""A leader that dies at a commit: what must be on the disk, or must not be sent, by then."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from adcp_tracker.delivery.outcomes import RetryPolicy
from adcp_tracker.delivery.uploader import Uploader, UploaderConfig
from adcp_tracker.destinations.base import Batch, Delivered, EventFailure
from adcp_tracker.journal.files import QueueDirectory
from adcp_tracker.journal.records import ENVELOPED, with_envelope
from adcp_tracker.journal.writer import JournalWriter
from adcp_tracker.outbox.dead_letters import DeadLetterStore
from adcp_tracker.outbox.directory import DirectoryStore
from tests.support.destinations import HandClock, MemoryOutbox, ScriptedDestination, wait_until

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

    from adcp_tracker.outbox.storage import Outbox

NOW_MS = 1_767_225_600_123
EVENT = b'{"event_id":"A-%d","event_type":"lead"}'


class DeathError(BaseException):
    """The process is gone; nothing catches that."""


class MortalOutbox(MemoryOutbox):
    """An outbox whose process dies at the next change, once it is told to.

    Attributes:
        dies: When: right ``before`` the change is kept, right ``after``, or not at all.
    """

    def __init__(self) -> None:
        super().__init__()
        self.dies = ""

    def apply(self, puts: Mapping[str, bytes], removes: Collection[str]) -> None:
        """Set and remove keys, and die."""
        if self.dies == "before":
            raise DeathError
        super().apply(puts, removes)
        if self.dies == "after":
            raise DeathError


class Office:
    """A queue directory, its outbox and its seller, for one leader after the other."""

    def __init__(self, path: Path) -> None:
        self.directory = QueueDirectory(path)
        self.directory.prepare()
        self.journal = JournalWriter(self.directory)
        self.outbox = MortalOutbox()
        self.seller = ScriptedDestination()

    def track(self, number: int) -> None:
        """Write an event."""
        self.journal.append(EVENT % number, NOW_MS)

    def lead(self) -> Uploader:
        """Take the lead; whoever led before is gone."""
        self.outbox.dies = ""
        setting = UploaderConfig(
            DirectoryStore(self.directory, None, self._open),
            [self.seller],
            RetryPolicy(lambda: 0.5),
            HandClock(),
            1.0,
        )
        return Uploader(setting, lambda: None)

    def _open(self, directory: QueueDirectory) -> Outbox:
        del directory
        return self.outbox


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    """Somewhere to lead."""
    one = Office(tmp_path / "queue")
    yield one
    one.journal.roll()


def _finish(uploader: Uploader) -> None:
    def is_done() -> bool:
        uploader.run_once()
        return uploader.is_drained()

    wait_until(is_done)
    uploader.close()


def _refuse(batch: Batch) -> Delivered:
    return Delivered(tuple(EventFailure("NO", "no", index=at) for at in range(len(batch.events))))


@pytest.mark.parametrize(
    ("dies", "sent"),
    [("before", [[EVENT % 1, EVENT % 2]]), ("after", [[EVENT % 1], [EVENT % 2]])],
    ids=["before it is kept", "after it is kept"],
)
def test_a_batch_is_sent_only_once_it_is_kept_and_is_the_same_from_then_on(
    office: Office, dies: str, sent: list[list[bytes]]
) -> None:
    """What a dead leader kept goes as it was; else the next freezes another, with what came later.

    Had the first sent it already, two batches would go for one key.
    """
    office.track(1)
    first = office.lead()
    office.outbox.dies = dies
    with pytest.raises(DeathError):
        first.run_once()
    assert not first.is_sending
    office.track(2)
    _finish(office.lead())
    assert [list(batch.events) for batch in office.seller.batches] == sent


def test_a_dead_letter_is_on_the_disk_before_the_outcome_of_its_event(office: Office) -> None:
    """Else a death between the two would leave the event nowhere, and only the counts know it."""
    office.track(1)
    office.seller.outcomes.append(_refuse)
    first = office.lead()
    first.run_once()
    office.outbox.dies = "after"

    def settle() -> None:
        while first.is_sending:
            first.run_once()

    with pytest.raises(DeathError):
        settle()
    assert [letter.event for letter in DeadLetterStore(office.directory)] == [EVENT % 1]
    second = office.lead()
    _finish(second)
    counts = second.stats().total()
    assert (counts.accepted, counts.dead, counts.pending) == (1, 1, 0)
    assert len(office.seller.batches) == 1


@pytest.mark.parametrize("dies", ["before", "after"])
def test_an_event_that_dies_before_it_is_sent_is_counted_once(office: Office, dies: str) -> None:
    """Its letter is there before the counts know of it, and is made again by whoever is next."""
    office.track(1)
    _finish(office.lead())
    invalid = with_envelope({"code": "INVALID_EVENT", "message": "no"}, EVENT % 2)
    office.journal.append_record(invalid, NOW_MS, ENVELOPED)
    first = office.lead()
    office.outbox.dies = dies
    with pytest.raises(DeathError):
        first.run_once()
    assert [letter.event for letter in DeadLetterStore(office.directory)] == [EVENT % 2]
    second = office.lead()
    _finish(second)
    assert [letter.event for letter in DeadLetterStore(office.directory)] == [EVENT % 2]
    counts = second.stats().total()
    assert (counts.accepted, counts.delivered, counts.dead) == (2, 1, 1)
