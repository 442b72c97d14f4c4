"""``adcp-tracker check``: find out whether events would arrive, before they have to."""

from __future__ import annotations

import os
import secrets
import shutil
from datetime import datetime, timezone
from itertools import product
from typing import TYPE_CHECKING, Annotated, Final

import attrs
import orjson
import typer

from adcp_tracker.cli import _output
from adcp_tracker.cli._common import EXIT_ATTENTION, EXIT_OK, AsJson, Directory, command
from adcp_tracker.cli._queue import make_tracker, read_status, require_destinations
from adcp_tracker.destinations.base import (
    Batch,
    CheckResult,
    Delivered,
    Paused,
    Rejected,
    Retry,
    TooLarge,
)
from adcp_tracker.events.builder import build_event
from adcp_tracker.events.codec import encode
from adcp_tracker.events.model import EventType
from adcp_tracker.exceptions import ConfigurationError, OutboxError, UnsafeDirectoryError
from adcp_tracker.journal.files import QueueDirectory, open_secure

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from adcp_tracker.destinations.base import Destination, EventFailure, Outcome
    from adcp_tracker.events.event import Event
    from adcp_tracker.settings import Settings
    from adcp_tracker.web.client_ip import ClientInfo


_STYLES = {"client": "green", "trusted proxy": "", "not read": ""}


@attrs.frozen
class ClientIpQuery:
    """A request, and who is believed about it.

    Attributes:
        peer: The address at the other end of its connection; empty on a unix socket.
        headers: Its headers, each as ``Name: value``.
        trusted_proxies: The networks of the site's own proxies.
        trusted_hops: How many they are, where their networks are not known.
        ip_header: The header in which they name the client.
        platform: The platform that sets all of these.
    """

    peer: str
    headers: Sequence[str] = ()
    trusted_proxies: Sequence[str] = ()
    trusted_hops: int = 0
    ip_header: str = "X-Forwarded-For"
    platform: str | None = None

    def resolve(self) -> ClientInfo:
        """Find out who asked.

        Raises:
            ConfigurationError: If a setting or a header cannot be right.
        """
        from adcp_tracker.web.client_ip import explain  # noqa: PLC0415 - likewise
        from adcp_tracker.web.options import CaptureSettings  # noqa: PLC0415 - for a quick --help

        settings = CaptureSettings(
            platform=self.platform,
            trusted_proxies=tuple(self.trusted_proxies),
            trusted_hops=self.trusted_hops,
            ip_header=self.ip_header,
        )
        return explain(settings.proxy_trust(), self.peer, map(_header, self.headers))


def explain_client_ip(way: ClientIpQuery, *, as_json: bool) -> int:
    """Print who asked, and how that was found.

    Returns:
        The exit code: 1 if there is no address that could be a shopper's.
    """
    origin = way.resolve()
    if as_json:
        _output.print_json(attrs.asdict(origin))
    else:
        _print(origin)
    return EXIT_OK if origin.client_ip else EXIT_ATTENTION


def _print(origin: ClientInfo) -> None:
    _output.print_table(
        ("from", "address", "verdict"),
        [
            (hop.source, hop.text, _output.Styled(hop.verdict, _STYLES.get(hop.verdict, "yellow")))
            for hop in origin.hops
        ],
    )
    _output.print_line()
    if origin.client_ip:
        _output.print_line(f"The client is {origin.client_ip}.", "green")
        return
    _output.print_line("There is no address to be sent as the client's.", "red")
    _output.print_line(
        "If the last hop above is a proxy of yours, name its network with --trusted-proxy, or "
        "set --trusted-hops."
    )


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise ConfigurationError(f"--header: expected 'Name: value', got {text!r}")
    return name.strip(), value.strip()


_STYLES_CHECK = {"ok": "green", "warning": "yellow", "error": "red"}


