"""PostHog's ``capture()``.

Idle, it runs without a consumer thread, so that the call ends with the event in its queue.
Its queue, 10,000 events by default and silently dropping after that, is raised in both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from posthog import Posthog

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
    """Open without a consumer."""
    return _session(Posthog("phc_bench", "http://127.0.0.1:9", thread=0, max_queue_size=_ROOM))


def live(directory: Path, url: str) -> Session:  # noqa: ARG001 - keeps nothing on disk
    """Open with its one consumer thread."""
    return _session(Posthog("phc_bench", url, max_queue_size=_ROOM))


def _session(client: Posthog) -> Session:
    def track(sold: tuple[str, dict[str, object]]) -> None:
        client.capture(EVENT_NAME, distinct_id=sold[0], properties=sold[1])

    return Session(track, client.flush)
