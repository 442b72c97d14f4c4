"""The queue that a command works on, and ``adcp-tracker queue``: its tables in a database."""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Annotated

import attrs
import typer

from adcp_tracker._platform import SystemClock
from adcp_tracker.cli import _common
from adcp_tracker.cli._common import EXIT_ATTENTION, EXIT_OK, AsJson, Directory, command
from adcp_tracker.delivery.stats import (
    Stats,
    StatsCollector,
    StatsReader,
    add_up,
    count_unclaimed,
    read_stats,
)
from adcp_tracker.exceptions import ConfigurationError
from adcp_tracker.journal.encryption import encryption_from_keys
from adcp_tracker.journal.files import QueueDirectory
from adcp_tracker.outbox.directory import is_queue_url, open_store
from adcp_tracker.outbox.state import State
from adcp_tracker.outbox.storage import DamagedOutboxError, Shards
from adcp_tracker.settings import Settings, destinations_from_env, directory_path, settings_from_env
from adcp_tracker.tracker import Tracker

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from adcp_tracker.destinations.base import Destination
    from adcp_tracker.journal.encryption import Encryption
    from adcp_tracker.outbox.storage import Store


_host: ContextVar[Tracker | None] = ContextVar("adcp_tracker_cli_host", default=None)


@contextmanager
def using_tracker(tracker: Tracker | None) -> Iterator[None]:
    """Take settings and destinations from `tracker`, instead of from ADCP_* variables."""
    token = _host.set(tracker)
    try:
        yield
    finally:
        _host.reset(token)


def open_existing_queue(place: str | None, patience: float | None = None) -> Store:
    """Return an existing queue; never create one.

    Args:
        place: Its directory or URL; left out, the one that is configured.
        patience: How long to wait for a database to answer, in seconds; left out, as long as its
            driver does.

    Raises:
        ConfigurationError: If there is no queue.
        OutboxError: If its database does not answer.
        UnsafeDirectoryError: If other users can read or write it.
    """
    place = _place(place)
    if is_queue_url(place):
        store = open_store(None, place, encryption(), shards=Shards(queue_numbers(place)))
        if patience is None:
            store.prepare()
        else:
            StatsReader(store).ask(lambda asked: asked.prepare(), patience)
        return store
    queue = QueueDirectory(place)
    queue.check(queue.path)
    if not queue.segments.is_dir():
        found = "a directory without one" if queue.path.is_dir() else "no such directory"
        raise ConfigurationError(
            f"{queue.path}: expected a queue of events, got {found}; "
            "check --directory or ADCP_DIRECTORY"
        )
    queue.prepare()
    return open_store(queue, None, encryption())


def make_tracker(
    directory: str | None, fleet: tuple[int, ...] = (), **overrides: object
) -> Tracker:
    """Create a tracker as configured; `overrides` replace settings.

    Args:
        directory: The queue's directory or URL; left out, the one that is configured.
        fleet: The queues that workers share.
        **overrides: Settings.

    Raises:
        ConfigurationError: If a variable is invalid.
    """
    settings = attrs.asdict(make_settings(directory, **overrides), recurse=False)
    return Tracker(destinations(), _fleet=fleet, **settings)


def make_settings(directory: str | None, **overrides: object) -> Settings:
    """Return a tracker's settings as configured; `overrides` replace some of them.

    Raises:
        ConfigurationError: If a variable is invalid.
    """
    host = _host.get()
    settings = settings_from_env() if host is None else attrs.asdict(host.settings, recurse=False)
    is_relay = settings.get("directory") and settings.get("queue")
    if directory is not None or not is_relay:
        place = _place(directory)
        is_url = is_queue_url(place)
        settings |= {"directory": None if is_url else place, "queue": place if is_url else None}
    settings |= overrides
    # A tracker of several queues can't upload, and a command that doesn't upload needn't.
    found = Settings(**{**settings, "uploader": "external"})
    is_external = len(found.queues) > 1 and "uploader" not in overrides
    return found if is_external else Settings(**settings)


def make_uploading_tracker(
    directory: str | None, fleet: tuple[int, ...] = (), **overrides: object
) -> Tracker:
    """Create a tracker that uploads, whatever ``ADCP_UPLOADER`` says.

    Raises:
        ConfigurationError: If a variable is invalid, or no destination is configured.
    """
    tracker = make_tracker(directory, fleet, uploader="thread", **overrides)
    is_relay = tracker.settings.directory is not None and tracker.settings.queue is not None
    if not is_relay:
        require_destinations(tracker.destinations)
    return tracker


