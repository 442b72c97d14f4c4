"""A process that has everything imported, and forks a victim for each case it is given.

Run as ``python -m tests.support.crashing.forge``. Requests and answers are lines of JSON on
standard input and output. Starting an interpreter for each case would take ten times as long
as the case itself.
"""

from __future__ import annotations

import atexit
import faulthandler
import gc
import json
import os
import random
import select
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import adcp_tracker.privacy.erasure  # noqa: F401 - imported here, not in each victim
from adcp_tracker import Tracker
from adcp_tracker._logging import logger
from adcp_tracker.delivery.stats import DestinationStats, Stats, read_stats, write_stats
from adcp_tracker.journal.files import QueueDirectory
from adcp_tracker.outbox.dead_letters import DeadLetter, DeadLetterStore
from adcp_tracker.outbox.directory import DirectoryStore, open_outbox
from adcp_tracker.outbox.state import Span, State
from adcp_tracker.privacy.matching import person
from tests.support.crashing.erasing import KEYS, SHOPPER, forget, is_to_be_repeated
from tests.support.crashing.failing import await_tracer
from tests.support.crashing.killpoints import (
    CONTAINER_STOP,
    ENDS,
    OUTLIVED,
    SAY_WHERE,
    Forker,
    Point,
    Tracer,
    ask_where,
    prepare,
)
from tests.support.crashing.ledger import Ledger
from tests.support.crashing.plans import ARMED_BY_THEMSELVES, FLUSH_S, PLANS, open_shop

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.crashing.plans import Shop

_HUNG_S = 30.0
_GRACE_S = 0.03

Request = dict[str, Any]


def _warm_up() -> None:
    """Compile and import what a tracker does at its first event, without any thread."""
    with tempfile.TemporaryDirectory() as folder:
        directory = QueueDirectory(folder + "/queue")
        directory.prepare()
        letters = DeadLetterStore(directory)
        letters.add([DeadLetter("none", "none", 0, 1.0, "NONE", "none")], 1.0)
        for _ in range(2):
            outbox = open_outbox(directory)
            state = State(outbox, ["none"])
            state.freeze("none", [Span("none", 0, 1)], 1, None)
            state.commit()
            outbox.close()
        write_stats(DirectoryStore(directory).open(), Stats({"none": DestinationStats()}))
        read_stats(DirectoryStore(directory))
        list(letters)
        for keys in ((), KEYS):
            with Tracker(directory=folder + "/tracked", encryption_keys=keys) as tracker:
                tracker.track("purchase", event_id="warm", email=SHOPPER)
    person(email=SHOPPER)
    logger.warning("forge.warm")


def main() -> None:
    """Serve requests; in a victim, live its life and leave by the interpreter's own exit."""
    _warm_up()
    faulthandler.register(SAY_WHERE)  # in whoever is forked, into its own log
    gc.freeze()  # what is here now is never collected, so never copied into a victim
    for line in sys.stdin:
        request: Request = json.loads(line)
        life = _LIVES[request["do"]]
        inherited, gone = os.pipe()
        victim = os.fork()
        if victim == 0:
            os.close(inherited)
            _hide(Path(request["folder"]))
            life(request)
            return
        os.close(gone)
        answer = _watch(victim, inherited, request)
        os.close(inherited)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _hide(folder: Path) -> None:
    """Keep the victim's words out of the conversation."""
    log = os.open(folder / "log", os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)


def _watch(victim: int, gone: int, request: Request) -> Request:
    """Wait until the victim and its children are gone; a child left to live may stay."""
    deadline = time.monotonic() + _HUNG_S
    if request.get("end") == CONTAINER_STOP:
        _stop_container(victim, Path(request["folder"]), _GRACE_S * random.random())  # noqa: S311 - any time will do
    status = _wait(victim, deadline)
    if status is None:
        ask_where(victim, Path(request["folder"], "log"))
        os.kill(victim, signal.SIGKILL)
        os.waitpid(victim, 0)
        return {"hung": True}
    if (
        request.get("end") != OUTLIVED
        and not select.select([gone], [], [], max(deadline - time.monotonic(), 0.0))[0]
    ):
        return {"hung": True, "child": True}
    return {"status": os.waitstatus_to_exitcode(status), "hung": False}


def _wait(victim: int, deadline: float) -> int | None:
    descriptor = os.pidfd_open(victim)
    try:
        if not select.select([descriptor], [], [], max(deadline - time.monotonic(), 0.0))[0]:
            return None
        return os.waitpid(victim, 0)[1]
    finally:
        os.close(descriptor)


def _stop_container(victim: int, folder: Path, grace: float) -> None:
    """Send SIGKILL soon after the victim was told to end by SIGTERM."""
    descriptor = os.pidfd_open(victim)
    try:
        while not (folder / "reached").exists():
            if select.select([descriptor], [], [], 0.001)[0]:
                return
        if not select.select([descriptor], [], [], grace)[0]:
            os.kill(victim, signal.SIGKILL)
    finally:
        os.close(descriptor)


def _live(request: Request) -> None:
    """Follow a plan, traced, until the point is reached."""
    folder = Path(request["folder"])
    point = Point(*request["point"]) if request.get("point") else None
    prepare()
    end, wait = ENDS.get(request["end"]), _do_nothing

    def reach() -> None:
        (folder / "reached").touch()
        if end is not None:
            end()

    tracer = Tracer(point, reach)
    if point is None and not request.get("traced"):
        # Registered first, so it comes last: the tracker's own last lines count too.
        atexit.register(_write_counts, folder, tracer)
    shop = open_shop(
        folder,
        request.get("suffix", ""),
        request.get("durability", "process"),
        sealed=request.get("sealed", False),
    )
    shop.arm = tracer.arm
    tracer.is_armed = request["plan"] not in ARMED_BY_THEMSELVES
    if end is None:
        outlives = request["end"] == OUTLIVED
        forker = Forker(lambda: _live_as_child(shop, outlives=outlives))
        forker.start()
        end, wait = forker.fork, _do_nothing if outlives else forker.wait
    if request.get("traced"):
        await_tracer(folder)
    else:
        tracer.install()
    try:
        PLANS[request["plan"]](shop)
    finally:
        wait()
    if request.get("last") is not None:
        ENDS[request["last"]]()


def _do_nothing() -> None:
    pass


def _write_counts(folder: Path, tracer: Tracer) -> None:
    sys.settrace(None)
    counts = [[*place, count] for place, count in sorted(tracer.counts.items())]
    (folder / "counts").write_text(json.dumps(counts))


def _live_as_child(shop: Shop, *, outlives: bool) -> None:
    """Track an event in a child of a fork; then end, or live on until killed."""
    (shop.folder / "child").write_text(str(os.getpid()))
    shop.track("child")
    while outlives:
        signal.pause()


def _recover(request: Request) -> None:
    """Be the next process: flush, close, and say what there is."""
    folder = Path(request["folder"])
    shop = open_shop(folder, sealed=request.get("sealed", False))
    if is_to_be_repeated(folder):
        forget(shop.tracker, folder)
    if request.get("mended"):
        Ledger(folder).mend()
    shop.tracker.flush(FLUSH_S)
    stats = shop.tracker.close(FLUSH_S)
    letters = [
        [letter.destination, json.loads(letter.event)["event_id"]]
        for letter in shop.tracker.dead_letters.list()
    ]
    found = {"stats": stats.as_json(), "letters": letters}
    (folder / "recovered").write_text(json.dumps(found))
    os._exit(0)


_LIVES: dict[str, Callable[[Request], None]] = {"live": _live, "recover": _recover}


if __name__ == "__main__":
    main()
