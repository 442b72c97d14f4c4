"""Insert events in the transaction of the site's own database: ``QUEUE = "transaction"``."""

from __future__ import annotations

import asyncio
import importlib.util
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode

from django.db import connections
from django.db.utils import ConnectionDoesNotExist

from adcp_tracker.exceptions import ConfigurationError
from adcp_tracker.outbox.schema import (
    INSERT_RECORD,
    RELEASE,
    ROLLBACK,
    SAVEPOINT,
    check_dialect,
    insert_statement,
)
from adcp_tracker_django.on_commit import run_on_commit

if TYPE_CHECKING:
    from collections.abc import Callable

    from adcp_tracker.outbox.schema import PendingRecord

    Connection = Any
    Row = dict[str, Any]

_DRIVERS: Final = {"postgresql": ("psycopg",), "mysql": ("pymysql", "MySQLdb")}
_NOT_LIBPQ: Final = frozenset({"server_side_binding", "isolation_level", "assume_role", "pool"})


class DjangoOutbox:
    """Inserts events through Django's connection to a database.

    Args:
        using: The database's alias.
        commit_aware: Whether events of other types wait for the commit.

    Raises:
        ConfigurationError: If there is no such database, or it can't hold a queue.
    """

    def __init__(self, using: str = "default", *, commit_aware: bool = True) -> None:
        try:
            vendor = connections[using].vendor
        except ConnectionDoesNotExist:
            raise ConfigurationError(
                f"using: expected one of {', '.join(sorted(connections))}, got {using!r}"
            ) from None
        check_dialect("using", vendor)
        self.using = using
        self.location = f"the database {using!r}"
        self._commit_aware = commit_aware

    def insert(self, pending: PendingRecord) -> bool:
        """Insert a record in the open transaction; return ``False`` if none is open."""
        connection = connections[self.using]
        if not _has_transaction(connection):
            return False
        if connection.needs_rollback:  # it takes no statement, and is rolled back at its end
            _write_after_commit(pending.write)
            return True
        try:
            row = {"queue": pending.queue, "data": pending.record}
            _insert(connection, row, savepoint=pending.savepoint)
        except Exception as error:
            if not pending.savepoint:
                raise
            pending.failed(error)
            _write_after_commit(pending.write)
        return True

    def commit(self, record: bytes, queue: int) -> None:
        """Insert a record in a transaction of its own, or in the one that is open."""
        connection, row = connections[self.using], {"queue": queue, "data": record}
        if _has_transaction(connection):
            _insert(connection, row, savepoint=True)
        elif _runs_event_loop():  # where Django allows no statement
            with ThreadPoolExecutor(1) as pool:
                pool.submit(_commit_and_close, self.using, row).result()
        else:
            _commit(connection, row)

    def defer(self, write: Callable[[], None]) -> bool:
        """Call `write` after the commit of the open transactions; ``False`` if none is open."""
        return self._commit_aware and run_on_commit(write)


def has_worker_driver(using: str) -> bool:
    """Return whether a driver of workers is installed, to read the queue with."""
    names = _DRIVERS[connections[using].vendor]
    return any(importlib.util.find_spec(name) is not None for name in names)


def database_url(using: str) -> str:
    """Return the URL of one of the site's databases."""
    vendor, given = connections[using].vendor, connections[using].settings_dict
    host, port = given["HOST"], given["PORT"]
    options = given["OPTIONS"]
    if vendor == "mysql":
        query = {f"ssl_{name}": path for name, path in options.get("ssl", {}).items()}
        if host.startswith("/"):
            query["unix_socket"], host = host, "localhost"
        place = f"{host or 'localhost'}:{port}" if port else host or "localhost"
    else:
        query = {
            name: value
            for name, value in options.items()
            if isinstance(value, (str, int)) and name not in _NOT_LIBPQ
        }
        query |= {name: value for name, value in (("host", host), ("port", port)) if value}
        place = ""
    password = f":{quote(given['PASSWORD'], safe='')}" if given["PASSWORD"] else ""
    user = f"{quote(given['USER'], safe='')}{password}@" if given["USER"] else ""
    name = quote(given["NAME"] or "", safe="")
    return f"{vendor}://{user}{place}/{name}?{urlencode(query)}".rstrip("?")


def _has_transaction(connection: Connection) -> bool:
    manual = connection.connection is not None and not connection.autocommit
    return bool(connection.in_atomic_block or manual)


def _write_after_commit(write: Callable[[], None]) -> None:
    try:
        waits = run_on_commit(write)
    except Exception:  # noqa: BLE001 - Django calls nothing back where autocommit is off
        waits = False
    if not waits:
        write()


def _insert(connection: Connection, row: Row, *, savepoint: bool) -> None:
    """Insert a record in the open transaction.

    The cursor is the driver's own, so that an event's data is in no log of statements.
    """
    try:
        with closing(connection.create_cursor()) as cursor:
            _run_insert(connection, cursor, row, savepoint=savepoint)
    except Exception:
        if not savepoint or not _is_rolled_back(connection):
            # Its commit would be a rollback that nobody notices.
            connection.needs_rollback = True
        raise


def _run_insert(connection: Connection, cursor: Any, row: Row, *, savepoint: bool) -> None:  # noqa: ANN401 - a driver's
    if _takes_text(connection):  # one round trip, and no values for Django's cursor to look for
        cursor.execute(insert_statement([(row["queue"], row["data"])], savepoint=savepoint))
        return
    if savepoint:
        cursor.execute(SAVEPOINT)
    cursor.execute(INSERT_RECORD, row)
    if savepoint:
        cursor.execute(RELEASE)


def _takes_text(connection: Connection) -> bool:
    """Return whether a cursor takes several statements at once, and prepares none of them."""
    options = connection.settings_dict["OPTIONS"]
    return connection.vendor == "postgresql" and not options.get("server_side_binding")


def _is_rolled_back(connection: Connection) -> bool:
    """Roll back to the savepoint; return whether the transaction is usable again."""
    try:
        with closing(connection.create_cursor()) as cursor:
            cursor.execute(ROLLBACK)
            cursor.execute(RELEASE)
    except Exception:  # noqa: BLE001 - whatever it is, the transaction is lost
        return False
    return True


def _commit(connection: Connection, row: Row) -> None:
    """Insert a record on a connection without a transaction."""
    connection.ensure_connection()
    try:
        with closing(connection.create_cursor()) as cursor:
            cursor.execute(INSERT_RECORD, row)
    except Exception:
        connection.close()  # it may be broken; Django opens another one
        raise


def _commit_and_close(using: str, row: Row) -> None:
    connection = connections[using]
    try:
        _commit(connection, row)
    finally:
        connection.close()


def _runs_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
