"""Amplitude's ``track()``.

Idle, its batch and its interval are made so large that it never sends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from amplitude import Amplitude, BaseEvent, Config

from tests.bench.adapters import Session
from tests.bench.sales import EVENT_NAME, customer, properties

if TYPE_CHECKING:
    from pathlib import Path

MARKER = b'"event_type": "Order Completed"'
_ROOM = 10_000_000
_NEVER_MS = 1_000_000_000


def sale(number: int) -> tuple[str, dict[str, object]]:
    """Make the event's user and properties."""
    return customer(number), properties(number)


def idle(directory: Path) -> Session:  # noqa: ARG001 - keeps nothing on disk
    """Open so that it buffers for ever."""
    settings = Config(flush_queue_size=_ROOM, flush_interval_millis=_NEVER_MS)
    return _session(Amplitude("bench", settings))


def live(directory: Path, url: str) -> Session:  # noqa: ARG001 - keeps nothing on disk
    """Open with its consumer and its pool of threads."""
    return _session(Amplitude("bench", Config(server_url=f"{url}/2/httpapi")))


def _session(client: Amplitude) -> Session:
    def track(sold: tuple[str, dict[str, object]]) -> None:
        client.track(BaseEvent(EVENT_NAME, user_id=sold[0], event_properties=sold[1]))

    def flush() -> None:
        for sending in client.flush():
            if sending is not None:
                sending.result()

    return Session(track, flush)
