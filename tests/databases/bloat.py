"""How a queue fares while somebody holds an old snapshot, beside SKIP LOCKED by hand.

Run as ``python -m tests.databases.bloat --minutes 60 --rate 1000``. No row that was deleted since
the snapshot can be freed, so whatever looks for work passes over more and more dead ones. Each
minute has a line: the median time in which a leader finds and takes what is new, the same for
``DELETE … FOR UPDATE SKIP LOCKED`` by hand from a table of jobs, and the tables' sizes.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import threading
import time
from typing import TYPE_CHECKING, Final

import psycopg

from adcp_tracker._platform import SystemClock
from adcp_tracker.journal.records import EVENT, encode_record
from adcp_tracker.outbox.database import migrate
from adcp_tracker.outbox.database_store import DatabaseStore
from tests.support.postgres import run_postgres

if TYPE_CHECKING:
    from collections.abc import Callable

    from adcp_tracker.outbox.database_log import DatabaseSegments
    from tests.support.postgres import PostgresServer

_BODY: Final = b'{"event_id":"A-%d","event_type":"purchase","padding":"' + b"x" * 600 + b'"}'
_TICK_S: Final = 0.1
_ROUND_S: Final = 0.5
_WARM_UP_S: Final = 3.0
_JOBS: Final = "CREATE TABLE job (id bigserial PRIMARY KEY, data bytea NOT NULL)"
_ADD_EVENT: Final = "INSERT INTO adcp_intake (queue, data) VALUES (0, %s)"
_ADD_JOB: Final = "INSERT INTO job (data) VALUES (%s)"
_CLAIM: Final = 1000
_TAKE_JOBS: Final = """
DELETE FROM job WHERE id IN (SELECT id FROM job ORDER BY id LIMIT 1000 FOR UPDATE SKIP LOCKED)
RETURNING data
"""
_SIZES: Final = """
SELECT relname, pg_total_relation_size(oid) FROM pg_class
WHERE relname IN ('adcp_intake', 'adcp_log', 'adcp_piece', 'adcp_state', 'adcp_queue', 'job')
ORDER BY relname
"""


class Rounds:
    """Takes what is new again and again, in a thread, and notes how long each round takes.

    Attributes:
        seconds: How long the rounds took since somebody asked.
        events: How many events were taken in all.
    """

    def __init__(self, take: Callable[[], int]) -> None:
        self.seconds: list[float] = []
        self.events = 0
        self._take = take
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._is_over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._is_over.wait(_ROUND_S):
            began = time.perf_counter()
            taken = self._take()
            self.seconds.append(time.perf_counter() - began)
            self.events += taken


def _leader(url: str) -> Callable[[], int]:
    """Return what has a leader collect what is new, and delete what it collected before."""
    store = DatabaseStore(url)
    lock = store.leader_lock(SystemClock)
    leading: list[DatabaseSegments] = []
    seen: dict[str, int] = {}

    def take() -> int:
        if not leading:
            assert lock.try_acquire()
            leading.append(store.open(lock.term).segments)
        assert lock.renew()
        (segments,) = leading
        sizes = segments.sizes(is_complete=False)
        count = sum(segments.count(name, seen.get(name, 0), size) for name, size in sizes.items())
        for name, size in sizes.items():
            segments.delete(name, size)
        seen.update(sizes)
        return count

    return take


def _by_hand(url: str) -> Callable[[], int]:
    """Return what takes jobs by SKIP LOCKED."""
    connection = psycopg.connect(url, autocommit=True)

    def take() -> int:
        total = count = len(connection.execute(_TAKE_JOBS).fetchall())
        while count == _CLAIM:  # there may be more
            count = len(connection.execute(_TAKE_JOBS).fetchall())
            total += count
        return total

    return take


def _produce(url: str, rate: float, is_over: threading.Event) -> None:
    """Add as many events and jobs a second, a row each."""
    with psycopg.connect(url, autocommit=True) as connection:
        began, done = time.monotonic(), 0
        while not is_over.wait(_TICK_S):
            wanted = int((time.monotonic() - began) * rate)
            rows = [
                (encode_record(_BODY % number, 1_767_225_600_123, EVENT),)
                for number in range(done, wanted)
            ]
            done = wanted
            with connection.cursor() as cursor, connection.transaction():
                cursor.executemany(_ADD_EVENT, rows)
                cursor.executemany(_ADD_JOB, rows)


def measure(server: PostgresServer, minutes: int, rate: float) -> None:
    """Print a line per minute."""
    url = server.create("bloat")
    migrate(url)
    with psycopg.connect(url) as connection:
        connection.execute(_JOBS)
    is_over = threading.Event()
    producer = threading.Thread(target=_produce, args=(url, rate, is_over))
    kinds = {"leader": Rounds(_leader(url)), "SKIP LOCKED": Rounds(_by_hand(url))}
    producer.start()
    time.sleep(_WARM_UP_S)
    first: dict[str, float] = {}
    try:
        with psycopg.connect(url) as holder:
            holder.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            holder.execute("SELECT 1")
            for minute in range(1, minutes + 1):
                before = {name: each.events for name, each in kinds.items()}
                for each in kinds.values():
                    each.seconds.clear()
                time.sleep(60.0)
                parts = []
                for name, each in kinds.items():
                    # A round that takes longer than a minute is none yet.
                    median = statistics.median(each.seconds or [60.0])
                    ratio = median / first.setdefault(name, median)
                    rows = (each.events - before[name]) / 60
                    parts.append(f"{name} {median * 1e3:.1f} ms ({ratio:.1f}x, {rows:.0f}/s)")
                with psycopg.connect(url) as connection:
                    sizes = connection.execute(_SIZES).fetchall()
                tables = ", ".join(f"{name} {size / 1e6:.0f} MB" for name, size in sizes)
                sys.stdout.write(f"minute {minute}: {'; '.join(parts)}; {tables}\n")
                sys.stdout.flush()
    finally:
        is_over.set()
        producer.join()
        for each in kinds.values():
            each.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=int, default=60)
    parser.add_argument("--rate", type=float, default=1000.0, help="events a second")
    options = parser.parse_args()
    with run_postgres() as running:
        measure(running, options.minutes, options.rate)