def queue_numbers(directory: str | None, given: str | None = None) -> tuple[int, ...]:
    """Return the numbers of the queues to work on.

    Args:
        directory: The queue's directory or URL; left out, the one that is configured.
        given: The numbers, as in ``0-3``; left out, those that are configured.

    Raises:
        ConfigurationError: If they are no numbers.
    """
    chosen = {} if given is None else {"queues": given}
    return make_settings(directory, **chosen).queues


def destinations() -> list[Destination]:
    """Return the configured destinations.

    Raises:
        ConfigurationError: If a variable is missing or invalid.
    """
    host = _host.get()
    if host is not None:
        return list(host.destinations)

    return destinations_from_env()


def configured_names() -> list[str]:
    """Return the names of the configured destinations; empty if that fails."""
    try:
        return [destination.name for destination in destinations()]
    except ConfigurationError:
        return []


def encryption() -> Encryption | None:
    """Return the configured encryption.

    Raises:
        ConfigurationError: If a key is invalid or a variable is misspelt.
    """
    host = _host.get()
    if host is not None:
        return encryption_from_keys(host.settings.encryption_keys)
    keys = settings_from_env().get("encryption_keys", ())
    return encryption_from_keys(keys)  # type: ignore[arg-type]  # it validates


def require_destinations(found: Sequence[Destination]) -> None:
    """Check that there is a destination.

    Raises:
        ConfigurationError: If there is none.
    """
    if not found:
        raise ConfigurationError(
            "No destination is configured. Set ADCP_EVENT_SOURCE_ID, and ADCP_ADVERTISER_ID with "
            "ADCP_API_KEY or ADCP_AGENT_URL with ADCP_AGENT_TOKEN."
        )


def queue_url(given: str | None) -> str:
    """Return the URL of the queue.

    Raises:
        ConfigurationError: If the queue is a directory, or none is given.
    """
    place = os.environ.get("ADCP_QUEUE") if given is None else given
    if not place or not is_queue_url(place):
        raise ConfigurationError(
            "queue: expected a URL such as 'postgresql://user@host/database' or "
            "'mysql://user@host/database'; use --queue or set ADCP_QUEUE"
        )
    return place


def _place(given: str | None) -> str:
    """Return the directory or the URL of the queue."""
    host = _host.get()
    if given is None and host is not None:
        given = host.settings.directory or host.settings.queue
    if given is None:
        given = os.environ.get("ADCP_DIRECTORY") or os.environ.get("ADCP_QUEUE")
    if not given:
        raise ConfigurationError("No directory is given. Use --directory or set ADCP_DIRECTORY.")
    return directory_path(given)  # which leaves a URL as it is


@attrs.frozen
class QueueStatus:
    """The status of a queue.

    Attributes:
        stats: Current counts, or those that the uploading process published last.
        leader: The id of the process that uploads, 0 if it is unknown; ``None`` if no
            process uploads.
        used_bytes: The size of the queue.
        damage: Why the queue's state can't be read; empty if it can.
    """

    stats: Stats
    leader: int | None
    used_bytes: int
    damage: str = ""


def read_status(store: Store, names: Collection[str]) -> QueueStatus:
    """Read the status of a queue.

    If a process uploads, return what it published, which is at most a second old.
    Otherwise take the leader lock and read the state.

    Args:
        store: The queue.
        names: The names of the configured destinations; empty if unknown.

    Raises:
        OutboxError: If the state can't be read at the moment.
    """
    shards = store.shards()
    if len(shards) == 1:
        return _read_status(store, names)
    parts = [_read_status(shard, names) for shard in shards]
    leaders = [each.leader for each in parts]
    return QueueStatus(
        add_up([each.stats for each in parts]),
        None if None in leaders else leaders[0],
        sum(each.used_bytes for each in parts),
        "; ".join(each.damage for each in parts if each.damage),
    )


def _read_status(store: Store, names: Collection[str]) -> QueueStatus:
    lock = store.leader_lock(SystemClock())
    used = store.used_bytes()
    if not lock.try_acquire():
        stats = read_stats(store)
        if not stats.taken_at:  # the process that uploads has not reported yet
            stats = count_unclaimed(store)
        return QueueStatus(stats, stats.leader, used)
    try:
        return QueueStatus(_collect_stats(store, lock.term, names), None, used)
    except DamagedOutboxError as error:
        return QueueStatus(read_stats(store), None, used, str(error))
    finally:
        lock.release()


def _collect_stats(store: Store, term: int, names: Collection[str]) -> Stats:
    leading = store.open(term)
    segments = leading.segments
    outbox = leading.open_outbox() if leading.has_state() else _EmptyOutbox()
    try:
        collector = StatsCollector(segments, State(outbox, names))
        configured = names or _last_configured(store)
        return collector.collect(segments.sizes(), configured, SystemClock.now())
    finally:
        outbox.close()


