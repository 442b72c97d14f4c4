"""Which outbox a queue directory has, unless another is given."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from adcp_tracker.queue.directory import QueueDirectory
    from adcp_tracker.queue.outbox import Outbox


def open_outbox(directory: QueueDirectory) -> Outbox:
    """Open the outbox of a queue directory.

    Raises:
        DamagedOutboxError: If the database is no database.
        OutboxError: If it cannot be opened for now.
    """
    # Imported here, since a process that never uploads has no use for a database.
    from adcp_tracker.queue.diskcacheoutbox import DiskcacheOutbox  # noqa: PLC0415 - see above

    return DiskcacheOutbox(directory.state)
