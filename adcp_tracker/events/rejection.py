"""What a call returns for an event that breaks the rules, where it must not raise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from adcp_tracker.exceptions import Fault


@attrs.frozen
class RejectedEvent:
    """An event that was not accepted as it is; it waits among the dead letters.

    It stands where an event would, so that code which only reads the id goes on.

    Attributes:
        event_type: What it was to be.
        event_id: Its id, empty if it has none.
        faults: Every broken rule.
    """

    event_type: str
    event_id: str
    faults: tuple[Fault, ...]
