"""The shop export that the demo sends: a few hundred orders, some of them wrong.

The file looks as shops export it: a row per line item, the order's own columns only on
its first row, phone numbers in the spelling of whoever typed them. All people are made up,
and their addresses and numbers lie in ranges reserved for examples.
"""

from __future__ import annotations

import csv
import re
from importlib.resources import files
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_ORDER_COLUMNS = {
    "order_id": "Name",
    "created_at": "Created at",
    "email": "Email",
    "phone": "Phone",
    "country": "Billing Country",
    "currency": "Currency",
    "total": "Total",
}
_ITEM_COLUMNS = {
    "sku": "Lineitem sku",
    "name": "Lineitem name",
    "quantity": "Lineitem quantity",
    "price": "Lineitem price",
}
_OFFSET = re.compile(r"(?<=\d) ?([+-]\d\d)(\d\d)$")


def demo_orders() -> Iterator[tuple[int, dict[str, Any]]]:
    """Read the export that comes with the library; see :func:`read_orders`."""
    export = files("adcp_tracker.cli").joinpath("demo_orders.csv")
    with export.open(encoding="utf-8-sig") as lines:
        yield from read_orders(lines)


def read_orders(lines: Iterable[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Read a shop's export, and leave what is wrong in it for the tracker to find.

    Args:
        lines: The file's lines, as CSV with a header.

    Yields:
        The line an order begins on, counted from 1 as editors do, and the order as a mapping
        for ``track_purchase``. Empty cells are left out. ``country`` is the region in which
        its phone number is to be read.
    """
    order: dict[str, Any] = {}
    starts_at = 0
    for line, row in _numbered(csv.DictReader(lines)):
        if order and _continues(row, order):
            order["items"].append(_cells(row, _ITEM_COLUMNS))
            continue
        if order:
            yield starts_at, order
        starts_at, order = line, _order(row)
    if order:
        yield starts_at, order


def _numbered(reader: csv.DictReader[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Give each row the line it begins on: a quoted cell may go over several."""
    _ = reader.fieldnames  # The header is read on demand, and it has lines, too.
    before = reader.line_num
    for row in reader:
        yield before + 1, row
        before = reader.line_num


def _order(row: Mapping[str, str | None]) -> dict[str, Any]:
    order: dict[str, Any] = _cells(row, _ORDER_COLUMNS)
    if "created_at" in order:
        order["created_at"] = _OFFSET.sub(r"\1:\2", order["created_at"])
    if "phone" in order:
        # Spreadsheets put an apostrophe before whatever they might take for a formula.
        order["phone"] = order["phone"].removeprefix("'")
    return order | {"items": [_cells(row, _ITEM_COLUMNS)]}


def _continues(row: Mapping[str, str | None], order: Mapping[str, Any]) -> bool:
    return not row["Created at"] and row["Name"] == order.get("order_id", "")


def _cells(row: Mapping[str, str | None], columns: Mapping[str, str]) -> dict[str, str]:
    cells = {name: row.get(column) for name, column in columns.items()}
    return {name: cell for name, cell in cells.items() if cell}
