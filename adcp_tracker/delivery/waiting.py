"""How long events have waited: the age of a queue, for whoever watches it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adcp_tracker.queue.records import HEADER_BYTES, accepted_ms

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from adcp_tracker.queue.segments import Segments
    from adcp_tracker.queue.state import Delivery


def oldest_waiting(
    segments: Segments,
    sizes: Mapping[str, int],
    cursors: Mapping[str, int],
    deliveries: Iterable[Delivery] = (),
) -> float | None:
    """Return when the oldest waiting event was accepted, in seconds since the epoch.

    Only the first waiting record of each segment is looked at: what follows it came later.

    Args:
        segments: The segments.
        sizes: Each segment's size.
        cursors: Up to where each has been sealed.
        deliveries: The batches on their way.
    """
    first: dict[str, int] = {}
    for delivery in deliveries:
        for span in delivery.spans:
            first[span.segment] = min(first.get(span.segment, span.start), span.start)
    for name, size in sizes.items():
        if cursors.get(name, 0) < size:
            first.setdefault(name, cursors.get(name, 0))
    times = (_time(segments, name, start) for name, start in first.items())
    return min((time for time in times if time is not None), default=None)


def _time(segments: Segments, name: str, start: int) -> float | None:
    try:
        return accepted_ms(segments.read(name, start, HEADER_BYTES)) / 1000
    except (OSError, ValueError):  # deleted meanwhile or not to be read, or no record
        return None
