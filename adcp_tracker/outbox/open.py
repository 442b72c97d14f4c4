"""Open the store where a queue lives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adcp_tracker.outbox.directory import DirectoryStore, open_outbox
from adcp_tracker.outbox.storage import Shards

if TYPE_CHECKING:
    from collections.abc import Callable

    from adcp_tracker.journal.encryption import Encryption
    from adcp_tracker.journal.files import QueueDirectory
    from adcp_tracker.outbox.storage import Outbox, Store
    from adcp_tracker.outbox.transactional import TransactionalOutbox

_FIRST = Shards()


def is_queue_url(place: str) -> bool:
    """Return whether a place is the URL of a queue, and not a directory."""
    return "://" in place


def open_store(
    directory: QueueDirectory | None,
    url: str | None = None,
    encryption: Encryption | None = None,
    outbox: Callable[[QueueDirectory], Outbox] = open_outbox,
    shards: Shards = _FIRST,
) -> Store:
    """Return the store of a directory, or of the queue at a URL.

    Args:
        directory: The queue directory, if it is one.
        url: The URL of the queue otherwise.
        encryption: Encrypts and decrypts events.
        outbox: Opens the state of a directory.
        shards: Which queues of the database this process works on.

    Raises:
        ConfigurationError: If the URL is invalid, or its driver isn't installed.
    """
    if directory is not None:
        return DirectoryStore(directory, encryption, outbox)
    from adcp_tracker.outbox.database import DatabaseStore  # noqa: PLC0415 - rarely needed

    return DatabaseStore(str(url), encryption, shards)


def open_producer_store(
    outbox: TransactionalOutbox, encryption: Encryption | None, shards: Shards
) -> Store:
    """Return the store of a process that only inserts events in the application's database."""
    from adcp_tracker.outbox.database import ProducerStore  # noqa: PLC0415 - for those who use it

    return ProducerStore(outbox, encryption, shards)
