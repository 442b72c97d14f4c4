"""Trackers for the tests of privacy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from adcp_tracker.tracker import Tracker
from tests.support.persons import STEADY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from adcp_tracker.destinations.base import Destination


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Tracker]]:
    """Return a maker of trackers over one directory, closed at the end."""
    made: list[Tracker] = []

    def maker(*destinations: Destination, **settings: object) -> Tracker:
        options: dict[str, object] = {
            "directory": tmp_path / "queue",
            "flush_interval": 0.02,
            "handle_sigterm": False,
            "_policy": STEADY,
            **settings,
        }
        tracker = Tracker(destinations, **options)  # type: ignore[arg-type]  # by name, as given
        made.append(tracker)
        return tracker

    yield maker
    for tracker in made:
        tracker.close(timeout=0.5)
