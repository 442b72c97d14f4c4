"""What a leadership works with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from adcp_tracker.queue.roster import Roster

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from adcp_tracker.clock import Clock
    from adcp_tracker.delivery.retry import RetryPolicy
    from adcp_tracker.destinations.base import Destination
    from adcp_tracker.queue.directory import QueueDirectory
    from adcp_tracker.queue.encryption import Encryption
    from adcp_tracker.queue.outbox import Outbox


@attrs.frozen
class Setting:
    """What a leadership works with.

    Attributes:
        directory: The queue directory.
        destinations: Where events go.
        policy: When to try again.
        clock: Where the time is read.
        open_outbox: Opens the outbox of a directory's state folder.
        idle_seconds: How long to wait when there is nothing to do.
        encryption: What seals and opens what is kept of events, if anything does.
        roster: Where the names of the destinations stand.
    """

    directory: QueueDirectory
    destinations: Sequence[Destination]
    policy: RetryPolicy
    clock: Clock
    open_outbox: Callable[[QueueDirectory], Outbox]
    idle_seconds: float
    encryption: Encryption | None = None
    roster: Roster = attrs.field(init=False)

    @roster.default
    def _enter_by_name(self) -> Roster:
        names = [destination.name for destination in self.destinations]
        return Roster(self.directory, names, self.clock)
