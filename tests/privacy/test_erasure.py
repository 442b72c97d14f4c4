"""Erasing a person: nothing of theirs is left on disk or sent any more, and the counts balance."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adcp_tracker._platform import SystemClock
from adcp_tracker.context import RequestContext
from adcp_tracker.delivery.stats import write_stats
from adcp_tracker.destinations.base import (
    Batch,
    Delivered,
    EventFailure,
    Outcome,
    Paused,
    Rejected,
    Retry,
)
from adcp_tracker.journal.buffer import WriteBuffer
from adcp_tracker.journal.files import QueueDirectory
from adcp_tracker.journal.records import ENVELOPED, EVENT, encode_record, with_envelope
from adcp_tracker.journal.writer import JournalWriter
from adcp_tracker.outbox._diskcache import DiskcacheOutbox
from adcp_tracker.outbox.directory import DirectoryStore
from adcp_tracker.privacy import ErasureReport
from adcp_tracker.privacy.matching import PersonMatcher, person
from tests.support.destinations import HandClock, ScriptedDestination, wait_until
from tests.support.persons import (
    CLICK,
    EMAIL,
    PHONE,
    UID,
    balanced,
    erasure,
    found_on_disk,
    leading,
    track_alice,
    track_others,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from adcp_tracker.delivery.uploader import Uploader
    from adcp_tracker.tracker import Tracker

    Make = Callable[..., Tracker]

NOW_MS = 1_767_225_600_123
DOWN = Retry("http_503", "down", retry_after=3600.0)


@pytest.fixture
def queue(tmp_path: Path) -> Path:
    """Return the queue directory."""
    return tmp_path / "queue"


def ids_of(batch: Batch) -> list[str]:
    """Return the ids of a batch's events."""
    return [orjson.loads(event)["event_id"] for event in batch.events]


def test_nothing_is_left_of_who_was_waiting(make: Make, queue: Path) -> None:
    """Events not in any batch yet are overwritten, and counted once they are passed over."""
    tracker = make()
    track_others(tracker, 3)
    track_alice(tracker)
    track_alice(tracker, "alice-2", custom_data={"order_id": "A-1"})
    assert found_on_disk(queue)
    assert tracker.privacy.erase(email=EMAIL).events == 2
    assert found_on_disk(queue) == []
    tracker.close()
    destination = ScriptedDestination()
    stats = make(destination).flush()
    assert destination.ids == ["B-0", "B-1", "B-2"]
    assert balanced(stats).dropped == {"erased": 2}


@pytest.mark.slow
def test_a_batch_that_was_tried_goes_again_without_the_person_and_as_another(
    make: Make, queue: Path
) -> None:
    """Other bytes under the same key would be refused as a conflict."""
    before = make()
    others = track_others(before, 2)
    track_alice(before)
    before.close()
    destination = ScriptedDestination(outcomes=[Retry("http_503", "down", retry_after=1.0)])
    tracker = make(destination)
    tracker.start()
    wait_until(lambda: tracker.stats().destinations["scripted"].retrying)
    report = tracker.privacy.erase(email=EMAIL)
    assert (report.events, report.undelivered, report.in_flight) == (1, 1, 0)
    assert report.is_complete
    assert found_on_disk(queue) == []
    totals = balanced(tracker.flush())
    assert [ids_of(batch) for batch in destination.batches] == [[*others, "alice"], others]
    assert destination.batches[0].identity != destination.batches[1].identity
    assert (totals.delivered, totals.dropped) == (2, {"erased": 1})


def test_a_batch_of_nobody_else_is_never_sent(make: Make, queue: Path) -> None:
    """Where nothing is left of a batch, it is gone, and its segment with it."""
    destination = ScriptedDestination(outcomes=[Paused("AUTH", "no", "mend it")])
    tracker = make(destination)
    track_alice(tracker)
    wait_until(lambda: tracker.stats().destinations["scripted"].paused)
    assert tracker.privacy.erase(uid=UID).undelivered == 1
    assert tracker.flush().pending == 0
    assert destination.delivered == []
    tracker.close()
    assert list((queue / "segments").iterdir()) == []


