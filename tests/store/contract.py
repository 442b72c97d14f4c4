"""What every store of a queue must do: subclass :class:`StoreContract` and give it a store.

A store that several machines share runs the same tests, with two instances on one database in
place of two on one directory.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from adcp_tracker._platform import SystemClock
from adcp_tracker.journal.records import ENVELOPED, ERASED, CorruptSpan
from adcp_tracker.outbox.dead_letters import DeadLetter

if TYPE_CHECKING:
    from adcp_tracker.outbox.storage import Queue, Store

NOW_MS = 1_767_225_600_123
NOW_S = NOW_MS / 1000


def body(number: int) -> bytes:
    """Return a small event."""
    return b'{"event_id":"A-%d"}' % number


def lead(store: Store) -> Queue:
    """Return the queue as its leader sees it."""
    lock = store.leader_lock(SystemClock())
    assert lock.try_acquire()
    queue = store.open(lock.term)
    lock.release()  # the term stays the last one until another process leads
    return queue


def letter(number: int) -> DeadLetter:
    """Return a dead letter."""
    return DeadLetter("seller", "1.log", number, NOW_S, "CODE", "message", event=body(number))


class StoreContract:
    """The tests; a subclass has fixtures ``store`` and ``other``, another process's view of it."""

    def let_time_pass(self, store: Store) -> None:
        """Make a segment look old, where a store closes it for that."""

    @pytest.fixture
    def queue(self, store: Store) -> Queue:
        """Return the queue as its leader sees it, with three events in a closed segment."""
        store.prepare()
        journal = store.journal_writer()
        for number in range(3):
            journal.append(body(number), NOW_MS)
        journal.roll()
        return lead(store)

    def test_what_is_appended_is_read_in_order(self, queue: Queue) -> None:
        """Each record whole, with its offsets; and as many are counted."""
        ((name, size),) = queue.segments.sizes().items()
        records, spans = queue.segments.parse(queue.segments.read(name, 0, size), 0)
        assert [each.body for each in records] == [body(number) for number in range(3)]
        assert (records[-1].stop, spans) == (size, [])
        assert queue.segments.count(name, 0, size) == 3
        assert queue.segments.count(name, records[0].stop, size) == 2
        with queue.segments.reading(name) as read:
            assert read(records[1].start, 10) == queue.segments.read(name, records[1].start, 10)

    def test_a_segment_that_is_written_is_neither_closed_nor_deleted(self, store: Store) -> None:
        """It may still grow."""
        store.prepare()
        journal = store.journal_writer()
        journal.append(body(1), NOW_MS)
        queue = lead(store)
        ((name, size),) = queue.segments.sizes().items()
        assert not queue.segments.is_closed(name)
        assert not queue.segments.delete(name, size)
        journal.roll()
        self.let_time_pass(store)
        assert queue.segments.sizes() == {name: size}
        assert queue.segments.is_closed(name)
        assert not queue.segments.delete(name, size - 1)
        assert queue.segments.delete(name, size)
        assert queue.segments.delete(name, size)
        assert queue.segments.sizes() == {}

    def test_erased_records_keep_their_place(self, queue: Queue) -> None:
        """Offsets never change, so that frozen batches stay what they are."""
        ((name, size),) = queue.segments.sizes().items()
        records, _ = queue.segments.parse(queue.segments.read(name, 0, size), 0)
        queue.segments.erase(name, records[1:2])
        queue.segments.sync()
        after, spans = queue.segments.parse(queue.segments.read(name, 0, size), 0)
        assert [(each.start, each.stop) for each in after] == [
            (each.start, each.stop) for each in records
        ]
        assert (after[1].kind, spans) == (ERASED, [])
        assert body(1) not in queue.segments.read(name, 0, size)

    def test_blanked_bytes_keep_the_records_around_them(self, queue: Queue) -> None:
        """Only the bytes that were named are overwritten."""
        ((name, size),) = queue.segments.sizes().items()
        records, _ = queue.segments.parse(queue.segments.read(name, 0, size), 0)
        first = records[0]
        data = queue.segments.read(name, first.start, first.stop - first.start - 1)
        queue.segments.blank(name, [CorruptSpan(first.start, data)])
        after, _ = queue.segments.parse(queue.segments.read(name, 0, size), 0)
        assert [each.body for each in after] == [body(1), body(2)]

    def test_the_state_is_what_was_last_applied(self, store: Store, other: Store) -> None:
        """All puts and removes of a call or none, seen by the next leader."""
        store.prepare()
        outbox = lead(store).open_outbox()
        assert outbox.load() == {}
        outbox.apply({"a": b"1", "b": b"2"}, [])
        outbox.apply({"a": b"3"}, ["b"])
        outbox.close()
        again = lead(other).open_outbox()
        assert again.load() == {"a": b"3"}
        again.close()

    def test_a_state_that_is_set_aside_leaves_an_empty_one(self, store: Store) -> None:
        """Delivery can begin anew from the segments."""
        store.prepare()
        queue = lead(store)
        outbox = queue.open_outbox()
        outbox.apply({"a": b"1"}, [])
        outbox.close()
        assert queue.quarantine_state()
        new = queue.open_outbox()
        assert new.load() == {}
        new.close()
        assert queue.discard_quarantined() == 1

    def test_dead_letters_are_listed_until_they_are_removed(self, queue: Queue) -> None:
        """Once each, however often they are added."""
        assert queue.dead_letters.is_empty()
        queue.dead_letters.add([letter(1), letter(2)], NOW_S)
        queue.dead_letters.add([letter(2)], NOW_S)
        assert list(queue.dead_letters) == [letter(1), letter(2)]
        assert queue.dead_letters.undecrypted() == 0
        assert queue.dead_letters.remove({letter(1).id, "unknown"}) == 1
        assert list(queue.dead_letters) == [letter(2)]

    def test_every_process_sees_the_names_of_all_destinations(
        self, store: Store, other: Store
    ) -> None:
        """Whoever added them, and until they are removed."""
        store.prepare()
        clock = SystemClock()
        names, others = store.destination_names(["a"], clock), other.destination_names(["b"], clock)
        names.add_own()
        others.add_own_synced()
        names.add(["c"])
        assert (set(names), set(others), names.own) == ({"a", "b", "c"}, {"a", "b", "c"}, ("a",))
        others.remove("c")
        others.remove_stale()
        assert set(names) == {"a", "b"}

    def test_one_process_leads_and_steps_down_when_asked(self, store: Store, other: Store) -> None:
        """Whoever asks gets the lock; whoever has it learns that it is asked for."""
        store.prepare()
        clock = SystemClock()
        first, second = store.leader_lock(clock), other.leader_lock(clock)
        assert first.try_acquire()
        assert first.renew()
        assert (first.is_held, second.try_acquire(), second.is_held) == (True, False, False)
        asked: list[bool] = []
        waiting = threading.Thread(target=lambda: asked.append(second.acquire(20.0)))
        waiting.start()
        while not first.is_requested():
            clock.sleep(0.01)
        first.release()
        waiting.join()
        assert (asked, first.is_held, first.renew()) == ([True], False, False)
        second.release()

    def test_published_stats_are_read_by_all(self, store: Store, other: Store) -> None:
        """Nothing before they are written, then what was written last."""
        store.prepare()
        assert other.read_stats() == b""
        lead(store).write_stats(b'{"waiting":1}')
        lead(store).write_stats(b'{"waiting":2}')
        assert other.read_stats() == b'{"waiting":2}'

    def test_a_text_is_found_wherever_it_is_kept(self, queue: Queue) -> None:
        """In published stats and in the state, and nowhere once it is overwritten."""
        queue.write_stats(b'{"message":"of Nobody@example.com"}')
        assert queue.places_with(frozenset({"nobody@example.com"}))
        queue.write_stats(b"{}")
        assert not queue.places_with(frozenset({"nobody@example.com"}))
        outbox = queue.open_outbox()
        outbox.apply({"a": b"of somebody@example.com"}, [])
        assert queue.state_contains(frozenset({"somebody@example.com"}))
        outbox.apply({}, ["a"])
        outbox.close()
        queue.compact_state()
        assert not queue.state_contains(frozenset({"somebody@example.com"}))

    def test_damage_is_kept_until_it_is_discarded(self, queue: Queue) -> None:
        """Up to a limit, and out of the way."""
        ((name, _),) = queue.segments.sizes().items()
        queue.segments.quarantine(name, b"no record")
        assert queue.discard_quarantined() == 1
        assert queue.discard_quarantined() == 0

    def test_a_queue_takes_room(self, store: Store, queue: Queue) -> None:
        """Events count."""
        assert store.used_bytes() >= sum(queue.segments.sizes().values()) > 0

    def test_an_enveloped_record_is_told_apart(self, store: Store) -> None:
        """Kinds survive the way through the store."""
        store.prepare()
        journal = store.journal_writer()
        journal.append_record(b'{"only":"a"}\t' + body(1), NOW_MS, ENVELOPED)
        journal.roll()
        queue = lead(store)
        ((name, size),) = queue.segments.sizes().items()
        ((record,), _) = queue.segments.parse(queue.segments.read(name, 0, size), 0)
        assert record.unpack() == ({"only": "a"}, body(1))
