"""What cannot be read for want of a key: it waits, and is neither lost nor counted as damage.

The keys of a process never change, so that what is locked once is not looked at again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from adcp_tracker.queue.records import sealed_by

if TYPE_CHECKING:
    from collections.abc import Mapping

    from adcp_tracker.queue.records import Record
    from adcp_tracker.queue.state import Delivery


class Locks:
    """The locked records that were come upon: where segments go no further, and in batches."""

    def __init__(self) -> None:
        self._bars: dict[tuple[str, int], str] = {}
        self._deliveries: dict[tuple[str, int], str] = {}

    def add(self, segment: str, record: Record) -> None:
        """Note a locked record that a destination's cursor stands at."""
        self._bars[segment, record.start] = sealed_by(record)

    def add_delivery(self, delivery: Delivery, record: Record) -> None:
        """Note a frozen batch with a locked record in it."""
        self._deliveries[delivery.destination, delivery.number] = sealed_by(record)

    def bars(self, segment: str, cursor: int) -> bool:
        """Say whether what stands at `cursor` is locked."""
        return (segment, cursor) in self._bars

    def holds(self, delivery: Delivery) -> bool:
        """Say whether a frozen batch cannot be read whole."""
        return (delivery.destination, delivery.number) in self._deliveries

    def keys(self, destination: str, cursors: Mapping[str, int]) -> str:
        """Return the short names of the keys that a destination waits for, as a text."""
        names = {key for (name, start), key in self._bars.items() if cursors.get(name, 0) == start}
        names |= {key for (other, _), key in self._deliveries.items() if other == destination}
        return ", ".join(sorted(names))
