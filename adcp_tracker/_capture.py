"""Where tests take events, instead of having them recorded and sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from adcp_tracker.events.event import Event


class Capture(Protocol):
    """Takes the events that trackers of this process track."""

    strict: bool
    """Whether an event that breaks a rule raises."""

    def takes(self, *, remote: bool) -> bool:
        """Return whether it takes a tracker's events; `remote` if those leave this machine."""

    def add(self, event: Event) -> None:
        """Take an event."""


active: Capture | None = None
"""What takes events now. Outside of tests, nothing does: see :mod:`adcp_tracker.testing`."""


def capture_for(*, remote: bool) -> Capture | None:
    """Return what takes a tracker's events now; ``None`` if they are recorded as usual."""
    return active if active is not None and active.takes(remote=remote) else None
