"""What can be found out about a configuration by trying it."""

from __future__ import annotations

import os
import secrets
import shutil
from datetime import datetime, timezone
from itertools import product
from typing import TYPE_CHECKING, Final

import attrs
import orjson

from adcp_tracker.cli.opening import expect_destinations, tracker_of
from adcp_tracker.cli.standing import standing
from adcp_tracker.destinations.base import (
    Batch,
    Delivered,
    Finding,
    Paused,
    Rejected,
    Retry,
    TooLarge,
)
from adcp_tracker.events.building import build_event
from adcp_tracker.events.vocabulary import EventType
from adcp_tracker.events.wire import encode
from adcp_tracker.exceptions import OutboxError, UnsafeDirectoryError
from adcp_tracker.queue.directory import QueueDirectory, open_private

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from adcp_tracker.config import Settings
    from adcp_tracker.destinations.base import Destination, EventFailure, Outcome
    from adcp_tracker.events.event import Event

_USUAL_CODE: Final = "adcp-tracker-check"
_LITTLE_ROOM: Final = 100_000_000
_UTC: Final = timezone.utc
_USUAL: Final = (EventType.PURCHASE, EventType.LEAD, EventType.PAGE_VIEW)
_NEEDS_MORE: Final = frozenset({EventType.CUSTOM, EventType.WATCH_MILESTONE})
_KINDS: Final = (*_USUAL, *(kind for kind in EventType if kind not in {*_USUAL, *_NEEDS_MORE}))
_MONEY: Final[tuple[Mapping[str, object] | None, ...]] = ({"value": 1, "currency": "USD"}, None)
_PAGES: Final[tuple[str | None, ...]] = ("https://example.com/adcp-tracker-check", None)
"""What a test event is made of: what is most like a conversion stands first."""


@attrs.frozen
class About:
    """A finding, and what it is about.

    Attributes:
        subject: ``configuration``, ``directory`` or a destination's name.
        finding: What was found.
    """

    subject: str
    finding: Finding


def examine(directory: str | None, *, send_event: bool, test_code: str | None) -> Iterator[About]:
    """Try everything that a configuration needs, and yield what comes of it.

    Raises:
        ConfigurationError: If the environment does not describe a tracker.
    """
    tracker = tracker_of(directory)
    settings, found = tracker.settings, tracker.destinations
    expect_destinations(found)
    names = ", ".join(destination.name for destination in found)
    yield About("configuration", Finding("good", f"Events go to {names}."))
    for finding in _of_settings(settings):
        yield About("configuration", finding)
    for finding in _of_directory(settings):
        yield About("directory", finding)
    code = test_code or settings.test_event_code or _USUAL_CODE
    for destination in found:
        for finding in _of_destination(destination, code if send_event else None):
            yield About(destination.name, finding)
        destination.close()


def _of_settings(settings: Settings) -> Iterator[Finding]:
    if settings.test_event_code is not None:
        yield Finding(
            "advice",
            "Every event is marked as a test, so none of them counts as a conversion.",
            "Unset ADCP_TEST_EVENT_CODE in production.",
        )


def _of_directory(settings: Settings) -> Iterator[Finding]:
    queue = QueueDirectory(settings.directory)
    try:
        queue.prepare()
        _write_and_remove(queue)
    except UnsafeDirectoryError as error:
        yield Finding("fault", str(error))
        return
    except OSError as error:
        remedy = "Give the user this runs as a directory of its own, on a local disk with room."
        yield Finding("fault", f"{queue.path}: {error.strerror}", remedy)
        return
    yield Finding("good", f"{queue.path} can be written to, by this user alone.")
    room = shutil.disk_usage(queue.path).free
    if room < min(_LITTLE_ROOM, settings.max_bytes or _LITTLE_ROOM):
        yield Finding("advice", f"Its volume has {room:,} bytes of room left.", "Free some.")
    yield from _of_uploading(settings, queue)


def _write_and_remove(queue: QueueDirectory) -> None:
    path = queue.path / f".check.{os.getpid()}"
    descriptor = open_private(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    try:
        os.write(descriptor, b"check")
    finally:
        os.close(descriptor)
        path.unlink()


def _of_uploading(settings: Settings, queue: QueueDirectory) -> Iterator[Finding]:
    try:
        found = standing(queue, ())
    except (OutboxError, OSError) as error:
        yield Finding("fault", str(error), "See to its volume; the events are safe on disk.")
        return
    if found.damage:
        remedy = "Nothing: the next process that uploads rebuilds it from the events."
        yield Finding("advice", f"Its state cannot be read: {found.damage}", remedy)
    if found.leader is not None:
        yield Finding("good", f"Process {found.leader or 'unknown'} uploads from it.")
    elif settings.uploader == "external":
        message = "No process uploads from it, and the trackers are told not to."
        yield Finding("advice", message, "Keep running: adcp-tracker worker")


def _of_destination(destination: Destination, code: str | None) -> Iterator[Finding]:
    faulty = False
    for finding in _probed(destination):
        faulty |= finding.level == "fault"
        yield finding
    if code is not None and not faulty:
        yield from _of_outcome(destination.send(_test_batch(destination, code)), code)


def _probed(destination: Destination) -> list[Finding]:
    """Ask a destination that can ask its seller; one written elsewhere may not."""
    probe = getattr(destination, "probe", None)
    return list(probe()) if probe is not None else []


def _test_batch(destination: Destination, code: str) -> Batch:
    """Make an event by nobody, under an id of its own, such as the destination takes."""
    made = (_test_event(*choice) for choice in product(_KINDS, _MONEY, _PAGES))
    event = next(
        (each for each in made if destination.refuses(orjson.loads(each.line)) is None),
        _test_event(_KINDS[0], _MONEY[0], _PAGES[0]),
    )
    return Batch([encode(event)], secrets.token_bytes(32), code)


def _test_event(kind: EventType, money: Mapping[str, object] | None, page: str | None) -> Event:
    return build_event(
        kind,
        now=datetime.now(_UTC),
        event_id=f"adcp-tracker-check-{secrets.token_hex(8)}",
        email="check@example.com",
        custom_data=money,
        event_source_url=page,
    )


def _of_outcome(outcome: Outcome, code: str) -> Iterator[Finding]:
    if isinstance(outcome, Delivered):
        yield from _of_answer(outcome, code)
    elif isinstance(outcome, Paused):
        yield Finding("fault", f"{outcome.code}: {outcome.message}", outcome.remedy)
    elif isinstance(outcome, Rejected):
        yield _refused(outcome.code, outcome.message, outcome.failures)
    elif isinstance(outcome, (Retry, TooLarge)):
        remedy = "Check address and network, or try again later."
        yield Finding("fault", f"{outcome.code}: {outcome.message}", remedy)


def _of_answer(outcome: Delivered, code: str) -> Iterator[Finding]:
    if outcome.failures:
        first = outcome.failures[0]
        yield _refused(first.code, first.message, outcome.failures)
        return
    yield Finding("good", f"It took a test event, marked by {code!r}.")
    for warning in outcome.warnings:
        yield Finding("advice", f"The seller warns: {warning}")


def _refused(code: str, message: str, failures: tuple[EventFailure, ...]) -> Finding:
    remedy = next((each.remedy for each in failures if each.remedy), "")
    remedy = remedy or "The connection works; check what this event source is registered for."
    return Finding("fault", f"It refused the test event: {code}: {message}", remedy)
