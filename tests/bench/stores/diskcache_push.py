"""``diskcache.Cache.push``, set so that it evicts nothing and counts nothing: its fastest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diskcache import Cache

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_TIMEOUT_S = 60


def appender(directory: Path) -> Callable[[bytes], object]:
    """Open one cache for all."""
    cache = Cache(
        str(directory / "cache"), timeout=_TIMEOUT_S, eviction_policy="none", cull_limit=0
    )
    push: Callable[[bytes], object] = cache.push
    return push