@command
def check(  # noqa: PLR0913 - options, each by its name
    *,
    event: Annotated[
        bool, typer.Option("--event/--no-event", help="Send each destination a test event.")
    ] = True,
    test_code: Annotated[
        str | None,
        typer.Option(
            metavar="CODE",
            help="What marks it as a test. [default: ADCP_TEST_EVENT_CODE, or adcp-tracker-check]",
        ),
    ] = None,
    directory: Directory = None,
    as_json: AsJson = False,
    ip: Annotated[
        bool, typer.Option("--ip", help="Only explain who a request's client is.")
    ] = False,
    peer: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS", help="The other end of its connection; none for a unix socket."
        ),
    ] = "",
    header: Annotated[
        list[str] | None, typer.Option(metavar="'NAME: VALUE'", help="A header it came with.")
    ] = None,
    trusted_proxy: Annotated[
        list[str] | None, typer.Option(metavar="NETWORK", help="Your own proxies' network.")
    ] = None,
    trusted_hops: Annotated[
        int, typer.Option(min=0, metavar="N", help="How many they are, if not known by address.")
    ] = 0,
    ip_header: Annotated[
        str, typer.Option(metavar="NAME", help="The header in which they name the client.")
    ] = "X-Forwarded-For",
    platform: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Your platform: cloudflare, aws_alb, heroku or fly."),
    ] = None,
) -> int:
    """Check configuration and directory, and try each destination.

    Each destination gets one test event, which goes past the queue and is no conversion. With
    --ip, nothing of that is done: it shows whom a request with that --peer and --header comes
    from. Exits with 1 if anything is at fault.
    """
    if ip:
        way = ClientIpQuery(
            peer, header or (), trusted_proxy or (), trusted_hops, ip_header, platform
        )
        return explain_client_ip(way, as_json=as_json)

    found = []
    for about in run_checks(directory, send_event=event, test_code=test_code):
        found.append(about)
        if not as_json:
            _print_of_check(about)
    is_well = not any(about.finding.level == "error" for about in found)
    if as_json:
        documents = [{"about": each.subject} | attrs.asdict(each.finding) for each in found]
        _output.print_json({"ok": is_well, "findings": documents})
    else:
        _output.print_line(
            "All is well." if is_well else "Not all is well.", "green" if is_well else "red"
        )
    return EXIT_OK if is_well else EXIT_ATTENTION


def _print_of_check(about: CheckItem) -> None:
    finding = about.finding
    _output.print_line(
        f"{finding.level} {about.subject}: {finding.message}", _STYLES_CHECK[finding.level]
    )
    if finding.remedy:
        _output.print_line(finding.remedy, indent=7)
    _output.flush()


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
class CheckItem:
    """A finding, and what it is about.

    Attributes:
        subject: ``configuration``, ``directory`` or a destination's name.
        finding: What was found.
    """

    subject: str
    finding: CheckResult


def run_checks(
    directory: str | None, *, send_event: bool, test_code: str | None
) -> Iterator[CheckItem]:
    """Try everything that a configuration needs, and yield what comes of it.

    Raises:
        ConfigurationError: If the environment does not describe a tracker.
    """
    tracker = make_tracker(directory)
    settings, found = tracker.settings, tracker.destinations
    require_destinations(found)
    names = ", ".join(destination.name for destination in found)
    yield CheckItem("configuration", CheckResult("ok", f"Events go to {names}."))
    for finding in _check_settings(settings):
        yield CheckItem("configuration", finding)
    for finding in _check_directory(settings):
        yield CheckItem("directory", finding)
    code = test_code or settings.test_event_code or _USUAL_CODE
    for destination in found:
        for finding in _check_destination(destination, code if send_event else None):
            yield CheckItem(destination.name, finding)
        destination.close()


def _check_settings(settings: Settings) -> Iterator[CheckResult]:
    if settings.test_event_code is not None:
        yield CheckResult(
            "warning",
            "Every event is marked as a test, so none of them counts as a conversion.",
            "Unset ADCP_TEST_EVENT_CODE in production.",
        )


