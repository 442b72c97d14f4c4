"""``adcp-tracker flush`` and ``worker``."""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
import sys
import time
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Annotated

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
    seconds,
)
from adcp_tracker.cli.queue import open_existing_queue, require_leader, uploading
from adcp_tracker.cli.status import serving
from adcp_tracker.delivery.stats import add_up
from adcp_tracker.exceptions import ConfigurationError
from adcp_tracker.journal.files import QueueDirectory

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from adcp_tracker.delivery.stats import Stats
    from adcp_tracker.settings import Settings
    from adcp_tracker.tracker import Tracker


_STOPPING = (signal.SIGTERM, signal.SIGINT)
_LOOK_SECONDS = 5.0
_STEP_SECONDS = 1.0


@command
def flush(
    *,
    timeout: Annotated[float, seconds("How long to try.")] = 60.0,
    directory: Directory = None,
    as_json: AsJson = False,
) -> int:
    """Deliver pending events now, and print what is left and why.

    A process that uploads is asked to hand over. Exits with 1 if anything is left, and with 4
    if another process did not hand over.
    """
    open_existing_queue(directory)
    began = time.time()
    with uploading(directory) as trackers:
        names = [destination.name for destination in trackers[0].destinations]
        parts = []
        for tracker in trackers:
            parts.append(flush_tracker(tracker, timeout, hidden=as_json))
            require_leader(parts[-1], began, tracker, timeout)
        stats = add_up(parts)
    _print(stats, names, as_json=as_json)
    if not as_json:
        _print_remaining(stats, timeout)
    return EXIT_ATTENTION if stats.pending else EXIT_OK


def flush_tracker(tracker: Tracker, timeout: float, *, hidden: bool = False) -> Stats:
    """Flush; on a terminal in steps of a second, with a progress bar unless it is `hidden`."""
    if hidden or not _common.is_terminal():
        return tracker.flush(timeout)
    with _common.progress("delivering") as show:
        deadline = time.monotonic() + timeout
        stats = tracker.flush(min(_STEP_SECONDS, timeout))
        total = stats.pending
        while stats.pending and (left := deadline - time.monotonic()) > 0:
            total = max(total, stats.pending)
            show(total - stats.pending, total)
            stats = tracker.flush(min(_STEP_SECONDS, left))
        return stats


def _print_remaining(stats: Stats, timeout: float) -> None:
    if not stats.pending:
        _common.print_line("Nothing is pending.", "green")
        return
    _common.print_line(
        f"Still pending: {plural(stats.pending, 'delivery')}; kept on disk.", "yellow"
    )
    if not any(counts.paused or counts.retrying for counts in stats.destinations.values()):
        _common.print_line(
            f"{timeout:g} s were not enough. Use a longer --timeout, or flush again."
        )


@command
def worker(  # noqa: PLR0913 - options, each by its name
    *,
    once: Annotated[bool, typer.Option("--once", help="Deliver pending events and exit.")] = False,
    timeout: Annotated[float, seconds("With --once: how long to try.")] = 60.0,
    grace: Annotated[float, seconds("How long the last request may take on exit.")] = 10.0,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log at DEBUG level.")] = False,
    metrics: Annotated[
        str | None,
        typer.Option(
            "--metrics",
            metavar="ADDRESS",
            help="Serve /metrics, /healthz and /readyz there, as in 9464 or 0.0.0.0:9464. "
            "Without a host, only this machine can ask.",
        ),
    ] = None,
    opentelemetry: Annotated[
        bool,
        typer.Option(
            "--opentelemetry", help="Report metrics and spans to the OpenTelemetry SDK's providers."
        ),
    ] = False,
    create: Annotated[
        bool, typer.Option("--create", help="Create the directory if it does not exist.")
    ] = False,
    queues: Annotated[
        str | None,
        typer.Option(
            metavar="NUMBERS",
            help="Which queues of the database to share with other workers. [default: ADCP_QUEUES]",
        ),
    ] = None,
    directory: Directory = None,
    as_json: AsJson = False,
) -> int:
    """Deliver events until SIGTERM or Ctrl-C, and log to stderr.

    The current request is finished; the rest stays on disk. A second signal exits at once.
    Prints the counts at the end. With --once, exits with 1 if anything is left.
    """
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.DEBUG if verbose else logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
    )
    with ExitStack() as stack, uploading(directory, queues, grace) as trackers:
        settings = trackers[0].settings
        _prepare(settings, create=create)
        names = [destination.name for destination in trackers[0].destinations]
        logger.info("worker.started", directory=settings.location, destinations=names)
        if opentelemetry:
            from adcp_tracker.metrics import instrument  # noqa: PLC0415 - for a quick --help

            instrument(*trackers)
        if metrics is not None:
            stack.enter_context(serving(metrics, trackers))
        if once:
            _deliver_once(trackers, timeout)
        else:
            _run_until_signal(trackers)
        logger.info("worker.stopping", grace=grace)
    stats = add_up([tracker.stop() for tracker in trackers])
    _print(stats, as_json=as_json)
    return EXIT_ATTENTION if once and stats.pending else EXIT_OK


def _prepare(settings: Settings, *, create: bool) -> None:
    """Fail now if the queue can't be used."""
    if settings.directory is None:
        open_existing_queue(settings.queue)
        return
    if not create:
        _require_directory(settings.directory)
    QueueDirectory(settings.directory).prepare()


def _require_directory(path: str) -> None:
    """Refuse a directory that does not exist: it is probably misspelt."""
    try:
        os.lstat(path)
    except FileNotFoundError:
        raise ConfigurationError(
            f"{path}: no such directory. Check --directory or ADCP_DIRECTORY; "
            "to start before the application does, use --create."
        ) from None
    except OSError:
        pass  # creating it says what is wrong


def _deliver_once(trackers: list[Tracker], timeout: float) -> None:
    """Deliver pending events, or until a signal arrives."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    began = time.time()
    with suppress(KeyboardInterrupt):
        for tracker in trackers:
            require_leader(tracker.flush(timeout), began, tracker, timeout)


def _run_until_signal(trackers: list[Tracker]) -> None:
    """Deliver until a signal arrives."""
    with _stop_signals() as heard:
        is_first = True
        while is_first or not select.select([heard], [], [], _LOOK_SECONDS)[0]:
            is_first = False
            for tracker in trackers:
                tracker.start()  # does nothing while the thread runs


@contextmanager
def _stop_signals() -> Iterator[socket.socket]:
    """Make the first stop signal readable from a socket; let the second end the process.

    The interpreter writes to the socket itself: a Python handler that takes a lock could
    deadlock with the code it interrupts.
    """
    heard, said = socket.socketpair()
    said.settimeout(0.0)
    earlier = {number: signal.signal(number, _restore_default_handler) for number in _STOPPING}
    before = signal.set_wakeup_fd(said.fileno(), warn_on_full_buffer=False)
    try:
        yield heard
    finally:
        signal.set_wakeup_fd(before)
        for number, handler in earlier.items():
            signal.signal(number, handler)
        heard.close()
        said.close()


def _restore_default_handler(number: int, _frame: object) -> None:
    signal.signal(number, signal.SIG_DFL)


def _print(stats: Stats, names: Sequence[str] = (), *, as_json: bool) -> None:
    if as_json:
        _common.print_json(stats.as_json() | {"pending": stats.pending})
    else:
        print_stats(stats, names)
