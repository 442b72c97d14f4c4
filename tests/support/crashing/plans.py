"""What a victim does with its tracker until it is ended."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import attrs

from adcp_tracker import Tracker
from adcp_tracker.context import RequestContext
from adcp_tracker.delivery.outcomes import RetryPolicy
from adcp_tracker.events.event import Event, RejectedEvent
from adcp_tracker.journal.files import QueueDirectory
from tests.support.crashing.erasing import GONE, KEYS, SHOPPER, address_of, forget
from tests.support.crashing.ledger import (
    AWAY,
    BAD,
    FRESH,
    MENDED,
    SPLIT,
    Ledger,
    LedgerDestination,
    append,
    insist,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from adcp_tracker.settings import Durability

SELLERS = ("north", "south")
EMAIL = SHOPPER
FLUSH_S = 20.0
PROMPT_S, RARELY_S = 0.02, 600.0
_SHUTDOWN_S = 0.3  # what is left then is for the next process, which is what is tested
LEADING, JOINED, FORGOTTEN, REACHED = "leading", "joined", "forgotten", "reached"
TOKEN = "token"
_MOST_BYTES = 1024 * 1024  # segments are a sixteenth of it
_LARGE = "x" * 5_000
_SEGMENT_EVENTS = 30
_STEADY_EVENTS = 60
_STEADY_ROUNDS = 5
_STEADY_S = 0.004
_MOST_BESIDE = 300
_THREADS = 3
_EACH = 4


class Promptly(RetryPolicy):
    """Tries again at once."""

    def delay(self, failures: int, retry_after: float | None = None) -> float:
        """Return no time at all."""
        del failures, retry_after
        return 0.0


@attrs.define
class Shop:
    """A tracker over one case's directory, and a list of what it was promised.

    Attributes:
        folder: The case's folder.
        tracker: The tracker.
        suffix: Ends the ids of this process's events.
        arm: Called when the plan comes to what it is about.
    """

    folder: Path
    tracker: Tracker
    suffix: str = ""
    arm: Callable[[], None] = lambda: None

    def track(self, name: str, *, large: bool = False, test: str | None = None) -> None:
        """Track an event; once that has returned, write down what was promised."""
        event = self.tracker.track(
            "purchase",
            event_id=f"{name}{self.suffix}",
            email=address_of(name),
            custom_data={"value": 7, "currency": "EUR", "note": _LARGE if large else "small"},
            action_source="website",
            event_source_url="https://shop.example/thanks",
            test_event_code=test,
        )
        if not isinstance(event, Event):
            raise TypeError(f"expected an event, got {event!r}")
        self._promise(event.event_id, hashlib.sha256(event.json).hexdigest())

    def track_invalid(self, name: str) -> None:
        """Track an event that breaks a rule: what is promised is a dead letter."""
        event = self.tracker.track(
            "purchase",
            event_id=f"{name}{self.suffix}",
            email=address_of(name),
            custom_data={"value": 7, "currency": "none"},
        )
        if not isinstance(event, RejectedEvent):
            raise TypeError(f"expected it to be rejected, got {event!r}")
        self._promise(event.event_id, "")

    def _promise(self, event_id: str, digest: str) -> None:
        append(self.folder / "promised", json.dumps([event_id, digest]).encode() + b"\n")


def open_shop(
    folder: Path,
    suffix: str = "",
    durability: Durability = "process",
    flush_interval: float = PROMPT_S,
    *,
    sealed: bool = False,
) -> Shop:
    """Make a tracker over the case's directory; its sellers keep one ledger."""
    ledger = Ledger(folder)
    tracker = Tracker(
        [LedgerDestination(name, ledger) for name in SELLERS],
        directory=folder / "queue",
        flush_interval=flush_interval,
        _policy=Promptly(lambda: 0.5),
        shutdown_timeout=_SHUTDOWN_S,
        durability=durability,
        max_bytes=_MOST_BYTES,
        encryption_keys=KEYS if sealed else (),
    )
    return Shop(folder, tracker, suffix)


