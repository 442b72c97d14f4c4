"""Segment's ``track()``.

Idle, its consumer thread is stopped first, so that the call ends with the event in its queue.
Its queue, 10,000 events by default and dropping after that, is raised in both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from segment.analytics.client import Client

from tests.bench.adapters import Session
from tests.bench.sales import EVENT_NAME, customer, properties

if TYPE_CHECKING:
    from pathlib import Path

MARKER = b'"event": "Order Completed"'
_ROOM = 10_000_000


def sale(number: int) -> tuple[str, dict[str, object]]:
    """Make the arguments."""
    return customer(number), properties(number)


def idle(directory: Path) -> Session:  # noqa: ARG001 - keeps nothing on disk
    """Open and stop the consumer."""
    client = Client("bench", "http://127.0.0.1:9", max_queue_size=_ROOM)
    client.join()
    return _session(client)


def live(directory: Path, url: str) -> Session:  # noqa: ARG001 - keeps nothing on disk
    """Open with its one consumer thread."""
    return _session(Client("bench", url, max_queue_size=_ROOM))


def _session(client: Client) -> Session:
    def track(sold: tuple[str, dict[str, object]]) -> None:
        client.track(sold[0], EVENT_NAME, sold[1])

    return Session(track, client.flush)
