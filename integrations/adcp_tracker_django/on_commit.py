"""Write an event when the database transaction around it is committed.

Django drops what is to be done on commit when it rolls back, also to a savepoint, and doesn't
report it. So an event that is dropped this way isn't counted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
from django.db import connections, transaction

from adcp_tracker._logging import logger

if TYPE_CHECKING:
    from collections.abc import Callable


@attrs.define(eq=False)
class _PendingWrite:
    """A write that waits for one commit per open transaction."""

    write: Callable[[], None]
    commits: int

    def commit(self) -> None:
        """Count a commit; write at the last one."""
        self.commits -= 1
        if not self.commits:
            self.write()


def run_on_commit(write: Callable[[], None]) -> bool:
    """Call `write` when every transaction that is open in this thread has been committed.

    If several databases have an open transaction, it isn't known which one the event belongs
    to: it waits for all of them, and any rollback drops it.

    Args:
        write: Makes the event durable.

    Returns:
        Whether it waits; ``False`` if no transaction is open.
    """
    aliases = [
        connection.alias
        for connection in connections.all(initialized_only=True)
        if connection.in_atomic_block
    ]
    if not aliases:
        return False
    held = _PendingWrite(write, len(aliases))
    for alias in aliases:
        # Robust: an error here must not look as if the committed transaction had failed.
        transaction.on_commit(held.commit, using=alias, robust=True)
    logger.debug("event.held", databases=aliases)
    return True
