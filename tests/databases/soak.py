"""Shops, relays, workers, a database and a seller for as long as you like, all of them troubled.

Run as ``python -m tests.databases.soak --minutes 15 --rate 200``. Shops keep orders and their
events in one transaction, relays ship what they have in a directory, and workers deliver from
several queues. Meanwhile everything is killed, stopped and started again at random: workers,
shops, relays, the database with all of its processes, and the seller, which fails besides.

Then everything is left alone until all is delivered. It exits with 1 if an order that was
committed is missing, if one arrived that was not, if an event ever came in another body than
before, if the stats are not exact, or if a worker or a table has grown.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

import attrs

from adcp_tracker import Tracker
from adcp_tracker.outbox.database import Database, migrate
from tests.integrations.servers import ROOT
from tests.support.checkouts import CREATE
from tests.support.destinations import wait_until
from tests.support.faulty_seller import FaultySeller
from tests.support.mysql import MySQLServer, run_mariadb, run_mysql
from tests.support.postgres import PostgresServer, run_postgres
from tests.support.producers import Progress
from tests.support.seller import ADVERTISER, SOURCE, TOKEN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from adcp_tracker import Stats

Server: TypeAlias = "PostgresServer | MySQLServer"

SERVERS: Final[dict[str, Callable[[], AbstractContextManager[Server]]]] = {
    "postgresql": run_postgres,
    "mariadb": run_mariadb,
    "mysql": run_mysql,
}
_SHOPS: Final = ("django", "sqlalchemy", "asynchronous")
_MYSQL_SHOPS: Final = ("sqlalchemy",)
_RELAYS: Final = ("relay1", "relay2")
_QUEUES: Final = "0-3"
_WORKERS: Final = 3
_NAME: Final = "soak"

_PAUSE_S: Final = (0.5, 4.0)
_AWAY_S: Final = (0.0, 2.0)
_STOPPED_S: Final = (0.1, 3.0)
_LEASE_S: Final = 17.0
_LONG_SHARE: Final = 0.1
_SERVER_KILLS_S: Final = 120.0
_LOOK_S: Final = 1.0
_SAY_S: Final = 60.0
_JUDGED_S: Final = 120.0
_SETTLE_S: Final = 180.0
_END_S: Final = 60.0
_TICK_S: Final = 0.05
_POLL_S: Final = 0.2
_PAGE: Final = 10_000
_FEW: Final = 5
_FIRST: Final = 10
_TROUBLES: Final = {
    "kill worker": 4,
    "stop worker": 3,
    "kill producer": 4,
    "stop producer": 2,
    "kill database": 1,
    "stop database": 1,
    "restart seller": 2,
}
_MB: Final = 1e6
_MEASURES: Final = {
    "memory MB": (1.25, 32.0),
    "descriptors": (1.25, 10.0),
    "tables MB": (2.0, 64.0),
}
"""What may be so many times as much in the last quarter as in the first, and so much more."""

_SELLER: Final = ("ADCP_BASE_URL", "ADCP_ADVERTISER_ID", "ADCP_EVENT_SOURCE_ID", "ADCP_API_KEY")
_PG_TABLES: Final = r"""
SELECT sum(pg_total_relation_size(oid)) FROM pg_class
WHERE relname LIKE 'adcp\_%' AND relkind = 'r'
"""


@attrs.define(eq=False)
class Process:
    """A process that is killed, stopped and started again.

    Attributes:
        name: What it is called.
        command: What runs it.
        environ: Its environment.
        log: Where it writes.
    """

    name: str
    command: list[str]
    environ: dict[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, unless it runs."""
        if self.process is not None and not self.has_ended:
            return
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, env=self.environ, cwd=ROOT, stdout=log, stderr=log
            )

    def send(self, number: int) -> None:
        """Send it a signal, if it runs."""
        if self.process is not None:
            self.process.send_signal(number)

    def end(self, number: int = signal.SIGTERM) -> None:
        """End it, and wait until it has."""
        if self.process is not None:
            self.send(signal.SIGCONT)
            self.send(number)
            self.process.wait(_END_S)

    @property
    def has_ended(self) -> bool:
        """Whether it runs no more."""
        return self.process is not None and self.process.poll() is not None


@attrs.frozen
class Report:
    """What came of a soak."""

    seed: int
    seconds: float
    settled_in: float
    orders: int
    relayed: int
    unsure: int
    delivered: int
    requests: int
    resent: int
    troubles: dict[str, int]
    faults: dict[str, int]
    stats: dict[str, int]
    measures: dict[str, tuple[float, float]]
    problems: list[str]


