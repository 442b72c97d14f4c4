"""The library's ``track_purchase()`` with a plain mapping, as a shop may have it at hand."""

from __future__ import annotations

from tests.bench.ours import MARKER, facts, idle, items, live

__all__ = ["MARKER", "idle", "live", "sale"]


def sale(number: int) -> dict[str, object]:
    """Make the mapping."""
    return facts(number) | {"items": items()}