def _last_configured(store: Store) -> list[str]:
    return [name for name, counts in read_stats(store).destinations.items() if counts.configured]


class _EmptyOutbox:
    """The outbox of a queue from which no process has uploaded yet."""

    def load(self) -> dict[str, bytes]:
        """Return an empty state."""
        return {}

    def apply(self, puts: Mapping[str, bytes], removes: Collection[str]) -> None:
        """Ignore writes."""

    def close(self) -> None:
        """Do nothing."""


@contextmanager
def stopping(tracker: Tracker, grace: float | None = None) -> Iterator[Tracker]:
    """Stop `tracker` when the block ends.

    Args:
        tracker: The tracker.
        grace: How long its last request may take, in seconds.

    Raises:
        TimeoutError: If another process kept uploading.
        OutboxError: If the queue's state can't be read.
    """
    try:
        yield tracker
    except TimeoutError:
        tracker.stop(grace)
        _raise_if_state_unreadable(tracker)
        raise
    finally:
        tracker.stop(grace)


@contextmanager
def uploading(
    directory: str | None, queues: str | None = None, grace: float | None = None
) -> Iterator[list[Tracker]]:
    """Create a tracker that uploads for each queue, and stop them when the block ends.

    Args:
        directory: The queue's directory or URL; left out, the one that is configured.
        queues: The numbers of a database's queues, as in ``0-3``.
        grace: How long their last requests may take, in seconds.

    Raises:
        ConfigurationError: If a variable is invalid, or no destination is configured.
        TimeoutError: If another process kept uploading.
    """
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - for a quick --help

    numbers = queue_numbers(directory, queues)
    fleet = numbers if len(numbers) > 1 else ()
    each: Sequence[Sequence[int]] = [(number,) for number in numbers]
    if make_settings(directory).directory is not None:  # one process ships for all queues
        fleet, each = (), [numbers]
    with ExitStack() as stack:
        made = [
            make_uploading_tracker(directory, fleet, queues=chosen, handle_sigterm=False)
            for chosen in each
        ]
        for tracker in made:
            stack.enter_context(stopping(tracker, grace))
        try:
            yield made
        finally:
            if len(made) > 1:  # at the same time
                with ThreadPoolExecutor(len(made)) as pool:
                    list(pool.map(lambda tracker: tracker.stop(grace), made))


def require_leader(stats: Stats, began: float, tracker: Tracker, timeout: float) -> None:
    """Check that this process became the uploader, or that nothing is pending.

    Args:
        stats: The counts after the work.
        began: When the work began, in seconds since the epoch.
        tracker: The tracker that did it.
        timeout: How long it had, in seconds.

    Raises:
        TimeoutError: If another process kept uploading.
    """
    if stats.leader == os.getpid() or (stats.taken_at >= began and not stats.pending):
        return
    who = f"process {stats.leader}" if stats.leader else "another process"
    raise TimeoutError(
        f"{tracker.settings.location}: {who} uploads and did not hand over within {timeout:g} s. "
        "Try again, or stop that process."
    )


def _raise_if_state_unreadable(tracker: Tracker) -> None:
    """Raise the reason if the queue's state can't be read."""
    settings = tracker.settings
    read_status(open_existing_queue(settings.directory or settings.queue), ())


queue = typer.Typer(no_args_is_help=True, help="Create and check the tables of a queue.")


@queue.command()
@command
def migrate(
    *,
    queues: Annotated[
        int, typer.Option(min=1, max=10_000, help="How many queues the database has.")
    ] = 1,
    url: Directory = None,
) -> int:
    """Create the tables of a queue in a database, or bring them up to date.

    Safe to run again, as at each deployment. Needs a user who may create tables; the
    application and the workers don't.
    """
    from adcp_tracker.outbox.database import migrate as run  # noqa: PLC0415 - an extra

    place = queue_url(url)
    run(place, queues)
    _common.print_line(f"{open_existing_queue(place).location}: the tables are up to date.")
    return EXIT_OK


@queue.command()
@command
def check(*, url: Directory = None, as_json: AsJson = False) -> int:
    """Check the tables, who delivers, and what in the database may lose or slow events.

    Exits with 1 if there is a warning or an error.
    """
    from adcp_tracker.outbox.database_store import DatabaseStore  # noqa: PLC0415 - an extra

    numbers = Shards(queue_numbers(url))
    found = DatabaseStore(queue_url(url), shards=numbers).conditions()
    if as_json:
        _common.print_json({"findings": [each._asdict() for each in found]})
    else:
        for each in found:
            _common.print_check(each.level, "queue", each.message, each.remedy)
    return EXIT_OK if all(each.level == "ok" for each in found) else EXIT_ATTENTION
