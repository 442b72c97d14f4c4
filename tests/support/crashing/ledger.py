"""A seller's ledger: what each request held, written down before the answer is given.

It outlives the process that sends, so whatever a crash does to the sender,
the ledger says what the seller has seen.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections import Counter
from typing import TYPE_CHECKING

import attrs
import orjson

from adcp_tracker.destinations.base import Delivered, EventFailure, Outcome, Retry, TooLarge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from adcp_tracker.destinations.base import Batch

BAD = "bad-"
"""Events of such ids are always refused."""

MENDED = "mend-"
"""Events of such ids are refused until the seller is mended."""

SPLIT = "split-"
"""Events of such ids are only taken in requests of two at most."""

FRESH = "fresh-"
"""Events of such ids are only taken under their second key."""

AWAY = "away-"
"""While there are events of such ids, the seller does not answer until it is mended."""

_MOST_TOGETHER = 2
_ATTEMPTS = 10


def append(path: Path, data: bytes) -> None:
    """Write at the end of a file in one call; its disk is another's, and never full for long."""
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    try:
        insist(lambda: os.write(descriptor, data))
    finally:
        os.close(descriptor)


def insist(do: Callable[[], object]) -> None:
    """Do what may fail because a disk does not take it, until it does."""
    for _ in range(_ATTEMPTS):
        with contextlib.suppress(OSError):
            do()
            return
    do()


@attrs.frozen
class Entry:
    """One request.

    Attributes:
        seller: Who was asked.
        identity: What the batch was known by.
        test_event_code: The test it belonged to.
        events: The events' JSON.
        taken: The ids of those the seller took.
    """

    seller: str
    identity: str
    test_event_code: str | None
    events: tuple[str, ...]
    taken: tuple[str, ...]

    @property
    def content(self) -> tuple[str, str | None, tuple[str, ...]]:
        """What the request said, whatever it was known by."""
        return self.seller, self.test_event_code, self.events


class Ledger:
    """The entries of all sellers of one case, in one file.

    Args:
        folder: Where the file lies.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "ledger"
        self._mended = folder / "mended"

    def add(self, entry: Entry) -> None:
        """Write an entry; one that a kill cuts short was never taken."""
        append(self._path, b"\n" + json.dumps(attrs.asdict(entry)).encode() + b"\n")

    def __iter__(self) -> Iterator[Entry]:
        if not self._path.exists():
            return
        for line in self._path.read_bytes().splitlines():
            try:
                plain = json.loads(line)
            except json.JSONDecodeError:  # empty, or cut short
                continue
            yield Entry(
                plain["seller"],
                plain["identity"],
                plain["test_event_code"],
                tuple(plain["events"]),
                tuple(plain["taken"]),
            )

    def mend(self) -> None:
        """Take from now on what is refused until then."""
        self._mended.touch()

    @property
    def is_mended(self) -> bool:
        """Whether that has happened."""
        return self._mended.exists()


class LedgerDestination:
    """A destination whose seller keeps a ledger, and decides by an event's id alone.

    Args:
        name: Its name.
        ledger: Where its requests are written down.
    """

    max_events = 40
    max_bytes = 16 * 1024 * 1024

    def __init__(self, name: str, ledger: Ledger) -> None:
        self.name = name
        self._ledger = ledger

    def send(self, batch: Batch) -> Outcome:
        """Decide, write it down, and answer."""
        events = tuple(event.decode() for event in batch.events)
        ids = [id_of(event) for event in events]
        identity = batch.identity.hex()
        outcome = self._decide(ids, identity, events)
        failed: set[str | None] = set(ids)
        if isinstance(outcome, Delivered):
            failed = {failure.event_id for failure in outcome.failures}
        taken = tuple(each for each in ids if each not in failed)
        self._ledger.add(Entry(self.name, identity, batch.test_event_code, events, taken))
        return outcome

    def check(self, event: Mapping[str, object]) -> EventFailure | None:
        """Refuse nothing."""
        del event
        return None

    def close(self) -> None:
        """Have nothing to close."""

    def after_fork(self) -> None:
        """Keep nothing open across a fork."""

    def _decide(self, ids: list[str], identity: str, events: tuple[str, ...]) -> Outcome:
        if not self._ledger.is_mended and any(each.startswith(AWAY) for each in ids):
            return Retry("timeout", "the seller is away")
        if len(ids) > _MOST_TOGETHER and any(each.startswith(SPLIT) for each in ids):
            return TooLarge("BATCH_TOO_LARGE", "the seller takes two at once")
        if any(each.startswith(FRESH) for each in ids) and not self._was_seen(identity, events):
            return Retry("IDEMPOTENCY_EXPIRED", "the seller asks for another key", fresh_key=True)
        refused = [
            EventFailure("REFUSED", "the seller says no", event_id=each)
            for each in ids
            if each.startswith(BAD) or (each.startswith(MENDED) and not self._ledger.is_mended)
        ]
        return Delivered(tuple(refused))

    def _was_seen(self, identity: str, events: tuple[str, ...]) -> bool:
        """Say whether the same came under another key before."""
        return any(
            entry.events == events and entry.identity != identity and entry.seller == self.name
            for entry in self._ledger
        )


def id_of(event: str) -> str:
    """Return an event's id."""
    return str(orjson.loads(event)["event_id"])


def taken_by(entries: list[Entry], seller: str) -> dict[str, set[str]]:
    """Return what a seller took: each event's forms, by its id."""
    taken: dict[str, set[str]] = {}
    for entry in entries:
        if entry.seller == seller:
            for event in entry.events:
                if (name := id_of(event)) in entry.taken:
                    taken.setdefault(name, set()).add(event)
    return taken


def keys_at_odds(entries: list[Entry]) -> list[str]:
    """Return what is wrong with keys: two for one content, or two contents under one.

    A seller that asks for another key gets one, and an event sent again by hand has one of
    its own, or it would only be given the old answer.
    """
    identities: dict[object, set[str]] = {}
    contents: dict[tuple[str, str], set[object]] = {}
    for entry in entries:
        identities.setdefault(entry.content, set()).add(entry.identity)
        contents.setdefault((entry.seller, entry.identity), set()).add(entry.content)
    allowed = Counter(
        {
            entry.content: 1
            for entry in entries
            if any(id_of(event).startswith((FRESH, MENDED)) for event in entry.events)
        }
    )
    wrong = [
        f"one content under {len(found)} keys: {content}"
        for content, found in identities.items()
        if len(found) > 1 + allowed[content]  # type: ignore[index]  # a content
    ]
    wrong += [
        f"{len(found)} contents under one key, at {key[0]}"
        for key, found in contents.items()
        if len(found) > 1
    ]
    return wrong
