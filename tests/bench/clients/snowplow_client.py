"""Snowplow's ``track()`` of a self-describing event.

Idle, the emitter's batch is made so large that it never sends.
Live, the asynchronous emitter sends batches of 50, five times its default and in its favour.
Its line of log per request is silenced, and its buffer of 10,000 events raised, in both.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from snowplow_tracker import AsyncEmitter, Emitter, SelfDescribing, SelfDescribingJson, Tracker

from tests.bench.adapters import Session
from tests.bench.sales import properties

if TYPE_CHECKING:
    from pathlib import Path

MARKER = b'"ue_px"'
_SCHEMA = "iglu:example.shop/order_completed/jsonschema/1-0-0"
_ROOM = 10_000_000
_BATCH = 50


def sale(number: int) -> dict[str, object]:
    """Make the event's data."""
    return properties(number)


def idle(directory: Path) -> Session:  # noqa: ARG001 - keeps nothing on disk
    """Open so that it buffers for ever."""
    return _session(
        Emitter("127.0.0.1", protocol="http", port=9, batch_size=_ROOM, buffer_capacity=_ROOM)
    )


def live(directory: Path, url: str) -> Session:  # noqa: ARG001 - keeps nothing on disk
    """Open with its one sending thread."""
    return _session(AsyncEmitter(url, batch_size=_BATCH, buffer_capacity=_ROOM))


def _session(emitter: Emitter) -> Session:
    logging.getLogger("snowplow_tracker").setLevel(logging.WARNING)
    logging.getLogger("snowplow_tracker.emitters").setLevel(logging.WARNING)
    tracker = Tracker("bench", emitter)

    def track(data: dict[str, object]) -> None:
        tracker.track(SelfDescribing(SelfDescribingJson(_SCHEMA, data)))

    return Session(track, emitter.sync_flush)
