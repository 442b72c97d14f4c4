"""Compress a request's body, as fast as this machine can."""

from __future__ import annotations

import gzip as stdlib_gzip

# The fastest level: JSON events shrink to a quarter, higher levels gain little and cost much.
_LEVEL = 1


def gzip(body: bytes) -> bytes:
    """Return `body` as gzip, through ``isal`` where it is installed: four times as fast."""
    try:
        from isal import igzip  # noqa: PLC0415 - optional, and only for those who compress
    except ImportError:
        return stdlib_gzip.compress(body, _LEVEL, mtime=0)
    packed: bytes = igzip.compress(body, _LEVEL)
    return packed
