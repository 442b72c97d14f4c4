"""How an invalid value may appear in a message.

Any value may be in the wrong place: an e-mail address as an event type, a secret in the
neighbouring variable. So values are described by type and size. They are shown only if they
can't be personal or secret: a number where a number belongs, a misspelt word of a closed
list, and settings that are too short to be a secret.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal
from enum import Enum
from typing import Final

_MAX_BITS: Final = 64
_MAX_SHOWN: Final = 40
_SURELY_MISSPELT: Final = 0.75
_is_word: Final = re.compile(r"[A-Za-z_-]{1,23}[0-9]?").fullmatch
_is_code: Final = re.compile(r"[A-Za-z]{1,3}").fullmatch
_is_name: Final = re.compile(r"(?!(?:[^0-9]*[0-9]){5})[A-Za-z_][A-Za-z0-9_.-]{0,31}").fullmatch
_is_short: Final = re.compile(r"[A-Za-z0-9]{1,6}").fullmatch
_is_digits: Final = re.compile(r"[+-]?[0-9.]{1,20}").fullmatch
_KINDS: Final = {
    str: "a string",
    bool: "a boolean",
    int: "an integer",
    float: "a float",
    Decimal: "a Decimal",
    list: "a list",
    tuple: "a tuple",
    dict: "a mapping",
    bytes: "bytes",
    type(None): "nothing",
}


def describe(value: object) -> str:
    """Describe `value` without showing it.

    Returns:
        Its type and size, such as ``a string of 12 characters``.
    """
    if isinstance(value, str) and not isinstance(value, Enum):
        size = str.__len__(value)  # A caller's own class of strings may count otherwise.
        return f"a string of {size} characters" if size else "an empty string"
    return _KINDS.get(type(value)) or f"an object of type {type(value).__name__}"


def format_number(value: object) -> str:
    """Show a number unless it is too large; describe anything else."""
    if type(value) is float:
        return f'the float {value!r}; write Decimal("{value!r}")'
    if isinstance(value, bool) or not isinstance(value, (int, Decimal)):
        return describe(value)
    # An integer of thousands of digits is not even turned into text.
    text = str(value) if isinstance(value, Decimal) or value.bit_length() <= _MAX_BITS else ""
    return text if 0 < len(text) <= _MAX_SHOWN else f"{describe(value)} too large to show"


def format_choice(value: object, words: Iterable[str]) -> str:
    """Show what looks like a misspelling of one of `words`; describe anything else."""
    if type(value) is str and _is_word(value) and is_similar(value, words):
        return repr(value)
    return describe(value)


def format_code(value: object, codes: Iterable[str]) -> str:
    """Show up to three letters, and misspellings of `codes`; describe anything else."""
    return repr(value) if type(value) is str and _is_code(value) else format_choice(value, codes)


def format_setting(value: object, choices: Iterable[str] = ()) -> str:
    """Show a setting if it is too short to be a secret or resembles one of its `choices`."""
    if value is None or type(value) in {bool, float}:
        return repr(value)
    if type(value) is int:
        return format_number(value)
    return repr(value) if type(value) is str and _is_short(value) else format_choice(value, choices)


def format_quantity(value: object) -> str:
    """Show a setting that should be a number, also as a few digits."""
    return repr(value) if type(value) is str and _is_digits(value) else format_setting(value)


def is_name(key: object) -> bool:
    """Return whether a key looks like a programmer's name: short, and not made of digits."""
    return type(key) is str and _is_name(key) is not None


def format_key(key: object) -> str:
    """Show a key that looks like a name; describe anything else."""
    return repr(key) if is_name(key) else describe(key)


def is_similar(value: str, words: Iterable[str]) -> bool:
    """Return whether a word resembles one of `words`, ignoring case."""
    from difflib import get_close_matches  # noqa: PLC0415 - for those who mistype a word

    known = [word.lower() for word in words]
    return bool(get_close_matches(value.lower(), known, 1, _SURELY_MISSPELT))


def as_tuple(given: object) -> tuple[object, ...]:
    """Return several values as a tuple; a single one, also a string, as a tuple of one.

    An invalid value is handed on, so that the code that uses it can name it in its error.
    """
    if isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
        return (given,)
    return tuple(given)
