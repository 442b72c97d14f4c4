"""A process that has everything imported, and forks a worker over a database for each case.

Run as ``python -m tests.support.crashing.database_forge``, like the forge of directories: requests
and answers are lines of JSON on standard input and output. Each case has a queue of its own.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import json
import os
import select
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import adcp_tracker.delivery.relay
import adcp_tracker.outbox._mysql
import adcp_tracker.outbox._postgresql
import adcp_tracker.privacy.erasure
from adcp_tracker import Tracker
from adcp_tracker.outbox.database import Database
from tests.support.crashing.killpoints import ENDS, Point, Tracer, prepare
from tests.support.crashing.ledger import Ledger, LedgerDestination, append

if TYPE_CHECKING:
    from collections.abc import Callable

HUNG_S = 60.0
FLUSH_S = 30.0
SHOPPER = "gone@example.com"
SELLERS = ("a", "b")
CUT_OFF = "connections cut off"

Request = dict[str, Any]


def main() -> None:
    """Serve requests."""
    gc.freeze()
    for line in sys.stdin:
        request: Request = json.loads(line)
        victim = os.fork()
        if victim == 0:
            _hide(Path(request["folder"]))
            _LIVES[request["do"]](request)
            return
        sys.stdout.write(json.dumps({"status": _wait(victim)}) + "\n")
        sys.stdout.flush()


def _hide(folder: Path) -> None:
    log = os.open(folder / "log", os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(log, 1)
    os.dup2(log, 2)


def _wait(victim: int) -> int | None:
    """Return how a victim ended; ``None`` if it hung, and was killed."""
    descriptor = os.pidfd_open(victim)
    try:
        is_over = select.select([descriptor], [], [], HUNG_S)[0]
        if not is_over:
            os.kill(victim, signal.SIGKILL)
        status = os.waitpid(victim, 0)[1]
        return os.waitstatus_to_exitcode(status) if is_over else None
    finally:
        os.close(descriptor)


def _open(request: Request, *, relay: bool = False) -> Tracker:
    folder = Path(request["folder"])
    sellers = [LedgerDestination(name, Ledger(folder)) for name in SELLERS]
    return Tracker(
        [] if relay else sellers,
        directory=folder / "queue" if relay else None,
        queue=request["url"],
        queues=request["queue"],
        flush_interval=0.02,
        handle_sigterm=False,
    )


def _live(request: Request) -> None:
    folder = Path(request["folder"])
    point = Point(*request["point"]) if request.get("point") else None

    def reach() -> None:
        (folder / "reached").touch()
        if request["end"] == CUT_OFF:
            _cut_off(request["url"])
        else:
            ENDS[request["end"]]()

    prepare()
    tracer = Tracer(point, reach)
    if point is None:
        atexit.register(_write_counts, folder, tracer)
    tracer.install()
    _PLANS[request["plan"]](request, folder)


def _cut_off(url: str) -> None:
    """Have the server end all connections of the library's but this one."""
    dialect = Database(url).dialect
    with contextlib.closing(dialect.connect()) as connection:
        cursor = connection.cursor()
        if dialect.name == "postgresql":
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> "
                "pg_backend_pid() AND application_name = 'adcp_tracker' "
                "AND datname = current_database()"
            )
            return
        cursor.execute(
            "SELECT id FROM information_schema.processlist "
            "WHERE db = database() AND id <> connection_id()"
        )
        for (number,) in cursor.fetchall():
            with contextlib.suppress(*dialect.errors):  # it may have ended
                cursor.execute(f"KILL {number}")


def _write_counts(folder: Path, tracer: Tracer) -> None:
    sys.settrace(None)
    counts = [[*place, count] for place, count in sorted(tracer.counts.items())]
    (folder / "counts").write_text(json.dumps(counts))


def _track(tracker: Tracker, folder: Path, *ids: str) -> None:
    """Track events, and write down each that was acknowledged."""
    for name in ids:
        append(folder / "tracked", f"{name}\n".encode())
        person = {"email": SHOPPER} if name.startswith("person-") else {}
        tracker.track("purchase", event_id=name, **person)  # type: ignore[arg-type]
        if not tracker._pipeline.buffer.in_memory:  # noqa: SLF001 - stats would take long
            append(folder / "promised", f"{name}\n".encode())


def _work(request: Request, folder: Path) -> None:
    """Track, deliver, refuse, erase and close."""
    tracker = _open(request)
    _track(tracker, folder, "e-1", "e-2", "person-1", "bad-1")
    tracker.flush(FLUSH_S)
    _track(tracker, folder, "split-1", "split-2", "split-3", "person-2", "e-3")
    with contextlib.suppress(OSError):
        tracker.privacy.erase(email=SHOPPER, timeout=FLUSH_S)
    tracker.flush(FLUSH_S)
    with contextlib.suppress(OSError):
        tracker.dead_letters.discard([each.id for each in tracker.dead_letters.list()][:1])
    _track(tracker, folder, "e-4")
    tracker.close(FLUSH_S)


def _relay(request: Request, folder: Path) -> None:
    """Track and ship; in every other case, whatever is shipped at once is a piece."""
    if request["queue"] % 2:
        adcp_tracker.delivery.relay._LEAST_APART_BYTES = 1  # type: ignore[misc]  # noqa: SLF001
    tracker = _open(request, relay=True)
    _track(tracker, folder, "e-1", "e-2", "e-3", "bad-1")
    tracker.flush(FLUSH_S)
    _track(tracker, folder, "e-4", "e-5")
    tracker.flush(FLUSH_S)
    _track(tracker, folder, "e-6")
    tracker.close(FLUSH_S)


_PLANS: dict[str, Callable[[Request, Path], None]] = {"work": _work, "relay": _relay}


def _recover(request: Request) -> None:
    """Be the next worker once the lease has run out: deliver, and say what there is."""
    folder = Path(request["folder"])
    found: dict[str, object] = {}
    if request["plan"] == "relay":
        with _open(request, relay=True) as relay:
            found["relay"] = relay.flush(FLUSH_S).as_json()
    with Database(request["url"]).transaction() as cursor:
        cursor.execute("UPDATE adcp_queue SET until = 0 WHERE queue = %s", (request["queue"],))
    tracker = _open(request)
    began = time.monotonic()
    tracker.flush(FLUSH_S)
    found["seconds"] = time.monotonic() - began
    found["stats"] = tracker.close(FLUSH_S).as_json()
    found["letters"] = [
        [each.destination, json.loads(each.event)["event_id"]]
        for each in tracker.dead_letters.list()
    ]
    (folder / "recovered").write_text(json.dumps(found))
    os._exit(0)


_LIVES: dict[str, Callable[[Request], None]] = {"live": _live, "recover": _recover}


if __name__ == "__main__":
    main()