@attrs.define(eq=False)
class Soak:
    """What runs, and the trouble that it has.

    Attributes:
        server: The database server.
        url: The database.
        folder: Where everything else is kept.
        rate: How many orders a second all producers try together.
        seed: What decides which trouble comes when.
    """

    server: Server
    url: str
    folder: Path
    rate: float
    seed: int
    seller: FaultySeller = attrs.field(init=False)
    workers: list[Process] = attrs.field(init=False)
    producers: list[Process] = attrs.field(init=False)
    troubles: Counter[str] = attrs.field(factory=Counter, init=False)
    samples: dict[str, list[float]] = attrs.field(init=False)
    problems: list[str] = attrs.field(factory=list, init=False)
    _later: list[tuple[float, int, Callable[[], None]]] = attrs.field(factory=list, init=False)
    _away: set[int] = attrs.field(factory=set, init=False)
    _numbers: Iterator[int] = attrs.field(factory=itertools.count, init=False)
    _chance: random.Random = attrs.field(init=False)
    _killed_at: float = attrs.field(factory=time.monotonic, init=False)

    def __attrs_post_init__(self) -> None:
        self._chance = random.Random(self.seed)  # noqa: S311 - no secret
        self.samples = {name: [] for name in _MEASURES}
        self.seller = FaultySeller(random.Random(self.seed + 1), self.folder)  # noqa: S311 - likewise

    def build(self) -> None:
        """Make the processes, and start them."""
        is_mysql = isinstance(self.server, MySQLServer)
        kinds = (*(_MYSQL_SHOPS if is_mysql else _SHOPS), *_RELAYS)
        self.producers = [self._producer(each, self.rate / len(kinds)) for each in kinds]
        command = [sys.executable, "-m", "adcp_tracker", "worker"]
        self.workers = [self._process(f"worker{number}", command) for number in range(_WORKERS)]
        for each in (*self.workers, *self.producers):
            each.start()

    def _process(self, name: str, command: list[str], **more: str) -> Process:
        environ = {
            **os.environ,
            "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'integrations'}",
            "ADCP_QUEUE": self.url,
            "ADCP_QUEUES": _QUEUES,
            "ADCP_BASE_URL": self.seller.url,
            "ADCP_ADVERTISER_ID": ADVERTISER,
            "ADCP_EVENT_SOURCE_ID": SOURCE,
            "ADCP_API_KEY": TOKEN,
            "ADCP_FLUSH_INTERVAL": "0.2",
            **more,
        }
        return Process(name, command, environ, self.folder / f"{name}.log")

    def _producer(self, kind: str, rate: float) -> Process:
        command = [sys.executable, "-m", "tests.support.producers", kind]
        command += [str(self.seed), str(rate), str(self.folder / kind)]
        more = {"SHOP_DATABASE": self.url}
        if kind in _RELAYS:
            more["ADCP_DIRECTORY"] = str(self.folder / f"{kind}.queue")
        found = self._process(kind, command, **more)
        for name in _SELLER if kind in _RELAYS else ("ADCP_QUEUE",):
            del found.environ[name]
        return found

    def await_first(self) -> None:
        """Wait until everything is at work."""
        wait_until(lambda: min(map(self._done, self.producers)) >= _FIRST, _SETTLE_S)
        wait_until(lambda: self.seller.count() >= _FIRST, _SETTLE_S)

    def _done(self, producer: Process) -> int:
        return Progress(self.folder / producer.name).read()[1]

    def trouble(self, seconds: float) -> None:
        """Have trouble at random for so long."""
        ends = time.monotonic() + seconds
        strikes, looks, says = time.monotonic(), time.monotonic(), time.monotonic() + _SAY_S
        while (now := time.monotonic()) < ends:
            while self._later and self._later[0][0] <= now:
                heapq.heappop(self._later)[2]()
            if now >= strikes:
                strikes = now + self._chance.uniform(*_PAUSE_S)
                self._strike(min(_SERVER_KILLS_S, seconds / 3))
            if now >= looks:
                looks = now + _LOOK_S
                self._supervise()
                self._look()
            if now >= says:
                says = now + _SAY_S
                self._say(now - ends + seconds)
            time.sleep(_TICK_S)
        while self._later:
            heapq.heappop(self._later)[2]()

    def _strike(self, between_kills: float) -> None:
        name = self._chance.choices(list(_TROUBLES), list(_TROUBLES.values()))[0]
        if name == "kill database" and time.monotonic() - self._killed_at < between_kills:
            name = "stop database"
        how, _, whom = name.partition(" ")
        targets: dict[str, list[object]] = {
            "worker": [*(self.workers if how == "stop" else self.workers[1:])],
            "producer": [*self.producers],
            "database": [self.server],
            "seller": [self.seller],
        }
        target = self._chance.choice(targets[whom])
        away = self._chance.uniform(*(_STOPPED_S if how == "stop" else _AWAY_S))
        if id(target) in self._away:
            return
        if isinstance(target, Process):
            self._strike_process(target, how, away)
        elif target is self.seller:
            self.seller.stop()
            self._have_back(target, away, self.seller.start)
        elif how == "kill":
            self._killed_at = time.monotonic()
            self.server.kill()
            self._have_back(target, away, self.server.start)
        else:
            self.server.pause()
            self._have_back(target, away, self.server.resume)
        self.troubles[name] += 1

    def _strike_process(self, target: Process, how: str, away: float) -> None:
        if how == "kill":
            target.end(signal.SIGKILL)
            self._have_back(target, away, target.start)
            return
        if self._chance.random() < _LONG_SHARE:
            away += _LEASE_S
        target.send(signal.SIGSTOP)
        self._have_back(target, away, lambda: target.send(signal.SIGCONT))

    def _have_back(self, target: object, seconds: float, back: Callable[[], None]) -> None:
        self._away.add(id(target))

        def come() -> None:
            self._away.discard(id(target))
            back()

        heapq.heappush(self._later, (time.monotonic() + seconds, next(self._numbers), come))

    def _supervise(self) -> None:
        """Start workers again that found no database as they began; nothing else may end."""
        for each in (*self.workers, *self.producers):
            if id(each) in self._away or not each.has_ended:
                continue
            if each in self.workers[1:]:
                self.troubles["worker found no database"] += 1
            else:
                self.problems.append(f"{each.name} ended by itself")
            each.start()

    def _look(self) -> None:
        """Measure the worker that is never killed, and the tables."""
        process = self.workers[0].process
        assert process is not None
        with suppress(OSError):
            status = Path(f"/proc/{process.pid}/statm").read_text().split()
            memory = int(status[1]) * os.sysconf("SC_PAGESIZE")
            count = len(list(Path(f"/proc/{process.pid}/fd").iterdir()))
            self.samples["memory MB"].append(memory / _MB)
            self.samples["descriptors"].append(count)
        if id(self.server) not in self._away:
            with suppress(OSError):
                self.samples["tables MB"].append(_table_bytes(self.server, self.url) / _MB)

    def _say(self, seconds: float) -> None:
        done = sum(map(self._done, self.producers))
        latest = ", ".join(f"{name} {each[-1]:.0f}" for name, each in self.samples.items() if each)
        sys.stdout.write(
            f"{seconds / 60:.0f} min: {done:,} tried, {self.seller.count():,} delivered; {latest}; "
            f"load {os.getloadavg()[0]:.1f}; {dict(self.troubles)}\n"
        )
        sys.stdout.flush()

    def settle(self) -> tuple[Stats, float]:
        """Have producers end, and wait until all is delivered; return the stats and how long."""
        began = time.monotonic()
        self.seller.failing = 0.0
        for each in self.producers:
            each.end()
            code = None if each.process is None else each.process.returncode
            if code not in {0, -signal.SIGTERM}:  # that one had only begun to start
                self.problems.append(f"{each.name} ended with {code}")
        for each in self.producers:
            if each.name in _RELAYS:
                self._ship(each)
        with Tracker([], queue=self.url, queues=_QUEUES, uploader="external") as asking:
            best, better_at = -1, time.monotonic()
            while not self._is_settled(stats := asking.stats()):
                if (count := self.seller.count()) > best:
                    best, better_at = count, time.monotonic()
                if time.monotonic() - better_at > _SETTLE_S:
                    self.problems.append(f"nothing was delivered for {_SETTLE_S:.0f} s, and is due")
                    break
                time.sleep(_POLL_S)
        return stats, time.monotonic() - began

    def _is_settled(self, stats: Stats) -> bool:
        total = stats.total()
        return not total.pending and total.delivered >= self.seller.count()

    def _ship(self, relay: Process) -> None:
        """Ship what a relay has left."""
        command = [sys.executable, "-m", "adcp_tracker", "worker", "--once"]
        once = attrs.evolve(relay, command=command, process=None)
        once.start()
        assert once.process is not None
        if once.process.wait(_SETTLE_S):
            self.problems.append(f"{relay.name} did not ship all")

    def judge(self, stats: Stats, seconds: float, settled_in: float) -> Report:
        """Compare what was committed, delivered and counted."""
        orders = relayed = 0
        for page in _orders(self.url):
            orders += len(page)
            self.seller.expect(page)
        unsure: set[str] = set()
        for name in _RELAYS:
            progress = Progress(self.folder / name)
            lost = progress.unsure()
            unsure |= {f"{name}-{number}" for number in lost}
            sure = [each for each in range(1, progress.read()[0] + 1) if each not in lost]
            relayed += len(sure)
            self.seller.expect(f"{name}-{each}" for each in sure)
        self.seller.expect(unsure, is_sure=False)
        total = stats.total()
        found = {name: getattr(total, name) for name in ("accepted", "delivered", "pending")}
        found |= {"dead": total.dead, "dropped": sum(total.dropped.values())}
        found |= {"unconfirmed": total.unconfirmed, "at the seller": self.seller.count()}
        report = Report(
            seed=self.seed,
            seconds=seconds,
            settled_in=round(settled_in, 1),
            orders=orders,
            relayed=relayed,
            unsure=len(unsure),
            delivered=self.seller.count(),
            requests=self.seller.requests,
            resent=self.seller.resent,
            troubles=dict(self.troubles),
            faults=dict(self.seller.faults),
            stats=found,
            measures={name: _quarters(each) for name, each in self.samples.items()},
            problems=self.problems,
        )
        self.problems += _faults_of(report, self.seller)
        return report

    def end(self) -> None:
        """Kill what still runs."""
        for each in (*self.workers, *self.producers):
            each.end(signal.SIGKILL)


