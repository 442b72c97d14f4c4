"""A MariaDB or MySQL server of the tests' own, in a directory and on a socket of its own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import attrs
import pymysql

from tests.support.database_server import new_directory, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

_USER = "nobody" if os.geteuid() == 0 else None
"""The server refuses to run as root."""

_SETTINGS = {
    "bind-address": "127.0.0.1",
    "max-connections": "60",
    "innodb-buffer-pool-size": "32M",
}
_MARIADB = {"innodb-log-file-size": "32M"}
_MYSQL = {
    "mysqlx": "OFF",
    "secure-file-priv": "NULL",
    "gtid-mode": "ON",  # as hosts of MySQL have it
    "enforce-gtid-consistency": "ON",
}
_TRIES = 5


def find_mysqld() -> str | None:
    """Return the server of MySQL: ``MYSQLD``, or what is on PATH unless that is MariaDB's."""
    program = os.environ.get("MYSQLD") or _which("mysqld")
    if program is None:
        return None
    shown = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    return None if "MariaDB" in shown.stdout else program


def _which(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")


def _program(name: str) -> str:
    found = _which(name)
    assert found is not None, f"{name} is not installed"
    return found


@attrs.define
class MySQLServer:
    """A server under test.

    Attributes:
        program: What is run.
        settings: What it is told besides.
        directory: Its data and its socket.
        process: The server, while it runs.
        port: Where it listens on this machine; each start has its own.
    """

    program: str
    settings: dict[str, str]
    directory: Path
    process: subprocess.Popen[bytes] | None = None
    port: int = 0

    @property
    def is_mariadb(self) -> bool:
        """Whether it was meant to be MariaDB."""
        return self.settings is _MARIADB

    @property
    def socket(self) -> str:
        """Where it listens."""
        return str(self.directory / "socket")

    def url(self, database: str) -> str:
        """Return how to connect to one of its databases."""
        return f"mysql://root@localhost/{database}?unix_socket={quote(self.socket, safe='')}"

    def connect(self) -> Any:  # noqa: ANN401 - the driver has no types
        """Connect as its administrator."""
        return pymysql.connect(unix_socket=self.socket, user="root", autocommit=True)

    def execute(self, *statements: str) -> list[tuple[Any, ...]]:
        """Run statements as its administrator; return the rows of the last one."""
        with self.connect() as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return list(cursor.fetchall())

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        for _ in range(_TRIES):  # another process may take the port meanwhile
            self.port = _free_port()
            if self._has_started():
                return
        raise AssertionError(self._log())

    def _has_started(self) -> bool:
        command = [self.program, "--no-defaults", f"--datadir={self.directory}/data"]
        command += [f"--socket={self.socket}", f"--pid-file={self.directory}/pid"]
        command += [f"--tmpdir={self.directory}", f"--port={self.port}"]
        command += [f"--{name}={value}" for name, value in {**_SETTINGS, **self.settings}.items()]
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, user=_USER)
        while not self._answers():
            if self.process.poll() is not None:
                assert "Address already in use" in self._log(), self._log()
                return False
            time.sleep(0.01)
        return True

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as client, suppress(OSError):
            client.connect(self.socket)
            return bool(client.recv(1))  # it greets
        return False

    def _log(self) -> str:
        return (self.directory / "log").read_text(errors="replace")

    def pause(self) -> None:
        """Stop the server in its tracks; what connects then waits for an answer."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Have it go on."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """Kill the server, as a power cut would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        Path(f"{self.socket}.lock").unlink(missing_ok=True)  # another process may get its number

    def stop(self) -> None:
        """Stop it."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait()

    def create(self, database: str) -> str:
        """Create a database, and return its URL."""
        self.execute(f"CREATE DATABASE `{database}`")
        return self.url(database)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def run_mariadb() -> Iterator[MySQLServer]:
    """Run a new, empty server of MariaDB."""
    make = [_program("mariadb-install-db"), "--no-defaults"]
    make += ["--auth-root-authentication-method=normal", "--skip-test-db"]
    directory = new_directory("maria", _USER)
    with _run(MySQLServer(_program("mariadbd"), _MARIADB, directory), make) as server:
        yield server


@contextmanager
def run_mysql() -> Iterator[MySQLServer]:
    """Run a new, empty server of MySQL."""
    program = find_mysqld()
    assert program is not None, "MySQL is not installed"
    make = [program, "--no-defaults", "--initialize-insecure"]
    with _run(MySQLServer(program, _MYSQL, new_directory("mysql", _USER)), make) as server:
        yield server


def _run(server: MySQLServer, make: list[str]) -> AbstractContextManager[MySQLServer]:
    data = f"--datadir={server.directory}/data"
    # Servers remove each other's tables from /tmp.
    return running(server, [*make, data, f"--tmpdir={server.directory}"], _USER)
