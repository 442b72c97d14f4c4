"""What is alike in the sites of all frameworks: paths, the sale, and the tracker's options."""

from __future__ import annotations

import os
from pathlib import Path

from tests.bench.ours import order_in_view

DIRECTORY = "BENCH_DIRECTORY"
"""The variable that tells a served site where to keep its events."""

PAGE = "/catalogue/"
BUY = "/buy/"
TEXT = "<!doctype html><title>Mugs</title>" + "<p>A mug, stoneware, 0.3 l, 12.90 EUR.</p>" * 20


def sale() -> dict[str, object]:
    """Return an order with two items."""
    return order_in_view(1)


def options(directory: Path) -> dict[str, object]:
    """Return the options with which events are kept and nothing else runs."""
    return {"directory": directory / "queue", "destinations": [], "uploader": "external"}


def served_options() -> dict[str, object]:
    """Return the options of the tracked site where a server has both."""
    return options(Path(os.environ[DIRECTORY]))
