"""Where a queue lives: the protocols that a leader works with.

:class:`.DirectoryStore` keeps a queue in a directory of the local disk. A store that several
machines share has to pass the same contract tests, and besides:

- Its leader lock is a lease with a term. Every write of a leader checks the term in its own
  transaction and raises :class:`.LeadLostError` if another process leads by now.
- A leader never goes on from memory when a commit fails (:attr:`Store.is_shared`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import attrs

from adcp_tracker.exceptions import OutboxError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from adcp_tracker._platform import Clock
    from adcp_tracker.journal.buffer import Journal
    from adcp_tracker.journal.records import CorruptSpan, Record
    from adcp_tracker.outbox.dead_letters import DeadLetter, DeadLetterKey


class DamagedOutboxError(OutboxError):
    """The state that was read is not the state that was written."""


@attrs.frozen
class Shards:
    """Which queues of a database a process works on.

    Attributes:
        numbers: Those that its events are spread over. It leads the first.
        fleet: Those that workers share fairly; empty if this process shares none.
    """

    numbers: tuple[int, ...] = (0,)
    fleet: tuple[int, ...] = ()


class Outbox(Protocol):
    """A transactional map. Any store that passes the contract tests can stand in."""

    def load(self) -> dict[str, bytes]:
        """Return everything in it.

        Raises:
            DamagedOutboxError: If it is not what was last written.
            OutboxError: If it can't be read at the moment.
        """

    def apply(self, puts: Mapping[str, bytes], removes: Collection[str]) -> None:
        """Set and remove keys, all or none of them, durably.

        Raises:
            OutboxError: If it can't be written; then nothing has changed.
            LeadLostError: If another process leads by now.
        """

    def close(self) -> None:
        """Close it, in the thread that opened it."""


class Segments(Protocol):
    """The segments of a queue, as the leader sees them. A segment never changes but for erasure."""

    @property
    def parse(self) -> Callable[[bytes, int], tuple[list[Record], list[CorruptSpan]]]:
        """Parse whole records, decrypted as far as there are keys."""

    def sizes(self, *, is_complete: bool = True) -> dict[str, int]:
        """Return the size of each segment in bytes by its name, oldest first.

        Args:
            is_complete: Whether it has to count everything that was accepted by now. If not, it
                may be a part, and more is counted by each call.
        """

    def read(self, name: str, start: int, length: int) -> bytes:
        """Return up to `length` bytes of a segment from `start` on."""

    def reading(self, name: str) -> AbstractContextManager[Callable[[int, int], bytes]]:
        """Open a segment for several reads."""

    def count(self, name: str, start: int, stop: int) -> int:
        """Return how many records there are between two offsets."""

    def is_closed(self, name: str) -> bool:
        """Return whether no process can write to the segment anymore."""

    def delete(self, name: str, size: int) -> bool:
        """Delete a segment if it is closed and still of that size; return whether it is gone."""

    def erase(self, name: str, records: Iterable[Record]) -> None:
        """Overwrite records, so that nothing of their content is left."""

    def blank(self, name: str, spans: Iterable[CorruptSpan]) -> None:
        """Overwrite bytes that are no records, keeping their number of lines."""

    def quarantine(self, name: str, data: bytes) -> None:
        """Keep bytes that were no record, up to a limit."""

    def sync(self) -> None:
        """Make records durable that were appended since the last call."""

    def remove_stale(self) -> None:
        """Remove what a process left behind that died while it began a segment."""


class DeadLetters(Protocol):
    """The dead letters of a queue. Only the leader writes them."""

    def __iter__(self) -> Iterator[DeadLetter]:
        """Yield each dead letter that can be read, oldest first."""

    def keys(self) -> Iterator[DeadLetterKey]:
        """Yield the key of each dead letter that can be read, oldest first."""

    def add(self, letters: Iterable[DeadLetter], now: float) -> None:
        """Write dead letters durably."""

    def remove(self, ids: Collection[str]) -> int:
        """Erase dead letters; return how many there were."""

    def undecrypted(self) -> int:
        """Return how many can't be decrypted because their key is missing."""

    def is_empty(self) -> bool:
        """Return whether there are none."""


class DestinationNames(Protocol):
    """The names of all destinations that events are kept for, whichever process leads."""

    own: tuple[str, ...]
    """The names of this process's destinations."""

    def __iter__(self) -> Iterator[str]:
        """Yield every name."""

    def add(self, names: Iterable[str]) -> None:
        """Add names durably."""

    def add_own(self) -> None:
        """Add this process's names without waiting for the disk."""

    def add_own_synced(self) -> None:
        """Add this process's names durably."""

    def remove(self, name: str) -> None:
        """Remove a name."""

    def remove_stale(self) -> None:
        """Remove what a process left behind that died while it added a name."""


