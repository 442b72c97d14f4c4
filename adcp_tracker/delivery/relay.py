"""The relay: ships the records of a directory to a queue in a database.

The directory stays the place where events are written. The process that leads it ships whole
records, byte for byte, and deletes a segment once it is shipped whole. How far each segment has
come is kept in the database and moved in the transaction that adds the records. So nothing is
shipped twice, even if a process or the database is killed meanwhile.
"""

from __future__ import annotations

import json
import os
import re
import secrets
from collections import Counter
from contextlib import suppress
from math import inf
from typing import TYPE_CHECKING, Any, Final, cast

import attrs

from adcp_tracker._logging import ThrottledLogger
from adcp_tracker.delivery.stats import DestinationStats, Stats, oldest_waiting, read_stats
from adcp_tracker.exceptions import OutboxError
from adcp_tracker.journal.files import open_secure, replace_file, sync_directory, sync_file
from adcp_tracker.journal.records import DROPPED, crc32, encode_record
from adcp_tracker.outbox.database_store import DatabaseStore
from adcp_tracker.outbox.schema import INSERT_PIECE, INSERT_RECORDS
from adcp_tracker.outbox.state import Measures

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from adcp_tracker._platform import Clock
    from adcp_tracker.delivery.uploader import UploaderConfig
    from adcp_tracker.outbox.database import Tables
    from adcp_tracker.outbox.directory import DirectoryStore
    from adcp_tracker.outbox.schema import Cursor
    from adcp_tracker.outbox.storage import Store

NAME: Final = "relay"
"""What the stats of the directory call it."""

_PIECE_BYTES: Final = 1024 * 1024
_LEAST_APART_BYTES: Final = 64 * 1024
"""From this size on, records are a piece, which the log refers to; fewer are copied into it."""
_PIECE_BITS: Final = 62
_ID_FILE: Final = "relay.id"
_HEARTBEAT_SECONDS: Final = 1.0
_HEARD_SECONDS: Final = 60.0
_KEPT_SECONDS: Final = 7 * 24 * 3600.0
_POLL_SECONDS: Final = 0.1
_NO_EVENT: Final = re.compile(rb"^[0-9a-f]{8} \d{13} ([DX])\t(.*)$", re.MULTILINE)

_KNOW_RELAY: Final = "INSERT INTO adcp_relay (directory, host) VALUES (%(directory)s, %(host)s) "
_LOAD: Final = "SELECT stats FROM adcp_relay WHERE directory = %(directory)s"
_SEEN: Final = """
UPDATE adcp_relay SET host = %(host)s, seen = {now}, emptied = greatest(emptied, %(emptied)s),
    is_closed = %(is_closed)s
WHERE directory = %(directory)s
"""
_NOW: Final = "SELECT {now}, stats FROM adcp_relay WHERE directory = %(directory)s"
_FORGET: Final = "DELETE FROM adcp_origin WHERE ended < {now} - %(seconds)s"
_SHIPPED: Final = """
SELECT shipped FROM adcp_origin WHERE queue = %(queue)s AND origin = %(origin)s
"""
_KNOW_ORIGIN: Final = "INSERT INTO adcp_origin (queue, origin) VALUES (%(queue)s, %(origin)s) "
_MOVE: Final = """
UPDATE adcp_origin SET shipped = %(stop)s
WHERE queue = %(queue)s AND origin = %(origin)s AND shipped = %(start)s
"""
_COUNT: Final = "UPDATE adcp_relay SET stats = %(stats)s WHERE directory = %(directory)s"
_END: Final = """
UPDATE adcp_origin SET ended = {now} WHERE queue = %(queue)s AND origin = %(origin)s
"""
_BEHIND: Final = """
SELECT host, directory, seen > {now} - %(seconds)s FROM adcp_relay
WHERE emptied < %(asked)s AND NOT is_closed ORDER BY host, directory
"""


class ConflictError(OutboxError, OSError):
    """Another process shipped the segment, or the answer to a commit was lost."""


@attrs.frozen
class Piece:
    """Whole records of a segment.

    Attributes:
        segment: Its name.
        start: Where they begin.
        stop: Where they end.
        data: What is shipped.
    """

    segment: str
    start: int
    stop: int
    data: bytes

    def counts(self) -> Counter[str]:
        """Return how many events there are, and how many were dropped by reason."""
        counts = Counter({"": self.data.count(b"\n")})
        if b" D\t" not in self.data and b" X\t" not in self.data:
            return counts
        for kind, body in _NO_EVENT.findall(self.data):
            counts[""] -= 1
            counts.update(json.loads(body) if kind == DROPPED else {"erased": 1})
        return counts


