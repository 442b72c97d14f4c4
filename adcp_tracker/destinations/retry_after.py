"""How long a seller asks to be left alone.

Sellers say it in ``Retry-After`` (seconds or a date, RFC 9110 §10.2.3), in an error's
``retry_after``, or in one of the three generations of ``RateLimit`` headers.
"""

from __future__ import annotations

import math
import re
from datetime import timezone
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SHORTEST = 1.0
LONGEST = 3600.0

_SECONDS = re.compile(r"[0-9]{1,18}(?:\.[0-9]{1,9})?")
_REMAINING = re.compile(r"(?:^|[;,\s])(?:r|remaining)=([0-9]{1,18})")
_RESET = re.compile(r"(?:^|[;,\s])(?:t|reset)=([0-9]{1,18})")

# A reset this large is a point in time, in seconds or in milliseconds, not a span.
_EPOCH_SECONDS = 1e9
_EPOCH_MILLISECONDS = 1e12


def clamp(seconds: float) -> float:
    """Return `seconds` within 1–3600, as the protocol tells clients to read a wait."""
    return LONGEST if math.isnan(seconds) else min(max(seconds, SHORTEST), LONGEST)


def requested_delay(headers: Mapping[str, str], retry_after: object, now: float) -> float | None:
    """Return the longest wait that an answer asks for.

    Args:
        headers: The answer's headers, by lower-case name.
        retry_after: The error's own ``retry_after``, of any type.
        now: The present, in seconds since the epoch, against which dates are read.

    Returns:
        Seconds within 1–3600, or ``None`` when the answer asks for no wait.
    """
    waits = (
        _number(retry_after),
        _seconds_or_date(headers.get("retry-after", ""), now),
        rate_limit_delay(headers, now),
    )
    asked = [wait for wait in waits if wait is not None]
    return clamp(max(asked)) if asked else None


def rate_limit_delay(headers: Mapping[str, str], now: float) -> float | None:
    """Return how long until the seller takes requests again, if none is left now.

    Args:
        headers: The answer's headers, by lower-case name.
        now: The present, in seconds since the epoch.

    Returns:
        Seconds within 1–3600, or ``None`` while requests remain or nothing is said.
    """
    waits = [reset for remaining, reset in _limits(headers, now) if remaining == 0]
    return clamp(max(waits)) if waits else None


def _limits(headers: Mapping[str, str], now: float) -> Iterator[tuple[float, float]]:
    for prefix in ("ratelimit", "x-ratelimit", "x-rate-limit"):
        remaining = _text_number(headers.get(f"{prefix}-remaining", ""))
        reset = _text_number(headers.get(f"{prefix}-reset", ""))
        if remaining is not None and reset is not None:
            yield remaining, _span(reset, now)
    for policy in _policies(headers.get("ratelimit", "")):
        left, until = _REMAINING.search(policy), _RESET.search(policy)
        if left and until:
            yield float(left[1]), _span(float(until[1]), now)


def _policies(value: str) -> list[str]:
    # The older form lists one policy's parameters by comma, the newer one policies.
    return [value] if "remaining=" in value else value.split(",")


def _span(reset: float, now: float) -> float:
    if reset >= _EPOCH_MILLISECONDS:
        return reset / 1000 - now
    return reset - now if reset >= _EPOCH_SECONDS else reset


def _number(value: object) -> float | None:
    if isinstance(value, str):
        return _text_number(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(max(min(value, LONGEST), 0))
    return None


def _text_number(value: str) -> float | None:
    matched = _SECONDS.fullmatch(value.strip())
    return float(matched[0]) if matched else None


def _seconds_or_date(value: str, now: float) -> float | None:
    seconds = _text_number(value)
    if seconds is not None or not value:
        return seconds
    # Whoever reads answers has loaded httpx, and this with it; the library has not.
    from email.utils import parsedate_to_datetime  # noqa: PLC0415 - see above

    try:
        date = parsedate_to_datetime(value)
        return (date if date.tzinfo else date.replace(tzinfo=timezone.utc)).timestamp() - now
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
