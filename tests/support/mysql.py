"""A MariaDB server of the tests' own, in a directory and on a socket of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import attrs
import pymysql

if TYPE_CHECKING:
    from collections.abc import Iterator

_USER = "nobody" if os.geteuid() == 0 else None
"""The server refuses to run as root."""

_SETTINGS = {
    "skip-networking": "ON",
    "max-connections": "60",
    "innodb-buffer-pool-size": "32M",
    "innodb-log-file-size": "32M",
}


def _program(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
    assert found is not None, f"{name} is not installed"
    return found


@attrs.define
class MySQLServer:
    """A server under test.

    Attributes:
        directory: Its data and its socket.
        process: The server, while it runs.
    """

    directory: Path
    process: subprocess.Popen[bytes] | None = None

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

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        command = [_program("mariadbd"), "--no-defaults", f"--datadir={self.directory}/data"]
        command += [f"--socket={self.socket}", f"--pid-file={self.directory}/pid"]
        command += [f"--tmpdir={self.directory}"]
        command += [f"--{name}={value}" for name, value in _SETTINGS.items()]
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, user=_USER)
        while not self._answers():
            assert self.process.poll() is None, (self.directory / "log").read_text()

    def _answers(self) -> bool:
        ping = [_program("mariadb-admin"), "--no-defaults", f"--socket={self.socket}", "ping"]
        return not subprocess.run([*ping, "--silent"], check=False, capture_output=True).returncode

    def kill(self) -> None:
        """Kill the server, as a power cut would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """Stop it."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait()

    def create(self, database: str) -> str:
        """Create a database, and return its URL."""
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE `{database}`")
        return self.url(database)


@contextmanager
def run_mariadb() -> Iterator[MySQLServer]:
    """Run a new, empty server."""
    directory = Path(tempfile.mkdtemp(prefix="adcp-maria-"))
    try:
        if _USER is not None:
            shutil.chown(directory, _USER)
        command = [_program("mariadb-install-db"), "--no-defaults", f"--datadir={directory}/data"]
        command += [f"--tmpdir={directory}"]  # servers remove each other's tables from /tmp
        command += ["--auth-root-authentication-method=normal", "--skip-test-db"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, user=_USER)
        server = MySQLServer(directory)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(directory)
