"""A queue with keys: nothing readable on disk, nothing lost for want of a key."""

from __future__ import annotations

import base64
import errno
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

import orjson
import pytest

from adcp_tracker._platform import SystemClock
from adcp_tracker.delivery.stats import read_stats
from adcp_tracker.destinations.base import Batch, EventFailure, Outcome, Rejected, Retry
from adcp_tracker.exceptions import ConfigurationError
from adcp_tracker.journal.buffer import WriteBuffer
from adcp_tracker.journal.encryption import EncryptedJournalWriter, Encryption
from adcp_tracker.journal.files import QueueDirectory
from adcp_tracker.journal.records import (
    DROPPED,
    ENCRYPTED_ENVELOPED,
    ENCRYPTED_EVENT,
    Record,
    parse,
)
from adcp_tracker.journal.writer import JournalWriter
from adcp_tracker.outbox.dead_letters import DeadLetter, DeadLetterStore
from adcp_tracker.outbox.directory import DirectoryStore
from adcp_tracker.tracker import Tracker
from tests.cli.program import NAME, pointing_at, run
from tests.support.destinations import ScriptedDestination
from tests.support.persons import (
    ALICE,
    EMAIL,
    STEADY,
    balanced,
    found_on_disk,
    track_alice,
    track_others,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from adcp_tracker.delivery.stats import Stats
    from adcp_tracker.sandbox import Sandbox

KEY, NEW, OTHER = b"k" * 32, b"n" * 32, b"o" * 32
NOW_MS = 1_767_225_600_123
TEXT = base64.urlsafe_b64encode(KEY).decode()
DOWN = Retry("http_503", "down", retry_after=3600.0)


@pytest.fixture
def queue(tmp_path: Path) -> Path:
    """Return the queue directory."""
    return tmp_path / "queue"


@contextmanager
def shop(
    queue: Path, *destinations: ScriptedDestination, keys: Sequence[bytes] = (KEY,)
) -> Iterator[Tracker]:
    """Run a tracker over the queue, with keys."""
    tracker = Tracker(
        destinations,
        directory=queue,
        encryption_keys=keys,
        flush_interval=0.02,
        handle_sigterm=False,
        _policy=STEADY,
        shutdown_timeout=0.5,
    )
    try:
        yield tracker
    finally:
        tracker.close(timeout=0.5)


def deliver(queue: Path, destination: ScriptedDestination, keys: Sequence[bytes]) -> Stats:
    """Deliver what can be delivered with some keys, and return the counts."""
    with shop(queue, destination, keys=keys) as tracker:
        return tracker.flush(10.0)


def refuse(batch: Batch) -> Outcome:
    """Refuse a batch's first event, echoing what it says as sellers do."""
    said = f"not {batch.events[0].decode()[:60]}"
    return Rejected("REFUSED", said, (EventFailure("REFUSED", said, index=0),))


def records(queue: Path) -> list[Record]:
    """Return every record in the segments, as it stands on disk."""
    paths = sorted((queue / "segments").glob("*.log"))
    return [record for path in paths for record in parse(path.read_bytes())[0]]


def test_nothing_on_disk_can_be_read(queue: Path) -> None:
    """No id, hash or value of an event stands in any file, wherever its way ended."""
    destination = ScriptedDestination(outcomes=[refuse, DOWN])
    with shop(queue, destination) as tracker:
        track_others(tracker, 3)
        track_alice(tracker)
        tracker.track_lead(
            event_id="bob-secret", email="bob@example.com", test_event_code="T-secret"
        )
        tracker.track_purchase({"id": "order-secret", "total": "77012345.67", "currency": "EUR"})
        tracker.track_purchase({"id": "broken-secret", "total": "nothing", "currency": "EUR"})
        tracker.flush(20.0)
        assert len(tracker.dead_letters.list()) == 2
        destination.always = lambda _: DOWN
        tracker.track_lead(event_id="late-secret", email="late@example.com")
        said = ("order-secret", "77012345.67", "event_type")  # longer than what comes by chance
        more = (*said, "bob-secret", "late-secret", "T-secret")
        tracker.flush(0.1)
        assert tracker.stats().pending > 0
        assert found_on_disk(queue / "segments", *more) == []
        assert found_on_disk(queue / "dead", *more, "broken-secret") == []
        assert found_on_disk(queue, *said) == []
    kinds = {record.kind for record in records(queue)}
    assert kinds == {ENCRYPTED_EVENT, ENCRYPTED_ENVELOPED}


def test_everything_is_delivered_as_it_was_tracked(queue: Path) -> None:
    """The seller gets the same bytes as from a queue that is not sealed."""
    plain, sealed = ScriptedDestination(), ScriptedDestination()
    with shop(queue, sealed) as tracker, shop(queue / "plain", plain, keys=()) as other:
        for each in (tracker, other):
            each.track_lead(event_id="A", email=EMAIL, event_time="2026-01-01T00:00:00Z")
            assert balanced(each.flush(10.0)).delivered == 1
    assert plain.delivered == sealed.delivered
    assert len(plain.delivered) == 1


def test_plain_trackers_have_the_plain_journal(queue: Path) -> None:
    """Without a key, an event takes the very way it took before."""
    with shop(queue, keys=()) as tracker:
        assert type(tracker._pipeline.journal) is JournalWriter  # noqa: SLF001 - what is not there costs nothing


def test_keys_are_rotated_without_losing_anything(queue: Path) -> None:
    """What the old key sealed is delivered with the new one in front of it."""
    with shop(queue) as tracker:
        track_others(tracker, 3)
    with shop(queue, keys=(NEW, KEY)) as tracker:
        track_others(tracker, 3, first=3)
    destination = ScriptedDestination()
    assert balanced(deliver(queue, destination, (NEW, KEY))).delivered == 6
    assert destination.ids == [f"B-{number}" for number in range(6)]
    assert records(queue) == []


def test_plain_and_encrypted_events_wait_side_by_side(queue: Path) -> None:
    """Keys may be given to a queue that has plain events, and to some of its processes."""
    with shop(queue, keys=()) as plain, shop(queue) as sealing:
        for number in range(4):
            track_others((plain, sealing)[number % 2], 1, first=number)
    destination = ScriptedDestination()
    assert balanced(deliver(queue, destination, (KEY,))).delivered == 4
    assert sorted(destination.ids) == [f"B-{number}" for number in range(4)]


@pytest.mark.parametrize("keys", [(), (OTHER,)])
def test_events_wait_for_their_key(
    queue: Path, keys: tuple[bytes, ...], caplog: pytest.LogCaptureFixture
) -> None:
    """Without it they are pending, and the counts and the log say why; with it they go."""
    with shop(queue) as tracker:
        track_others(tracker, 3)
    destination = ScriptedDestination()
    with shop(queue, destination, keys=keys) as tracker:
        track_others(tracker, 2, first=3)
        counts = balanced(tracker.flush(20.0))  # does not wait for what cannot come
        assert (counts.accepted, counts.delivered, counts.pending) == (5, 2, 3)
        assert (counts.dropped, counts.dead) == ({}, 0)
    assert destination.ids == ["B-3", "B-4"]
    assert len(counts.missing_keys) == 8
    assert (
        read_stats(DirectoryStore(QueueDirectory(queue))).destinations["scripted"].missing_keys
        == counts.missing_keys
    )
    entries = [each.getMessage() for each in caplog.records if "events.locked" in each.getMessage()]
    assert len(entries) == 1
    assert f"encrypted_with='{counts.missing_keys}'" in entries[0]
    assert "encryption_keys" in entries[0]

    counts = balanced(deliver(queue, destination, (KEY,)))
    assert (counts.delivered, counts.pending, counts.missing_keys) == (5, 0, "")
    assert sorted(destination.ids) == [f"B-{number}" for number in range(5)]


def test_a_locked_record_holds_up_what_follows_it_in_its_segment_only(queue: Path) -> None:
    """What stands before it goes, and what is in other segments; the order is kept."""
    directory = QueueDirectory(queue)
    directory.prepare()
    encryption = Encryption([KEY])
    journal = EncryptedJournalWriter(encryption, directory)
    journal.append_record(b'{"full":2}', NOW_MS, DROPPED)
    journal.append(b'{"event_id":"A-1","event_type":"lead"}', NOW_MS)
    journal.append_record(b'{"full":3}', NOW_MS, DROPPED)
    journal.roll()
    destination = ScriptedDestination()
    counts = balanced(deliver(queue, destination, ()))
    assert (counts.dropped, counts.pending, counts.delivered) == ({"full": 2}, 2, 0)
    counts = balanced(deliver(queue, destination, (KEY,)))
    assert (counts.dropped, counts.pending, counts.delivered) == ({"full": 5}, 0, 1)


@pytest.mark.slow
def test_a_frozen_batch_waits_for_its_key_whole(queue: Path) -> None:
    """A batch that was tried already is not shrunk by a key that is missing for a while."""
    destination = ScriptedDestination(outcomes=[Retry("http_503", "down")])
    with shop(queue, destination) as tracker:
        track_others(tracker, 3)
        tracker.flush(0.2)
    assert len(destination.batches) == 1
    for _ in range(2):
        counts = balanced(deliver(queue, destination, (OTHER,)))
        assert (counts.pending, counts.dropped, counts.dead) == (3, {}, 0)
        assert counts.missing_keys
    assert len(destination.batches) == 1
    counts = balanced(deliver(queue, destination, (KEY,)))
    assert (counts.delivered, counts.pending) == (3, 0)
    assert destination.batches[0].identity == destination.batches[1].identity


def test_a_tampered_record_is_damage_and_costs_itself_only(queue: Path) -> None:
    """A flipped bit, and a body moved under another header, are counted and kept aside."""
    with shop(queue) as tracker:
        track_others(tracker, 4)
    (path,) = (queue / "segments").glob("*.log")
    lines = bytearray(path.read_bytes()).splitlines(keepends=True)
    lines[1][100] ^= 1
    path.write_bytes(b"".join(lines))
    destination = ScriptedDestination()
    counts = balanced(deliver(queue, destination, (KEY,)))
    assert (counts.delivered, counts.dropped) == (3, {"damaged": 1})
    assert destination.ids == ["B-0", "B-2", "B-3"]


def letters_of(queue: Path, keys: Sequence[bytes]) -> list[str]:
    """Return the event ids of the dead letters that some keys open."""
    encryption = Encryption(keys) if keys else None
    found = DeadLetterStore(QueueDirectory(queue), encryption)
    return [str(orjson.loads(letter.event)["event_id"]) for letter in found]


def test_dead_letters_are_encrypted_and_replayed(queue: Path) -> None:
    """They are read by whoever has the key, and go back sealed."""
    destination = ScriptedDestination(outcomes=[refuse])
    with shop(queue, destination) as tracker:
        track_others(tracker, 1)
        assert balanced(tracker.flush(10.0)).dead == 1
        (letter,) = tracker.dead_letters.list()
        assert orjson.loads(letter.event)["event_id"] == "B-0"
        assert letter.message.startswith("not {")
    assert (letters_of(queue, ()), letters_of(queue, (OTHER,))) == ([], [])
    assert letters_of(queue, (NEW, KEY)) == ["B-0"]
    down = ScriptedDestination(outcomes=[DOWN])
    with shop(queue, down, keys=(NEW, KEY)) as tracker:
        assert tracker.dead_letters.replay([letter.id]).replayed == (letter.id,)
        tracker.flush(0.2)
        assert {each.kind for each in records(queue)} == {ENCRYPTED_ENVELOPED}
        assert letters_of(queue, (NEW, KEY)) == []
    assert len(down.batches) == 1


def test_dead_letters_without_their_key_are_kept(queue: Path) -> None:
    """Removing others, or looking, never deletes what cannot be read."""
    directory = QueueDirectory(queue)
    directory.prepare()
    letters = [
        DeadLetter(
            "a", "gone.log", number, 1.0e9, "NO", "no", event=b'{"event_id":"B-%d"}' % number
        )
        for number in range(3)
    ]
    DeadLetterStore(directory, Encryption([KEY])).add(letters[:2], 1.0)
    other = DeadLetterStore(directory, Encryption([OTHER]))
    other.add(letters[2:], 1.0)
    assert [letter.id for letter in other] == [letters[2].id]
    assert other.undecrypted() == 2
    assert other.remove({letter.id for letter in letters}) == 1
    assert not other.is_empty()
    assert letters_of(queue, (KEY,)) == ["B-0", "B-1"]


@pytest.mark.slow
def test_a_person_is_found_and_erased_in_encrypted_events(queue: Path) -> None:
    """Export lists and forget erases what is sealed, waiting and dead, and what is plain."""
    destination = ScriptedDestination(outcomes=[refuse, Retry("http_503", "down")])
    with shop(queue, destination) as tracker, shop(queue, keys=()) as plain:
        track_alice(tracker, "alice-dead")
        track_alice(tracker, "alice-frozen")
        track_others(tracker, 2)
        tracker.flush(0.3)
        track_alice(tracker, "alice-waiting")
        track_alice(plain, "alice-plain")
        kinds = [str(found["kind"]) for found in tracker.privacy.export(email=EMAIL)]
        assert sorted(kinds) == ["dead_letter", *["event"] * 4]
        report = tracker.privacy.erase(email=EMAIL)
        assert (report.events, report.dead_letters, report.undecrypted) == (4, 1, 0)
        assert report.is_complete
        assert tracker.privacy.export(email=EMAIL) == []
    assert found_on_disk(queue) == []
    after = ScriptedDestination()
    counts = balanced(deliver(queue, after, (KEY,)))
    assert (counts.delivered, counts.pending, counts.dropped) == (2, 0, {"erased": 4})
    assert after.ids == ["B-0", "B-1"]


def test_erasing_without_the_key_says_so(queue: Path) -> None:
    """What cannot be read cannot be searched, and nobody is told that all is done."""
    with shop(queue) as tracker:
        track_alice(tracker)
    with shop(queue, keys=(OTHER,)) as tracker:
        (listed,) = tracker.privacy.export(email=EMAIL)
        assert (listed["kind"], listed["events"]) == ("undecrypted", 1)
        report = tracker.privacy.erase(email=EMAIL)
        assert (report.events, report.undecrypted, report.is_complete) == (0, 1, False)
        assert any("encryption_keys" in each for each in report.remaining_steps)
        assert report.as_json()["undecrypted"] == 1
    with shop(queue) as tracker:
        assert tracker.privacy.erase(email=EMAIL).events == 1


class FailingJournal(EncryptedJournalWriter):
    """A journal whose disk fails for as long as it is told to; it remembers what it was given."""

    fails = True
    given: tuple[bytes, bytes] = (b"", b"")

    def append_record(self, body: bytes, accepted_ms: int, kind: bytes) -> None:
        """Append, or fail."""
        self.given = body, kind
        if self.fails:
            raise OSError(errno.EIO, "disk")
        super().append_record(body, accepted_ms, kind)


def test_what_waits_in_memory_is_encrypted_as_well(queue: Path) -> None:
    """An event the disk refuses is held as it will be written, once sealed, and erased there."""
    encryption = Encryption([KEY])
    journal = FailingJournal(encryption, QueueDirectory(queue))
    buffer = WriteBuffer(journal, SystemClock())
    buffer.append(b'{"event_id":"A-1"}', NOW_MS)
    buffer.append_enveloped({"test": "T1"}, b'{"event_id":"A-2"}', NOW_MS)
    buffer.append(b'{"event_id":"A-3"}', NOW_MS)
    assert buffer.erase(lambda event: b"A-3" in event) == 1
    assert buffer.in_memory == 2
    buffer.flush()
    body, kind = journal.given
    assert (kind, b"A-1" in body) == (DROPPED, False)
    journal.fails = False
    buffer.flush()
    journal.roll()
    assert [each.kind for each in records(queue)] == [ENCRYPTED_EVENT, ENCRYPTED_ENVELOPED, DROPPED]
    (path,) = (queue / "segments").iterdir()
    opened, damages = encryption.parse(path.read_bytes())
    assert [each.unpack()[1] for each in opened[:2]] == [
        b'{"event_id":"A-1"}',
        b'{"event_id":"A-2"}',
    ]
    assert damages == []


def test_keys_come_from_the_environment(queue: Path) -> None:
    """``ADCP_ENCRYPTION_KEYS`` is a list, the first of which seals; a wrong one is refused."""
    env = {"ADCP_DIRECTORY": str(queue), "ADCP_ENCRYPTION_KEYS": f"{TEXT}, {TEXT[:10]}"}
    with pytest.raises(ConfigurationError, match=r"encryption_keys\[1\]"):
        Tracker.from_env(env)
    tracker = Tracker.from_env(env | {"ADCP_ENCRYPTION_KEYS": TEXT})
    track_alice(tracker)
    tracker.close()
    assert found_on_disk(queue) == []
    assert TEXT[:10] not in repr(tracker.settings)
    assert len(ALICE) == 4


def test_one_key_needs_no_list(queue: Path) -> None:
    """A single key is taken as it is, and not as a list of letters."""
    tracker = Tracker([], directory=queue, encryption_keys=TEXT)
    track_alice(tracker)
    tracker.close()
    assert [each.kind for each in records(queue)] == [ENCRYPTED_EVENT]


def test_a_forked_worker_encrypts_on_its_own(queue: Path) -> None:
    """Parent and child share a key and nothing else, and both are delivered."""
    with shop(queue) as tracker:
        track_others(tracker, 2)
        child = os.fork()
        if child == 0:  # pragma: no cover - in another process
            track_others(tracker, 2, first=2)
            os._exit(0)
        track_others(tracker, 2, first=4)
        assert os.waitpid(child, 0)[1] == 0
    heads = [record.body[:48] for record in records(queue)]
    assert len({head[9:31] for head in heads}) == 2
    assert len({head[32:] for head in heads}) == 6
    destination = ScriptedDestination()
    assert balanced(deliver(queue, destination, (KEY,))).delivered == 6


@pytest.mark.slow
def test_the_command_line_reads_encrypted_events(queue: Path, seller: Sandbox) -> None:
    """With the key in the environment it delivers and lists; without, it says what is missing."""
    with shop(queue) as tracker:
        track_others(tracker, 2)
    here = {"ADCP_DIRECTORY": str(queue)}
    seller.configure(refuse_events={"B-0": "INVALID_EVENT_TIME"})
    run("flush", "--timeout", "5", **here, **pointing_at(seller))
    shown = run("status", **here, **pointing_at(seller))
    assert shown.code == 1
    assert "ADCP_ENCRYPTION_KEYS" in shown.out
    assert run("status", "--json", **here).json["states"] == {NAME: "missing key"}

    keys = {"ADCP_ENCRYPTION_KEYS": TEXT}
    assert run("flush", **here, **keys, **pointing_at(seller)).code == 0
    counts = run("status", "--json", **here).json["destinations"][NAME]
    assert (counts["delivered"], counts["dead"], counts["missing_keys"]) == (1, 1, "")
    (letter,) = run("dead", "list", "--json", **here, **keys).json["letters"]
    assert letter["event_id"] == "B-0"
    assert run("dead", "list", "--json", **here).json == {"count": 0, "locked": 1, "letters": []}
    assert "ADCP_ENCRYPTION_KEYS" in run("dead", "list", **here).out
