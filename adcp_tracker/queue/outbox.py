"""Where the queue's state lies: a small, transactional map from keys to bytes.

The state is small however many events wait: positions, deliveries, counts and pauses.
One process at a time opens it, and never on a request's path.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from adcp_tracker.exceptions import OutboxError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping


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
