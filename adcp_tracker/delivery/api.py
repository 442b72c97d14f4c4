"""``tracker.dead_letters``: list, replay and discard rejected events."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adcp_tracker.delivery import commands
from adcp_tracker.outbox.dead_letters import DeadLetter, DeadLetterStore

if TYPE_CHECKING:
    import builtins
    from collections.abc import Collection

    from adcp_tracker.delivery.commands import ReplayResult
    from adcp_tracker.delivery.pipeline import Pipeline


class DeadLetterApi:
    """List, replay and discard dead letters. Found as ``tracker.dead_letters``.

    Args:
        pipeline: Runs the commands where the queue is uploaded.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    def list(self) -> builtins.list[DeadLetter]:
        """Return every dead letter, oldest first."""
        return [*DeadLetterStore(self._pipeline.directory, self._pipeline.encryption)]

    def replay(self, ids: Collection[str], timeout: float = 10.0) -> ReplayResult:
        """Send dead letters again.

        Args:
            ids: Their ids.
            timeout: How long to wait for another process to hand over, in seconds.

        Raises:
            TimeoutError: If another process did not hand over in time.
            OSError: If the disk does not take them; then they stay where they are.
        """
        journal = self._pipeline.journal
        return self._pipeline.run(lambda leader: commands.replay(leader, journal, ids), timeout)

    def discard(self, ids: Collection[str], timeout: float = 10.0) -> int:
        """Give dead letters up for good, and return how many there were.

        Args:
            ids: Their ids.
            timeout: How long to wait for another process to hand over, in seconds.

        Raises:
            TimeoutError: If another process did not hand over in time.
        """
        return self._pipeline.run(lambda leader: commands.discard(leader, ids), timeout)
