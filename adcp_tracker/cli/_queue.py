"""Open and inspect a queue."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

import attrs

from adcp_tracker._clock import SystemClock
from adcp_tracker.delivery.leader_lock import LeaderLock
from adcp_tracker.delivery.stats import Stats, StatsCollector, read_stats
from adcp_tracker.exceptions import ConfigurationError
from adcp_tracker.journal.reader import SegmentStore
from adcp_tracker.outbox.state import State
from adcp_tracker.outbox.storage import DamagedOutboxError, open_outbox

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from adcp_tracker.delivery.stats import Stats
    from adcp_tracker.destinations.base import Destination
    from adcp_tracker.journal.encryption import Encryption
    from adcp_tracker.journal.files import QueueDirectory
    from adcp_tracker.tracker import Tracker


def open_existing_queue(directory: str | None) -> QueueDirectory:
    """Return the queue to look at; none is ever made by looking.

    Raises:
        ConfigurationError: If there is no queue.
        UnsafeDirectoryError: If others could read it or plant in it.
    """
    from adcp_tracker.journal.files import QueueDirectory  # noqa: PLC0415 - for a quick --help

    queue = QueueDirectory(_path(directory))
    if not queue.segments.is_dir():
        found = "a directory without one" if queue.path.is_dir() else "nothing there"
        raise ConfigurationError(
            f"{queue.path}: expected a queue of events, got {found}; "
            "check --directory or ADCP_DIRECTORY"
        )
    queue.prepare()
    return queue


def make_tracker(directory: str | None, **overrides: object) -> Tracker:
    """Make a tracker by the environment, with some settings put in place of its own.

    Raises:
        ConfigurationError: If the environment does not describe one.
    """
    from adcp_tracker.settings import settings_from_env  # noqa: PLC0415 - for a quick --help
    from adcp_tracker.tracker import Tracker  # noqa: PLC0415 - likewise

    settings = settings_from_env() | {"directory": _path(directory)} | overrides
    return Tracker(destinations(), **settings)  # type: ignore[arg-type]  # it checks


def make_uploading_tracker(directory: str | None, **overrides: object) -> Tracker:
    """Make a tracker that delivers, whoever does it otherwise.

    Raises:
        ConfigurationError: If the environment describes no destination, or no tracker.
    """
    tracker = make_tracker(directory, uploader="thread", **overrides)
    require_destinations(tracker.destinations)
    return tracker


def destinations() -> list[Destination]:
    """Return the destinations that the environment describes.

    Raises:
        ConfigurationError: If one is described in part.
    """
    from adcp_tracker.settings import destinations_from_env  # noqa: PLC0415 - for a quick --help

    return destinations_from_env()


def configured_names() -> list[str]:
    """Return what is configured here, which may be nothing at all for who only looks."""
    try:
        return [destination.name for destination in destinations()]
    except ConfigurationError:
        return []


def encryption() -> Encryption | None:
    """Return what opens sealed records, as the environment has it.

    Raises:
        ConfigurationError: If a key is none, or a variable is misspelt.
    """
    from adcp_tracker.journal.encryption import encryption_from_keys  # noqa: PLC0415 - likewise
    from adcp_tracker.settings import settings_from_env  # noqa: PLC0415 - for a quick --help

    keys = settings_from_env().get("encryption_keys", ())
    return encryption_from_keys(keys)  # type: ignore[arg-type]  # it checks


def require_destinations(found: Sequence[Destination]) -> None:
    """Ask for at least one destination.

    Raises:
        ConfigurationError: If there is none.
    """
    if not found:
        raise ConfigurationError(
            "destinations: expected at least one, got none; set ADCP_EVENT_SOURCE_ID, and "
            "ADCP_ADVERTISER_ID with ADCP_API_KEY or ADCP_AGENT_URL with ADCP_AGENT_TOKEN"
        )


def _path(directory: str | None) -> str:
    path = os.environ.get("ADCP_DIRECTORY", "") if directory is None else directory
    if not path:
        raise ConfigurationError(
            "directory: expected the queue's path, got nothing; give --directory or set "
            "ADCP_DIRECTORY"
        )
    return path


@attrs.frozen
class QueueStatus:
    """How a queue stands.

    Attributes:
        stats: The books: fresh ones, or those that the uploading process wrote last.
        leader: The id of the process that uploads, 0 if it has not told yet; ``None`` if
            none does.
        used_bytes: How much room the queue takes.
        damage: Why the queue's state could not be read; empty if it could.
    """

    stats: Stats
    leader: int | None
    used_bytes: int
    damage: str = ""


def read_status(queue: QueueDirectory, names: Collection[str]) -> QueueStatus:
    """Find out how a queue stands.

    While a process uploads, its books are at most a second old. While none does, nobody
    else may be reading the state, so it is read here.

    Args:
        queue: The queue.
        names: The destinations that are known to be configured; may be empty.

    Raises:
        OutboxError: If the state cannot be read for now.
    """
    election = LeaderLock(queue, SystemClock())
    used = queue.used_bytes()
    if not election.try_acquire():
        stats = read_stats(queue)
        return QueueStatus(stats, stats.leader, used)
    try:
        return QueueStatus(_collect_stats(queue, names), None, used)
    except DamagedOutboxError as error:
        return QueueStatus(read_stats(queue), None, used, str(error))
    finally:
        election.release()


def _collect_stats(queue: QueueDirectory, names: Collection[str]) -> Stats:
    segments = SegmentStore(queue)
    outbox = open_outbox(queue) if any(queue.state.iterdir()) else _EmptyOutbox()
    try:
        bookkeeper = StatsCollector(segments, State(outbox, names))
        configured = names or _last_configured(queue)
        return bookkeeper.collect(segments.sizes(), configured, SystemClock.now())
    finally:
        outbox.close()


def _last_configured(queue: QueueDirectory) -> list[str]:
    return [name for name, books in read_stats(queue).destinations.items() if books.configured]


class _EmptyOutbox:
    """The outbox of a queue that nobody has uploaded from yet."""

    def load(self) -> dict[str, bytes]:
        """Return nothing."""
        return {}

    def apply(self, puts: Mapping[str, bytes], removes: Collection[str]) -> None:
        """Do nothing, as whoever only looks has nothing to write."""

    def close(self) -> None:
        """Do nothing."""


@contextmanager
def stopping(tracker: Tracker, grace: float | None = None) -> Iterator[Tracker]:
    """Have a tracker end with the work it was made for, however that ends.

    Args:
        tracker: The tracker.
        grace: How long its last request may take, in seconds.

    Raises:
        TimeoutError: If it was not let to work by another process.
        OutboxError: If it was not let to work by the queue's own state.
    """
    try:
        yield tracker
    except TimeoutError:
        tracker.stop(grace)
        _raise_if_state_unreadable(tracker)
        raise
    finally:
        tracker.stop(grace)


def require_leader(stats: Stats, began: float, tracker: Tracker, timeout: float) -> None:
    """Ask for books that tell how the queue stands since the work began.

    Args:
        stats: The books it came to.
        began: When it began, in seconds since the epoch.
        tracker: What was to do it.
        timeout: How long it had, in seconds.

    Raises:
        TimeoutError: If another process kept the queue to itself.
    """
    if stats.leader == os.getpid() or (stats.taken_at >= began and not stats.pending):
        return
    who = f"process {stats.leader}" if stats.leader else "another process"
    raise TimeoutError(
        f"{tracker.settings.directory}: expected {who}, which uploads, to step aside within "
        f"{timeout:g} s, and it did not; try again, or stop it"
    )


def _raise_if_state_unreadable(tracker: Tracker) -> None:
    """Find out whether it was the state that could not be read, rather than another process."""
    from adcp_tracker.journal.files import QueueDirectory  # noqa: PLC0415 - likewise

    read_status(QueueDirectory(tracker.settings.directory), ())
