"""Mixpanel's ``track()`` with its ``BufferedConsumer``.

The caller itself sends every fifty events and waits for the answer.
Idle, that request is left out, which flatters it: the call ends with the event in a list.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mixpanel import BufferedConsumer, Mixpanel

from tests.bench.adapters import Session
from tests.bench.sales import EVENT_NAME, customer, properties

if TYPE_CHECKING:
    from pathlib import Path

MARKER = b"%22event%22%3A%22Order"


class _Nowhere:
    """Takes the place of the HTTP consumer inside the buffered one."""

    def send(self, *_: object, **__: object) -> None:
        """Send nothing."""


def sale(number: int) -> tuple[str, dict[str, object]]:
    """Make the arguments."""
    return customer(number), properties(number)


def idle(directory: Path) -> Session:  # noqa: ARG001 - keeps nothing on disk
    """Open with the network taken away."""
    consumer = BufferedConsumer()
    consumer._consumer = _Nowhere()  # noqa: SLF001 - it offers no seam for this
    return _session(consumer)


def live(directory: Path, url: str) -> Session:  # noqa: ARG001 - keeps nothing on disk
    """Open with its caller doing the sending."""
    return _session(BufferedConsumer(events_url=f"{url}/track"))


def _session(consumer: BufferedConsumer) -> Session:
    client = Mixpanel("bench", consumer=consumer)

    def track(sold: tuple[str, dict[str, object]]) -> None:
        client.track(sold[0], EVENT_NAME, sold[1])

    return Session(track, consumer.flush)
