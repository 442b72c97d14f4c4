"""How much memory this process holds, as the kernel counts it."""

from __future__ import annotations

import re
import resource
import sys
from pathlib import Path

_BYTES_PER_KIB = 1_024
_STATUS = re.compile(r"^(VmRSS|RssAnon|VmHWM):\s+(\d+) kB$", re.MULTILINE)


def memory() -> dict[str, float]:
    """Give resident bytes: ``VmRSS`` in all, ``RssAnon`` the heap, ``VmHWM`` the highest so far.

    Mapped files are in the first, and not in the second.
    Where the kernel does not tell, all three are the highest so far.
    """
    status = Path("/proc/self/status")
    if status.exists():
        found = _STATUS.findall(status.read_text())
        return {name: float(kib) * _BYTES_PER_KIB for name, kib in found}
    unit = 1 if sys.platform == "darwin" else _BYTES_PER_KIB
    highest = float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)
    return dict.fromkeys(("VmRSS", "RssAnon", "VmHWM"), highest)


def process_cpu_s() -> float:
    """Give the seconds of CPU that all threads of this process have used."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
