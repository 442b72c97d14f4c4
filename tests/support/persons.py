"""A person to forget, others to keep, and a look at everything that is on disk."""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from typing import TYPE_CHECKING

from adcp_tracker._platform import SystemClock
from adcp_tracker.delivery.outcomes import RetryPolicy
from adcp_tracker.delivery.uploader import Uploader, UploaderConfig
from adcp_tracker.journal.buffer import WriteBuffer
from adcp_tracker.journal.writer import JournalWriter
from adcp_tracker.outbox.directory import ContextFiles, DirectoryStore, open_outbox
from adcp_tracker.privacy.context_store import ContextStore, ContextTokens, TokenSigner
from adcp_tracker.privacy.erasure import PersonData

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from adcp_tracker._platform import Clock
    from adcp_tracker.delivery.stats import DestinationStats, Stats
    from adcp_tracker.destinations.base import Destination
    from adcp_tracker.journal.encryption import Encryption
    from adcp_tracker.journal.files import QueueDirectory
    from adcp_tracker.outbox.storage import Outbox
    from adcp_tracker.privacy.erasure import ErasureReport
    from adcp_tracker.privacy.matching import Person
    from adcp_tracker.tracker import Tracker

EMAIL = "Alice@Example.com"
PHONE = "+12065551234"
UID = "crm-alice-0001"
CLICK = "Cj0KCQjw-alice"
ALICE = (
    hashlib.sha256(b"alice@example.com").hexdigest(),
    hashlib.sha256(b"+12065551234").hexdigest(),
    UID,
    CLICK,
)
"""What must be found nowhere any more."""

STEADY = RetryPolicy(lambda: 0.5)


def track_alice(tracker: Tracker, event_id: str = "alice", **details: object) -> None:
    """Track an event that says everything about Alice."""
    uids = [{"type": "other", "value": UID}]
    tracker.track_lead(
        event_id=event_id,
        **{  # type: ignore[arg-type]  # by name, as given
            "email": EMAIL,
            "phone": PHONE,
            "uids": uids,
            "click_id": CLICK,
            "click_id_type": "gclid",
            "event_source_url": f"https://shop.example/?gclid={CLICK}",
            **details,
        },
    )


def track_others(tracker: Tracker, count: int, first: int = 0) -> list[str]:
    """Track events of other people and return their ids."""
    ids = [f"B-{number}" for number in range(first, first + count)]
    for each in ids:
        tracker.track_lead(event_id=each, email=f"{each}@example.com")
    return ids


def found_on_disk(directory: Path, *more: str) -> list[str]:
    """Return the files below a directory in which anything of Alice's stands."""
    needles = [needle.lower().encode() for needle in (*ALICE, "alice@example.com", *more)]
    return sorted(
        str(path.relative_to(directory))
        for path in directory.rglob("*")
        if path.is_file() and any(needle in path.read_bytes().lower() for needle in needles)
    )


def remembered_tokens(directory: Path) -> list[str]:
    """Return the tokens of remembered contexts."""
    return [path.read_text().partition("\n")[0] for path in (directory / "remembered").glob("*")]


def balanced(stats: Stats, name: str = "scripted") -> DestinationStats:
    """Return one destination's counts, which must balance."""
    counts = stats.destinations[name]
    dropped = sum(counts.dropped.values())
    settled = counts.delivered + counts.unconfirmed + counts.dead + dropped
    assert counts.accepted == settled + counts.pending
    return counts


@contextmanager
def leading(
    directory: QueueDirectory,
    *destinations: Destination,
    clock: Clock | None = None,
    outbox: Callable[[QueueDirectory], Outbox] = open_outbox,
    on_outcome: Callable[[], None] = lambda: None,
    encryption: Encryption | None = None,
) -> Iterator[Uploader]:
    """Lead a queue in this very thread."""
    clock = clock or SystemClock()
    store = DirectoryStore(directory, encryption, outbox)
    uploader = Uploader(UploaderConfig(store, destinations, STEADY, clock, 0.01), on_outcome)
    try:
        yield uploader
    finally:
        uploader.close()


def erasure(
    directory: QueueDirectory,
    person: Person,
    *,
    buffer: WriteBuffer | None = None,
    keys: Sequence[str] = (),
    follow: bool = True,
) -> Callable[[Uploader], ErasureReport]:
    """Return the command that erases a person."""
    clock = SystemClock()
    contexts = ContextFiles(directory, clock)
    memory = ContextStore(contexts, ContextTokens(contexts, keys, clock), clock)
    buffer = buffer or WriteBuffer(JournalWriter(directory), clock)
    return PersonData(buffer, memory, person, follow).erase


def reader(directory: QueueDirectory) -> TokenSigner:
    """Return what reads the tokens of a directory's own key."""
    return TokenSigner([bytes.fromhex(directory.context_key.read_text().strip())])
