"""Read how long a seller asks to wait.

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

_is_number = re.compile(r"\s*[0-9]{1,18}(?:\.[0-9]{1,9})?\s*").fullmatch
_parameters = re.compile(r"(?:^|[;,\s])([rt]|remaining|reset)=([0-9]{1,18})").findall
# A reset this large is a point in time, in seconds or in milliseconds, not a span.
_EPOCH_SECONDS = 1e9
_EPOCH_MILLISECONDS = 1e12


def clamp(seconds: float) -> float:
    """Return `seconds` within 1–3600, as the protocol tells clients to read a wait."""
    return LONGEST if math.isnan(seconds) else min(max(seconds, SHORTEST), LONGEST)


def requested_delay(headers: Mapping[str, str], retry_after: object, now: float) -> float | None:
    """Return the longest wait that a response asks for.

    Args:
        headers: The response's headers, by lower-case name.
        retry_after: The error's own ``retry_after``, of any type.
        now: Seconds since the epoch; dates are read against it.

    Returns:
        Seconds within 1–3600, or ``None`` if the response asks for no wait.
    """
    header = headers.get("retry-after", "")
    waits = (_seconds(retry_after), _seconds(header), _until(header, now))
    asked = [wait for wait in (*waits, rate_limit_delay(headers, now)) if wait is not None]
    return clamp(max(asked)) if asked else None


def rate_limit_delay(headers: Mapping[str, str], now: float) -> float | None:
    """Return the wait until the rate limit resets, if no request is left before that."""
    waits = [reset for left, reset in _limits(headers) if left == 0 and reset is not None]
    return clamp(max(_span(reset, now) for reset in waits)) if waits else None


def _limits(headers: Mapping[str, str]) -> Iterator[tuple[float | None, float | None]]:
    for prefix in ("ratelimit", "x-ratelimit", "x-rate-limit"):
        left, reset = headers.get(f"{prefix}-remaining"), headers.get(f"{prefix}-reset")
        yield _seconds(left), _seconds(reset)
    value = headers.get("ratelimit", "")
    # The older form separates one policy's parameters by comma, the newer one policies.
    for policy in [value] if "remaining=" in value else value.split(","):
        found = dict(_parameters(policy))
        left, reset = found.get("r", found.get("remaining")), found.get("t", found.get("reset"))
        yield _seconds(left), _seconds(reset)


def _span(reset: float, now: float) -> float:
    if reset >= _EPOCH_MILLISECONDS:
        return reset / 1000 - now
    return reset - now if reset >= _EPOCH_SECONDS else reset


def _seconds(value: object) -> float | None:
    if isinstance(value, str):
        return float(value.strip()) if _is_number(value) else None
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(max(min(value, LONGEST), 0))
    return None


def _until(date: str, now: float) -> float | None:
    # Importing httpx has loaded this already; the library itself doesn't need it.
    from email.utils import parsedate_to_datetime  # noqa: PLC0415 - see above

    try:
        when = parsedate_to_datetime(date)
        return (when if when.tzinfo else when.replace(tzinfo=timezone.utc)).timestamp() - now
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
