"""A shop under gunicorn in a storm: killed, stopped and reloaded workers, and a failing seller.

Run as ``python -m tests.servers.storm --minutes 5 --worker gevent``. It exits with 1 if a
purchase that was answered is lost, if an event is ever sent in another body than before, or if
the stats are not exact at the end.

How many purchases are answered depends on the machine, not only on the library: shoppers keep
their connections, so one worker gets most of them, and a gevent worker has one thread to serve
them with. On a busy machine, one thread gets a smaller share than the several of gthread.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import httpx

from tests.integrations.servers import ROOT, SCRIPTS, serve
from tests.support.faulty_seller import FaultySeller
from tests.support.seller import ADVERTISER, SOURCE, TOKEN
from tests.support.shop import make_tracker

if TYPE_CHECKING:
    from tests.integrations.servers import Server

WORKERS = {
    "sync": ["--worker-class", "sync"],
    "gthread": ["--worker-class", "gthread", "--threads", "4"],
    "gevent": ["--worker-class", "gevent"],
}
_SHOP = "tests.integrations.flask.flask_shop:app"
_SHOPPERS = 4
_PAUSE_SECONDS = (0.2, 1.2)
_STOP_SECONDS = (0.1, 2.0)
_CLIENT_SECONDS = 5.0
_DRAIN_SECONDS = 120.0
_RELOAD_SHARE, _KILL_SHARE = 0.06, 0.7


@attrs.frozen
class Report:
    """What came of a storm."""

    worker: str
    seconds: float
    answered: int
    unanswered: int
    signals: dict[str, int]
    faults: dict[str, int]
    requests: int
    resent: int
    lost: int
    changed: int
    stats: dict[str, int]

    @property
    def problems(self) -> list[str]:
        """What must not be."""
        sent = self.stats["at the seller"]
        found = {
            f"{self.lost} answered purchases are lost": self.lost,
            f"{self.changed} events came in several bodies": self.changed,
            f"the stats are not exact: {self.stats}": not (
                self.stats["accepted"] == self.stats["delivered"] == sent
            ),
            f"{sent} events of {self.answered + self.unanswered} purchases": (
                sent > self.answered + self.unanswered
            ),
        }
        return [text for text, is_true in found.items() if is_true]


@attrs.define(eq=False)
class _Load:
    """Shoppers who buy until they are stopped; each order is tried once."""

    url: str
    answered: set[str] = attrs.field(factory=set)
    unanswered: set[str] = attrs.field(factory=set)
    over: threading.Event = attrs.field(factory=threading.Event)

    def shop(self, shopper: int) -> None:
        number = 0
        with httpx.Client(base_url=self.url, timeout=_CLIENT_SECONDS) as client:
            while not self.over.is_set():
                number += 1
                order = f"o-{shopper}-{number}"
                try:
                    is_bought = client.post(f"/buy/{order}").is_success
                except httpx.TransportError:
                    is_bought = False
                (self.answered if is_bought else self.unanswered).add(order)


def _workers(server: Server) -> list[int]:
    process = server.process.pid
    children = Path(f"/proc/{process}/task/{process}/children").read_text(encoding="ascii")
    return [int(each) for each in children.split()]


def _trouble(server: Server, chance: random.Random, signals: Counter[str]) -> None:
    """Kill, stop or reload."""
    drawn = chance.random()
    with suppress(ProcessLookupError, IndexError):
        if drawn < _RELOAD_SHARE:
            server.process.send_signal(signal.SIGHUP)
            signals["HUP"] += 1
            return
        worker = chance.choice(_workers(server))
        if drawn < _KILL_SHARE:
            os.kill(worker, signal.SIGKILL)
            signals["KILL"] += 1
            return
        os.kill(worker, signal.SIGSTOP)
        signals["STOP"] += 1
        try:
            time.sleep(chance.uniform(*_STOP_SECONDS))
        finally:
            os.kill(worker, signal.SIGCONT)


def storm(worker: str, seconds: float, folder: Path, seed: int = 1) -> Report:
    """Run a shop through a storm, and deliver what is left afterwards.

    Args:
        worker: gunicorn's kind of worker.
        seconds: How long shoppers buy and trouble strikes.
        folder: Where the queue and the log are kept.
        seed: What decides which trouble comes when.
    """
    chance, signals = random.Random(seed), Counter[str]()  # noqa: S311 - no secret
    seller = FaultySeller(random.Random(seed + 1), folder)  # noqa: S311 - no secret
    queue = str(folder / "queue")

    def command(port: int) -> list[str]:
        options = ["--workers", "3", "--graceful-timeout", "5", "--no-control-socket", "--bind"]
        program = str(SCRIPTS / "gunicorn")
        return [program, *options, f"127.0.0.1:{port}", *WORKERS[worker], _SHOP]

    with seller.running() as url:
        with serve(command, _environment(queue, url), folder) as server:
            load = _Load(server.url)
            shoppers = [
                threading.Thread(target=load.shop, args=(each,)) for each in range(_SHOPPERS)
            ]
            for each in shoppers:
                each.start()
            try:
                deadline = time.monotonic() + seconds
                while time.monotonic() < deadline:
                    time.sleep(chance.uniform(*_PAUSE_SECONDS))
                    _trouble(server, chance, signals)
            finally:
                load.over.set()
                for each in shoppers:
                    each.join()
        seller.failing = 0.0
        tracker = make_tracker(queue, url, sigterm=False)
        total = tracker.close(_DRAIN_SECONDS).total()
        seller.expect(load.answered)
        return Report(
            worker=worker,
            seconds=seconds,
            answered=len(load.answered),
            unanswered=len(load.unanswered),
            signals=dict(signals),
            faults=dict(seller.faults),
            requests=seller.requests,
            resent=seller.resent,
            lost=len(seller.lost()),
            changed=seller.changed(),
            stats={
                "accepted": total.accepted,
                "delivered": total.delivered,
                "pending": total.pending,
                "dead": total.dead,
                "dropped": sum(total.dropped.values()),
                "unconfirmed": total.unconfirmed,
                "at the seller": seller.count(),
            },
        )


def _environment(queue: str, url: str) -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'integrations'}",
        "ADCP_DIRECTORY": queue,
        "ADCP_BASE_URL": url,
        "ADCP_ADVERTISER_ID": ADVERTISER,
        "ADCP_API_KEY": TOKEN,
        "ADCP_EVENT_SOURCE_ID": SOURCE,
        "ADCP_FLUSH_INTERVAL": "0.1",
    }


def main() -> None:
    """Run storms as the command line says, and print what came of each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--worker", choices=list(WORKERS), action="append")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    failed = False
    for worker in given.worker or WORKERS:
        with tempfile.TemporaryDirectory() as folder:
            report = storm(worker, given.minutes * 60, Path(folder), given.seed)
        lines = [json.dumps(attrs.asdict(report), indent=2), *report.problems]
        sys.stdout.write("\n".join(lines) + "\n")
        failed |= bool(report.problems)
    sys.exit(failed)


if __name__ == "__main__":
    main()
