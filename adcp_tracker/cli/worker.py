"""``adcp-tracker worker``: delivery in a process of its own, for ``uploader="external"``."""

from __future__ import annotations

import logging
import select
import signal
import socket
import sys
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Annotated

import typer

from adcp_tracker.cli import screen
from adcp_tracker.cli.exits import FINE, LEFT, command
from adcp_tracker.cli.ledger import print_books
from adcp_tracker.cli.opening import uploading_tracker
from adcp_tracker.cli.options import LONGEST_SECONDS, AsJson, Directory
from adcp_tracker.cli.working import at_work, expect_led
from adcp_tracker.log import logger

if TYPE_CHECKING:
    from collections.abc import Iterator

    from adcp_tracker.delivery.books import Stats
    from adcp_tracker.tracker import Tracker

_STOPPING = (signal.SIGTERM, signal.SIGINT)
_LOOK_SECONDS = 5.0


@command
def worker(  # noqa: PLR0913 - options, each by its name
    *,
    once: Annotated[bool, typer.Option("--once", help="Deliver what waits, and end.")] = False,
    timeout: Annotated[
        float,
        typer.Option(
            min=0.0, max=LONGEST_SECONDS, metavar="SECONDS", help="How long --once may take."
        ),
    ] = 60.0,
    grace: Annotated[
        float,
        typer.Option(
            min=0.0,
            max=LONGEST_SECONDS,
            metavar="SECONDS",
            help="How long the last request may take at the end.",
        ),
    ] = 10.0,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log details too.")] = False,
    directory: Directory = None,
    as_json: AsJson = False,
) -> int:
    """Deliver until SIGTERM or Ctrl-C, and log to the error output.

    The request that is on its way is finished; the rest stays on disk. A second signal ends
    it at once. Prints the books at the end. With --once, exits with 1 if anything is left.
    """
    from adcp_tracker.queue.directory import QueueDirectory  # noqa: PLC0415 - for a quick --help

    logging.basicConfig(
        stream=sys.stderr,
        level=logging.DEBUG if verbose else logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
    )
    logging.getLogger("httpx").setLevel(logging.WARNING)
    tracker = uploading_tracker(directory, handle_sigterm=False)
    QueueDirectory(tracker.settings.directory).prepare()  # or say at once what is wrong with it
    names = [destination.name for destination in tracker.destinations]
    logger.info("worker.started", directory=tracker.settings.directory, destinations=names)
    with at_work(tracker, grace):
        if once:
            _deliver_once(tracker, timeout)
        else:
            _deliver(tracker)
        logger.info("worker.stopping", grace=grace)
    stats = tracker.stop()
    _print(stats, as_json=as_json)
    return LEFT if once and stats.pending else FINE


def _deliver_once(tracker: Tracker, timeout: float) -> None:
    """Deliver what waits, or until a signal comes."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    began = time.time()
    with suppress(KeyboardInterrupt):
        expect_led(tracker.flush(timeout), began, tracker, timeout)


def _deliver(tracker: Tracker) -> None:
    """Deliver until a signal comes."""
    with _signals() as heard:
        tracker.start()
        while not select.select([heard], [], [], _LOOK_SECONDS)[0]:
            tracker.start()  # does nothing, as long as the thread is there


@contextmanager
def _signals() -> Iterator[socket.socket]:
    """Have the first signal to stop arrive at a socket, and the second one end the process.

    A signal is written there by the interpreter itself: a handler that took a lock could
    wait for ever for what it interrupts.
    """
    heard, said = socket.socketpair()
    said.settimeout(0.0)
    earlier = {number: signal.signal(number, _once) for number in _STOPPING}
    before = signal.set_wakeup_fd(said.fileno(), warn_on_full_buffer=False)
    try:
        yield heard
    finally:
        signal.set_wakeup_fd(before)
        for number, handler in earlier.items():
            signal.signal(number, handler)
        heard.close()
        said.close()


def _once(number: int, _frame: object) -> None:
    signal.signal(number, signal.SIG_DFL)


def _print(stats: Stats, *, as_json: bool) -> None:
    if as_json:
        screen.emit(stats.as_json() | {"pending": stats.pending})
    else:
        print_books(stats)
