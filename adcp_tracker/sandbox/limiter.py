"""So many requests per window, and headers that say how many are left."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable


@attrs.define
class RateLimiter:
    """Counts requests in fixed windows.

    Attributes:
        monotonic: Tells the time in seconds.
        started_at: When the current window began.
        used: How many requests it has seen.
    """

    monotonic: Callable[[], float]
    started_at: float = float("-inf")
    used: int = 0

    def take(self, limit: int, window_s: float) -> tuple[bool, dict[str, str]]:
        """Count one request.

        Returns:
            Whether it is within the limit, and the headers that belong on its answer.
        """
        now = self.monotonic()
        if now - self.started_at >= window_s:
            self.started_at, self.used = now, 0
        self.used += 1
        left = max(0, limit - self.used)
        wait_s = str(max(1, math.ceil(self.started_at + window_s - now)))
        headers = {
            "RateLimit-Limit": str(limit),
            "RateLimit-Remaining": str(left),
            "RateLimit-Reset": wait_s,
        }
        allowed = self.used <= limit
        return allowed, headers if allowed else headers | {"Retry-After": wait_s}
