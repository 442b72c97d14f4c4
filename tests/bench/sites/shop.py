"""What is alike in the sites of all frameworks: paths, the sale, and the tracker's options."""

from __future__ import annotations

import os
from pathlib import Path

from tests.bench.ours import facts, items

DIRECTORY = "BENCH_DIRECTORY"
"""The variable that tells a served site where to keep its events."""

PAGE = "/catalogue/"
BUY = "/buy/"
TEXT = "<!doctype html><title>Mugs</title>" + "<p>A mug, stoneware, 0.3 l, 12.90 EUR.</p>" * 20

_FROM_THE_REQUEST = {"client_ip", "client_user_agent", "event_source_url"}


def sale() -> dict[str, object]:
    """Return an order with two items, which leaves it to the request who the shopper is."""
    own = {name: each for name, each in facts(1).items() if name not in _FROM_THE_REQUEST}
    return own | {"items": items()}


def options(directory: Path) -> dict[str, object]:
    """Return the options with which events are kept and nothing else runs."""
    return {"directory": directory / "queue", "destinations": [], "uploader": "external"}


def served_options() -> dict[str, object]:
    """Return the options of the tracked site where a server has both."""
    return options(Path(os.environ[DIRECTORY]))
