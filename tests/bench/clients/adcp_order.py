"""The library's ``track_purchase()`` with its own ``Order``."""

from __future__ import annotations

from typing import Any

from adcp_tracker import Order, OrderItem
from tests.bench.ours import MARKER, facts, idle, items, live

__all__ = ["MARKER", "idle", "live", "sale"]


def sale(number: int) -> Order:
    """Make the order."""
    fields: dict[str, Any] = facts(number)
    lines: list[dict[str, Any]] = items()
    return Order(**fields, items=tuple(OrderItem(**line) for line in lines))
