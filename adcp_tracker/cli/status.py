"""``adcp-tracker status`` and ``metrics``, and the address where a worker serves metrics."""

from __future__ import annotations

import re
import socket
import sys
import threading
import time
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Annotated, Final

import typer

from adcp_tracker._logging import logger
from adcp_tracker.cli import _common
from adcp_tracker.cli._common import (
    EXIT_ATTENTION,
    EXIT_OK,
    AsJson,
    Directory,
    command,
    plural,
    print_stats,
    state_of,
)
from adcp_tracker.cli.queue import configured_names, open_existing_queue, read_status
from adcp_tracker.delivery.stats import add_up, current_stats
from adcp_tracker.exceptions import ConfigurationError
from adcp_tracker.journal.files import write_named_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from adcp_tracker.cli.queue import QueueStatus
    from adcp_tracker.delivery.stats import Stats
    from adcp_tracker.tracker import Tracker


_UNITS = ("bytes", "kB", "MB", "GB")
_STEP = 1000
_MINUTE = 60
_SILENT_SECONDS = 60.0
_PATIENCE_SECONDS = 2.0
EXPECTED_DROPS = frozenset({"consent", "crawler", "erased", "link_preview", "operator", "prefetch"})
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_ADDRESS: Final = re.compile(r"(?:(?:\[(?P<six>[^]]*)\]|(?P<host>[^:]*)):)?(?P<port>[0-9]{1,5})")
_LOOPBACK: Final = "127.0.0.1"
_LARGEST_PORT: Final = 65_535
_REQUEST_SECONDS: Final = 10.0


@command
def status(
    *,
    expect_uploader: Annotated[
        bool, typer.Option("--expect-uploader", help="Exit with 1 if no process uploads.")
    ] = False,
    directory: Directory = None,
    as_json: AsJson = False,
) -> int:
    """Show what became of all events, by destination.

    Needs no credentials and sends nothing. The state is ok, idle if no process uploads and
    nothing is pending, warning if events or parts of events were dropped, or error. Exits with
    1 for an error: a destination is paused, events are dead or can't be decrypted, or events
    are pending while no process uploads or the one that does is stuck.
    """
    queue = open_existing_queue(directory, _PATIENCE_SECONDS)
    names = configured_names()
    found = read_status(queue, names)
    errors = _errors(found, expect_uploader=expect_uploader, with_causes=as_json)
    warnings = _warnings(found.stats)
    state = _state(found, errors, warnings)
    if as_json:
        problems = {"state": state, "errors": errors, "warnings": warnings}
        _common.print_json(_document(found, queue.location) | problems)
    else:
        _print(found, queue.location, names)
        _print_verdict(state, errors, warnings)
    return EXIT_ATTENTION if errors else EXIT_OK


def _state(found: QueueStatus, errors: list[str], warnings: list[str]) -> str:
    if errors:
        return "error"
    if warnings:
        return "warning"
    return "idle" if found.leader is None else "ok"


def _errors(found: QueueStatus, *, expect_uploader: bool, with_causes: bool) -> list[str]:
    """Return what keeps events from being delivered.

    Args:
        found: The status.
        expect_uploader: Whether it is an error that no process uploads.
        with_causes: Whether to say why a destination is paused, which stands below the counts, too.
    """
    stats, errors = found.stats, []
    if found.damage:
        errors.append(f"The queue's state can't be read: {found.damage}")
    if found.leader is None and (expect_uploader or stats.pending):
        errors.append("No process uploads.")
    silent = time.time() - stats.taken_at
    if found.leader is not None and silent > _SILENT_SECONDS:
        since = f"for {age(silent)}" if stats.taken_at else "yet"
        errors.append(
            f"Process {found.leader or 'unknown'} uploads, but has not reported {since}. "
            "It is stuck, or killed again and again."
        )
    for name, counts in stats.destinations.items():
        if counts.paused:
            errors.append(f"{name} is paused" + (f": {counts.paused}" if with_causes else "."))
        if counts.missing_keys:
            errors.append(f"{name} has events that can't be decrypted.")
        if counts.dead:
            errors.append(f"{name} has {plural(counts.dead, 'dead letter')}.")
    return errors


