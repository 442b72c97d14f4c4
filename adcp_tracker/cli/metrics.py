"""``adcp-tracker metrics``, and the address where a worker serves them."""

from __future__ import annotations

import os
import re
import socket
import sys
import threading
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Annotated, Final

import typer

from adcp_tracker._logging import logger
from adcp_tracker.cli._common import EXIT_OK, Directory, command
from adcp_tracker.cli._queue import open_existing_queue
from adcp_tracker.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from adcp_tracker.tracker import Tracker

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_ADDRESS: Final = re.compile(r"(?:(?:\[(?P<six>[^]]*)\]|(?P<host>[^:]*)):)?(?P<port>[0-9]{1,5})")
_LOOPBACK: Final = "127.0.0.1"
_LARGEST_PORT: Final = 65_535
_REQUEST_SECONDS: Final = 10.0


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
    from adcp_tracker.delivery.stats import current_stats  # noqa: PLC0415 - for a quick --help
    from adcp_tracker.metrics import render  # noqa: PLC0415 - likewise

    text = render(current_stats(open_existing_queue(directory)))
    if textfile is None:
        sys.stdout.write(text)
    else:
        _replace(textfile, text)
    return EXIT_OK


def _replace(path: str, text: str) -> None:
    """Write a file that everybody may read, in place of what was there."""
    draft = f"{path}.{os.getpid()}.tmp"  # which node_exporter doesn't read
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW
    with suppress(FileNotFoundError):
        os.unlink(draft)  # noqa: PTH108 - of a process with the same id that was killed
    try:
        with os.fdopen(os.open(draft, flags, 0o644), "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(draft, path)  # noqa: PTH105 - names are text here
    except OSError:
        with suppress(OSError):
            os.unlink(draft)  # noqa: PTH108 - likewise
        raise


@contextmanager
def serving(address: str, trackers: Sequence[Tracker]) -> Iterator[None]:
    """Serve ``/metrics``, ``/healthz`` and ``/readyz`` while the block runs.

    Args:
        address: Where, as in ``9464`` or ``0.0.0.0:9464``.
        trackers: The trackers of a process that delivers, one for each queue.

    Raises:
        ConfigurationError: If the address is none, or can't be listened on.
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
        from adcp_tracker.delivery.stats import add_up  # noqa: PLC0415 - for a quick --help
        from adcp_tracker.metrics import render  # noqa: PLC0415 - likewise
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

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - likewise
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
