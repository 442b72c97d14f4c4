"""The checksum of every record: CRC-32, as fast as this machine can."""

from __future__ import annotations

try:
    from isal.isal_zlib import crc32  # the same sum in a sixth of the time
except ImportError:
    from zlib import crc32

__all__ = ["crc32"]
