"""Dead letters: kept on their own, found again, and gone when they are given up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import pytest

from adcp_tracker.journal.files import QueueDirectory
from adcp_tracker.outbox.dead_letters import DeadLetter, DeadLetterStore

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def directory(tmp_path: Path) -> QueueDirectory:
    """Return a queue directory."""
    made = QueueDirectory(tmp_path / "queue")
    made.prepare()
    return made


def letter(number: int) -> DeadLetter:
    """Return one of several letters."""
    return DeadLetter(
        destination="a",
        segment="s.log",
        offset=number,
        died_at=1_767_225_600.5 + number,
        code="INVALID_EVENT_TIME",
        message="too long ago",
        remedy="Send it sooner.",
        test_event_code="T1" if number % 2 else None,
        event=b'{"event_id":"A-%d"}' % number,
    )


def test_letters_are_found_again_by_another_process(directory: QueueDirectory) -> None:
    """Everything about a letter comes back, in the order of their deaths."""
    DeadLetterStore(directory).add([letter(1), letter(2)], 1.0)
    DeadLetterStore(directory).add([letter(3)], 2.0)
    assert list(DeadLetterStore(directory)) == [letter(1), letter(2), letter(3)]


def test_the_same_death_twice_is_one_letter(directory: QueueDirectory) -> None:
    """A crash between writing a letter and noting it makes no second one."""
    letters = DeadLetterStore(directory)
    letters.add([letter(1)], 1.0)
    letters.add([attrs.evolve(letter(1), died_at=99.0)], 2.0)
    assert [each.id for each in letters] == [letter(1).id]


def test_removed_letters_leave_nothing_behind(directory: QueueDirectory) -> None:
    """A letter that is given up is erased in place, and an empty file is deleted."""
    letters = DeadLetterStore(directory)
    letters.add([letter(1), letter(2)], 1.0)
    assert letters.remove({letter(1).id, "unknown"}) == 1
    assert list(letters) == [letter(2)]
    (path,) = directory.dead.iterdir()
    assert b"A-1" not in path.read_bytes()
    assert letters.remove({letter(2).id}) == 1
    assert letters.is_empty()
    assert list(directory.dead.iterdir()) == []


def test_its_repr_shows_no_event(directory: QueueDirectory) -> None:
    """An event holds pseudonymous personal data, which no log gets by accident."""
    del directory
    assert "A-1" not in repr(letter(1))
    assert letter(1).summary()["event"] == {"event_id": "A-1"}