def _warnings(stats: Stats) -> list[str]:
    """Return what was lost of events, and what is probably wrong with them."""
    warnings = []
    for name, counts in stats.destinations.items():
        lost = {why: count for why, count in counts.dropped.items() if why not in EXPECTED_DROPS}
        if lost:
            reasons = ", ".join(f"{count:,} {why}" for why, count in lost.items())
            warnings.append(f"{name} dropped {plural(sum(lost.values()), 'event')}: {reasons}.")
        if counts.unconfirmed:
            warnings.append(
                f"{name}: the seller did not confirm {plural(counts.unconfirmed, 'event')}."
            )
        if counts.omitted:
            fields = ", ".join(f"{count:,} {what}" for what, count in counts.omitted.items())
            number = plural(sum(counts.omitted.values()), "unusable field")
            warnings.append(f"{name} got events without {number}: {fields}.")
        warnings += [f"{name}: {advice}" for advice in counts.advice]
    return warnings


def _document(found: QueueStatus, path: str) -> dict[str, object]:
    stats = found.stats.as_json()
    states = {name: state_of(counts) for name, counts in found.stats.destinations.items()}
    return stats | {
        "directory": path,
        "leader": found.leader,
        "pending": found.stats.pending,
        "used_bytes": found.used_bytes,
        "damage": found.damage,
        "states": states,
    }


def _print(found: QueueStatus, path: str, names: list[str]) -> None:
    stats = found.stats
    _common.print_line(f"{path}: {size(found.used_bytes)}")
    if found.damage:
        _common.print_line("The next process that uploads rebuilds the state; no event is lost.")
    idle = found.leader is None
    _common.print_line(f"Uploading: {'no process' if idle else _process(found)}")
    if stats.waiting:
        waiting = plural(stats.waiting, "event")
        _common.print_line(f"{waiting} waiting for a destination to be configured.")
    if stats.oldest_at is not None:
        _common.print_line(f"The oldest pending event is {age(time.time() - stats.oldest_at)} old.")
    if stats.destinations:
        _common.print_line()
        print_stats(stats, names, is_uploaded=not idle)


def _process(found: QueueStatus) -> str:
    reported = age(time.time() - found.stats.taken_at) if found.stats.taken_at else ""
    since = f", reported {reported} ago" if reported else ", has not reported yet"
    return f"process {found.leader or 'unknown'}{since}"


def _print_verdict(state: str, errors: list[str], warnings: list[str]) -> None:
    _common.print_line()
    style = {"error": "red", "warning": "yellow", "ok": "green"}.get(state, "")
    _common.print_line(f"State: {state}", style)
    for line in errors:
        _common.print_text(line, "red", indent=2)
        if line == "No process uploads.":
            remedy = "Start your application, or run adcp-tracker worker or adcp-tracker flush."
            _common.print_text(remedy, indent=2)
    for line in warnings:
        _common.print_text(line, "yellow", indent=2)


def size(number: float) -> str:
    """Format a number of bytes."""
    for unit in _UNITS[:-1]:
        if number < _STEP:
            return f"{number:.3g} {unit}"
        number /= _STEP
    return f"{number:,.3g} {_UNITS[-1]}"


