"""The transactional outbox: events inserted in the application's own database transaction.

Order and event are committed or rolled back together, because one transaction of one database
has both. The frameworks' integrations know the transaction; this module has what they share.
It imports no database driver.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import attrs

from adcp_tracker.exceptions import AdcpTrackerError, ConfigurationError
from adcp_tracker.outbox.schema import WORDS

if TYPE_CHECKING:
    from collections.abc import Callable


@attrs.frozen(eq=False)
class PendingRecord:
    """A record that is to be inserted in a transaction.

    Attributes:
        record: The record, as a journal has it.
        queue: The number of the queue that it belongs to.
        savepoint: Whether to insert it in a savepoint.
        write: Writes the event to the journal. Called after the commit if the insert failed.
        failed: Called at once with the error of an insert that failed.
    """

    record: bytes
    queue: int
    savepoint: bool
    write: Callable[[], None]
    failed: Callable[[Exception], None]


class TransactionalOutbox(Protocol):
    """Inserts events through the connection of the application's transaction."""

    location: str
    """What messages call the database; never a password."""

    def insert(self, pending: PendingRecord) -> bool:
        """Insert a record in the open transaction; return ``False`` if none is open.

        If the insert fails, the transaction has to stay usable, and :attr:`PendingRecord.write`
        is called after its commit.
        """

    def commit(self, record: bytes, queue: int) -> None:
        """Insert a record in a transaction of its own."""

    def defer(self, write: Callable[[], None]) -> bool:
        """Call `write` after the commit of the open transaction; ``False`` if none is open."""


def check_dialect(option: str, name: str) -> None:
    """Check that a database can hold a queue.

    Args:
        option: What says which database it is.
        name: What the framework calls its kind.

    Raises:
        ConfigurationError: If it can't.
    """
    if name not in WORDS:
        raise ConfigurationError(
            f"{option}: expected a database of kind {' or '.join(WORDS)}, which a transactional "
            f"outbox needs, got {name}; keep events in a directory instead"
        )


def describe_error(error: Exception) -> str:
    """Return the kind of a database's error; its words could be personal data."""
    if isinstance(error, (AdcpTrackerError, OSError)):
        return str(error)
    causes: list[BaseException | None] = [error, error.__cause__, getattr(error, "orig", None)]
    codes = [
        getattr(each, name, None) for each in causes for name in ("sqlstate", "pgcode", "errno")
    ]
    code = next((str(each) for each in codes if each), "")
    return f"{type(error).__name__} {code}".rstrip()
