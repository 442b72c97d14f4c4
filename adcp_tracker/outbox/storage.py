"""Outbox protocol and its diskcache store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from adcp_tracker.exceptions import OutboxError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from adcp_tracker.journal.files import QueueDirectory


def open_outbox(directory: QueueDirectory) -> Outbox:
    """Open the outbox of a queue directory.

    Raises:
        DamagedOutboxError: If the database is no database.
        OutboxError: If it cannot be opened for now.
    """
    # Imported here, since a process that never uploads has no use for a database.
    from adcp_tracker.outbox._diskcache import DiskcacheOutbox  # noqa: PLC0415 - see above

    return DiskcacheOutbox(directory.state)


class DamagedOutboxError(OutboxError):
    """What was read back is not what was written."""


class Outbox(Protocol):
    """A transactional map. Any store that passes the contract tests can stand in."""

    def load(self) -> dict[str, bytes]:
        """Return everything in it.

        Raises:
            DamagedOutboxError: If what is there is not what was last written.
            OutboxError: If it cannot be read for now.
        """

    def apply(self, puts: Mapping[str, bytes], removes: Collection[str]) -> None:
        """Set and remove keys, all or none of them, durably.

        Raises:
            OutboxError: If it cannot be written; then nothing has changed.
        """

    def close(self) -> None:
        """Close it, in the thread that opened it."""
