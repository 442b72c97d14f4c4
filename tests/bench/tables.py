"""Tables as text that is also Markdown, and numbers as people read them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Sequence

NOTHING = "–"
_THOUSAND = 1_000


@attrs.frozen
class Table:
    """A table with a title and a line of explanation."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""

    def __str__(self) -> str:
        widths = [max(map(len, column)) for column in zip(self.header, *self.rows, strict=True)]
        rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
        lines = [_line(cells, widths) for cells in (self.header, rule, *self.rows)]
        return "\n".join([f"## {self.title}", "", *lines, *(["", self.note] if self.note else [])])


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first = cells[0].ljust(widths[0])
    rest = [cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)]
    return f"| {' | '.join([first, *rest])} |"


def number(value: float | None, digits: int = 1) -> str:
    """Write `value` with thousands apart; large ones without decimals."""
    if value is None:
        return NOTHING
    return f"{value:,.0f}" if abs(value) >= _THOUSAND else f"{value:,.{digits}f}"


def ratio(value: float | None) -> str:
    """Write a ratio with three significant digits."""
    if value is None:
        return NOTHING
    return f"{value:,.0f} ×" if value >= _THOUSAND else f"{value:.3g} ×"


def mebibytes(value: float | None) -> str:
    """Write a size in MiB."""
    return NOTHING if value is None else f"{value / 2**20:,.1f}"
