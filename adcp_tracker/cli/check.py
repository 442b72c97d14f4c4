"""``adcp-tracker check`` and ``explain``: the configuration, and how an order is read."""

from __future__ import annotations

import importlib
import json
import os
import secrets
import shutil
import sys
from datetime import datetime, timezone
from decimal import Decimal
from itertools import product
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Annotated, Final

import attrs
import orjson
import typer

from adcp_tracker.cli import _common
from adcp_tracker.cli._common import EXIT_ATTENTION, EXIT_OK, AsJson, Directory, command
from adcp_tracker.cli.queue import (
    destinations,
    make_settings,
    open_existing_queue,
    read_status,
    require_destinations,
)
from adcp_tracker.destinations.base import Batch, CheckResult, Delivered, Rejected
from adcp_tracker.destinations.responses import to_check_result
from adcp_tracker.event_sources.rules import EventRules
from adcp_tracker.events.builder import build_event
from adcp_tracker.events.model import EventType
from adcp_tracker.exceptions import ConfigurationError, OutboxError, UnsafeDirectoryError
from adcp_tracker.journal.files import QueueDirectory, opened
from adcp_tracker.orders.mapping import explain as explain_order
from adcp_tracker.outbox.directory import DirectoryStore
from adcp_tracker.settings import validate_destinations
from adcp_tracker.web import client_ip
from adcp_tracker.web.options import CaptureSettings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from adcp_tracker.destinations.base import Destination, EventFailure, Outcome
    from adcp_tracker.events.event import Event
    from adcp_tracker.settings import Settings
    from adcp_tracker.web.client_ip import ClientInfo


_STYLES = {"client": "green", "trusted proxy": "", "not read": ""}
_USUAL_CODE: Final = "adcp-tracker-check"
_LITTLE_ROOM: Final = 100_000_000
_UTC: Final = timezone.utc
_USUAL: Final = (EventType.PURCHASE, EventType.LEAD, EventType.PAGE_VIEW)
_NEEDS_MORE: Final = frozenset({EventType.CUSTOM, EventType.WATCH_MILESTONE})
_KINDS: Final = (*_USUAL, *(kind for kind in EventType if kind not in {*_USUAL, *_NEEDS_MORE}))
_MONEY: Final[tuple[Mapping[str, object] | None, ...]] = ({"value": 1, "currency": "USD"}, None)
_PAGES: Final[tuple[str | None, ...]] = ("https://example.com/adcp-tracker-check", None)
"""Candidates for a test event, those most like a conversion first."""

_CURRENCY_REMEDY: Final = (
    "The same event without its value of 1 USD was accepted. If this event source accepts "
    "other currencies only, run adcp-tracker sources list, so that the library knows them."
)


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
            help="The test code. [default: ADCP_TEST_EVENT_CODE, or adcp-tracker-check]",
        ),
    ] = None,
    directory: Directory = None,
    as_json: AsJson = False,
    ip: Annotated[
        bool, typer.Option("--ip", help="Only explain how a client's IP address is found.")
    ] = False,
    peer: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS", help="With --ip: the address of the connection's other end."
        ),
    ] = "",
    header: Annotated[
        list[str] | None, typer.Option(metavar="'NAME: VALUE'", help="With --ip: a request header.")
    ] = None,
    trusted_proxy: Annotated[
        list[str] | None,
        typer.Option(metavar="NETWORK", help="With --ip: the network of your proxies."),
    ] = None,
    trusted_hops: Annotated[
        int, typer.Option(min=0, metavar="N", help="With --ip: the number of your proxies.")
    ] = 0,
    ip_header: Annotated[
        str, typer.Option(metavar="NAME", help="With --ip: the header that names the client.")
    ] = "X-Forwarded-For",
    platform: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="With --ip: cloudflare, aws_alb, heroku or fly."),
    ] = None,
) -> int:
    """Check the configuration, the directory and each destination.

    Sends each destination one test event, which doesn't pass through the queue and doesn't
    count as a conversion. Exits with 1 if a check fails.

    With --ip, only shows which client address a request with --peer and --header has.
    """
    if ip:
        settings = CaptureSettings(
            platform=platform,
            trusted_proxies=trusted_proxy or (),
            trusted_hops=trusted_hops,
            ip_header=ip_header,
        )
        return _explain_client_ip(settings, peer, header or (), as_json=as_json)

    found = []
    for about in run_checks(directory, send_event=event, test_code=test_code):
        found.append(about)
        if not as_json:
            finding = about.finding
            _common.print_check(finding.level, about.subject, finding.message, finding.remedy)
    is_well = not any(about.finding.level == "error" for about in found)
    if as_json:
        documents = [{"about": each.subject} | attrs.asdict(each.finding) for each in found]
        _common.print_json({"ok": is_well, "findings": documents})
    else:
        _common.print_line(
            "All checks passed." if is_well else "Some checks failed.",
            "green" if is_well else "red",
        )
    return EXIT_OK if is_well else EXIT_ATTENTION