def test_each_destination_is_told_apart(make: Make, queue: Path) -> None:
    """What one seller has and another has not is counted so, and said to the site."""
    up = ScriptedDestination("up")
    down = ScriptedDestination("down", outcomes=[DOWN])
    tracker = make(up, down)
    track_alice(tracker)
    wait_until(lambda: tracker.stats().destinations["down"].retrying)
    wait_until(lambda: tracker.stats().destinations["up"].delivered == 1)
    report = tracker.privacy.erase(phone=PHONE)
    assert report.sent == {"up": 1}
    assert report.undelivered == 1
    assert report.remaining_steps[0].startswith("Ask up to delete")
    assert found_on_disk(queue) == []
    balanced(tracker.stats(), "up")
    assert balanced(tracker.stats(), "down").dropped == {"erased": 1}


def test_dead_letters_are_erased(make: Make, queue: Path) -> None:
    """With what the seller said of them, and only the person's own."""
    before = make()
    track_others(before, 2)
    track_alice(before)
    before.close()
    failures = (
        EventFailure("BAD", f"not {EMAIL}", event_id="alice"),
        EventFailure("BAD", "not this one", event_id="B-0"),
    )
    tracker = make(ScriptedDestination(outcomes=[Delivered(failures)]))
    assert balanced(tracker.flush()).dead == 2
    report = tracker.privacy.erase(click_id=CLICK)
    assert report.dead_letters == 1
    assert [letter.message for letter in tracker.dead_letters.list()] == ["not this one"]
    totals = balanced(tracker.stats())
    assert (totals.delivered, totals.dead, totals.dropped) == (1, 1, {"erased": 1})
    assert found_on_disk(queue) == []


@pytest.mark.slow
def test_what_is_on_its_way_cannot_be_called_back_and_is_said(make: Make, queue: Path) -> None:
    """It is erased on disk; if it must go again, it goes without the person."""
    destination = ScriptedDestination(outcomes=[Retry("http_503", "down")])
    destination.gate.clear()
    tracker = make(destination)
    track_alice(tracker)
    wait_until(lambda: destination.batches)
    others = track_others(tracker, 3)
    report = tracker.privacy.erase(email=EMAIL)
    assert (report.events, report.in_flight, report.undelivered) == (1, 1, 0)
    assert not report.is_complete
    assert report.remaining_steps[0] == (
        "Erase again shortly: 1 event was in a request and can't be taken back."
    )
    assert found_on_disk(queue) == []
    destination.gate.set()
    stats = tracker.flush()
    assert destination.ids == others
    assert balanced(stats).dropped == {"erased": 1}
    assert tracker.privacy.erase(email=EMAIL).is_complete


@pytest.mark.parametrize(
    "outcome",
    [
        Delivered((EventFailure("BAD", "bad", index=0),)),
        Delivered((EventFailure("BAD", "bad", event_id="alice"),)),
        Rejected("BAD", "bad", (EventFailure("BAD", "bad", index=0),)),
        Rejected("BAD", "bad"),
        Delivered(),
    ],
)
def test_no_outcome_brings_back_an_erased_person(make: Make, queue: Path, outcome: Outcome) -> None:
    """Whatever a seller answers to what it was sent before, no letter tells of the person."""
    destination = ScriptedDestination(outcomes=[outcome])
    destination.gate.clear()
    tracker = make(destination)
    track_alice(tracker)
    wait_until(lambda: destination.batches)
    assert tracker.privacy.erase(email=EMAIL).in_flight == 1
    destination.gate.set()
    balanced(tracker.flush())
    assert tracker.stats().pending == 0
    assert found_on_disk(queue) == []


@pytest.mark.parametrize(
    "outcome",
    [
        Delivered((EventFailure("BAD", "bad", index=0),)),
        Rejected("BAD", "bad", (EventFailure("BAD", "bad", index=0),)),
        Rejected("BAD", "bad"),
    ],
)
def test_a_person_erased_during_a_rejected_request_leaves_no_dead_letter(
    make: Make, outcome: Outcome
) -> None:
    """There is nothing left that could be mended and sent again."""
    destination = ScriptedDestination(outcomes=[outcome])
    destination.gate.clear()
    tracker = make(destination)
    track_alice(tracker)
    wait_until(lambda: destination.batches)
    tracker.privacy.erase(email=EMAIL)
    destination.gate.set()
    totals = balanced(tracker.flush())
    assert tracker.dead_letters.list() == []
    assert (totals.accepted, totals.dead, totals.dropped) == (1, 0, {"erased": 1})


