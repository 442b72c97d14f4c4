"""An outbox in a diskcache database."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sqlite3
import sys
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NoReturn
from zlib import crc32

from adcp_tracker.exceptions import OutboxError
from adcp_tracker.journal.files import check_secure_file, open_secure
from adcp_tracker.outbox.storage import DamagedOutboxError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from pathlib import Path
    from types import ModuleType

    Schema = set[str]
    """The statements that made what is in a database."""


def _import_core() -> ModuleType:
    """Import ``diskcache.core`` without the rest of its package.

    The package imports Django where it is installed, and with it the settings of a project
    that may not be there.
    """
    name = "diskcache"
    if name in sys.modules:
        return importlib.import_module(f"{name}.core")
    spec = importlib.util.find_spec(name)
    if spec is None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    sys.modules[name] = importlib.util.module_from_spec(spec)  # not executed
    try:
        return importlib.import_module(f"{name}.core")
    finally:
        del sys.modules[name]  # whoever wants all of it imports it anew


_core: Any = _import_core()
_Disk: Any = _core.Disk
_Cache: Any = _core.Cache

_DATABASE = "cache.db"
_BESIDE_IT = ("cache.db-journal", "cache.db-wal", "cache.db-shm")
_SUM = "sum"
_CHECKSUM_BYTES = 8
_TIMEOUT_SECONDS = 5.0
_SETTINGS = {
    **_core.DEFAULT_SETTINGS,
    "eviction_policy": "none",
    "cull_limit": 0,
    "statistics": False,
    "sqlite_mmap_size": 0,
    # What diskcache writes when it opens needs no sync of its own; ours does, right after.
    "sqlite_synchronous": 1,
    # Values over this size would be spilled into files that diskcache never syncs.
    "disk_min_file_size": 1 << 30,
}
_SYNCHRONOUS_FULL = 2
_KNOWN_SETTINGS = frozenset({*_SETTINGS, *_core.METADATA})
_CREATE_SETTINGS = "CREATE TABLE Settings (key TEXT NOT NULL UNIQUE, value)"
_OUT_OF_REACH = (
    "locked",
    "busy",
    "full",
    "disk I/O error",
    "unable to open",
    "readonly",
    "interrupted",
    "out of memory",
)


class BytesOnlyDisk(_Disk):  # type: ignore[misc]  # diskcache is not typed
    """Stores bytes, text and integers as they are, and nothing else.

    diskcache would unpickle any value marked as a pickle, and so run code for anyone who
    can write the file (CVE-2025-69872, for which there is no fixed release).
    """

    def put(self, key: object) -> tuple[object, bool]:
        """Return the key as the database takes it."""
        return _check_plain(key), True

    def get(self, key: object, raw: object) -> object:
        """Return the key as it was given."""
        if not raw:
            _raise_pickled()
        return _check_plain(bytes(key) if isinstance(key, memoryview) else key)

    def store(self, value: object, read: object, key: object = None) -> tuple[object, ...]:  # noqa: ARG002 - diskcache's signature
        """Return the value as the database takes it."""
        return 0, _core.MODE_RAW, None, _check_plain(value)

    def fetch(self, mode: object, filename: object, value: object, read: object) -> object:  # noqa: ARG002 - diskcache's signature
        """Return the value as it was given."""
        if mode != _core.MODE_RAW or filename is not None:
            _raise_pickled()
        return _check_plain(bytes(value) if isinstance(value, memoryview) else value)

    def remove(self, file_path: object) -> None:
        """Do nothing: no value is kept in a file."""


class _PreparedCache(_Cache):  # type: ignore[misc]  # as above
    """Skips writing settings that the database already holds.

    Each would be a transaction, forty each time a cache is opened, and after each of them a
    thread beside others that compute waits for its turn: half a second in all.
    """

    _stored_settings: Mapping[str, object] = MappingProxyType({})

    def __init__(self, folder: Path) -> None:
        self._schema: Schema = {_CREATE_SETTINGS}
        self._stored_settings, found = _prepare_database(folder / _DATABASE)
        try:
            super().__init__(str(folder), timeout=_TIMEOUT_SECONDS, disk=BytesOnlyDisk, **_SETTINGS)
            if not found <= self._schema:
                _raise_foreign_schema()
            self.reset("sqlite_synchronous", _SYNCHRONOUS_FULL, update=False)
        except BaseException:  # nothing of it may stay open
            with contextlib.suppress(AttributeError, sqlite3.Error):  # it may not be as far as that
                self.close()
            raise
        self._stored_settings = MappingProxyType({})

    @property
    def _sql_retry(self) -> Callable[..., object]:
        execute: Callable[..., object] = super()._sql_retry

        def execute_unless_settled(statement: str, *values: tuple[object, ...]) -> object:
            if statement.startswith("CREATE "):
                self._schema.add(statement.replace("IF NOT EXISTS ", "", 1))
            return None if self._is_stored(statement, *values) else execute(statement, *values)

        return execute_unless_settled

    def _is_stored(self, statement: str, values: tuple[object, ...] = ()) -> bool:
        if statement.startswith("INSERT OR REPLACE INTO Settings"):
            key, value = values
        elif statement.startswith("INSERT OR IGNORE INTO Settings"):
            return values[0] in self._stored_settings
        elif statement.startswith("UPDATE Settings SET value"):
            value, key = values
        else:
            return False
        return key in self._stored_settings and self._stored_settings[str(key)] == value


def _prepare_database(database: Path) -> tuple[dict[str, object], Schema]:
    """Check the database; return its settings and schema.

    An empty one gets the settings that diskcache would write, in one transaction.
    """
    with contextlib.closing(
        sqlite3.connect(database, timeout=_TIMEOUT_SECONDS, isolation_level=None)
    ) as connection:
        made = connection.execute("SELECT type, tbl_name, sql FROM sqlite_master").fetchall()
        if not all(_is_harmless(*each) for each in made):
            _raise_foreign_schema()
        ((verdict,),) = connection.execute("PRAGMA quick_check(1)").fetchall()
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)
        if not made:
            _create_settings(connection)
        settings = dict(connection.execute("SELECT key, value FROM Settings").fetchall())
        if not settings.keys() <= _KNOWN_SETTINGS:
            raise DamagedOutboxError("expected the settings that diskcache has, got others")
        others = {key: value for key, value in _SETTINGS.items() if settings.get(key) != value}
        if others:  # diskcache would make statements of what stands there
            connection.executemany("INSERT OR REPLACE INTO Settings VALUES (?, ?)", others.items())
        return {**settings, **others}, {sql for _, _, sql in made if sql is not None}


def _is_harmless(kind: object, table: object, sql: object) -> bool:
    """Return whether a schema entry is harmless before its full check.

    To open the database, diskcache reads and writes its settings and nothing else.
    """
    if kind == "table":
        return isinstance(sql, str) and sql.startswith("CREATE TABLE ")
    return kind == "index" or (kind, table) == ("trigger", "Cache")


def _create_settings(connection: sqlite3.Connection) -> None:
    settings = {**_SETTINGS, **_core.METADATA}
    connection.execute(f"PRAGMA auto_vacuum = {settings['sqlite_auto_vacuum']:d}")
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(_CREATE_SETTINGS)
    connection.executemany("INSERT INTO Settings VALUES (?, ?)", settings.items())
    connection.execute("COMMIT")


def _check_plain(value: object) -> object:
    if type(value) not in (bytes, str, int):
        raise DamagedOutboxError(f"expected bytes, text or an integer, got {type(value).__name__}")
    return value


def _raise_pickled() -> NoReturn:
    raise DamagedOutboxError("expected plain bytes, got a row that asks to be unpickled or read")


def _raise_foreign_schema() -> NoReturn:
    raise DamagedOutboxError("expected tables and triggers as diskcache makes them, got others")


class DiskcacheOutbox:
    """An outbox in a diskcache directory.

    Args:
        folder: The directory, private already.

    Raises:
        DamagedOutboxError: If the database is no database.
        OutboxError: If it cannot be opened for now.
    """

    def __init__(self, folder: Path) -> None:
        self._sums: dict[str, int] = {}
        try:
            # SQLite does not follow a link in place of these either, but tells nobody why.
            for name in _BESIDE_IT:
                check_secure_file(folder / name)
            # Created beforehand, so that it and its journal get our rights, not the umask's.
            os.close(open_secure(folder / _DATABASE, os.O_CREAT | os.O_RDWR))
            self._cache = _PreparedCache(folder)
        except (sqlite3.Error, _core.Timeout, OSError, ValueError) as error:
            raise _to_outbox_error(error, "opened") from error

    def load(self) -> dict[str, bytes]:
        """Return everything in it, after checking its checksums."""
        try:
            found = {key: self._cache[key] for key in self._cache.iterkeys()}
        except (sqlite3.Error, _core.Timeout, KeyError, UnicodeDecodeError) as error:
            raise _to_outbox_error(error, "read") from error
        total = found.pop(_SUM, _checksum_of_all({}))
        values = {key: _without_checksum(key, value) for key, value in found.items()}
        self._sums = {key: crc32(value) for key, value in values.items()}
        if total != _checksum_of_all(self._sums):
            raise DamagedOutboxError("expected the rows last written, got fewer, more or others")
        return values

    def apply(self, puts: Mapping[str, bytes], removes: Collection[str]) -> None:
        """Set and remove keys in one synced transaction."""
        sums = {key: old for key, old in self._sums.items() if key not in removes}
        sums.update((key, crc32(value)) for key, value in puts.items())
        try:
            with self._cache.transact():
                for key, value in puts.items():
                    self._cache.set(key, b"%08x" % crc32(value) + value)
                for key in removes:
                    self._cache.delete(key)
                self._cache.set(_SUM, _checksum_of_all(sums))
        except (sqlite3.Error, _core.Timeout, OSError) as error:
            raise _to_outbox_error(error, "written") from error
        self._sums = sums

    def close(self) -> None:
        """Close the database."""
        self._cache.close()


def _without_checksum(key: object, value: object) -> bytes:
    if isinstance(key, str) and isinstance(value, bytes):
        body = value[_CHECKSUM_BYTES:]
        if value[:_CHECKSUM_BYTES] == b"%08x" % crc32(body):
            return body
    raise DamagedOutboxError(f"expected the value of {str(key)[:40]!a} as written, got another")


def _checksum_of_all(sums: Mapping[str, int]) -> bytes:
    """Return a checksum over all rows, which reveals a lost one."""
    text = "".join(f"{key}={checksum};" for key, checksum in sorted(sums.items()))
    return b"%08x" % crc32(text.encode())


def _to_outbox_error(error: Exception, what: str) -> OutboxError:
    kind = OutboxError if _is_transient(error) else DamagedOutboxError
    return kind(f"the queue's state cannot be {what}: {type(error).__name__}: {error}")


def _is_transient(error: Exception) -> bool:
    """Return whether an error may go away by itself."""
    if isinstance(error, sqlite3.OperationalError):
        # Python before 3.11 tells SQLite's errors apart by nothing but their words.
        return any(words in str(error) for words in _OUT_OF_REACH)
    return isinstance(error, (_core.Timeout, OSError))