def promised(folder: Path) -> dict[str, str]:
    """Return the ids of the events that were promised, with their bytes' digests.

    The digest of an event that is never to be delivered is empty.
    """
    path = folder / "promised"
    lines = path.read_bytes().splitlines() if path.exists() else []
    return dict(json.loads(line) for line in lines)


def _sales(shop: Shop) -> None:
    """Everything that can become of an event, one thing after the other."""
    for name in ("a-1", "a-2", f"{BAD}1", f"{MENDED}1", f"{MENDED}2"):
        shop.track(name)
    shop.tracker.flush(FLUSH_S)
    shop.track_invalid("i-1")
    for name in (f"{SPLIT}1", f"{SPLIT}2", f"{SPLIT}3", "a-3"):
        shop.track(name)
    shop.track("t-1", test="TEST-1")
    shop.tracker.flush(FLUSH_S)
    shop.track(f"{FRESH}1")
    shop.tracker.flush(FLUSH_S)
    Ledger(shop.folder).mend()
    letters = shop.tracker.dead_letters.list()
    mended = [each.id for each in letters if MENDED.encode() in each.event]
    insist(lambda: shop.tracker.dead_letters.replay(mended))
    shop.track("a-4")
    shop.tracker.close(FLUSH_S)


def _roll(shop: Shop) -> None:
    """More than two segments hold."""
    for number in range(_SEGMENT_EVENTS):
        shop.track(f"l-{number}", large=True)
    shop.track("l-last")
    shop.tracker.close(FLUSH_S)