def test_what_a_seller_said_of_the_person_is_taken_back(make: Make, queue: Path) -> None:
    """A seller may repeat in an error what it was sent; a database keeps what it frees."""
    words = f"$.user_match: {UID} of {EMAIL} is unknown"
    destination = ScriptedDestination(outcomes=[Paused("AUTH", words, "mend it")])
    tracker = make(destination)
    track_others(tracker, 1)
    track_alice(tracker)
    wait_until(lambda: tracker.stats().destinations["scripted"].paused)
    wait_until(lambda: found_on_disk(queue / "state"))
    assert tracker.privacy.erase(email=EMAIL, uid=UID).is_complete
    assert found_on_disk(queue) == []
    destination.outcomes.clear()
    tracker.close()
    later = make(destination)
    assert balanced(later.flush()).dropped == {"erased": 1}
    assert "B-0" in destination.ids


@pytest.mark.slow
def test_what_cannot_be_read_is_removed_whole(make: Make, queue: Path) -> None:
    """A flipped bit hides a hash from every search, so damage and evidence are not kept."""
    tracker = make()
    track_others(tracker, 2)
    track_alice(tracker)
    track_others(tracker, 1, first=2)
    tracker.close()
    (segment,) = (queue / "segments").iterdir()
    data = bytearray(segment.read_bytes())
    data[data.index(CLICK.encode()) + 1] ^= 1
    torn = encode_record(b'{"event_id":"torn","note":"%b"}' % UID.encode(), NOW_MS, b"E")[:-9]
    segment.write_bytes(bytes(data) + torn)
    (queue / "damaged" / segment.name).write_bytes(EMAIL.lower().encode())
    (queue / "damaged" / segment.name).chmod(0o600)
    (queue / "state.damaged-1").mkdir(mode=0o700)
    (queue / "state.damaged-1" / "cache.db").write_bytes(UID.encode())
    destination = ScriptedDestination()
    later = make(destination, uploader="external")
    report = later.privacy.erase(email=EMAIL)
    assert report.unreadable == 4
    assert found_on_disk(queue) == []
    balanced(later.flush())
    tracker = make(destination)
    stats = tracker.flush()
    assert sorted(destination.ids) == ["B-0", "B-1", "B-2"]
    assert balanced(stats).dropped["damaged"] == 1


def test_a_replayed_event_is_erased_for_the_one_it_goes_to(make: Make, queue: Path) -> None:
    """A letter sent again is a record for one destination, and no matter of the others'."""
    failures = (EventFailure("BAD", "bad", event_id="alice"),)
    one, two = ScriptedDestination("one", [Delivered(failures)]), ScriptedDestination("two")
    tracker = make(one, two)
    track_alice(tracker)
    tracker.flush()
    one.outcomes.append(DOWN)
    tracker.dead_letters.replay([letter.id for letter in tracker.dead_letters.list()])
    wait_until(lambda: tracker.stats().destinations["one"].retrying)
    report = tracker.privacy.erase(email=EMAIL)
    assert report.sent.get("two", 0) <= 1
    assert report.undelivered == 1
    assert found_on_disk(queue) == []
    assert balanced(tracker.stats(), "one").dropped == {"erased": 1}
    assert balanced(tracker.stats(), "two").delivered == 1


