"""From options and environment to a queue, or to a tracker that works on it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from adcp_tracker.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from adcp_tracker.destinations.base import Destination
    from adcp_tracker.queue.directory import QueueDirectory
    from adcp_tracker.queue.encryption import Encryption
    from adcp_tracker.tracker import Tracker


def existing_queue(directory: str | None) -> QueueDirectory:
    """Return the queue to look at; none is ever made by looking.

    Raises:
        ConfigurationError: If there is no queue.
        UnsafeDirectoryError: If others could read it or plant in it.
    """
    from adcp_tracker.queue.directory import QueueDirectory  # noqa: PLC0415 - for a quick --help

    queue = QueueDirectory(_path(directory))
    if not queue.segments.is_dir():
        found = "a directory without one" if queue.path.is_dir() else "nothing there"
        raise ConfigurationError(
            f"{queue.path}: expected a queue of events, got {found}; "
            "check --directory or ADCP_DIRECTORY"
        )
    queue.prepare()
    return queue


def tracker_of(directory: str | None, **overrides: object) -> Tracker:
    """Make a tracker by the environment, with some settings put in place of its own.

    Raises:
        ConfigurationError: If the environment does not describe one.
    """
    from adcp_tracker.config import settings_from_env  # noqa: PLC0415 - for a quick --help
    from adcp_tracker.tracker import Tracker  # noqa: PLC0415 - likewise

    settings = settings_from_env() | {"directory": _path(directory)} | overrides
    return Tracker(destinations(), **settings)  # type: ignore[arg-type]  # it checks


def uploading_tracker(directory: str | None, **overrides: object) -> Tracker:
    """Make a tracker that delivers, whoever does it otherwise.

    Raises:
        ConfigurationError: If the environment describes no destination, or no tracker.
    """
    tracker = tracker_of(directory, uploader="thread", **overrides)
    expect_destinations(tracker.destinations)
    return tracker


def destinations() -> list[Destination]:
    """Return the destinations that the environment describes.

    Raises:
        ConfigurationError: If one is described in part.
    """
    from adcp_tracker.config import destinations_from_env  # noqa: PLC0415 - for a quick --help

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
    from adcp_tracker.config import settings_from_env  # noqa: PLC0415 - for a quick --help
    from adcp_tracker.queue.atrest import encryption_with  # noqa: PLC0415 - likewise

    keys = settings_from_env().get("encryption_keys", ())
    return encryption_with(keys)  # type: ignore[arg-type]  # it checks


def expect_destinations(found: Sequence[Destination]) -> None:
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
