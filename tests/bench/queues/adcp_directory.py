"""The library over a directory, as by default."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from adcp_tracker import Interchange, Tracker
from tests.bench import ours
from tests.bench.adapters import DESTINATIONS, Waiting

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MARKER = ours.MARKER
FLUSH_S = 300.0


@contextmanager
def opened(directory: Path, url: str) -> Iterator[Waiting]:
    """Open a queue in a directory."""
    with opened_by(url, directory=directory / "queue") as waiting:
        yield waiting


@contextmanager
def opened_by(url: str, **where: Any) -> Iterator[Waiting]:  # noqa: ANN401 - a tracker's settings
    """Open a queue wherever it is: one tracker adds, and another delivers."""
    sellers = [
        Interchange(
            advertiser_id=f"bench-{number}", event_source_id="bench", api_key="x", base_url=url
        )
        for number in range(DESTINATIONS)
    ]
    with (
        Tracker([], uploader="external", **where) as shop,
        Tracker(sellers, **where) as worker,
    ):

        def put(numbers: range) -> None:
            for number in numbers:
                shop.track_purchase({**ours.facts(number), "items": ours.items()})

        yield Waiting(put, partial(worker.flush, FLUSH_S))