@pytest.mark.parametrize("keys", [(), (b"k" * 32,)], ids=["plain", "sealed"])
def test_a_replayed_event_erased_before_it_is_read_counts_for_no_other_destination(
    make: Make, keys: tuple[bytes, ...]
) -> None:
    """Its record still says whom it was for, and nothing else."""
    failures = (EventFailure("BAD", "bad", event_id="alice"),)
    one, two = ScriptedDestination("one", [Delivered(failures)]), ScriptedDestination("two")
    tracker = make(one, two, encryption_keys=keys)
    track_alice(tracker)
    tracker.flush()
    tracker.close()
    nobody = make(encryption_keys=keys)
    nobody.dead_letters.replay([letter.id for letter in nobody.dead_letters.list()])
    assert nobody.privacy.erase(email=EMAIL).events == 1
    nobody.close()
    stats = make(one, two, encryption_keys=keys).flush()
    assert balanced(stats, "one").dropped == {"erased": 1}
    assert (balanced(stats, "two").accepted, balanced(stats, "two").dropped) == (1, {})


def test_contexts_remembered_for_the_persons_orders_go_too(make: Make, queue: Path) -> None:
    """By the orders of their events, by their address, by their click, and no others."""
    tracker = make()
    shopper = RequestContext("192.0.2.1", "Mozilla/5.0")
    track_alice(tracker, custom_data={"order_id": "by-order"})
    tracker.contexts.remember("by-order", context=shopper)
    tracker.contexts.remember("by-address", email=EMAIL, context=shopper)
    tracker.contexts.remember("by-number", phone=PHONE, context=shopper)
    tracker.contexts.remember(
        "by-click", context=RequestContext("192.0.2.1", "M", None, CLICK, "gclid")
    )
    tracker.contexts.remember("bobs", email="bob@example.com", context=shopper)
    known = {"email": EMAIL, "phone": PHONE, "click_id": CLICK}
    assert tracker.privacy.erase(**known).remembered == 4  # type: ignore[arg-type]  # by name
    assert [tracker.contexts.recall(each).client_ip for each in ("by-order", "bobs")] == [
        None,
        "192.0.2.1",
    ]
    assert tracker.privacy.erase(order_id="bobs").remembered == 1
    assert list((queue / "remembered").iterdir()) == []


def test_what_other_keys_signed_is_left_and_said(make: Make) -> None:
    """A command line without the site's keys must not empty the site's memory."""
    site = make(context_keys=["the-site's-own-key-0123"])
    site.contexts.remember("A-1", context=RequestContext("192.0.2.1", "Mozilla/5.0"))
    site.close()
    command_line = make()
    report = command_line.privacy.erase(order_id="A-1")
    assert (report.remembered, report.unsearched, report.is_complete) == (0, 1, False)
    assert "context_keys" in report.remaining_steps[0]
    assert site.privacy.erase(order_id="A-1").remembered == 1


def test_events_that_wait_in_memory_are_erased(tmp_path: Path) -> None:
    """While the disk takes nothing they stand nowhere else."""
    directory = QueueDirectory(tmp_path / "queue")
    buffer = WriteBuffer(JournalWriter(directory), SystemClock())
    directory.path.write_bytes(b"")  # where a directory should be
    alice = b'{"event_id":"alice","user_match":{"click_id":"%b"}}' % CLICK.encode()
    buffer.append(alice, NOW_MS)
    buffer.append(b'{"event_id":"bob"}', NOW_MS)
    buffer.append_enveloped({"look": 1}, alice, NOW_MS)
    assert buffer.in_memory == 3
    assert buffer.erase(PersonMatcher(person(click_id=CLICK)).owns) == 2
    directory.path.unlink()
    with leading(directory, ScriptedDestination()) as uploader:
        assert erasure(directory, person(click_id=CLICK), buffer=buffer)(uploader).events == 0
        uploader.run_once()
        counts = uploader.state.destinations["scripted"].counts
        assert (counts.accepted, counts.dropped) == (3, {"erased": 2})


def test_letters_that_the_disk_refused_are_erased(tmp_path: Path) -> None:
    """A dead letter may wait in memory too."""
    directory = QueueDirectory(tmp_path / "queue")
    WriteBuffer(JournalWriter(directory), SystemClock()).append_enveloped(
        {"code": "BAD"}, b'{"event_id":"alice","note":"%b"}' % EMAIL.encode(), NOW_MS
    )
    with leading(directory, ScriptedDestination()) as uploader:
        directory.dead.rmdir()
        directory.dead.write_bytes(b"")
        uploader.run_once()
        directory.dead.unlink()
        directory.dead.mkdir(mode=0o700)
        assert uploader.discard_erased(lambda event: b"alice" in event) == 0
        uploader.commit()
        counts = uploader.state.destinations["scripted"].counts
        assert (counts.dead, counts.dropped) == (0, {"erased": 1})
    assert found_on_disk(tmp_path / "queue" / "dead") == []


