"""What adds records to a database, with the database left out."""

from __future__ import annotations

import pytest

from adcp_tracker.journal.encryption import Encryption
from adcp_tracker.outbox.database import DatabaseError
from adcp_tracker.outbox.database_store import DatabaseWriter, ProducerStore
from tests.store.contract import NOW_MS, body


class ForgetfulStore(ProducerStore):
    """A store whose database loses its answer to every second insert, the first one included.

    Attributes:
        inserted: What was to be inserted, and in which queue.
        asked: What was asked for, likewise.
        kept: Whether a lost answer was to a commit.
    """

    def __init__(self, *, kept: bool) -> None:
        self.kept = kept
        self.inserted: list[tuple[bytes, int]] = []
        self.asked: list[tuple[bytes, int]] = []

    def insert(self, record: bytes, queue: int) -> None:
        """Insert a record, or lose the answer."""
        self.inserted.append((record, queue))
        if len(self.inserted) % 2:
            raise DatabaseError("the connection was lost")

    def is_there(self, record: bytes, queue: int) -> bool:
        """Return whether a record was committed."""
        self.asked.append((record, queue))
        return self.kept and (record, queue) in self.inserted


def test_an_encrypted_event_is_tried_again_as_it_was() -> None:
    """However many others failed before, and were inserted at their second try."""
    store = ForgetfulStore(kept=False)
    writer = DatabaseWriter(store, Encryption(b"k" * 32), queues=range(8))
    for number in range(2500):
        with pytest.raises(DatabaseError):
            writer.append(body(number), NOW_MS)
        writer.append(body(number), NOW_MS)

    assert store.inserted[::2] == store.inserted[1::2] == store.asked
    assert len({record for record, _ in store.inserted}) == 2500


@pytest.mark.parametrize("key", [None, b"k" * 32], ids=["plain", "encrypted"])
def test_the_same_event_of_another_moment_is_another_record(key: bytes | None) -> None:
    """It is inserted without a question, and the first one is still asked for."""
    store = ForgetfulStore(kept=True)
    writer = DatabaseWriter(store, None if key is None else Encryption(key), queues=range(8))
    with pytest.raises(DatabaseError):
        writer.append(body(1), NOW_MS)
    writer.append(body(1), NOW_MS + 1)
    writer.append(body(1), NOW_MS)

    assert store.asked == store.inserted[:1]
    assert len(set(store.inserted)) == len(store.inserted) == 2
