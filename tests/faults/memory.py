"""The most memory a process had at once, from some moment on."""

from __future__ import annotations

from pathlib import Path

_RESET_HIGH_WATER = "5"


def begin_high_water() -> int:
    """Forget what was the most so far, and return how many KiB are resident now."""
    Path("/proc/self/clear_refs").write_text(_RESET_HIGH_WATER)
    return _status("VmRSS")


def high_water() -> int:
    """Return how many KiB were resident at most since."""
    return _status("VmHWM")


def _status(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        label, _, value = line.partition(":")
        if label == name:
            return int(value.split()[0])
    raise AssertionError(f"expected {name} among what the kernel tells of a process")
