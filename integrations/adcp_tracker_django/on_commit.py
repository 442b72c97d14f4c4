"""Hold an event until the database transaction around it is committed.

Django keeps what is to be done on commit, and forgets it on a rollback, of a savepoint too.
It does not tell when it forgets, so an event that is let go that way is in no books: for all
that anybody can know, it never happened.
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
    """A write that waits for as many commits as there were open transactions."""

    write: Callable[[], None]
    commits: int

    def commit(self) -> None:
        """Take note of one commit; the last one makes the write."""
        self.commits -= 1
        if not self.commits:
            self.write()


def run_on_commit(write: Callable[[], None]) -> bool:
    """Make `write` when every transaction that is open in this thread has been committed.

    Where several databases have one open, nothing says which of them the event belongs to:
    it waits for all, and any rollback lets it go.

    Args:
        write: Makes the event durable.

    Returns:
        Whether it waits; if not, there is nothing to wait for.
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
        # Robust, since what is committed cannot be undone by an error in here.
        transaction.on_commit(held.commit, using=alias, robust=True)
    logger.debug("event.held", databases=aliases)
    return True
