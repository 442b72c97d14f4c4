"""Dead letters between memory and disk: those still to be written, and those to be erased."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from adcp_tracker.queue.deadletters import DeadLetter, DeadLetters
    from adcp_tracker.queue.segments import Segments

_MOST_UNWRITTEN = 10_000


class Letterbox:
    """What the uploading process knows of dead letters that the disk does not have so yet.

    Args:
        kept: The letters on disk.
        segments: The segments, where letters that are sent again stand as records.
    """

    def __init__(self, kept: DeadLetters, segments: Segments) -> None:
        self._kept = kept
        self._segments = segments
        self._unwritten: list[DeadLetter] = []
        self._withdrawn: set[str] = set()

    @property
    def has_unwritten(self) -> bool:
        """Whether any letter is in memory alone."""
        return bool(self._unwritten)

    @property
    def is_crowded(self) -> bool:
        """Whether so many are that no more should be made for now."""
        return len(self._unwritten) > _MOST_UNWRITTEN

    def add(self, letters: Iterable[DeadLetter]) -> None:
        """Take letters that are to be written."""
        self._unwritten.extend(letters)

    def withdraw(self, letters: Iterable[DeadLetter]) -> None:
        """Take letters out of use, which are to be erased as soon as the disk lets them go."""
        self._withdrawn.update(letter.id for letter in letters)

    def find(self, ids: Collection[str]) -> list[DeadLetter]:
        """Return the letters of these ids that have not been withdrawn."""
        wanted = set(ids) - self._withdrawn
        return [letter for letter in self._kept if letter.id in wanted]

    def write(self, now: float) -> None:
        """Write what is to be written, then erase what is to be erased.

        Args:
            now: Seconds since the epoch.

        Raises:
            OSError: If the disk does not take it; what is left is there for the next time.
        """
        self._kept.add(self._unwritten, now)
        self._unwritten.clear()
        if self._withdrawn:
            self._segments.sync()  # on disk as records before they are gone as letters
            self._kept.remove(self._withdrawn)
            self._withdrawn.clear()

    def let_go(self, is_unwanted: Callable[[bytes], bool]) -> None:
        """Forget letters in memory whose events were erased on disk."""
        self._unwritten = [each for each in self._unwritten if not is_unwanted(each.event)]

    def counts(self) -> Counter[str] | None:
        """Count each destination's letters; ``None`` if some are locked, as anybody's."""
        if self._kept.locked():
            return None
        every = (*self._kept, *self._unwritten)
        return Counter({each.id: each.destination for each in every}.values())
