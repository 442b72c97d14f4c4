"""How a queue stands, found without sending anything and without changing it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from adcp_tracker.clock import SystemClock
from adcp_tracker.delivery.books import Bookkeeper, Stats, published
from adcp_tracker.delivery.election import Election
from adcp_tracker.queue.defaultoutbox import open_outbox
from adcp_tracker.queue.outbox import DamagedOutboxError
from adcp_tracker.queue.segments import Segments
from adcp_tracker.queue.state import State

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from adcp_tracker.queue.directory import QueueDirectory


@attrs.frozen
class Standing:
    """How a queue stands.

    Attributes:
        stats: The books: fresh ones, or those that the uploading process wrote last.
        leader: The id of the process that uploads, 0 if it has not told yet; ``None`` if
            none does.
        used_bytes: How much room the queue takes.
        damage: Why the queue's state could not be read; empty if it could.
    """

    stats: Stats
    leader: int | None
    used_bytes: int
    damage: str = ""


def standing(queue: QueueDirectory, names: Collection[str]) -> Standing:
    """Find out how a queue stands.

    While a process uploads, its books are at most a second old. While none does, nobody
    else may be reading the state, so it is read here.

    Args:
        queue: The queue.
        names: The destinations that are known to be configured; may be empty.

    Raises:
        OutboxError: If the state cannot be read for now.
    """
    election = Election(queue, SystemClock())
    used = queue.used_bytes()
    if not election.try_acquire():
        stats = published(queue)
        return Standing(stats, stats.leader, used)
    try:
        return Standing(_take(queue, names), None, used)
    except DamagedOutboxError as error:
        return Standing(published(queue), None, used, str(error))
    finally:
        election.release()


def _take(queue: QueueDirectory, names: Collection[str]) -> Stats:
    segments = Segments(queue)
    outbox = open_outbox(queue) if any(queue.state.iterdir()) else _Nothing()
    try:
        bookkeeper = Bookkeeper(segments, State(outbox, names))
        configured = names or _last_configured(queue)
        return bookkeeper.take(segments.sizes(), configured, SystemClock.now())
    finally:
        outbox.close()


def _last_configured(queue: QueueDirectory) -> list[str]:
    return [name for name, books in published(queue).destinations.items() if books.configured]


class _Nothing:
    """The outbox of a queue that nobody has uploaded from yet."""

    def load(self) -> dict[str, bytes]:
        """Return nothing."""
        return {}

    def apply(self, puts: Mapping[str, bytes], removes: Collection[str]) -> None:
        """Do nothing, as whoever only looks has nothing to write."""

    def close(self) -> None:
        """Do nothing."""
