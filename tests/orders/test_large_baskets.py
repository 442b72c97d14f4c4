"""Baskets that are larger than an event may be."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from adcp_tracker.events.model import MAX_EVENT_BYTES
from adcp_tracker.orders.events import purchase_event
from tests.support.events import NOW


def order(lines: int, name: str) -> dict[str, object]:
    """Make an order of as many lines, each with a name."""
    items = [
        {"sku": f"sku-{number}", "quantity": 2, "price": "1.00", "title": name}
        for number in range(lines)
    ]
    return {"id": "W-1", "total": "2000.00", "currency": "EUR", "items": items}


def test_names_are_left_out_first() -> None:
    """They are the longest part of a line, and no seller needs them."""
    event = purchase_event(order(1000, "x" * 255), now=NOW, strict=False)
    assert event.custom_data is not None
    assert event.custom_data.contents is not None
    assert len(event.json) <= MAX_EVENT_BYTES
    assert len(event.custom_data.contents) == 1000
    assert b"xxx" not in event.json
    (omission,) = event.omissions
    assert (omission.field, omission.reason) == ("custom_data.contents[].name", "too_large")


@pytest.mark.parametrize("lines", [5000, 9999])
def test_lines_beyond_what_fits_are_left_out_next(lines: int) -> None:
    """The sale, its value and the number of its pieces stay as they are."""
    event = purchase_event(order(lines, "Mug"), now=NOW, strict=False)
    data = event.custom_data
    assert data is not None
    assert data.contents
    assert data.content_ids
    assert len(event.json) <= MAX_EVENT_BYTES
    assert len(data.contents) == len(data.content_ids) < lines
    assert (data.value, data.currency, data.num_items) == (Decimal(2000), "EUR", 2 * lines)
    assert [each.field for each in event.omissions] == [
        "custom_data.contents[].name",
        "custom_data.contents",
    ]


@pytest.mark.parametrize("field", ["custom_data", "ext"])
def test_anything_else_that_is_too_large_is_left_out_last(field: str) -> None:
    """Custom keys and extensions have no bound of their own."""
    large: Any = {field: {"blob": "x" * MAX_EVENT_BYTES}}
    event = purchase_event(order(2, "Mug"), now=NOW, strict=False, **large)
    assert len(event.json) <= MAX_EVENT_BYTES
    assert event.custom_data is not None
    assert event.custom_data.value == 2000
    assert {each.reason for each in event.omissions} == {"too_large"}
