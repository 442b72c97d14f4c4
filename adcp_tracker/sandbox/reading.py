"""Reads what strangers send, within limits that nothing later has to know of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

if TYPE_CHECKING:
    from collections.abc import Iterable

_MOST_NESTED = 100
_MOST_DIGITS = 18


def read_json(text: bytes) -> object:
    """Decode JSON that is nested no deeper than can be looked through and written again.

    Raises:
        ValueError: If it is not JSON, or nested too deep; the message says which.
    """
    content: object = orjson.loads(text)
    level = [content]
    for _ in range(_MOST_NESTED + 1):
        level = [value for value in level if isinstance(value, (dict, list))]
        if not level:
            return content
        level = [inner for outer in level for inner in _inside(outer)]
    raise ValueError(f"nested over {_MOST_NESTED} levels deep")


def _inside(outer: object) -> Iterable[object]:
    return outer.values() if isinstance(outer, dict) else outer  # type: ignore[return-value]


def read_whole_number(text: str) -> int | None:
    """Return the number that `text` writes in up to 18 decimal digits, if it is one."""
    is_one = text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS
    return int(text) if is_one else None
