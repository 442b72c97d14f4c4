"""What a PostgreSQL server of the benchmark's own spends: processor time and write-ahead log."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from tests.bench.adapters import Spent
from tests.support.postgres import run_postgres

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
_CHILDREN_TIMES = slice(13, 15)
"""Where ``/proc/PID/stat`` has the times of ended children, behind the process's name."""


@contextmanager
def running_postgres() -> Iterator[tuple[str, Callable[[], Spent]]]:
    """Run a new server; give the URL of an empty database, and what tells what it has spent."""
    with run_postgres() as server:
        url = server.create("bench")
        assert server.process is not None
        pid = server.process.pid
        with psycopg.connect(server.url(), autocommit=True) as connection:

            def spent() -> Spent:
                row = connection.execute(
                    "SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint"
                ).fetchone()
                assert row is not None
                return Spent(_cpu_ns(pid), row[0])

            yield url, spent


def _cpu_ns(pid: int) -> int:
    """Return the processor time of a server's processes, and of those that have ended."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    ended = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[_CHILDREN_TIMES]
    return sum(map(_own_cpu_ns, [str(pid), *children])) + sum(map(int, ended)) * _TICK_NS


def _own_cpu_ns(pid: str) -> int:
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0])
    except OSError:  # it has ended meanwhile
        return 0