def age(seconds: float) -> str:
    """Format a duration in seconds."""
    whole = max(int(seconds), 0)
    hours, minutes = divmod(whole // _MINUTE, _MINUTE)
    if hours:
        return f"{hours:,} h {minutes} min"
    return f"{minutes} min {whole % _MINUTE} s" if minutes else f"{whole} s"


@command
def metrics(
    *,
    textfile: Annotated[
        str | None,
        typer.Option(
            "--textfile",
            metavar="PATH",
            help="Write them to this file, whose name ends in .prom for node_exporter.",
        ),
    ] = None,
    directory: Directory = None,
) -> int:
    """Print the queue's metrics in Prometheus' text format.

    Needs no credentials, sends nothing and disturbs no process. With --textfile, the file is
    replaced at once, so that nobody reads half of it.
    """
    from adcp_tracker.metrics import render  # noqa: PLC0415 - for a quick --help

    text = render(current_stats(open_existing_queue(directory, _PATIENCE_SECONDS)))
    if textfile is None:
        sys.stdout.write(text)
    else:
        try:
            write_named_file(textfile, text.encode(), 0o644)
        except ValueError as error:
            raise ConfigurationError(f"--textfile: {error}") from None
    return EXIT_OK


@contextmanager
def serving(address: str, trackers: Sequence[Tracker]) -> Iterator[None]:
    """Serve ``/metrics``, ``/healthz`` and ``/readyz`` while the block runs.

    Args:
        address: Where, as in ``9464`` or ``0.0.0.0:9464``.
        trackers: The trackers of a process that delivers, one for each queue.

    Raises:
        ConfigurationError: If the address is invalid, or can't be listened on.
    """
    host, port = _parse(address)
    try:
        server = _Server((host, port), trackers)
    except OSError as error:
        raise ConfigurationError(
            f"--metrics: can't listen on {address}: {error.strerror}. Use another address, or "
            "stop the process that uses it."
        ) from None
    shown = f"[{host}]" if ":" in host else host
    logger.info("worker.metrics", url=f"http://{shown}:{server.server_port}/metrics")
    thread = threading.Thread(target=server.serve_forever, name="adcp_tracker-http", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


def _parse(address: str) -> tuple[str, int]:
    """Return the host and the port of an address; the host is optional."""
    found = _ADDRESS.fullmatch(address)
    if found is None or int(found["port"]) > _LARGEST_PORT:
        raise ConfigurationError(
            "--metrics: expected a port or an address with a port, such as 9464 or 0.0.0.0:9464, "
            f"got {address!r}"
        )
    return found["six"] or found["host"] or _LOOPBACK, int(found["port"])


class _Server(ThreadingHTTPServer):
    """Answers with the metrics and the health of some trackers."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], trackers: Sequence[Tracker]) -> None:
        self.trackers = trackers
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, _Handler)

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        """Return the status, the headers and the body for a path."""
        from adcp_tracker.metrics import render  # noqa: PLC0415 - as above
        from adcp_tracker.web.health import HEADERS, health_at  # noqa: PLC0415 - likewise

        if path == "/metrics":
            text = render(add_up([tracker.stats(live=False) for tracker in self.trackers]))
            return 200, {"Content-Type": CONTENT_TYPE}, text.encode()
        found = [health_at(path, tracker, delivers=True) for tracker in self.trackers]
        health = max((each for each in found if each), key=lambda each: each.status, default=None)
        if health is None:
            return 404, {"Content-Type": "text/plain"}, b"Try /metrics, /healthz or /readyz.\n"
        return health.status, HEADERS, health.body


class _Handler(BaseHTTPRequestHandler):
    """Handles one request."""

    server: _Server
    server_version = "adcp-tracker"
    sys_version = ""
    timeout = _REQUEST_SECONDS

    def do_GET(self) -> None:
        """Answer with a body."""
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        """Answer without a body."""
        self._answer(with_body=False)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as its base has it
        """Log nothing: monitoring asks every few seconds."""

    def _answer(self, *, with_body: bool) -> None:
        try:
            status, headers, body = self.server.answer(self.path.partition("?")[0])
        except Exception as error:  # noqa: BLE001 - the worker goes on
            logger.warning("metrics.failed", error=type(error).__name__)
            status, headers, body = 500, {"Content-Type": "text/plain"}, b"See the log.\n"
        with suppress(ConnectionError):
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if with_body:
                self.wfile.write(body)