@attrs.frozen
class CheckItem:
    """The result of one check.

    Attributes:
        subject: ``configuration``, ``directory`` or the name of a destination.
        finding: What was found.
    """

    subject: str
    finding: CheckResult


def run_checks(
    directory: str | None, *, send_event: bool, test_code: str | None
) -> Iterator[CheckItem]:
    """Run all checks and yield their results.

    Raises:
        ConfigurationError: If an ADCP_* variable is invalid.
    """
    settings, found = make_settings(directory), validate_destinations(destinations())
    require_destinations(found)
    names = ", ".join(destination.name for destination in found)
    yield CheckItem("configuration", CheckResult("ok", f"Events are sent to {names}."))
    if settings.test_event_code is not None:
        message = "Every event is sent as a test, so none counts as a conversion."
        remedy = "Unset ADCP_TEST_EVENT_CODE in production."
        yield CheckItem("configuration", CheckResult("warning", message, remedy))
    for finding in _check_directory(settings):
        yield CheckItem("directory", finding)
    queue = None if settings.directory is None else QueueDirectory(settings.directory)
    EventRules(queue, found, settings.event_sources)  # tells each destination its rule
    code = test_code or settings.test_event_code or _USUAL_CODE
    for destination in found:
        for finding in _check_destination(destination, code if send_event else None):
            yield CheckItem(destination.name, finding)
        destination.close()


def _check_directory(settings: Settings) -> Iterator[CheckResult]:
    if settings.directory is None:
        store = open_existing_queue(settings.queue)
        yield CheckResult("ok", f"{store.location} is there, with its tables.")
        return
    queue = QueueDirectory(settings.directory)
    if not queue.path.exists():
        yield _check_parent(queue)
        yield from _check_external(settings)
        return
    is_new = not queue.segments.exists()
    try:
        if is_new:
            queue.check(queue.path)
        else:
            queue.prepare()
        _write_and_remove(queue)
    except UnsafeDirectoryError as error:
        yield CheckResult("error", str(error))
        return
    except OSError as error:
        remedy = "Use a directory on a local disk with free space that only this user can access."
        yield CheckResult("error", f"{queue.path}: {error.strerror}", remedy)
        return
    yield CheckResult("ok", f"{queue.path} is writable, and only by this user.")
    room = shutil.disk_usage(queue.path).free
    if room < min(_LITTLE_ROOM, settings.max_bytes or _LITTLE_ROOM):
        yield CheckResult(
            "warning", f"Its volume has only {room:,} bytes free.", "Free some space."
        )
    yield from _check_external(settings) if is_new else _check_uploader(settings, queue)


def _check_parent(queue: QueueDirectory) -> CheckResult:
    """Check whether a directory that does not exist yet could be created; create nothing."""
    parent = next(each for each in queue.path.absolute().parents if each.exists())
    if parent.is_dir() and os.access(parent, os.W_OK | os.X_OK):
        message = f"{queue.path} does not exist yet; the first event creates it."
        return CheckResult("ok", message)
    message = f"{queue.path} does not exist and can't be created in {parent}."
    return CheckResult("error", message, "Create it for the user this runs as: mkdir -m 700")


def _write_and_remove(queue: QueueDirectory) -> None:
    path = queue.path / f".check.{os.getpid()}"
    with opened(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY) as descriptor:
        try:
            os.write(descriptor, b"check")
        finally:
            path.unlink()


def _check_uploader(settings: Settings, queue: QueueDirectory) -> Iterator[CheckResult]:
    try:
        found = read_status(DirectoryStore(queue), ())
    except (OutboxError, OSError) as error:
        yield CheckResult("error", str(error), "Check the volume; no event is lost.")
        return
    if found.damage:
        remedy = "Nothing to do: the next process that uploads rebuilds it from the events."
        yield CheckResult("warning", f"Its state can't be read: {found.damage}", remedy)
    if found.leader is not None:
        yield CheckResult("ok", f"Process {found.leader or 'unknown'} uploads from it.")
    else:
        yield from _check_external(settings)
    for name, counts in found.stats.destinations.items():
        for advice in counts.advice:
            problem, _, remedy = advice.partition(". ")
            yield CheckResult("warning", f"{name}: {problem}.", remedy)


def _check_external(settings: Settings) -> Iterator[CheckResult]:
    """Warn if another process should upload, as none does."""
    if settings.uploader == "external":
        message = "No process uploads, and trackers are configured not to."
        yield CheckResult("warning", message, "Run: adcp-tracker worker")


def _check_destination(destination: Destination, code: str | None) -> Iterator[CheckResult]:
    faulty = False
    for finding in getattr(destination, "probe", list)():  # not all can be probed
        faulty |= finding.level == "error"
        yield finding
    if code is not None and not faulty:
        yield from _send_test_event(destination, code)


