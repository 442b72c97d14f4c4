"""Dead letters, and the files they are kept in."""

from __future__ import annotations

import hashlib
import json
import os
import re
from contextlib import suppress
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

import attrs
import orjson
from cattrs import BaseValidationError
from cattrs.preconf.orjson import make_converter

from adcp_tracker.journal.files import open_secure, opened, sync_data, sync_directory, write_all
from adcp_tracker.journal.records import (
    ENCRYPTED_DEAD_LETTER,
    ENVELOPED,
    UNDECRYPTED,
    Record,
    encode_record,
    erase_record,
    parse,
    with_envelope,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from pathlib import Path
    from typing import TypeGuard

    from adcp_tracker.journal.encryption import Encryption
    from adcp_tracker.journal.files import QueueDirectory


_FILE_BYTES = 4 * 1024 * 1024
_READ_BYTES = 1 << 30
_SUFFIX = ".log"
_converter = make_converter(omit_if_default=True)


HIDDEN = "•••"
"""Stands for each value that identifies the shopper, where dead letters are shown."""

_SHOPPER = "user_match"
_PLACE = re.compile(r"\$[\w.\[\]]*")
_INDEX = re.compile(r"\[\d+\]")


@attrs.frozen
class DeadLetter:
    """An event that one destination won't receive unless it is replayed.

    Attributes:
        destination: Whose event it was.
        segment: The segment it was recorded in.
        offset: Where in it; with the segment and destination, this names the letter.
        died_at: When it became a dead letter, in seconds since the epoch.
        code: Why, in one word.
        message: Why, for a person.
        remedy: What to do about it.
        test_event_code: The test it belonged to.
        replayable: Whether it is a whole event that could be sent again.
        event: The event's JSON, as far as it may be kept.
    """

    destination: str
    segment: str
    offset: int
    died_at: float
    code: str
    message: str
    remedy: str = ""
    test_event_code: str | None = None
    replayable: bool = True
    event: bytes = attrs.field(default=b"{}", repr=False)

    @property
    def id(self) -> str:
        """Its id, the same whenever the same event becomes a dead letter."""
        return _letter_id(self.destination, self.segment, self.offset)

    @property
    def reason(self) -> str:
        """The code and the field at fault: the same for letters with the same cause."""
        place = _PLACE.match(self.message)
        return f"{self.code} {_INDEX.sub('[]', place[0])}" if place else self.code

    def masked_event(self) -> dict[str, object]:
        """Return the event with :data:`HIDDEN` for each value that identifies the shopper."""
        event: dict[str, object] = orjson.loads(self.event)
        match = event.get(_SHOPPER)
        return {**event, _SHOPPER: dict.fromkeys(match, HIDDEN)} if _is_object(match) else event

    def unmask_event(self, text: str) -> dict[str, object]:
        """Return a corrected event with the hidden values that were left as they were.

        Args:
            text: The event as JSON, from :meth:`masked_event`.

        Raises:
            ValueError: If it is no JSON object.
        """
        event = json.loads(text, parse_float=Decimal)
        if not _is_object(event):
            raise ValueError("expected an object")
        match, known = event.get(_SHOPPER), orjson.loads(self.event).get(_SHOPPER)
        if not (_is_object(match) and _is_object(known)):
            return event
        restored = {
            name: known.get(name) if value == HIDDEN else value for name, value in match.items()
        }
        return {**event, _SHOPPER: restored}

    def summary(self) -> dict[str, object]:
        """Return it for display, as a JSON-serializable dict."""
        shown = attrs.asdict(self, filter=lambda field, _: field.name != "event")
        return {"id": self.id, **shown, "event": orjson.loads(self.event)}


def _is_object(value: object) -> TypeGuard[dict[str, object]]:
    return isinstance(value, dict)


def encode_letter(letter: DeadLetter, encryption: Encryption | None) -> bytes:
    """Return the record of a dead letter."""
    envelope = _converter.unstructure(attrs.evolve(letter, event=b"{}"))
    body, died_ms = with_envelope(envelope, letter.event), int(letter.died_at * 1000)
    if encryption is None:
        return encode_record(body, died_ms, ENVELOPED)
    encrypted = encryption.encrypt(body, died_ms, ENCRYPTED_DEAD_LETTER)
    return encode_record(encrypted, died_ms, ENCRYPTED_DEAD_LETTER)


def decode_letters(records: Iterable[Record]) -> Iterator[tuple[Record, DeadLetter]]:
    """Yield the dead letters among records, each with its record."""
    for record in records:
        if record.kind != ENVELOPED:
            continue
        envelope, event = record.unpack()
        # Another version's letter stays where it is, for that version to read.
        with suppress(BaseValidationError):
            yield record, attrs.evolve(_converter.structure(envelope, DeadLetter), event=event)


class DeadLetterKey(NamedTuple):
    """The identity of a dead letter, read without the rest of it.

    Attributes:
        destination: Whose event it was.
        segment: The segment it was recorded in.
        offset: Where in it.
        size: How many bytes the letter takes.
    """

    destination: str
    segment: str
    offset: int
    size: int

    @property
    def id(self) -> str:
        """The letter's id."""
        return _letter_id(self.destination, self.segment, self.offset)


def _letter_id(destination: str, segment: str, offset: int) -> str:
    name = f"{destination}\0{segment}\0{offset}"
    return hashlib.blake2b(name.encode(), digest_size=6).hexdigest()


class DeadLetterStore:
    """The dead letters of a queue directory. Only the leader writes them.

    Args:
        directory: The queue directory.
        encryption: Encrypts and decrypts them.
    """

    def __init__(self, directory: QueueDirectory, encryption: Encryption | None = None) -> None:
        self._directory = directory
        self._folder = directory.dead
        self._written: set[str] = set()
        self._encryption = encryption
        self._scan = parse if encryption is None else encryption.parse_dead_letters

    def add(self, letters: Iterable[DeadLetter], now: float) -> None:
        """Write letters durably, before the state drops their events.

        Args:
            letters: The letters; where the disk has no room for all, those that it took are
                not written again when they are given again.
            now: Seconds since the epoch.

        Raises:
            OSError: If the disk does not take all of them.
        """
        records = [
            (each.id, encode_letter(each, self._encryption))
            for each in letters
            if each.id not in self._written
        ]
        if records:
            path = self._open_file() or self._folder / f"{int(now * 1e9):020d}{_SUFFIX}"
            with opened(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND) as descriptor:
                self._append(descriptor, records)
        self._written.clear()

    def _append(self, descriptor: int, records: list[tuple[str, bytes]]) -> None:
        start = os.fstat(descriptor).st_size
        if not start:
            sync_directory(self._folder)
        try:
            write_all(descriptor, b"".join(record for _, record in records))
        except OSError:
            self._written |= _keep_whole(descriptor, start, records)
            raise
        sync_data(descriptor)

    def __iter__(self) -> Iterator[DeadLetter]:
        seen: set[str] = set()
        for path in self._files():
            for _, letter in decode_letters(self._records(path)):
                if letter.id not in seen:
                    seen.add(letter.id)
                    yield letter

    def keys(self) -> Iterator[DeadLetterKey]:
        """Yield the key of each dead letter that can be read, oldest first."""
        seen: set[int] = set()
        for path in self._files():
            for _, key in self._keyed(path):
                mark = hash(key[:3])
                if mark not in seen:
                    seen.add(mark)
                    yield key

    def _keyed(self, path: Path) -> Iterator[tuple[Record, DeadLetterKey]]:
        for record in self._records(path):
            if record.kind != ENVELOPED:
                continue
            envelope = orjson.loads(record.body.partition(b"\t")[0])
            try:
                key = DeadLetterKey(
                    envelope["destination"],
                    envelope["segment"],
                    envelope["offset"],
                    record.stop - record.start,
                )
            except (KeyError, TypeError):
                continue  # another version's letter stays where it is, for that version to read
            yield record, key

    def undecrypted(self) -> int:
        """Return how many can't be decrypted because their key is missing."""
        return sum(
            record.kind in UNDECRYPTED for path in self._files() for record in self._records(path)
        )

    def is_empty(self) -> bool:
        """Return whether there are none."""
        return not self._files()

    def remove(self, ids: Collection[str]) -> int:
        """Erase letters.

        Returns:
            How many there were.
        """
        self._written.difference_update(ids)
        removed: set[str] = set()
        for path in self._files() if ids else ():
            found = [(record, key.id) for record, key in self._keyed(path) if key.id in ids]
            if found:
                _erase(path, [record for record, _ in found])
                removed.update(name for _, name in found)
            if not any(each.kind in {ENVELOPED, *UNDECRYPTED} for each in self._records(path)):
                path.unlink()
        return len(removed)

    def _files(self) -> list[Path]:
        self._directory.check(self._folder)
        return sorted(self._folder.glob(f"*{_SUFFIX}"))

    def _open_file(self) -> Path | None:
        """Return the last file if it has room."""
        files = self._files()
        return files[-1] if files and files[-1].lstat().st_size < _FILE_BYTES else None

    def _records(self, path: Path) -> list[Record]:
        try:
            descriptor = open_secure(path, os.O_RDONLY)
        except FileNotFoundError:  # its last letter was removed while we looked
            return []
        with os.fdopen(descriptor, "rb") as file:
            return self._scan(file.read(_READ_BYTES))[0]


def _keep_whole(descriptor: int, start: int, records: list[tuple[str, bytes]]) -> set[str]:
    """Truncate after the last whole record; return which were written."""
    written, end = os.fstat(descriptor).st_size, start
    whole: set[str] = set()
    for name, record in records:
        if end + len(record) > written:
            break
        end += len(record)
        whole.add(name)
    os.ftruncate(descriptor, end)
    sync_data(descriptor)
    return whole


def _erase(path: Path, records: list[Record]) -> None:
    with opened(path, os.O_RDWR) as descriptor:
        for record in records:
            old = os.pread(descriptor, record.stop - record.start, record.start)
            os.pwrite(descriptor, erase_record(old), record.start)
        sync_data(descriptor)
