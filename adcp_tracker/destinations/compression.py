"""Compress a request's body, as fast as this machine can."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

# The fastest level: JSON events shrink to a quarter, higher levels gain little and cost much.
_LEVEL = 1
_AS_GZIP = 16 + zlib.MAX_WBITS


def gzip(body: Iterable[bytes]) -> bytes:
    """Return the pieces of `body` as one gzip, the same bytes each time.

    Through ``isal`` where it is installed: four times as fast.
    """
    try:
        from isal import isal_zlib  # noqa: PLC0415 - optional, and only for those who compress
    except ImportError:
        slow = zlib.compressobj(_LEVEL, wbits=_AS_GZIP)
        return b"".join([*map(slow.compress, body), slow.flush()])
    quick = isal_zlib.compressobj(_LEVEL, wbits=_AS_GZIP)
    return b"".join([*map(quick.compress, body), quick.flush()])