def _faults_of(report: Report, seller: FaultySeller) -> Iterator[str]:
    """Yield what must not be."""
    for what, ids in (("lost", seller.lost()), ("never committed", seller.unexpected())):
        if ids:
            yield f"{len(ids)} delivered or due events were {what}: {ids[:_FEW]}"
    if changed := seller.changed():
        yield f"{changed} events came in several bodies"
    stats = report.stats
    exact = stats["accepted"] == stats["delivered"] == stats["at the seller"]
    if not exact or stats["pending"] or stats["dead"] or stats["dropped"] or stats["unconfirmed"]:
        yield f"the stats are not exact: {stats}"
    if report.seconds < _JUDGED_S:  # they only begin
        return
    for name, (first, last) in report.measures.items():
        times, more = _MEASURES[name]
        if last > first * times + more:
            yield f"{name}: {first:.0f} in the first quarter, {last:.0f} in the last"


def _quarters(samples: list[float]) -> tuple[float, float]:
    """Return the medians of the first and of the last quarter."""
    count = max(len(samples) // 4, 1)
    first, last = samples[:count] or [0.0], samples[-count:] or [0.0]
    return round(statistics.median(first), 1), round(statistics.median(last), 1)


def _table_bytes(server: Server, url: str) -> float:
    """Return the size of the queue's tables, dead rows included."""
    if isinstance(server, MySQLServer):
        return sum(each.stat().st_size for each in server.directory.glob(f"data/{_NAME}/adcp_*"))
    with Database(url).transaction() as cursor:
        cursor.execute(_PG_TABLES)
        ((size,),) = cursor.fetchall()
    return float(size)


def _orders(url: str) -> Iterator[list[str]]:
    """Yield the ids of the orders that were committed, page by page."""
    last, database = "", Database(url)
    while True:
        with database.transaction() as cursor:
            cursor.execute(
                "SELECT id FROM orders WHERE id > %(last)s ORDER BY id LIMIT %(page)s",
                {"last": last, "page": _PAGE},
            )
            page = [name for (name,) in cursor.fetchall()]
        if not page:
            return
        yield page
        last = page[-1]


@contextmanager
def _ending(soak: Soak) -> Iterator[None]:
    try:
        yield
    finally:
        soak.end()


def soak(kind: str, seconds: float, rate: float, folder: Path, seed: int) -> Report:
    """Run everything, with trouble for so long, and compare when all is delivered.

    Args:
        kind: The kind of database.
        seconds: How long there is trouble.
        rate: How many orders a second are tried.
        folder: Where logs and queues are kept.
        seed: What decides which trouble comes when.
    """
    with ExitStack() as stack:
        server: Server = stack.enter_context(SERVERS[kind]())
        url = server.create(_NAME)
        migrate(url, queues=4)
        with Database(url).transaction() as cursor:
            cursor.execute(CREATE)
        run = Soak(server, url, folder, rate, seed)
        stack.enter_context(run.seller.running())
        run.build()
        stack.enter_context(_ending(run))
        run.await_first()
        run.trouble(seconds)
        stats, settled_in = run.settle()
        return run.judge(stats, seconds, settled_in)


def main() -> None:
    """Soak as the command line says, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--rate", type=float, default=200.0, help="orders a second")
    parser.add_argument("--database", choices=list(SERVERS), default="postgresql")
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))  # noqa: S311 - no secret
    given = parser.parse_args()
    sys.stdout.write(f"--seed {given.seed}\n")
    sys.stdout.flush()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # ends what it started
    with tempfile.TemporaryDirectory(prefix="adcp-soak-") as folder:
        report = soak(given.database, given.minutes * 60, given.rate, Path(folder), given.seed)
        for log in Path(folder).glob("*.log") if report.problems else ():
            sys.stdout.write(f"{log.name}:\n{log.read_text()[-3000:]}\n")
    sys.stdout.write(json.dumps(attrs.asdict(report), indent=2) + "\n")
    sys.exit(bool(report.problems))


if __name__ == "__main__":
    main()
