"""The record format: encode, parse, checksum."""

from __future__ import annotations

import re
import struct
from io import BytesIO
from typing import TYPE_CHECKING, NamedTuple

import attrs
import orjson

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


try:
    from isal.isal_zlib import crc32  # the same sum in a sixth of the time
except ImportError:
    from zlib import crc32

__all__ = ["crc32"]


HEADER_BYTES = 25
"""Bytes before the body of a record."""

EVENT, ENVELOPED, DROPPED, ERASED = b"E", b"S", b"D", b"X"
ENCRYPTED_EVENT, ENCRYPTED_ENVELOPED, ENCRYPTED_DEAD_LETTER = b"C", b"T", b"L"
UNDECRYPTED = frozenset({ENCRYPTED_EVENT, ENCRYPTED_ENVELOPED, ENCRYPTED_DEAD_LETTER})
"""Kinds of records that are still encrypted when they have been read: their key is missing."""

_KEY_ID = re.compile(rb"([A-Za-z0-9_-]{8})\.")
_SEED_MASK = 0xFFFFFFFF
_PLAIN = b" E\t"
_PLAIN_LETTERS = ((8, b" "), (22, b" "), (23, b"E"), (24, b"\t"))
_CANDIDATE = re.compile(rb"[0-9a-f]{8} [0-9]{13} [A-Z]\t")


def encode_event(body: bytes, accepted_ms: int) -> bytes:
    """Return the record of a plain event; faster than :func:`encode_record`.

    Args:
        body: The event's JSON.
        accepted_ms: When it was accepted, in milliseconds since the epoch.
    """
    return b"%08x %013d E\t%b\n" % (crc32(body, accepted_ms & _SEED_MASK), accepted_ms, body)


def encode_record(body: bytes, accepted_ms: int, kind: bytes) -> bytes:
    """Return the record of `body`, of any `kind`."""
    checksum = crc32(body, _seed(accepted_ms, kind))
    return b"%08x %013d %b\t%b\n" % (checksum, accepted_ms, kind, body)


def _seed(accepted_ms: int, kind: bytes) -> int:
    return (accepted_ms + kind[0] - EVENT[0]) & _SEED_MASK


def with_envelope(envelope: Mapping[str, object], event: bytes) -> bytes:
    """Return the body of a record of kind ``S``."""
    return orjson.dumps(envelope) + b"\t" + event


def erase_record(record: bytes, only: object = None) -> bytes:
    """Return an erased record of the same length and time as `record`.

    Args:
        record: The whole record.
        only: The one destination that its envelope says it is for, if it does.
    """
    kept = b"" if only is None else orjson.dumps({"only": only})
    return encode_record(kept.ljust(len(record) - HEADER_BYTES - 1), accepted_ms(record), ERASED)


class Record(NamedTuple):
    """One record that was read back.

    Attributes:
        start: Where it begins, in bytes from the start of its segment.
        stop: Where it ends, behind its line feed; where that is lost, where the next begins.
        kind: One letter.
        body: What follows the kind.
        accepted_ms: When it was accepted, in milliseconds since the epoch.
    """

    start: int
    stop: int
    kind: bytes
    body: bytes
    accepted_ms: int

    def unpack(self) -> tuple[dict[str, object], bytes]:
        """Return the envelope, or an empty one, and the event unless erased."""
        if self.kind == ERASED:
            kept = self.body.strip()
            return (orjson.loads(kept) if kept else {}), b""
        if self.kind != ENVELOPED:
            return {}, self.body
        envelope, _, event = self.body.partition(b"\t")
        return orjson.loads(envelope), event


@attrs.frozen
class CorruptSpan:
    """Bytes that are no record.

    Attributes:
        start: Where they begin, in bytes from the start of their segment.
        data: The bytes, as found.
    """

    start: int
    data: bytes


class PlainRecords(NamedTuple):
    """Plain events that follow each other without a gap.

    Attributes:
        start: Where the first record begins, in bytes from the start of its segment.
        stop: Where the last ends, behind its line feed.
        events: Each event's JSON.
        times: When each was accepted, in milliseconds since the epoch.
    """

    start: int
    stop: int
    events: list[bytes]
    times: list[int]


