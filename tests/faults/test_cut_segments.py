"""Segments that are cut: at every offset once their writer is gone, and under a living one."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from adcp_tracker.destinations.base import Retry
from adcp_tracker.journal.encryption import EncryptedJournalWriter, Encryption
from adcp_tracker.journal.files import QueueDirectory
from adcp_tracker.journal.records import ENVELOPED, EVENT, with_envelope
from adcp_tracker.journal.writer import JournalWriter
from tests.support.booked import balanced, track, track_before
from tests.support.crashing.plans import Promptly
from tests.support.destinations import ScriptedDestination, wait_until
from tests.support.persons import balanced as balanced_books
from tests.support.persons import leading

if TYPE_CHECKING:
    from pathlib import Path

    from adcp_tracker.delivery.uploader import Uploader
    from tests.faults.conftest import Make

NOW_MS = 1_767_225_600_123
KEY = b"k" * 32
FIRST, SECOND, THIRD, LATER = (b'{"event_id":"%b"}' % name for name in (b"A", b"BB", b"C", b"D"))


def _journal(directory: QueueDirectory, encryption: Encryption | None) -> JournalWriter:
    return EncryptedJournalWriter(encryption, directory) if encryption else JournalWriter(directory)


def _write(directory: QueueDirectory, encryption: Encryption | None) -> bytes:
    """Write three records, one of them with an envelope, and return their segment."""
    journal = _journal(directory, encryption)
    journal.append(FIRST, NOW_MS)
    journal.append_record(with_envelope({"test": "T"}, SECOND), NOW_MS, ENVELOPED)
    journal.append_record(THIRD, NOW_MS, EVENT)
    journal.roll()
    (segment,) = directory.segments.iterdir()
    return segment.read_bytes()


def _drain(leadership: Uploader) -> None:
    while not leadership.is_drained():
        leadership.run_once()
        wait_until(lambda: _has_settled(leadership))
    leadership.run_once()


def _has_settled(leadership: Uploader) -> bool:
    leadership.apply_arrived()
    return not leadership.is_sending


@pytest.mark.parametrize("sealed", [False, True], ids=["plain", "sealed"])
def test_a_journal_cut_at_any_offset_gives_what_stands_before_the_cut(
    tmp_path: Path, *, sealed: bool
) -> None:
    """Each offset in turn: nothing before it is lost, nothing is made up, and all goes on."""
    encryption = Encryption(KEY) if sealed else None
    directory = QueueDirectory(tmp_path / "queue")
    whole = _write(directory, encryption)
    (segment,) = directory.segments.iterdir()
    seller = ScriptedDestination()
    for cut in range(len(whole) + 1):
        segment.write_bytes(whole[:cut])
        segment.chmod(0o600)
        journal = _journal(directory, encryption)
        journal.append(LATER, NOW_MS)
        journal.roll()
        seller.delivered.clear()
        with leading(directory, seller, encryption=encryption) as leadership:
            before = balanced_books(leadership.stats())
            _drain(leadership)
            counts = balanced_books(leadership.stats())
        expected = [FIRST, SECOND, THIRD][: whole[:cut].count(b"\n")]
        assert sorted(seller.delivered) == sorted([*expected, LATER])
        assert counts.delivered - before.delivered == len(expected) + 1
        assert (counts.pending, counts.dead, counts.dropped) == (0, 0, {})
        assert list(directory.segments.iterdir()) == []


def _segment(directory: Path) -> Path:
    (found,) = (directory / "segments").iterdir()
    return found


@pytest.mark.parametrize("sealed", [False, True], ids=["plain", "sealed"])
@pytest.mark.parametrize("kept", [0.0, 0.3, 0.4, 0.95])
def test_what_is_tracked_after_an_outsider_cut_the_segment_is_delivered(
    make: Make, tmp_path: Path, kept: float, *, sealed: bool
) -> None:
    """The cut events are gone, and noticed by their gap; the writer lives, and goes on."""
    keys = (KEY,) if sealed else ()
    writer = make(uploader="external", encryption_keys=keys)
    ids = track(writer, 5)
    segment = _segment(tmp_path / "queue")
    left = segment.read_bytes()[: int(segment.stat().st_size * kept)]
    os.truncate(segment, len(left))
    later = track(writer, 5, first=5)
    seller = ScriptedDestination()
    uploader = make(seller, encryption_keys=keys)
    uploader.flush(0.5)  # its writer may yet add to it, so that it is not the end
    later += track(writer, 5, first=10)
    writer.close()
    uploader.flush(10.0)
    assert seller.ids == ids[: left.count(b"\n")] + later
    counts = balanced(uploader)
    assert (counts.pending, counts.dropped) == (0, {"damaged": 1})
    assert list((tmp_path / "queue" / "segments").iterdir()) == []


def test_what_stands_behind_a_cut_goes_again_as_it_went(make: Make, tmp_path: Path) -> None:
    """An event that the gap left in one line with what was cut is not lost to a second try."""
    writer = make(uploader="external")
    ids = track(writer, 3)
    segment = _segment(tmp_path / "queue")
    os.truncate(segment, segment.stat().st_size - 40)
    later = track(writer, 3, first=3)
    writer.close()
    seller = ScriptedDestination(outcomes=[Retry("http_503", "busy")])
    uploader = make(seller, _policy=Promptly(lambda: 0.5))
    uploader.flush(10.0)
    assert seller.ids == ids[:2] + later
    assert len({batch.identity for batch in seller.batches}) == 1
    counts = balanced(uploader)
    assert (counts.pending, counts.dropped) == (0, {"damaged": 1})


def test_cutting_what_is_delivered_already_costs_nothing(make: Make, tmp_path: Path) -> None:
    """Where readers have got to is still where the next event begins."""
    seller = ScriptedDestination()
    tracker = make(seller)
    ids = track(tracker, 5)
    wait_until(lambda: balanced(tracker).delivered == 5)
    os.truncate(_segment(tmp_path / "queue"), 0)
    ids += track(tracker, 5, first=5)
    wait_until(lambda: balanced(tracker).delivered == 10)
    for first in range(10, 25, 5):
        ids += track(tracker, 5, first=first)
        assert tracker.flush(10.0).pending == 0
    assert seller.ids == ids
    assert balanced(tracker).dropped == {}


def test_a_batch_cut_while_it_waits_to_go_again_is_counted(make: Make, tmp_path: Path) -> None:
    """Its events are dropped as damaged, and nobody else's."""
    seller = ScriptedDestination()
    seller.always = lambda _: Retry("http_503", "down", retry_after=1.0)
    track_before(make, 5)
    tracker = make(seller)
    tracker.start()
    wait_until(lambda: balanced(tracker).retrying)
    os.truncate(_segment(tmp_path / "queue"), 0)
    later = track(tracker, 5, first=5)
    seller.always = None
    tracker.flush(10.0)
    assert seller.ids == later
    counts = balanced(tracker)
    assert (counts.pending, counts.dropped) == (0, {"damaged": 5})
