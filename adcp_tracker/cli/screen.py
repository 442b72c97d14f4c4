"""What is printed: tables for people, JSON for scripts, and nothing that steers a terminal.

Text of sellers and events can hold anything. So nothing here reads markup, and every
character that is not visible is taken out.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Final

import attrs

from adcp_tracker.destinations.words import clean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

_LONGEST: Final = 4000
_GAP: Final = "  "


@attrs.frozen
class Mark:
    """A word in colour, where there is colour.

    Attributes:
        text: The word.
        style: ``green``, ``yellow`` or ``red``.
    """

    text: str
    style: str


def emit(document: object) -> None:
    """Print `document` as JSON, in one line of ASCII."""
    sys.stdout.write(json.dumps(document) + "\n")


def say(text: str = "", style: str = "", *, indent: int = 0) -> None:
    """Print one line."""
    line = " " * indent + shown(text)
    if not _is_terminal():
        sys.stdout.write(line + "\n")
        return
    from rich.text import Text  # noqa: PLC0415 - not needed in a pipe

    _console().print(Text(line, style), soft_wrap=True)


def flush() -> None:
    """Let whoever reads have what was printed so far."""
    sys.stdout.flush()


def complain(text: str) -> None:
    """Print one line to the error output."""
    sys.stderr.write(f"adcp-tracker: {shown(text)}\n")


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table; numbers stand on the right, and a pipe gets plain columns."""
    if _is_terminal():
        _draw(columns, rows)
        return
    cells = [list(columns), *([shown(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    numeric = _numeric(columns, rows)
    for row in cells:
        line = _GAP.join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, numeric, strict=True)
        )
        sys.stdout.write(line.rstrip() + "\n")


def shown(cell: object) -> str:
    """Return what a terminal may be given of a value."""
    if isinstance(cell, Mark):
        return shown(cell.text)
    if isinstance(cell, int):
        return f"{cell:,}"
    return clean(str(cell), _LONGEST)


def _draw(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    from rich import box  # noqa: PLC0415 - not needed in a pipe
    from rich.table import Table  # noqa: PLC0415 - likewise
    from rich.text import Text  # noqa: PLC0415 - likewise

    drawn = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for column, right in zip(columns, _numeric(columns, rows), strict=True):
        drawn.add_column(Text(column), justify="right" if right else "left", overflow="fold")
    for row in rows:
        styles = (cell.style if isinstance(cell, Mark) else "" for cell in row)
        drawn.add_row(*(Text(shown(cell), style) for cell, style in zip(row, styles, strict=True)))
    _console().print(drawn)


def _numeric(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> list[bool]:
    return [
        bool(rows) and all(isinstance(row[at], int) for row in rows) for at in range(len(columns))
    ]


def _is_terminal() -> bool:
    return sys.stdout.isatty()


def _console() -> Console:
    from rich.console import Console  # noqa: PLC0415 - not needed in a pipe

    return Console(markup=False, highlight=False, emoji=False)
