"""The log of a queue in a database: what producers added, as segments.

Producers add rows to one intake table. The leader moves them to a log of segments, which work like
the segment files of a directory: bytes are appended, never moved, and a segment is deleted as a
whole once it is delivered.
"""

from __future__ import annotations

import time
from collections import deque
from contextlib import contextmanager
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any, Final

from adcp_tracker.journal.records import erase_record, parse
from adcp_tracker.outbox.database import MICROSECONDS, went_back

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from adcp_tracker.journal.encryption import Encryption
    from adcp_tracker.journal.records import CorruptSpan, Record
    from adcp_tracker.outbox.database import Tables
    from adcp_tracker.outbox.schema import Cursor

_COLLECT_ROWS: Final = 10_000
_COLLECT_BYTES: Final = 8 * 1024 * 1024
_SEGMENT_BYTES: Final = 8 * 1024 * 1024
_LEAST_AHEAD_BYTES: Final = 64 * 1024
_IDLE_SEGMENT_SECONDS: Final = 60.0
_FRESH_SECONDS: Final = 1.0
_LOOK_SHARE: Final = 100
_LONGEST_HIDDEN_SECONDS: Final = 60.0
_LONGEST_INSERT_SECONDS: Final = 10.0
_QUARANTINE_BYTES: Final = 1024 * 1024

_LOOK: Final = """
SELECT term = %(term)s, segment, size, begun < {now} - %(seconds)s,
    EXISTS (SELECT 1 FROM adcp_intake WHERE queue = %(queue)s AND id >= %(low)s)
FROM adcp_queue WHERE queue = %(queue)s
"""

_LOG_END: Final = """
SELECT segment, size, begun < {now} - %(seconds)s, {now} FROM adcp_queue WHERE queue = %(queue)s
"""

_MOVE_LOG_END: Final = """
UPDATE adcp_queue SET segment = %(segment)s,
    begun = CASE WHEN %(start)s = 0 THEN {now} ELSE begun END, size = %(stop)s
WHERE queue = %(queue)s
"""

_OVERLAPPING: Final = """
FROM adcp_log WHERE queue = %(queue)s AND segment = %(segment)s
    AND stop > %(start)s AND start < %(stop)s
"""

_WITH_PIECES: Final = """
FROM adcp_log LEFT JOIN adcp_piece USING (queue, piece)
WHERE queue = %(queue)s AND segment = %(segment)s AND stop > %(start)s AND start < %(stop)s
"""

_READ: Final = f"""
SELECT substring(coalesce(content, data) FROM greatest(%(start)s - start, 0) + 1
    FOR least(stop, %(stop)s) - greatest(start, %(start)s)) {_WITH_PIECES} ORDER BY start
"""  # noqa: S608 - a constant

_PATCH: Final = """
UPDATE adcp_log SET data = %(data)s
WHERE queue = %(queue)s AND segment = %(segment)s AND start = %(start)s
"""

_PATCH_PIECE: Final = """
UPDATE adcp_piece SET content = %(data)s WHERE queue = %(queue)s AND piece = %(piece)s
"""

_DELETE_PIECE: Final = "DELETE FROM adcp_piece WHERE queue = %(queue)s AND piece = %(piece)s"


def _number(segment: str) -> int:
    """Return the number of a segment; its name ends with its queue, but for the first queue."""
    return int(segment.partition("-")[0])


