"""Files to import, and a tracker that they are imported with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from adcp_tracker import Tracker
from adcp_tracker.journal.files import QueueDirectory
from adcp_tracker.outbox.directory import DirectoryStore

if TYPE_CHECKING:
    from pathlib import Path

HEADER = "order_id,total,currency,email,created_at"


def tracker_of(directory: Path, **settings: object) -> Tracker:
    """Return a tracker without a destination: what is recorded stays in its segments."""
    return Tracker(directory=directory, when_full="raise", **settings)  # type: ignore[arg-type]


def recorded(directory: Path) -> list[dict[str, object]]:
    """Return the events in a queue's segments, in the order of their records."""
    segments = DirectoryStore(QueueDirectory(directory)).open().segments
    events = []
    for name, size in segments.sizes().items():
        records, corrupt = segments.parse(segments.read(name, 0, size), 0)
        assert not corrupt
        events += [orjson.loads(record.unpack()[1]) for record in records if record.kind in b"ES"]
    return events


def ids(directory: Path) -> list[object]:
    """Return the ids of the events in a queue's segments."""
    return [event["event_id"] for event in recorded(directory)]


def sale(number: int, total: str = "12.50") -> str:
    """Return a row with a valid sale, under :data:`HEADER`."""
    return f"S-{number},{total},EUR,shopper{number}@example.com,2026-11-27T10:00:00Z"


def write(path: Path, *rows: str, header: str = HEADER) -> Path:
    """Write a CSV file."""
    path.write_text("".join(f"{row}\n" for row in (header, *rows)), encoding="utf-8")
    return path