class Contexts(Protocol):
    """Contexts that any process remembers for a purchase to come, under hidden names."""

    def key(self) -> bytes:
        """Return the signing key that all processes of the queue share; make it if needed."""

    def is_there(self) -> bool:
        """Return whether a context was ever remembered."""

    def read(self, name: str) -> bytes | None:
        """Return the data of a name."""

    def write(self, name: str, data: bytes) -> None:
        """Store the data of a name, replacing older data."""

    def __iter__(self) -> Iterator[tuple[str, bytes]]:
        """Yield every name with its data."""

    def remove(self, names: Iterable[str]) -> None:
        """Delete some names with their data, durably."""

    def remove_old(self, max_age: float, most: int) -> bool:
        """Delete old data, and the oldest beyond `most`; return whether there was more."""


class LeaderLock(Protocol):
    """A process's claim to lead a queue."""

    @property
    def is_held(self) -> bool:
        """Whether this process leads."""

    @property
    def term(self) -> int:
        """Which leader this is; later ones have greater terms. 0 where a lock can't be lost."""

    @property
    def free_in(self) -> float:
        """In how many seconds the lock may be free; infinity if that isn't known."""

    def try_acquire(self) -> bool:
        """Take the lock if it is free; return whether this thread holds it."""

    def acquire(self, timeout: float) -> bool:
        """Ask the leader to step down, and take the lock within `timeout` seconds."""

    def renew(self) -> bool:
        """Keep the lock; return whether this process still leads."""

    def is_requested(self) -> bool:
        """Return whether another process asks for the lock."""

    def release(self) -> None:
        """Release the lock."""

    def close_inherited(self) -> None:
        """Drop the parent's claim, in a child made by a fork; the parent keeps it."""


class Queue(Protocol):
    """A queue as one leader sees it. Every write is made in the leader's term."""

    @property
    def segments(self) -> Segments:
        """Its segments."""

    @property
    def dead_letters(self) -> DeadLetters:
        """Its dead letters."""

    def open_outbox(self) -> Outbox:
        """Open its state.

        Raises:
            DamagedOutboxError: If it can't be read for good.
            OutboxError: If it can't be opened at the moment.
        """

    def has_state(self) -> bool:
        """Return whether a leader ever kept state."""

    def quarantine_state(self) -> str:
        """Set a damaged state aside, and return where it is kept."""

    def write_stats(self, data: bytes) -> None:
        """Publish counts for other processes."""

    def hold(self, destination: str, seconds: float) -> None:
        """Have every leader that shares the store wait before the next request to a destination."""

    def held(self) -> Mapping[str, float]:
        """Return for how many seconds each destination is to be left alone."""

    def compact_state(self) -> None:
        """Overwrite what the closed state has freed, so that no erased text is left in it."""

    def places_with(self, texts: frozenset[str]) -> tuple[str, ...]:
        """Return the names of the places that contain one of some case-folded texts."""

    def state_contains(self, texts: frozenset[str]) -> bool:
        """Return whether the state contains one of some texts, also where it was freed."""

    def discard_quarantined(self) -> int:
        """Delete quarantined bytes and states; return how many there were."""


class Store(Protocol):
    """Where a queue lives."""

    is_shared: bool
    """Whether other machines can lead. Then nothing is sent that was not committed."""

    location: str
    """What messages call it."""

    def prepare(self) -> None:
        """Create what is missing and check what is there.

        Raises:
            UnsafeDirectoryError: If other users could read or write it.
            OSError: If it can't be created or reached.
        """

    def shards(self) -> Sequence[Store]:
        """Return the store of each of its queues; itself if it has one."""

    def open(self, term: int = 0) -> Queue:
        """Return the queue for the leader of this term; for others, to read only."""

    def journal_writer(self, **options: Any) -> Journal:  # noqa: ANN401 - passed on
        """Return what appends this process's records, made with options of a journal writer."""

    def leader_lock(self, clock: Clock) -> LeaderLock:
        """Return this process's claim to lead."""

    def destination_names(self, own: Iterable[str], clock: Clock) -> DestinationNames:
        """Return the names of all destinations; `own` are those of this process."""

    def contexts(self, clock: Clock) -> Contexts:
        """Return the contexts that are remembered for orders."""

    def read_stats(self) -> bytes:
        """Return the counts that the leader last published; empty if there are none.

        Raises:
            OutboxError: If a database can't be asked.
        """

    def count_uncollected(self) -> int:
        """Return how many records are in no segment yet, until a leader collects them."""

    def used_bytes(self) -> int:
        """Return the size of the queue."""
