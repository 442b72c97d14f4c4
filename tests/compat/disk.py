"""Reads a queue directory by its documented format alone, without the library.

A record is a line: checksum, time, kind, a tab, the body. This is a reader of its own, so
that it notices when the library begins to write something else.
"""

from __future__ import annotations

import json
import re
import zlib
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from pathlib import Path

_LINE = re.compile(rb"([0-9a-f]{8}) ([0-9]{13}) ([A-Z])\t(.*)", re.DOTALL)


@attrs.frozen
class Line:
    """One record as it is on disk.

    Attributes:
        raw: The whole record, without its line feed.
        kind: Its letter.
        envelope: What stands before the event, if anything does.
        body: The event's JSON, or whatever follows the kind.
    """

    raw: bytes
    kind: str
    envelope: dict[str, Any]
    body: bytes


def read_line(raw: bytes) -> Line:
    """Read one record, and check its checksum."""
    match = _LINE.fullmatch(raw)
    assert match, f"no record: {raw[:80]!r}"
    checksum, time_ms, kind, body = match.groups()
    seed = (int(time_ms) + kind[0] - b"E"[0]) & 0xFFFFFFFF
    assert int(checksum, 16) == zlib.crc32(body, seed), f"wrong checksum: {raw[:80]!r}"
    if kind != b"S":
        return Line(raw, kind.decode(), {}, body)
    envelope, _, event = body.partition(b"\t")
    return Line(raw, "S", json.loads(envelope), event)


def read_lines(data: bytes) -> list[Line]:
    """Read whole records."""
    assert not data or data.endswith(b"\n")
    return [read_line(raw) for raw in data.splitlines()]


@attrs.define
class Tail:
    """Reads what has been added to a queue's segments since the last time.

    Attributes:
        directory: The queue directory.
        sizes: How much of each segment has been read.
    """

    directory: Path
    sizes: dict[str, int] = attrs.field(factory=dict)

    def read(self) -> list[Line]:
        """Return the records that are new."""
        lines = []
        for path in sorted((self.directory / "segments").glob("*.log")):
            start = self.sizes.get(path.name, 0)
            if path.stat().st_size == start:
                continue
            with path.open("rb") as file:
                file.seek(start)
                data = file.read()
            self.sizes[path.name] = start + len(data)
            lines += read_lines(data)
        return lines


def dead_letters(directory: Path) -> list[dict[str, Any]]:
    """Return what a queue directory's dead letters say, without the words for a person."""
    letters = []
    for path in sorted((directory / "dead").glob("*.log")):
        for line in read_lines(path.read_bytes()):
            if line.kind != "S":
                continue
            letters.append(
                {
                    "destination": line.envelope["destination"],
                    "code": line.envelope["code"],
                    "offset": line.envelope["offset"],
                    "segment": line.envelope["segment"],
                    "replayable": line.envelope.get("replayable", True),
                    "test_event_code": line.envelope.get("test_event_code"),
                    "event": line.body.decode(),
                }
            )
    return letters


def write_line(kind: str, time_ms: int, envelope: dict[str, Any], body: bytes) -> bytes:
    """Return one record with its line feed, as the library writes it."""
    if kind == "S":
        body = json.dumps(envelope, separators=(",", ":")).encode() + b"\t" + body
    seed = (time_ms + ord(kind) - ord("E")) & 0xFFFFFFFF
    return b"%08x %013d %b\t%b\n" % (zlib.crc32(body, seed), time_ms, kind.encode(), body)


def write_segment(directory: Path, name: str, data: bytes) -> None:
    """Put a segment into a queue directory, which is made if it is missing."""
    segments = directory / "segments"
    for folder in (directory, segments):
        folder.mkdir(mode=0o700, exist_ok=True)
    path = segments / name
    path.touch(mode=0o600)
    path.write_bytes(data)