class Relay:
    """A directory's queue, driven by the one process that leads it, in place of an uploader.

    Args:
        config: What it works with: the directory's store, and where its records go.
        term: The term of the leader lock.
    """

    def __init__(self, config: UploaderConfig, term: int = 0) -> None:
        self._config = config
        self._clock = config.clock
        config.store.prepare()
        self.queue = queue = config.store.open(term)
        self.segments = queue.segments
        self.dead_letters = queue.dead_letters
        self.segments.remove_stale()
        self.is_abandoned = False
        self.is_sending = False
        self._to = cast("DatabaseStore", config.relay_to)
        self._directory = _directory_id(cast("DirectoryStore", config.store).directory.path)
        self._host = os.uname().nodename
        self._counts: Counter[str] | None = None
        self._is_loaded = False
        self._shipped: dict[str, int] = {}
        self._sure: set[str] = set()
        self._lines: dict[str, list[int]] = {}
        self._failures, self._error = 0, ""
        self._next_attempt_at = 0.0
        self._seen_at = -inf
        self._log = ThrottledLogger(config.clock)

    def run_once(self) -> float:
        """Ship what is there; return the seconds until there is more to do."""
        left = self._next_attempt_at - self._clock.now()
        if left > 0:
            return min(left, self._config.idle_seconds)
        try:
            self._ship_all()
        except OutboxError as error:
            self._fail(error)
        else:
            self._failures, self._error = 0, ""
        return self._config.idle_seconds

    def is_drained(self) -> bool:
        """Return whether everything is shipped, as far as the database could be asked."""
        return self._is_loaded and self._is_shipped(self.segments.sizes())

    def next_attempt_at(self) -> float:
        """Return the time of the next attempt, in seconds since the epoch."""
        return self._next_attempt_at

    def stats(self) -> Stats:
        """Return the counts of this directory, with the relay as its one destination."""
        sizes = self.segments.sizes()
        counts = Counter(self._counts or self._published())
        shipped = counts.pop("", 0)
        waiting = sum(self._count_waiting(name, size) for name, size in sizes.items())
        oldest = oldest_waiting(self.segments, sizes, self._shipped)
        accepted = shipped + waiting + sum(counts.values())
        stats = DestinationStats(
            accepted=accepted,
            delivered=shipped,
            pending=waiting,
            dropped=dict(counts),
            retrying=self._error,
            oldest_at=oldest,
            measures=Measures(accepted),
        )
        now = self._clock.now()
        return Stats(
            {NAME: stats},
            taken_at=now,
            leader=os.getpid(),
            oldest_at=oldest,
            host=self._host,
            counted=dict(sizes),
        )

    def close_state(self) -> None:
        """Do nothing: a forked child opens connections of its own."""

    def reopen_state(self) -> None:
        """Do nothing, as in :meth:`close_state`."""

    def apply_arrived(self) -> None:
        """Do nothing: pieces are shipped one after the other."""

    def close(self) -> None:
        """Tell the database whether anything is left here."""
        with suppress(OutboxError):
            if self._is_loaded:
                self._tell(is_closed=self.is_drained())

    def abandon(self) -> None:
        """Stop at once and write nothing: another process leads by now."""
        self.is_abandoned = True

    def _ship_all(self) -> None:
        rows = self._tables("").query(_NOW, directory=self._directory) if self._is_loaded else []
        if not rows or _counts(rows[0][1]) != self._counts:  # a standby may have lagged behind
            self._load()
            rows = self._tables("").query(_NOW, directory=self._directory)
        now = rows[0][0]
        sizes = self.segments.sizes()
        for name, size in sizes.items():
            self._ship_segment(name, size)
        if self._clock.monotonic() - self._seen_at >= _HEARTBEAT_SECONDS:
            self._seen_at = self._clock.monotonic()
            self._tell(emptied=now if self._is_shipped(sizes) else 0.0)

    def _is_shipped(self, sizes: Mapping[str, int]) -> bool:
        return all(self._shipped.get(name, 0) >= size for name, size in sizes.items())

    def _tables(self, segment: str) -> Tables:
        """Return the tables of the queue that a segment goes to."""
        return self._to.tables(crc32(segment.encode()))

    def _origin(self, segment: str) -> str:
        return f"{self._directory}/{segment}"

    def _load(self) -> None:
        """Learn from the database what was shipped before."""
        tables = self._tables("")
        conflict = tables.database.dialect.on_conflict("directory")
        tables.query(_KNOW_RELAY + conflict, directory=self._directory, host=self._host)
        self._tell()
        ((stats,),) = tables.query(_LOAD, directory=self._directory)
        self._sure.clear()
        self._lines.clear()
        self._counts = _counts(stats)
        self._is_loaded = True
        tables.query(_FORGET, seconds=_KEPT_SECONDS)

    def _tell(self, *, emptied: float = 0.0, is_closed: bool = False) -> None:
        self._tables("").query(
            _SEEN,
            directory=self._directory,
            host=self._host,
            emptied=emptied,
            is_closed=is_closed,
        )

    def _ship_segment(self, name: str, size: int) -> None:
        if name not in self._sure:
            rows = self._tables(name).query(_SHIPPED, origin=self._origin(name))
            self._shipped[name] = rows[0][0] if rows else 0
            self._sure.add(name)
        while self._shipped[name] < size:
            piece = self._next_piece(name, size)
            if piece is None:
                return
            self._ship(piece)
        with suppress(FileNotFoundError):  # somebody deleted it
            if self.segments.is_closed(name) and self.segments.delete(name, size):
                self._tables(name).query(_END, origin=self._origin(name))
                del self._shipped[name]
                self._sure.discard(name)
                self._lines.pop(name, None)

    def _next_piece(self, name: str, size: int) -> Piece | None:
        """Return the next records of a segment; ``None`` while they are being written."""
        start = self._shipped[name]
        data = self.segments.read(name, start, min(size - start, _PIECE_BYTES))
        end = data.rfind(b"\n") + 1
        if end:
            return Piece(name, start, start + end, data[:end])
        if len(data) == _PIECE_BYTES:  # longer than any record
            now_ms = int(self._clock.now() * 1000)
            lost = encode_record(b'{"damaged":1}', now_ms, DROPPED)
            return Piece(name, start, start + len(data), lost)
        if data and self.segments.is_closed(name):  # torn: its call never returned
            return Piece(name, start, size, b"")
        return None

    def _ship(self, piece: Piece) -> None:
        """Ship a piece, unless it was shipped before.

        Raises:
            ConflictError: If the segment has come to another place.
            DatabaseError: If the database can't be reached.
        """
        tables, origin = self._tables(piece.segment), self._origin(piece.segment)
        counts = (self._counts or Counter()) + piece.counts()
        is_apart = len(piece.data) >= _LEAST_APART_BYTES
        values: dict[str, Any] = {
            "origin": origin,
            "start": piece.start,
            "stop": piece.stop,
            "content": piece.data,
            "piece": secrets.randbits(_PIECE_BITS) if is_apart else None,
            "size": len(piece.data) if is_apart else 0,
            "data": b"" if is_apart else piece.data,
            "records": piece.data.count(b"\n"),
            "directory": self._directory,
            "stats": json.dumps(counts).encode(),
        }

        def ship(cursor: Cursor) -> None:
            if not piece.start:
                conflict = tables.database.dialect.on_conflict("queue, origin")
                tables.run(cursor, _KNOW_ORIGIN + conflict, **values)
            tables.run(cursor, _MOVE, **values)
            if cursor.rowcount != 1:
                raise ConflictError(f"{origin}: expected it at {piece.start}, and it isn't there")
            if is_apart:
                tables.run(cursor, INSERT_PIECE, **values)
            if piece.data:
                tables.run(cursor, INSERT_RECORDS, **values)
            tables.run(cursor, _COUNT, **values)

        tables.database.run(ship)
        self._counts = counts
        self._shipped[piece.segment] = piece.stop

    def _fail(self, error: OutboxError) -> None:
        self._failures += 1
        self._error = type(error).__name__
        self._is_loaded = False  # the answer to a commit may be lost
        delay = self._config.policy.delay(self._failures)
        self._next_attempt_at = self._clock.now() + delay
        self._log.warning("relay.waiting", error=str(error), remedy="check the queue's database")

    def _published(self) -> Mapping[str, int]:
        """Return the counts that were published last, while the database can't be asked."""
        found = read_stats(self._config.store).destinations.get(NAME)
        return {} if found is None else {"": found.delivered, **found.dropped}

    def _count_waiting(self, name: str, size: int) -> int:
        """Count the records of a segment that aren't shipped, reading each byte once."""
        counted, total, shipped_to, shipped = self._lines.setdefault(name, [0, 0, 0, 0])
        with suppress(OSError):
            if size > counted:
                total += self.segments.count(name, counted, size)
                counted = size
            upto = self._shipped.get(name, 0)
            if upto > shipped_to:
                shipped += self.segments.count(name, shipped_to, upto)
                shipped_to = upto
        self._lines[name] = [counted, total, shipped_to, shipped]
        return total - shipped