def test_somebody_elses_event_stays_and_is_said(make: Make, queue: Path) -> None:
    """A link that was passed on carries its click id to others: theirs is not ours to erase."""
    tracker = make()
    track_alice(tracker)
    tracker.track_lead(event_id="bob", email="bob@example.com", click_id=CLICK)
    report = tracker.privacy.erase(email=EMAIL)
    assert report.events == 1
    assert report.is_complete
    assert [each["event"]["event_id"] for each in tracker.privacy.export(click_id=CLICK)] == ["bob"]  # type: ignore[index]  # an event
    assert tracker.privacy.erase(email=EMAIL, click_id=CLICK).events == 1
    assert found_on_disk(queue) == []


def test_other_events_of_the_same_order_are_followed(make: Make) -> None:
    """A refund that names nobody goes with its order, unless ``follow=False``; a click doesn't."""
    tracker = make()
    track_alice(tracker, custom_data={"order_id": "A-1"})
    tracker.track_refund({"id": "A-1", "total": "1.00", "currency": "EUR"}, refund_id="R-1")
    tracker.track_lead(event_id="later", click_id=CLICK, click_id_type="gclid")
    assert len(tracker.privacy.export(email=EMAIL)) == 2
    assert tracker.privacy.erase(email=EMAIL, follow=False).events == 1
    assert tracker.privacy.erase(order_id="A-1").events == 1
    assert tracker.privacy.erase(click_id=CLICK).events == 1


def test_erasing_again_finds_nothing(make: Make) -> None:
    """It can be done again at any time, and changes nothing then."""
    tracker = make(ScriptedDestination(outcomes=[DOWN]))
    track_others(tracker, 2)
    track_alice(tracker)
    wait_until(lambda: tracker.stats().destinations["scripted"].retrying)
    first, totals = tracker.privacy.erase(email=EMAIL), balanced(tracker.stats())
    assert tracker.privacy.erase(email=EMAIL) == ErasureReport()
    assert balanced(tracker.stats()) == totals
    assert first.as_json()["is_complete"] is True
    assert orjson.loads(orjson.dumps(first.as_json()))["events"] == 1


def test_the_site_is_told_what_only_it_can_do() -> None:
    """The cookie, what sellers have, what is stored with orders: the queue reaches none."""
    told = " ".join(ErasureReport(leftover_files=("segments/x.log",)).remaining_steps)
    for word in ("segments/x.log", "expire_cookie", "seller", "tokens", "transaction"):
        assert word in told


def put(directory: QueueDirectory, *events: tuple[str, str | None]) -> None:
    """Write events, each an id and a test code, of whoever the id begins with."""
    journal = JournalWriter(directory)
    for event_id, code in events:
        click_id = CLICK if event_id.startswith("alice") else event_id
        event = orjson.dumps({"event_id": event_id, "user_match": {"click_id": click_id}})
        body = with_envelope({"test": code}, event) if code else event
        journal.append_record(body, NOW_MS, ENVELOPED if code else EVENT)
    journal.roll()


def test_a_batch_that_was_read_ahead_is_read_again(tmp_path: Path) -> None:
    """What comes next is kept in memory between two steps, and the person with it."""
    directory = QueueDirectory(tmp_path / "queue")
    put(directory, ("bob-1", None), ("alice", "T"), ("bob-2", "T"))
    destination = ScriptedDestination()
    with leading(directory, destination) as uploader:
        uploader.run_once()
        erasure(directory, person(click_id=CLICK))(uploader)
        _step(uploader, 3, HandClock())
        assert balanced(uploader.stats()).dropped == {"erased": 1}
    assert destination.ids == ["bob-1", "bob-2"]