def _check_directory(settings: Settings) -> Iterator[CheckResult]:
    queue = QueueDirectory(settings.directory)
    try:
        queue.prepare()
        _write_and_remove(queue)
    except UnsafeDirectoryError as error:
        yield CheckResult("error", str(error))
        return
    except OSError as error:
        remedy = "Give the user this runs as a directory of its own, on a local disk with room."
        yield CheckResult("error", f"{queue.path}: {error.strerror}", remedy)
        return
    yield CheckResult("ok", f"{queue.path} can be written to, by this user alone.")
    room = shutil.disk_usage(queue.path).free
    if room < min(_LITTLE_ROOM, settings.max_bytes or _LITTLE_ROOM):
        yield CheckResult("warning", f"Its volume has {room:,} bytes of room left.", "Free some.")
    yield from _check_uploader(settings, queue)


def _write_and_remove(queue: QueueDirectory) -> None:
    path = queue.path / f".check.{os.getpid()}"
    descriptor = open_secure(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    try:
        os.write(descriptor, b"check")
    finally:
        os.close(descriptor)
        path.unlink()


def _check_uploader(settings: Settings, queue: QueueDirectory) -> Iterator[CheckResult]:
    try:
        found = read_status(queue, ())
    except (OutboxError, OSError) as error:
        yield CheckResult("error", str(error), "See to its volume; the events are safe on disk.")
        return
    if found.damage:
        remedy = "Nothing: the next process that uploads rebuilds it from the events."
        yield CheckResult("warning", f"Its state cannot be read: {found.damage}", remedy)
    if found.leader is not None:
        yield CheckResult("ok", f"Process {found.leader or 'unknown'} uploads from it.")
    elif settings.uploader == "external":
        message = "No process uploads from it, and the trackers are told not to."
        yield CheckResult("warning", message, "Keep running: adcp-tracker worker")


def _check_destination(destination: Destination, code: str | None) -> Iterator[CheckResult]:
    faulty = False
    for finding in _probe(destination):
        faulty |= finding.level == "error"
        yield finding
    if code is not None and not faulty:
        yield from _describe_outcome(destination.send(_test_batch(destination, code)), code)


def _probe(destination: Destination) -> list[CheckResult]:
    """Ask a destination that can ask its seller; one written elsewhere may not."""
    probe = getattr(destination, "probe", None)
    return list(probe()) if probe is not None else []


def _test_batch(destination: Destination, code: str) -> Batch:
    """Make an event by nobody, under an id of its own, such as the destination takes."""
    made = (_test_event(*choice) for choice in product(_KINDS, _MONEY, _PAGES))
    event = next(
        (each for each in made if destination.check(orjson.loads(each.json)) is None),
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


def _describe_outcome(outcome: Outcome, code: str) -> Iterator[CheckResult]:
    if isinstance(outcome, Delivered):
        yield from _describe_delivered(outcome, code)
    elif isinstance(outcome, Paused):
        yield CheckResult("error", f"{outcome.code}: {outcome.message}", outcome.remedy)
    elif isinstance(outcome, Rejected):
        yield _rejection(outcome.code, outcome.message, outcome.failures)
    elif isinstance(outcome, (Retry, TooLarge)):
        remedy = "Check address and network, or try again later."
        yield CheckResult("error", f"{outcome.code}: {outcome.message}", remedy)


def _describe_delivered(outcome: Delivered, code: str) -> Iterator[CheckResult]:
    if outcome.failures:
        first = outcome.failures[0]
        yield _rejection(first.code, first.message, outcome.failures)
        return
    yield CheckResult("ok", f"It took a test event, marked by {code!r}.")
    for warning in outcome.warnings:
        yield CheckResult("warning", f"The seller warns: {warning}")


def _rejection(code: str, message: str, failures: tuple[EventFailure, ...]) -> CheckResult:
    remedy = next((each.remedy for each in failures if each.remedy), "")
    remedy = remedy or "The connection works; check what this event source is registered for."
    return CheckResult("error", f"It refused the test event: {code}: {message}", remedy)
