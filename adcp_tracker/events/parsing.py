"""Parsing of times, and the values that stand for none."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, Final, TypeAlias

from adcp_tracker.events.money import MAX_NUMBER

Unvalidated: TypeAlias = Any
"""A value as it was given, which a rule is still to check."""

_match_time: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?"
    r" ?(?:([Zz]|UTC|GMT)|([+-])(\d\d)(?::?(\d\d))?)?",
    re.ASCII,
).fullmatch
_is_mail_date: Final = re.compile(
    r"(?:[A-Z][a-z]{2},? )?\d{1,2} [A-Z][a-z]{2} \d{4} \d\d:\d\d(?::\d\d)? (?:[+-]\d{4}|GMT|UTC?)",
    re.ASCII,
).fullmatch
_MAX_TIME: Final = 64
_FIRST_UNIX_TIME: Final = 946_684_800  # 2000-01-01
_LAST_UNIX_TIME: Final = 4_102_444_800  # 2100-01-01
_MS_PER_S: Final = 1000
_NULL_TYPES: Final = frozenset({"NAType", "NaTType", "MaskedConstant"})
_NEVER_NULL: Final = frozenset({int, bool, dict, list, tuple, bytes})


def is_absent(value: object) -> bool:  # noqa: PLR0911 - a line a kind
    """Return whether a value stands for no value.

    That is ``None``, an empty or blank string, NaN, and the nulls of pandas and NumPy.
    """
    if value is None:
        return True
    kind = type(value)
    if kind in _NEVER_NULL:
        return False
    if isinstance(value, str):
        return not value or value.isspace()
    if isinstance(value, float):
        return value != value  # noqa: PLR0124 - only NaN differs from itself
    if isinstance(value, Decimal):
        return value.is_nan()
    if kind.__name__ in _NULL_TYPES:
        return True
    numpy_scalar = kind.__module__ == "numpy" and getattr(value, "ndim", 1) == 0
    return numpy_scalar and bool(value != value)  # noqa: PLR0124 - NaN and NaT


def parse_time(value: object) -> Unvalidated:
    """Parse a time. Return the value unchanged if it isn't one.

    Takes RFC 3339 and the forms of ISO 8601 that shops export, RFC 2822, Unix times in
    seconds or milliseconds, and NumPy's ``datetime64``. Digits after the microsecond are cut.
    """
    if isinstance(value, datetime):
        return value
    if not isinstance(value, str):
        return _from_number(value)
    text = value.strip() if len(value) <= _MAX_TIME else ""
    found = _match_time(text)
    if found is None:
        return _from_mail_date(text) or value
    *numbers, second, fraction, zulu, sign, hours, minutes = found.groups()
    zone = timezone.utc if zulu else None
    try:
        if sign:
            offset = timedelta(hours=int(hours), minutes=int(minutes or 0))
            zone = timezone(-offset if sign == "-" else offset) if offset else timezone.utc
        year, month, day, hour, minute = map(int, numbers)
        micro = int((fraction or "0").ljust(6, "0")[:6])
        return datetime(year, month, day, hour, minute, int(second or 0), micro, tzinfo=zone)
    except ValueError:
        return value


def _from_mail_date(text: str) -> datetime | None:
    """Parse a date of RFC 2822, as ``Fri, 02 Oct 2026 21:36:24 +0000``."""
    if not _is_mail_date(text):
        return None
    from email.utils import parsedate_to_datetime  # noqa: PLC0415 - rarely needed

    try:
        return parsedate_to_datetime(text)
    except ValueError:
        return None


def _from_number(value: object) -> Unvalidated:
    """Read a Unix time, if it can be one of this century, and a ``datetime64``."""
    if type(value).__name__ == "datetime64":
        return value.astype("datetime64[us]").item()  # type: ignore[attr-defined]  # NumPy's
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        for seconds in (value, value / _MS_PER_S if abs(value) < MAX_NUMBER else 0):
            if _FIRST_UNIX_TIME <= seconds < _LAST_UNIX_TIME:
                return datetime.fromtimestamp(seconds, timezone.utc)
    return value
