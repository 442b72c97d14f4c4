"""What adds records to a database, with the database left out."""

from __future__ import annotations

import pytest

from adcp_tracker.journal.encryption import Encryption
from adcp_tracker.outbox.database import DatabaseError
from adcp_tracker.outbox.database_store import DatabaseWriter
from tests.store.contract import NOW_MS, body


def test_an_encrypted_event_is_tried_again_as_it_was() -> None:
    """However many others failed before, and were inserted at their second try."""
    tried: list[tuple[bytes, int]] = []

    def insert(record: bytes, queue: int) -> None:
        tried.append((record, queue))
        if len(tried) % 2:
            raise DatabaseError("the connection was lost")

    writer = DatabaseWriter(insert, Encryption(b"k" * 32), queues=range(8))
    for number in range(1500):
        with pytest.raises(DatabaseError):
            writer.append(body(number), NOW_MS)
        writer.append(body(number), NOW_MS)

    assert tried[::2] == tried[1::2]
    assert len({record for record, _ in tried}) == 1500