def _threads(shop: Shop) -> None:
    """Several threads that track at once."""

    def sell(thread: int) -> None:
        for number in range(_EACH):
            shop.track(f"w-{thread}-{number}")

    threads = [threading.Thread(target=sell, args=(each,)) for each in range(_THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    shop.tracker.flush(FLUSH_S)
    shop.track("w-last")
    shop.tracker.close(FLUSH_S)


def _crowd(shop: Shop) -> None:
    """Several threads that fill segment after segment, for a seller that is away."""

    def sell(thread: int) -> None:
        for number in range(_SEGMENT_EVENTS):
            shop.track(f"{AWAY}{thread}-{number}", large=True)

    threads = [threading.Thread(target=sell, args=(each,)) for each in range(_THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _closing(shop: Shop) -> None:
    """Several threads that track, while another closes the tracker under them."""
    done = threading.Event()

    def sell(thread: int) -> None:
        for number in range(_SEGMENT_EVENTS):
            shop.track(f"{AWAY}{thread}-{number}")
        done.set()

    threads = [threading.Thread(target=sell, args=(each,)) for each in range(_THREADS)]
    for thread in threads:
        thread.start()
    while not done.is_set():
        shop.tracker.close(0.0)
    for thread in threads:
        thread.join()


def _steady(shop: Shop) -> None:
    """One event after the other, for a seller that is away, until some rounds were published."""
    counts, rounds = shop.folder / "queue" / "books.json", set[int]()
    for number in itertools.count():
        shop.track(f"{AWAY}{number}")
        # Few more on a slow machine, as there is room for some hundred of them.
        time.sleep(_STEADY_S if number < _STEADY_EVENTS else 0.5)
        with suppress(FileNotFoundError):
            rounds.add(counts.stat().st_mtime_ns)
        if number >= _STEADY_EVENTS and len(rounds) >= _STEADY_ROUNDS:
            return


def _forget_at_once(shop: Shop) -> None:
    """Erase a person of whom there is something in every folder, and on the disk.

    That is an event that waits, a dead letter, bytes that were no record, and a context.
    """
    shop.track(f"{BAD}1")
    shop.tracker.flush(FLUSH_S)
    shop.track(f"{AWAY}1")
    shopper = RequestContext(client_ip="8.8.4.4", client_user_agent="Mozilla/5.0")
    shop.tracker.contexts.remember("A-1", email=EMAIL, context=shopper)
    directory = QueueDirectory(shop.folder / "queue")
    (remembered,) = directory.remembered.iterdir()
    append(shop.folder / TOKEN, remembered.read_bytes().splitlines()[0])
    evidence = directory.quarantine / "a.log"
    append(evidence, hashlib.sha256(EMAIL.encode()).hexdigest().encode())
    for path in (evidence, directory.quarantine, remembered, directory.remembered):
        _put_on_disk(path)
    shop.tracker.privacy.erase(email=EMAIL)
    append(shop.folder / FORGOTTEN, b"forgotten\n")


def _put_on_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def _daemons(shop: Shop) -> None:
    """Daemon threads that go on tracking while the interpreter shuts down."""

    def sell(thread: int) -> None:
        number = 0
        while True:
            shop.track(f"d-{thread}-{number}")
            number += 1
            idle.wait(0.002)

    idle = threading.Event()
    for each in range(_THREADS):
        threading.Thread(target=sell, args=(each,), daemon=True).start()
    shop.track("d-first")
    shop.tracker.flush(0.1)


def _lead(shop: Shop) -> None:
    """Upload for another process too, which joins in."""
    shop.track("e-1")
    shop.tracker.flush(FLUSH_S)
    (shop.folder / LEADING).touch()
    _wait_for(shop.folder / JOINED)
    shop.arm()
    _sales(shop)


def _join(shop: Shop) -> None:
    """Write beside a process that uploads, from before it ends until after."""
    _wait_for(shop.folder / LEADING)
    shop.track("j-1")
    (shop.folder / JOINED).touch()
    for number in range(_MOST_BESIDE):
        if (shop.folder / REACHED).exists():
            break
        shop.track(f"j-beside-{number}")
        time.sleep(_STEADY_S)
    _threads(shop)


def _wait_for(path: Path) -> None:
    deadline = time.monotonic() + FLUSH_S
    while not path.exists():
        if time.monotonic() > deadline:
            raise TimeoutError(f"expected {path.name} within {FLUSH_S:g} s")
        time.sleep(0.001)


def _leave_behind(shop: Shop) -> None:
    """Something of everything, to be found by the next process."""
    for name in ("r-1", f"{BAD}2", f"{MENDED}3", "r-2"):
        shop.track(name)
    shop.tracker.flush(FLUSH_S)
    shop.track("r-3")


def _recover(shop: Shop) -> None:
    """Find what another process left behind, and go on."""
    shop.tracker.flush(FLUSH_S)
    shop.track("r-4")
    shop.tracker.close(FLUSH_S)


def _forget(shop: Shop) -> None:
    """Erase a person whose events are delivered, dead, on their way and still waiting."""
    for name in ("f-1", f"{GONE}1", f"{BAD}f", f"{BAD}{GONE}2"):
        shop.track(name)
    shop.tracker.flush(FLUSH_S)
    for name in (f"{AWAY}1", f"{GONE}3", f"{AWAY}2"):
        shop.track(name)
    shop.tracker.flush(_SHUTDOWN_S)
    for name in (f"{GONE}4", "f-2"):
        shop.track(name)
    shop.arm()
    forget(shop.tracker, shop.folder)
    shop.track("f-3")
    Ledger(shop.folder).mend()
    shop.tracker.close(FLUSH_S)


ARMED_BY_THEMSELVES = frozenset({"lead", "forget"})
"""The plans that say when lines begin to count; in all others they count from the first."""

MENDED_AT_LAST = frozenset({"forget"})
"""The plans with a seller that is away until the next process has everything."""

PLANS: dict[str, Callable[[Shop], None]] = {
    "sales": _sales,
    "roll": _roll,
    "threads": _threads,
    "crowd": _crowd,
    "closing": _closing,
    "steady": _steady,
    "forget at once": _forget_at_once,
    "daemons": _daemons,
    "lead": _lead,
    "join": _join,
    "leave behind": _leave_behind,
    "recover": _recover,
    "forget": _forget,
}
"""The plans, by name."""
