"""Dead letters that a leader has not written yet."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from adcp_tracker.outbox.dead_letters import DeadLetter
    from adcp_tracker.outbox.storage import DeadLetters, Segments

_MOST_UNWRITTEN = 10_000
_ENVELOPE_BYTES = 300
MAX_BYTES = 128 * 1024 * 1024
"""How much the dead letters of one destination may take."""


class DeadLetterBuffer:
    """Changes to dead letters that the disk doesn't have yet.

    Args:
        kept: The letters on disk.
        segments: The segments, where letters that are sent again stand as records.

    Attributes:
        sizes: How many bytes the letters of each destination take, about.
    """

    def __init__(self, kept: DeadLetters, segments: Segments) -> None:
        self._store = kept
        self._segments = segments
        self._unwritten: list[DeadLetter] = []
        self._removed: set[str] = set()
        self.sizes: Counter[str] = Counter()

    @property
    def has_unwritten(self) -> bool:
        """Whether any letter exists only in memory."""
        return bool(self._unwritten)

    @property
    def is_full(self) -> bool:
        """Whether too many letters wait in memory to make more."""
        return len(self._unwritten) > _MOST_UNWRITTEN

    def add(self, letters: Iterable[DeadLetter]) -> None:
        """Add letters to be written."""
        for letter in letters:
            self._unwritten.append(letter)
            self.sizes[letter.destination] += len(letter.event) + _ENVELOPE_BYTES

    def trim(self, limit: int) -> Counter[str]:
        """Erase the oldest letters of each destination that has more than `limit` bytes.

        A seller that rejects everything must not fill the disk for the others.

        Returns:
            How many were erased, by destination.
        """
        if all(size <= limit for size in self.sizes.values()):
            return Counter()
        keys = list(self._store.keys())
        self.sizes = Counter()
        for key in keys:
            self.sizes[key.destination] += key.size
        excess = {name: size - limit * 9 // 10 for name, size in self.sizes.items() if size > limit}
        erased: Counter[str] = Counter()
        ids: set[str] = set()
        for key in keys:
            if excess.get(key.destination, 0) > 0 and key.id not in self._removed:
                excess[key.destination] -= key.size
                self.sizes[key.destination] -= key.size
                erased[key.destination] += 1
                ids.add(key.id)
        self._store.remove(ids)
        return erased

    def mark_removed(self, letters: Iterable[DeadLetter]) -> None:
        """Hide letters now, and erase them at the next write."""
        self._removed.update(letter.id for letter in letters)

    def find(self, ids: Collection[str]) -> list[DeadLetter]:
        """Return the letters with these ids that aren't marked as removed."""
        wanted = set(ids) - self._removed
        return [letter for letter in self._store if letter.id in wanted]

    def write(self, now: float) -> None:
        """Write new letters, then erase removed ones.

        Args:
            now: Seconds since the epoch.

        Raises:
            OSError: If the disk does not take it; what is left is there for the next time.
        """
        self._store.add(self._unwritten, now)
        self._unwritten.clear()
        if self._removed:
            self._segments.sync()  # on disk as records before they are gone as letters
            self._store.remove(self._removed)
            self._removed.clear()

    def discard(self, is_unwanted: Callable[[bytes], bool]) -> None:
        """Drop letters from memory whose events were erased on disk."""
        self._unwritten = [each for each in self._unwritten if not is_unwanted(each.event)]

    def counts(self) -> Counter[str] | None:
        """Count letters by destination. ``None`` if some can't be decrypted."""
        if self._store.undecrypted():
            return None
        every = (*self._store, *self._unwritten)
        return Counter({each.id: each.destination for each in every}.values())
