"""Long stretches without a record, as a power cut leaves them on some file systems."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from adcp_tracker import Tracker
from tests.support.destinations import ScriptedDestination

if TYPE_CHECKING:
    from pathlib import Path

WAIT_S = 20.0


@pytest.mark.parametrize("max_bytes", [100_000, 8_000_000])
@pytest.mark.parametrize("glued", [True, False], ids=["glued", "apart"])
@pytest.mark.parametrize("size", [300_000, 600_000, 5_000_000])
def test_what_stands_behind_a_hole_is_delivered(
    tmp_path: Path, size: int, max_bytes: int, *, glued: bool
) -> None:
    """However long it is, whether or not a line feed divides it from the next record."""
    tracker = Tracker(directory=tmp_path, handle_sigterm=False)
    for name in ("A-1", "A-2", "A-3"):
        tracker.track("purchase", event_id=name, email="shopper@shop.example")
    tracker.close(0.0)
    (segment,) = (tmp_path / "segments").iterdir()
    first, *others = segment.read_bytes().splitlines(keepends=True)
    hole = bytes(size) if glued else bytes(size) + b"\n"
    segment.write_bytes(first + hole + b"".join(others))
    seller = ScriptedDestination(max_bytes=max_bytes)
    tracker = Tracker([seller], directory=tmp_path, handle_sigterm=False, flush_interval=0.02)
    tracker.flush(WAIT_S)
    counts = tracker.close(WAIT_S).total()
    assert seller.ids == ["A-1", "A-2", "A-3"]
    assert (counts.delivered, counts.pending) == (3, 0)
    assert counts.dropped["damaged"] >= 1
    assert counts.accepted == 3 + counts.dropped["damaged"]
