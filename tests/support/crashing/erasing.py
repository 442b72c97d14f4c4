"""A person who is erased while the process may end, and what is found of them afterwards."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from adcp_tracker.journal.encryption import Encryption

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from adcp_tracker import Tracker

SHOPPER = "shopper@shop.example"
ERASED = "erased@shop.example"
GONE = "gone-"
"""Stands in the ids of all events of the person who is erased, and in no other."""

KEYS = (b"k" * 32,)
"""What seals the queues that are sealed."""

_BEGUN, _DONE = "forgetting", "forgotten"
_READABLE = (hashlib.sha256(SHOPPER.encode()).hexdigest().encode(), b"event_id")


def address_of(event_id: str) -> str:
    """Return whose event it is."""
    return ERASED if GONE in event_id else SHOPPER


def forget(tracker: Tracker, folder: Path) -> None:
    """Erase the person, and write down how far that has come."""
    (folder / _BEGUN).touch()
    tracker.privacy.erase(email=ERASED)
    (folder / _DONE).touch()


def has_begun(folder: Path) -> bool:
    """Say whether the call was made."""
    return (folder / _BEGUN).exists()


def is_to_be_repeated(folder: Path) -> bool:
    """Say whether the call was made and never returned."""
    return has_begun(folder) and not (folder / _DONE).exists()


def remains(folder: Path) -> list[str]:
    """Say where anything of the person is, once the call has returned."""
    if not has_begun(folder) or is_to_be_repeated(folder):
        return []
    whose = (hashlib.sha256(ERASED.encode()).hexdigest().encode(), GONE.encode())
    found = _telling(folder / "queue", whose, opened=True)
    return [f"{name} still tells of who was erased" for name in found]


def readable(folder: Path) -> list[str]:
    """Say where anything can be read in a queue that is sealed."""
    return [f"{name} is readable" for name in _telling(folder / "queue", _READABLE)]


def _telling(queue: Path, needles: tuple[bytes, ...], *, opened: bool = False) -> list[str]:
    files = [path for path in sorted(queue.rglob("*")) if path.is_file()]
    return [
        str(path.relative_to(queue))
        for path in files
        if any(needle in text for text in _texts(path, opened=opened) for needle in needles)
    ]


def _texts(path: Path, *, opened: bool) -> Iterator[bytes]:
    """Return what is in a file, and what whoever has the key reads there."""
    data = path.read_bytes()
    yield data
    if opened:
        key = Encryption(KEYS)
        for records, _ in (key.parse(data), key.parse_dead_letters(data)):
            yield from (record.body for record in records)