class LowestId:
    """From where in the intake a leader looks for new rows, so as to pass over few dead ones.

    While somebody holds an old snapshot, no row that was collected since can be freed. But ids are
    drawn before the commit, so a row can appear below those that were collected. So the lowest id
    is one of ten seconds ago, and all is looked through again and again: at once if that is quick,
    and in a hundredth of the time otherwise.

    Args:
        monotonic: Returns the time in seconds.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._all_at = 0.0
        self._low = self._top = 0
        self._top_at = -inf

    def get(self) -> int:
        """Return the id to begin with; 0 if all is to be looked through."""
        return self._low if self._monotonic() < self._all_at else 0

    def note_look(self, seconds: float) -> None:
        """Note that all was looked through, and how long that took."""
        wait = min(seconds * _LOOK_SHARE, _LONGEST_HIDDEN_SECONDS)
        self._all_at = self._monotonic() + wait

    def note_top(self, top: int) -> None:
        """Note the highest id that was collected."""
        now = self._monotonic()
        if now - self._top_at >= _LONGEST_INSERT_SECONDS:
            self._low, self._top, self._top_at = self._top, top, now


class DatabaseSegments:
    """The log of a queue, as segments. Who leads collects what producers added.

    Args:
        tables: The queue's tables.
        encryption: Decrypts events.

    Attributes:
        parse: Parses whole records, decrypted as far as there are keys.
        lowest_id: From where it looks for new rows.
    """

    def __init__(self, tables: Tables, encryption: Encryption | None) -> None:
        self.parse = parse if encryption is None else encryption.parse
        self._tables = tables
        self._end: tuple[int, int] | None = None
        self._near: deque[tuple[str, int, bytes]] = deque(maxlen=2)
        self._near_at = 0.0
        self.lowest_id = LowestId()

    def sizes(self, *, is_complete: bool = True) -> dict[str, int]:
        """Return the size of each segment in bytes by its name, oldest first."""
        if time.monotonic() - self._near_at > _FRESH_SECONDS:
            self._near.clear()
        low = 0 if is_complete else self.lowest_id.get()
        while self._tables.term and self._is_behind(low) and self._collect(low) and is_complete:
            pass
        rows = self._tables.query(
            "SELECT segment, max(stop) FROM adcp_log WHERE queue = %(queue)s "
            "GROUP BY segment ORDER BY segment"
        )
        suffix = f"-{self._tables.queue}" if self._tables.queue else ""
        return {f"{segment:016d}{suffix}": size for segment, size in rows}

    def _is_behind(self, low: int) -> bool:
        """Return whether there is something to do for the log, without locking anything."""
        began = time.monotonic()
        rows = self._tables.query(
            _LOOK, term=self._tables.term, seconds=_IDLE_SEGMENT_SECONDS, low=low
        )
        if not low:
            self.lowest_id.note_look(time.monotonic() - began)
        if not rows or not rows[0][0]:
            raise self._tables.lead_lost()
        _, segment, size, is_old, waits = rows[0]
        self._check_end(segment, size)
        return bool(waits or (size and (is_old or size >= _SEGMENT_BYTES)))

    def _collect(self, low: int) -> bool:
        """Move records from the intake to the log; return whether there may be more."""
        run, dialect = self._tables.run, self._tables.database.dialect

        def move(cursor: Cursor) -> tuple[tuple[int, int], bool] | None:
            ((last, end, is_old, now),) = run(cursor, _LOG_END, seconds=_IDLE_SEGMENT_SECONDS)
            self._check_end(last, end)
            new, is_full = max(last + 1, int(now * MICROSECONDS)), end >= _SEGMENT_BYTES
            goes_on = end and not is_full and self._end is not None
            segment, start = (last, end) if goes_on else (new, 0)
            place: dict[str, Any] = {"segment": segment, "start": start}
            values = {"rows": _COLLECT_ROWS, "size": _COLLECT_BYTES, "low": low}
            size, records, top = dialect.collect(
                cursor, {"queue": self._tables.queue, **values, **place}
            )
            if size:
                self.lowest_id.note_top(top)
                run(cursor, _MOVE_LOG_END, stop=start + size, **place)
                more = size >= _COLLECT_BYTES or records >= _COLLECT_ROWS
                return (segment, start + size), more
            if end and (is_full or is_old):
                run(cursor, _MOVE_LOG_END, segment=new, start=0, stop=0)
                return (new, 0), False
            return None

        moved = self._tables.write(move)
        if moved is None:
            return False
        self._end, may_be_more = moved
        return may_be_more

    def _check_end(self, segment: int, stop: int) -> None:
        """Check that the log ends where this leader left it.

        Raises:
            LeadLostError: If it ends before, as in a standby that took over too early. A new
                leader begins from what is there.
        """
        if self._end is not None and (segment, stop) < self._end:
            raise went_back(self._tables, "log")

    def read(self, name: str, start: int, length: int) -> bytes:
        """Return up to `length` bytes of a segment from `start` on."""
        self._near_at = time.monotonic()
        for near, first, data in self._near:
            if near == name and first <= start and start + length <= first + len(data):
                return data[start - first : start - first + length]
        # Several destinations read the same, each one piece after the other.
        ahead = length if length < _LEAST_AHEAD_BYTES else max(length, _COLLECT_BYTES)
        place = {"segment": _number(name), "start": start, "stop": start + ahead}
        data = b"".join(row[0] for row in self._tables.query(_READ, **place))
        if ahead > length:
            self._near.append((name, start, data))
        return data[:length]

    @contextmanager
    def reading(self, name: str) -> Iterator[Callable[[int, int], bytes]]:
        """Open a segment for several reads."""
        yield partial(self.read, name)

    def count(self, name: str, start: int, stop: int) -> int:
        """Return how many records there are between two offsets."""
        place = {"segment": _number(name), "start": start, "stop": stop}
        inside = "start >= %(start)s AND stop <= %(stop)s"
        ((whole,),) = self._tables.query(
            f"SELECT coalesce(sum(records), 0) {_OVERLAPPING} AND {inside}", **place
        )
        edges = self._tables.query(
            f"SELECT start, coalesce(content, data) {_WITH_PIECES} AND NOT ({inside})", **place
        )
        parts = (data[max(start - first, 0) : stop - first] for first, data in edges)
        inner: int = sum(part.count(b"\n") for part in parts)
        return int(whole) + inner

    def is_closed(self, name: str) -> bool:
        """Return whether nothing is appended to the segment anymore."""
        if self._end is not None:  # only the leader moves the end
            return _number(name) < self._end[0]
        return bool(
            self._tables.query(
                "SELECT 1 FROM adcp_queue WHERE queue = %(queue)s AND segment > %(segment)s",
                segment=_number(name),
            )
        )

    def delete(self, name: str, size: int) -> bool:
        """Delete a segment if it is closed and still of that size; return whether it is gone."""
        place = {"segment": _number(name), "start": 0, "stop": size}
        if not self.is_closed(name):
            return False

        def delete(cursor: Cursor) -> bool:
            rows = self._tables.run(cursor, f"SELECT stop, piece {_OVERLAPPING}", **place)
            if rows and max(stop for stop, _ in rows) != size:
                return False
            pieces = [piece for _, piece in rows if piece is not None]
            self._tables.run_each(cursor, _DELETE_PIECE, "piece", pieces)
            self._tables.run(cursor, f"DELETE {_OVERLAPPING}", **place)
            return True

        return self._tables.write(delete)

    def erase(self, name: str, records: Iterable[Record]) -> None:
        """Overwrite records, so that nothing of their content is left."""
        records = list(records)

        def overwrite(cursor: Cursor) -> None:
            patches = []
            for record in records:
                place = {"segment": _number(name), "start": record.start, "stop": record.stop}
                ((old,),) = self._tables.run(cursor, _READ, **place)
                only = record.unpack()[0].get("only")
                patches.append((record.start, erase_record(bytes(old), only)))
            self._patch(cursor, _number(name), patches)

        self._tables.write(overwrite)

    def blank(self, name: str, spans: Iterable[CorruptSpan]) -> None:
        """Overwrite bytes that are no records, keeping their number of lines."""
        patches = [(span.start, b" " * len(span.data)) for span in spans]
        self._tables.write(lambda cursor: self._patch(cursor, _number(name), patches))

    def _patch(self, cursor: Cursor, segment: int, patches: list[tuple[int, bytes]]) -> None:
        """Put bytes in place of others. A row is read and written once, whatever changes in it."""
        self._near.clear()
        rows = self._tables.run(
            cursor,
            "SELECT start, stop, piece FROM adcp_log "
            "WHERE queue = %(queue)s AND segment = %(segment)s",
            segment=segment,
        )
        for start, stop, piece in rows:
            inside = [each for each in patches if each[0] < stop and start < each[0] + len(each[1])]
            if not inside:
                continue
            place = {"segment": segment, "start": start, "stop": stop, "piece": piece}
            ((data,),) = self._tables.run(cursor, _READ, **place)
            patch = _PATCH if piece is None else _PATCH_PIECE
            self._tables.run(cursor, patch, data=_patched(data, start, inside), **place)

    def quarantine(self, name: str, data: bytes) -> None:
        """Keep bytes that were no record, up to a limit."""
        values = {"place": name, "data": data[:_QUARANTINE_BYTES]}

        def keep(cursor: Cursor) -> None:
            ((size,),) = self._tables.run(
                cursor,
                "SELECT coalesce(sum(octet_length(data)), 0) FROM adcp_quarantine "
                "WHERE queue = %(queue)s AND place = %(place)s",
                **values,
            )
            if size < _QUARANTINE_BYTES:
                self._tables.run(
                    cursor,
                    "INSERT INTO adcp_quarantine (queue, place, data) "
                    "VALUES (%(queue)s, %(place)s, %(data)s)",
                    **values,
                )

        self._tables.write(keep)

    def sync(self) -> None:
        """Do nothing: a commit is durable."""

    def remove_stale(self) -> None:
        """Do nothing: a transaction leaves nothing behind."""


def _patched(data: bytes, first: int, patches: Iterable[tuple[int, bytes]]) -> bytes:
    """Return a row's data with other bytes at some places, which may reach beyond it."""
    content = bytearray(data)
    for place, new in patches:
        start = max(place - first, 0)
        stop = min(place - first + len(new), len(content))
        content[start:stop] = new[start - place + first : stop - place + first]
    return bytes(content)