def _send_test_event(destination: Destination, code: str) -> Iterator[CheckResult]:
    """Send a test event; if it is rejected, try whether its value is the reason."""
    outcome = destination.send(_test_batch(destination, code))
    found = list(_describe_outcome(outcome, code))
    is_refused = isinstance(outcome, (Delivered, Rejected)) and found[0].level == "error"
    if is_refused and "currenc" in found[0].message.lower():
        again = destination.send(_test_batch(destination, code, money=(None,)))
        if isinstance(again, Delivered) and not again.failures:
            found = [CheckResult("warning", found[0].message, _CURRENCY_REMEDY)]
    yield from found


def _test_batch(
    destination: Destination, code: str, *, money: Sequence[Mapping[str, object] | None] = _MONEY
) -> Batch:
    """Build a test event that the destination accepts."""
    made = (_test_event(*choice) for choice in product(_KINDS, money, _PAGES))
    event = next(
        (each for each in made if destination.check(orjson.loads(each.json)) is None),
        _test_event(_KINDS[0], money[0], _PAGES[0]),
    )
    return Batch([event.json], secrets.token_bytes(32), code)


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
    if isinstance(outcome, Rejected):
        yield _rejection(outcome.code, outcome.message, outcome.failures)
    elif not isinstance(outcome, Delivered):
        yield to_check_result(outcome)
    elif outcome.failures:
        first = outcome.failures[0]
        yield _rejection(first.code, first.message, outcome.failures)
    else:
        yield CheckResult("ok", f"Accepted a test event with code {code!r}.")
        for warning in outcome.warnings:
            yield CheckResult("warning", f"The seller warns: {warning}")


def _rejection(code: str, message: str, failures: tuple[EventFailure, ...]) -> CheckResult:
    remedy = next((each.remedy for each in failures if each.remedy), "")
    remedy = remedy or "The connection works; check which events this event source accepts."
    return CheckResult("error", f"The seller rejected the test event: {code}: {message}", remedy)


def _explain_client_ip(
    settings: CaptureSettings, peer: str, headers: Sequence[str], *, as_json: bool
) -> int:
    origin = client_ip.explain(settings.proxy_trust(), peer, map(_header, headers))
    if as_json:
        _common.print_json(attrs.asdict(origin))
    else:
        _print(origin)
    return EXIT_OK if origin.client_ip else EXIT_ATTENTION


def _print(origin: ClientInfo) -> None:
    _common.print_table(
        ("from", "address", "verdict"),
        [
            (hop.source, hop.text, _common.Styled(hop.verdict, _STYLES.get(hop.verdict, "yellow")))
            for hop in origin.hops
        ],
    )
    _common.print_line()
    if origin.client_ip:
        _common.print_line(f"The client is {origin.client_ip}.", "green")
        return
    _common.print_line("The client's address is unknown, so none is sent.", "red")
    _common.print_line(
        "If the last hop above is your proxy, name its network with --trusted-proxy, or set "
        "--trusted-hops."
    )


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise ConfigurationError(f"--header: expected 'Name: value', got {text!r}")
    return name.strip(), value.strip()


@command
def explain(
    order: Annotated[
        str,
        typer.Argument(
            metavar="ORDER", help="A file with the order's JSON, - for stdin, or module:object."
        ),
    ],
    *,
    as_json: AsJson = False,
) -> int:
    """Show which name each field of an order is read from, and what isn't found or read.

    Tracks nothing. Personal data is described, not shown. Exits with 1 if the purchase lacks a
    value, a currency, or anything that identifies the shopper.
    """
    found = explain_order(_load(order))
    if as_json:
        _common.print_json(attrs.asdict(found))
    else:
        rows = [(each.name, each.source or "-", each.value) for each in found.fields]
        _common.print_table(("field", "read from", "value"), rows)
        if found.unread:
            _common.print_text(f"Not read: {', '.join(found.unread)}.")
        for problem in found.problems:
            _common.print_text(problem)
    return EXIT_ATTENTION if found.problems else EXIT_OK


def _load(given: str) -> object:
    """Return the order: parsed from a file, or imported.

    Raises:
        ConfigurationError: If it can't be.
    """
    module, separator, name = given.partition(":")
    if separator and not Path(given).exists() and module.replace(".", "").isidentifier():
        return _imported(module, name)
    text = sys.stdin.read() if given == "-" else Path(given).read_text(encoding="utf-8")
    try:
        loaded: object = json.loads(text, parse_float=Decimal)
    except ValueError as error:
        raise ConfigurationError(f"{given}: expected JSON, got {error}") from None
    return loaded


def _imported(module: str, name: str) -> object:
    sys.path.insert(0, str(Path.cwd()))
    try:
        found: object = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(f"{module}:{name}: {error}") from None
    return found() if isinstance(found, FunctionType) else found