def _counts(stats: bytes | None) -> Counter[str]:
    """Return the counts that are kept in the database."""
    return Counter(json.loads(bytes(stats)) if stats else {})


def _directory_id(path: Path) -> str:
    """Return the random id of a directory; give it one if it has none."""
    file = path / _ID_FILE
    with suppress(FileNotFoundError), os.fdopen(open_secure(file, os.O_RDONLY), "rb") as found:
        return found.read().decode()
    new = secrets.token_hex(16)
    replace_file(file, new.encode())
    sync_file(file)
    sync_directory(path)
    return new


def await_relays(store: Store, clock: Clock, timeout: float) -> tuple[str, ...]:
    """Wait until every relay that is at work has shipped what it had.

    Args:
        store: The queue; if this process can't read it, nothing is waited for.
        clock: Where the time is read.
        timeout: How long to wait at most, in seconds.

    Returns:
        The machines of those that have not, or haven't been heard for a minute.
    """
    if not isinstance(store, DatabaseStore):
        return ()
    tables = store.tables(0)
    ((asked,),) = tables.query("SELECT {now}")
    deadline = clock.monotonic() + timeout
    while True:
        behind = tables.query(_BEHIND, asked=asked, seconds=_HEARD_SECONDS)
        is_late = clock.monotonic() >= deadline
        if is_late or not any(is_heard for _, _, is_heard in behind):
            return tuple(f"{host} ({directory[:8]})" for host, directory, _ in behind)
        clock.sleep(_POLL_SECONDS)
