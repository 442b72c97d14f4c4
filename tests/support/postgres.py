"""A PostgreSQL server of the tests' own, in a directory and on a socket of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import attrs
import psycopg

from tests.support.database_server import new_directory, running

if TYPE_CHECKING:
    from collections.abc import Iterator

USER = "postgres" if os.geteuid() == 0 else None
"""The server refuses to run as root."""

_SETTINGS = {
    "listen_addresses": "",
    "max_connections": "60",
    "shared_buffers": "32MB",
    "logging_collector": "off",
}


def _bin() -> Path | None:
    """Return where the server's programs are, the newest version's."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if found:
        return found[-1].parent
    program = shutil.which("postgres")
    return None if program is None else Path(program).parent


BIN = _bin()


def _runs(pid: int) -> bool:
    """Return whether a process has not ended; one that nobody has waited for has."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in {"Z", "X"}


@attrs.define
class PostgresServer:
    """A server under test.

    Attributes:
        directory: Its data and its socket.
        process: The server, while it runs.
    """

    directory: Path
    process: subprocess.Popen[bytes] | None = None

    def url(self, database: str = "postgres") -> str:
        """Return how to connect to one of its databases."""
        return f"postgresql://postgres@/{database}?host={quote(str(self.directory), safe='')}"

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        assert BIN is not None
        command = [str(BIN / "postgres"), "-D", f"{self.directory}/data", "-k", str(self.directory)]
        for name, value in _SETTINGS.items():
            command += ["-c", f"{name}={value}"]
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, user=USER)
        while subprocess.run(
            [BIN / "pg_isready", "-q", "-h", self.directory], check=False
        ).returncode:
            assert self.process.poll() is None, (self.directory / "log").read_text()

    def pause(self) -> list[int]:
        """Stop the server and all of its processes in their tracks; return the latter's ids.

        What connects then waits for an answer.
        """
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)  # or it may start one more while they are listed
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WNOWAIT)
        backends = self._backends()
        for pid in backends:
            os.kill(pid, signal.SIGSTOP)
        return backends

    def resume(self) -> None:
        """Have it go on."""
        assert self.process is not None
        for pid in [*self._backends(), self.process.pid]:
            os.kill(pid, signal.SIGCONT)

    def _backends(self) -> list[int]:
        assert self.process is not None
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in children.read_text().split()]

    def kill(self) -> None:
        """Kill the server and all of its processes, as a power cut would."""
        assert self.process is not None
        backends = self.pause()
        for pid in [*backends, self.process.pid]:
            os.kill(pid, signal.SIGKILL)
        self.process.wait()
        while any(_runs(pid) for pid in backends):
            time.sleep(0.001)
        (self.directory / "data" / "postmaster.pid").unlink(missing_ok=True)

    def stop(self) -> None:
        """Stop it, breaking connections off."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait()

    def execute(self, *statements: str) -> list[tuple[Any, ...]]:
        """Run statements as its administrator; return the rows of the last one."""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            for statement in statements:
                cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def create(self, database: str) -> str:
        """Create a database, and return its URL."""
        self.execute(f'CREATE DATABASE "{database}"')
        return self.url(database)


@contextmanager
def run_postgres(primary: PostgresServer | None = None) -> Iterator[PostgresServer]:
    """Run a new, empty server, or a standby that streams from another one."""
    assert BIN is not None, "PostgreSQL is not installed"
    directory = new_directory("pg", USER)
    data = [f"-D{directory}/data", "-Upostgres"]
    make = [str(BIN / "initdb"), *data, "--auth=trust", "-N"]
    if primary is not None:
        make = [str(BIN / "pg_basebackup"), *data, f"-h{primary.directory}", "-R", "-cfast"]
    with running(PostgresServer(directory), make, USER) as server:
        yield server
