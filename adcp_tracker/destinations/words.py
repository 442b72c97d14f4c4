"""Make a seller's words safe to keep.

Whatever a seller writes ends in logs, terminals and the books, so it is bounded
and loses every character that could steer one of them.
"""

from __future__ import annotations

import unicodedata

MESSAGE_LENGTH = 500
CODE_LENGTH = 64


def clean(value: object, limit: int = MESSAGE_LENGTH) -> str:
    """Return `value` as one line of at most `limit` visible characters.

    Control, format, surrogate and unassigned characters become spaces: they carry
    terminal escapes, forged log lines and text that reads backwards.

    Args:
        value: What the seller sent, of any type.
        limit: The most characters to keep.

    Returns:
        The cleaned text, empty when `value` is no text.
    """
    if not isinstance(value, str):
        return ""
    visible = (" " if _steers(character) else character for character in value[: 4 * limit])
    line = " ".join("".join(visible).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def is_clean(text: str, limit: int) -> bool:
    """Return whether `text` can be kept as it is: short enough, nothing in it steers."""
    return len(text) <= limit and not any(map(_steers, text))


def _steers(character: str) -> bool:
    category = unicodedata.category(character)
    return category[0] == "C" or category in {"Zl", "Zp"}