def parse_plain(data: bytes, start: int = 0, most: int | None = None) -> PlainRecords | None:
    """Parse `data` if it holds plain events and nothing else.

    Records are looked at all at once and not one by one, which takes half the time.

    Args:
        data: The bytes; what follows the last line feed is left alone.
        start: Where it stands in its segment.
        most: How many records to read at most.

    Returns:
        What :func:`parse` would return of them; ``None`` if there is anything that is not
        the sound record of a plain event.
    """
    # Unlike split(), which looks at each byte, this leaves the search to the C library.
    lines = BytesIO(data).readlines()
    if most is not None:
        del lines[most:]
    if lines and not lines[-1].endswith(b"\n"):
        lines.pop()
    events = [line[HEADER_BYTES:-1] for line in lines]
    times = _accepted_times(lines, events)
    if times is None:
        return None
    return PlainRecords(start, start + sum(map(len, lines)), events, times)


def parse(data: bytes, start: int = 0) -> tuple[list[Record], list[CorruptSpan]]:
    """Parse the whole records in `data`, found at `start` of its segment.

    A line that is no record is searched for records that a flipped or missing
    line feed has glued together. What follows the last line feed is left alone.
    """
    records: list[Record] = []
    damages: list[CorruptSpan] = []
    lines = data.split(b"\n")
    lines.pop()
    for line in lines:
        stop = start + len(line) + 1
        record = _read(line, start, stop)
        if record is not None:
            records.append(record)
        else:
            _resynchronize(line, start, records, damages)
        start = stop
    return records, damages


def _accepted_times(lines: list[bytes], events: list[bytes]) -> list[int] | None:
    """Return the time of each line, or ``None`` unless all are valid records of plain events."""
    count = len(lines)
    headers = b"".join([line[:HEADER_BYTES] for line in lines])
    if len(headers) != count * HEADER_BYTES or any(
        headers[place::HEADER_BYTES] != letter * count for place, letter in _PLAIN_LETTERS
    ):
        return None
    # As a list of JSON they are read in a quarter of the time that int() takes. A time that is
    # read as another one than was written gives another checksum.
    cells = headers.replace(_PLAIN, b',"').replace(b" ", b'",')[:-2]
    try:
        read = orjson.loads(b'["' + cells + b"]") if lines else []
        written, times = "".join(read[::2]), read[1::2]
        checksums = [crc32(event, time) for event, time in zip(events, times, strict=True)]
    except (ValueError, TypeError, OverflowError):
        return None
    return times if written == struct.pack(f">{count}I", *checksums).hex() else None


def _read(line: bytes, start: int, stop: int) -> Record | None:
    body = line[HEADER_BYTES:]
    kind = line[23:24]
    try:
        accepted = int(line[9:22])
        checksum = crc32(body, _seed(accepted, kind))
    except (ValueError, IndexError):
        return None
    if line[:HEADER_BYTES] != b"%08x %013d %b\t" % (checksum, accepted, kind):
        return None
    return Record(start, stop, kind, body, accepted)


def key_id_of(record: Record) -> str:
    """Return the id of the key that a record was encrypted with."""
    matched = _KEY_ID.match(record.body)
    return matched[1].decode() if matched else "unknown"


def accepted_ms(record: bytes) -> int:
    """Return when a whole record was accepted, in milliseconds since the epoch."""
    return int(record[9:22])


def _resynchronize(
    line: bytes, start: int, records: list[Record], damages: list[CorruptSpan]
) -> None:
    """Find the records in a corrupt line, and the corrupt spans between."""
    lost = 0
    for begin, piece in _pieces(line):
        end = begin + len(piece)
        stop = start + end + (end == len(line))  # the line's own line feed is the last one's
        # A flipped line feed leaves its byte at the end of the record before it.
        record = _read(piece, start + begin, stop) or _read(piece[:-1], start + begin, stop)
        if record is None:
            continue
        if begin > lost:
            damages.append(CorruptSpan(start + lost, line[lost:begin]))
        records.append(record)
        lost = end
    if lost < len(line):
        damages.append(CorruptSpan(start + lost, line[lost:]))


def _pieces(line: bytes) -> Iterator[tuple[int, bytes]]:
    """Split a line wherever a record may begin."""
    starts = [match.start() for match in _CANDIDATE.finditer(line)] or [0]
    for begin, end in zip(starts, [*starts[1:], len(line)], strict=True):
        yield begin, line[begin:end]
