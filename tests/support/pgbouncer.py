"""PgBouncer in transaction mode, in front of a PostgreSQL server of the tests' own."""

from __future__ import annotations

import shutil
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import quote

from tests.support.destinations import wait_until
from tests.support.postgres import USER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.postgres import PostgresServer

PROGRAM = shutil.which("pgbouncer") or "/usr/sbin/pgbouncer"
_PORT = 6432
_CONFIG = """
[databases]
* = host={folder} user=postgres
[pgbouncer]
listen_addr =
unix_socket_dir = {folder}
listen_port = {port}
auth_type = any
pool_mode = transaction
default_pool_size = 3
max_client_conn = 200
ignore_startup_parameters = extra_float_digits
logfile = {folder}/pgbouncer.log
pidfile = {folder}/pgbouncer.pid
"""


@contextmanager
def run_pgbouncer(server: PostgresServer) -> Iterator[PgBouncer]:
    """Run a pooler that shares three connections for each database."""
    config = server.directory / "pgbouncer.ini"
    config.write_text(_CONFIG.format(folder=server.directory, port=_PORT))
    process = subprocess.Popen([PROGRAM, "-q", str(config)], user=USER)
    try:
        wait_until((server.directory / f".s.PGSQL.{_PORT}").exists)
        yield PgBouncer(server)
    finally:
        process.terminate()
        process.wait()


class PgBouncer:
    """A running pooler.

    Args:
        server: The server behind it.
    """

    def __init__(self, server: PostgresServer) -> None:
        self._server = server

    def url(self, database: str) -> str:
        """Return how to connect to a database of the server by way of the pooler."""
        folder = quote(str(self._server.directory), safe="")
        return f"postgresql://postgres@/{database}?host={folder}&port={_PORT}"