def test_outcomes_are_applied_first(tmp_path: Path) -> None:
    """An answer that is already here makes it sent, and not on its way."""
    directory, arrived = QueueDirectory(tmp_path / "queue"), threading.Event()
    put(directory, ("alice", None))
    with leading(directory, ScriptedDestination(), on_outcome=arrived.set) as uploader:
        uploader.run_once()
        assert arrived.wait(20.0)
        report = erasure(directory, person(click_id=CLICK))(uploader)
    assert (report.in_flight, report.sent, report.undelivered) == (0, {"scripted": 1}, 0)


def test_no_file_keeps_what_a_seller_said(tmp_path: Path) -> None:
    """Neither the counts for other processes, nor rows that a database has freed."""

    def careless(directory: QueueDirectory) -> DiskcacheOutbox:
        outbox = DiskcacheOutbox(directory.state)
        outbox._cache._sql("PRAGMA secure_delete = OFF")  # noqa: SLF001 - as elsewhere by default
        return outbox

    directory = QueueDirectory(tmp_path / "queue")
    put(directory, ("alice", None), *((f"bob-{number}", None) for number in range(3)))
    words = Paused("AUTH", f"{CLICK} is unknown " * 20, "mend it")
    destination = ScriptedDestination(outcomes=[words])
    with leading(directory, destination, outbox=careless) as uploader:
        _step(uploader, 1, HandClock())
        write_stats(DirectoryStore(directory).open(), uploader.stats())
        assert {"books.json", "state/cache.db-wal"} < set(found_on_disk(directory.path))
        assert erasure(directory, person(click_id=CLICK))(uploader).is_complete
        assert found_on_disk(directory.path) == []
        uploader.commit()


KINDS = st.sampled_from([None, {"test": "T"}, {"code": "BAD"}])
OUTCOMES: list[Outcome] = [DOWN, Delivered(), Rejected("BAD", "bad"), Retry("x", "x", 1.0)]


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["alice", "bob"]), KINDS), min_size=1, max_size=10),
    st.lists(st.sampled_from(OUTCOMES), max_size=3),
    st.integers(1, 4),
    st.integers(0, 3),
    st.sampled_from([400, 10_000]),
)
def test_wherever_an_event_is_the_stats_balance_and_the_person_is_gone(  # noqa: PLR0913, PLR0917 - drawn
    tmp_path_factory: pytest.TempPathFactory,
    people: list[tuple[str, dict[str, str] | None]],
    outcomes: list[Outcome],
    max_events: int,
    steps: int,
    segment_bytes: int,
) -> None:
    """Any mix of people, kinds of record and progress, in one and in many segments."""
    directory = QueueDirectory(tmp_path_factory.mktemp("queue") / "queue")
    journal = JournalWriter(directory, segment_bytes=segment_bytes)
    for number, (name, envelope) in enumerate(people):
        event = orjson.dumps({"event_id": f"{name}-{number}", "user_match": {"click_id": name}})
        body = event if envelope is None else with_envelope(envelope, event)
        journal.append_record(body, NOW_MS, EVENT if envelope is None else ENVELOPED)
    journal.roll()
    destination = ScriptedDestination(outcomes=outcomes, max_events=max_events)
    clock = HandClock()
    with leading(directory, destination, clock=clock) as uploader:
        _step(uploader, steps, clock)
        assert erasure(directory, person(click_id="alice"))(uploader).leftover_files == ()
        assert not any(b'"alice' in each.read_bytes() for each in directory.path.rglob("*.log"))
        balanced(uploader.stats())
        sent_before = len(destination.batches)
    with leading(directory, destination, clock=clock) as uploader:
        _step(uploader, 60, clock)
        totals = balanced(uploader.stats())
    later = [each for batch in destination.batches[sent_before:] for each in ids_of(batch)]
    assert not any(each.startswith("alice") for each in later)
    assert (totals.accepted, totals.pending) == (len(people), 0)
    assert totals.delivered == len(destination.delivered)


def _step(uploader: Uploader, count: int, clock: HandClock) -> None:
    """Take steps, each with the answers to what the one before has sent."""
    for _ in range(count):
        uploader.run_once()
        wait_until(lambda: _has_settled(uploader))
        clock.time += 7200.0


def _has_settled(uploader: Uploader) -> bool:
    uploader.apply_arrived()
    return not uploader.is_sending
