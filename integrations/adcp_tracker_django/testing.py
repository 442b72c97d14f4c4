"""Look at the events of a transaction that is never committed, as in Django's ``TestCase``."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from django.db import connections

from adcp_tracker.events.event import decode
from adcp_tracker.journal.encryption import encryption_from_keys
from adcp_tracker.journal.records import ENVELOPED, EVENT, parse
from adcp_tracker.testing import CapturedEvents
from adcp_tracker_django.config import get_tracker

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["capture_transaction_events"]


@contextmanager
def capture_transaction_events(using: str = "default") -> Iterator[CapturedEvents]:
    """Collect the events that the block inserts in a transaction and doesn't roll back.

    They are in the list when the block ends. It works like ``captureOnCommitCallbacks``, for a
    site with ``QUEUE = "transaction"``.

    Args:
        using: The alias of the database that has the queue.
    """
    before, found = _last_row(using), CapturedEvents()
    yield found
    with connections[using].cursor() as cursor:
        cursor.execute("SELECT data FROM adcp_intake WHERE id > %s ORDER BY id", [before])
        data = b"".join(bytes(row[0]) for row in cursor.fetchall())
    encryption = encryption_from_keys(get_tracker().settings.encryption_keys)
    records, _ = parse(data) if encryption is None else encryption.parse(data, 0)
    found += [decode(each.unpack()[1]) for each in records if each.kind in {EVENT, ENVELOPED}]


def _last_row(using: str) -> int:
    with connections[using].cursor() as cursor:
        cursor.execute("SELECT coalesce(max(id), 0) FROM adcp_intake")
        (last,) = cursor.fetchone()
    return int(last)
