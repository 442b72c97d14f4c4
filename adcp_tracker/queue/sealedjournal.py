"""A journal that writes no event in clear."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from adcp_tracker.queue.encryption import SEALED
from adcp_tracker.queue.journal import Journal
from adcp_tracker.queue.records import EVENT, Record, frame

if TYPE_CHECKING:
    from collections.abc import Callable

    from adcp_tracker.queue.directory import QueueDirectory
    from adcp_tracker.queue.encryption import Encryption


class SealedJournal(Journal):
    """Appends records as :class:`.Journal` does, sealed.

    Args:
        encryption: What seals them.
        directory: The queue directory.
        **options: What a journal takes.
    """

    def __init__(
        self,
        encryption: Encryption,
        directory: QueueDirectory,
        **options: Any,  # noqa: ANN401 - handed on as they are
    ) -> None:
        super().__init__(directory, **options)
        self._encryption = encryption

    def append(self, body: bytes, accepted_ms: int) -> None:
        """Make a plain event durable; see :meth:`.Journal.append`."""
        self.append_record(body, accepted_ms, EVENT)

    def at_rest(self, body: bytes, accepted_ms: int, kind: bytes) -> tuple[bytes, bytes]:
        """Return a record's body and kind as they may be kept; sealed once is enough."""
        sealed = SEALED.get(kind)
        if sealed is None:
            return body, kind
        return self._encryption.seal(body, accepted_ms, sealed), sealed

    def opened(self, body: bytes, accepted_ms: int, kind: bytes) -> Record:
        """Return the record of what is kept."""
        records, _ = self._encryption.scan(frame(body, accepted_ms, kind))
        return records[0]


def sealed_journal(encryption: Encryption) -> Callable[..., Journal]:
    """Return what makes journals whose records are sealed."""
    return partial(SealedJournal, encryption)
