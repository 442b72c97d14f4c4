"""Bits that flip and files that are cut, anywhere on disk: only the damaged record is lost."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from adcp_tracker.delivery.outcomes import RetryPolicy
from adcp_tracker.delivery.stats import Stats, read_stats, write_stats
from adcp_tracker.destinations.base import Batch, Delivered, EventFailure, Outcome, Rejected, Retry
from adcp_tracker.journal.files import QueueDirectory
from adcp_tracker.journal.records import parse
from adcp_tracker.outbox.directory import DirectoryStore
from adcp_tracker.tracker import Tracker
from tests.faults.share import share
from tests.support.booked import balanced, track
from tests.support.crashing.plans import Promptly
from tests.support.damages import damaged
from tests.support.destinations import ScriptedDestination, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

COUNT = 12
LEADS = {f"L-{number}" for number in range(COUNT)}
AGAIN = ["retry", "restart", "rebuild", "forget"]
"""What has a frozen batch read from the disk again."""

_STEADY = RetryPolicy(lambda: 0.5)
_LINE_FEED = 10


def _tracker(
    directory: Path, *sellers: ScriptedDestination, policy: RetryPolicy = _STEADY
) -> Tracker:
    return Tracker(
        sellers,
        directory=directory,
        flush_interval=0.02,
        handle_sigterm=False,
        _policy=policy,
        uploader="thread" if sellers else "external",
    )


@contextmanager
def _copy(original: Path) -> Iterator[Path]:
    """Give a copy of a queue directory, as Hypothesis tries many damages on the same one."""
    with tempfile.TemporaryDirectory(prefix="adcp-damage-") as place:
        copy = Path(place) / "queue"
        shutil.copytree(original, copy)
        yield copy


def _deliver(directory: Path) -> ScriptedDestination:
    """Deliver what waits there; the counts balance, and nothing is left waiting."""
    seller = ScriptedDestination()
    tracker = _tracker(directory, seller)
    try:
        tracker.flush(10.0)
        assert balanced(tracker).pending == 0
    finally:
        tracker.close(1.0)
    return seller


@pytest.fixture(scope="module")
def waiting(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory where events wait that nobody has looked at."""
    directory = tmp_path_factory.mktemp("waiting") / "queue"
    writer = _tracker(directory)
    track(writer, COUNT)
    writer.close()
    return directory


@pytest.fixture(scope="module")
def written(waiting: Path) -> set[bytes]:
    """Return what waits there as it was written, byte for byte."""
    with _copy(waiting) as directory:
        return set(_deliver(directory).delivered)


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return one with a batch on its way, a dead letter, and a database that knows of both."""
    directory = tmp_path_factory.mktemp("begun") / "queue"

    def refuse_the_first(batch: Batch) -> Outcome:
        del batch
        return Rejected("BAD", "no", (EventFailure("BAD", "no", index=0),))

    writer = _tracker(directory)
    track(writer, COUNT)
    writer.close()
    seller = ScriptedDestination(outcomes=[refuse_the_first])
    seller.always = lambda _: Retry("http_503", "busy")
    tracker = _tracker(directory, seller)
    tracker.start()
    wait_until(lambda: balanced(tracker).retrying)
    tracker.stop(1.0)
    return directory


def _segment(directory: Path) -> Path:
    (found,) = (directory / "segments").glob("*.log")
    return found


def test_a_flipped_bit_anywhere_in_a_journal_costs_its_record_alone(
    waiting: Path, written: set[bytes], *, full: bool
) -> None:
    """Each offset in turn, or a share of them: the others arrive, and it is counted."""
    size = _segment(waiting).stat().st_size
    for offset in range(0, size, 1 if full else size // 20):
        _flip_and_deliver(waiting, written, offset, offset % 8)


@share
@given(st.data())
def test_flipped_bits_cost_their_records_alone(
    waiting: Path, written: set[bytes], data: st.DataObject
) -> None:
    """Any bit of any byte; a record that cannot be read is counted and its bytes are kept."""
    size = _segment(waiting).stat().st_size
    offset, bit = data.draw(st.integers(0, size - 1)), data.draw(st.integers(0, 7))
    _flip_and_deliver(waiting, written, offset, bit)


def _flip_and_deliver(waiting: Path, written: set[bytes], offset: int, bit: int) -> None:
    with _copy(waiting) as directory:
        segment = _segment(directory)
        data = bytearray(segment.read_bytes())
        data[offset] ^= 1 << bit
        segment.write_bytes(data)
        seller = _deliver(directory)
        lost = LEADS - set(seller.ids)
        assert len(lost) <= 1
        assert set(seller.delivered) <= written
        if lost and offset < len(data) - 1:  # what follows the last line feed is no record yet
            assert any((directory / "damaged").iterdir())


def test_a_flipped_bit_anywhere_costs_nothing_more_when_its_batch_goes_again(
    waiting: Path, *, full: bool
) -> None:
    """Each offset in turn, or a share of them and all line feeds but the last."""
    whole = _segment(waiting).read_bytes()
    for offset, byte in enumerate(whole[:-1]):
        if full or byte == _LINE_FEED or offset % (len(whole) // 20) == 0:
            data = bytearray(whole)
            data[offset] ^= 1 << offset % 8
            _deliver_twice(waiting, bytes(data), AGAIN[offset % len(AGAIN)])


@share
@given(st.data(), st.sampled_from(AGAIN))
def test_what_damage_leaves_goes_again_as_it_went(
    waiting: Path, data: st.DataObject, again: str
) -> None:
    """Bytes that are lost, zeros or noise, as by a short write or a cut: same bytes, same key."""
    whole = _segment(waiting).read_bytes()
    left = data.draw(damaged(whole))
    assume(parse(left)[0])
    _deliver_twice(waiting, left, again)


def _deliver_twice(waiting: Path, damaged: bytes, again: str) -> None:
    """Have a seller be busy at first; what it is sent later must be what it was sent before."""
    sent: list[tuple[bytes, list[bytes]]] = []
    busy = True

    def answer(batch: Batch) -> Outcome:
        sent.append((batch.identity, list(batch.events)))
        return Retry("http_503", "busy") if busy else Delivered()

    seller = ScriptedDestination()
    seller.always = answer
    with _copy(waiting) as directory:
        _segment(directory).write_bytes(damaged)
        tracker = _tracker(directory, seller, policy=Promptly(lambda: 0.5))
        tracker.start()
        wait_until(lambda: sent)
        if again == "forget":
            tracker.privacy.erase(email="nobody@example.com")
        elif again != "retry":
            tracker.close(0.0)
        if again == "rebuild":
            shutil.rmtree(directory / "state")
        busy = False
        tracker.flush(10.0)
        assert tracker.close(1.0).pending == 0
    assert len(sent) > 1
    assert all(each == sent[0] for each in sent)
    assert seller.delivered == sent[0][1]


@share
@given(st.data())
def test_a_journal_cut_anywhere_keeps_the_records_before_the_cut(
    waiting: Path, data: st.DataObject
) -> None:
    """A file that a crash or a repair cut short gives every whole record, and no half one."""
    whole = _segment(waiting).read_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    with _copy(waiting) as directory:
        os.truncate(_segment(directory), cut)
        seller = _deliver(directory)
        assert len(seller.ids) == whole[:cut].count(b"\n")


def _file(directory: Path, offset: int) -> tuple[Path, int]:
    """Return the file of the database, and the place in it, that an offset falls on."""
    files = sorted((directory / "state").iterdir())
    for path in files:
        if offset < path.stat().st_size:
            return path, offset
        offset -= path.stat().st_size
    raise AssertionError("the offset is past every file")


def _state_bytes(directory: Path) -> int:
    return sum(path.stat().st_size for path in (directory / "state").iterdir())


@share
@given(st.data())
def test_damage_to_the_database_loses_no_event(begun: Path, data: st.DataObject) -> None:
    """Whatever happens to its pages, each event is delivered or a dead letter, and is known."""
    offset = data.draw(st.integers(0, _state_bytes(begun) - 1))
    damage = data.draw(st.sampled_from(["bit", "zeros", "noise", "cut"]))
    with _copy(begun) as directory:
        path, place = _file(directory, offset)
        content = bytearray(path.read_bytes())
        if damage == "bit":
            content[place] ^= 1 << data.draw(st.integers(0, 7))
        elif damage == "cut":
            del content[place:]
        else:
            page = place - place % 4096
            patch = bytes(4096) if damage == "zeros" else data.draw(st.binary(min_size=64)) * 64
            content[page : page + 4096] = patch[:4096]
        path.write_bytes(content)
        _expect_everything(directory)


def test_every_page_of_the_database_can_be_lost(begun: Path) -> None:
    """Each page in turn is overwritten, and each file removed."""
    for offset in range(0, _state_bytes(begun), 4096):
        with _copy(begun) as directory:
            path, place = _file(directory, offset)
            content = bytearray(path.read_bytes())
            content[place : place + 4096] = b"\xa5" * len(content[place : place + 4096])
            path.write_bytes(content)
            _expect_everything(directory)
    for name in [path.name for path in (begun / "state").iterdir()]:
        with _copy(begun) as directory:
            (directory / "state" / name).unlink()
            _expect_everything(directory)


def _expect_everything(directory: Path) -> None:
    seller = ScriptedDestination()
    tracker = _tracker(directory, seller)
    try:
        tracker.flush(10.0)
        counts = balanced(tracker)
        letters = tracker.dead_letters.list()
    finally:
        tracker.close(1.0)
    dead = {f"L-{number}" for number in range(COUNT)} - set(seller.ids)
    assert counts.pending == 0
    assert not counts.dropped
    assert len(dead) == len(letters) == counts.dead <= 1


@share
@given(st.data())
def test_damaged_dead_letters_cost_themselves_alone(begun: Path, data: st.DataObject) -> None:
    """A flipped bit or a cut in their file stops neither delivery nor the reading of others."""
    (name,) = (path.name for path in (begun / "dead").iterdir())
    content = bytearray((begun / "dead" / name).read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content[place] ^= 1 << data.draw(st.integers(0, 7))
    else:
        del content[place:]
    with _copy(begun) as directory:
        (directory / "dead" / name).write_bytes(content)
        seller = _deliver(directory)
        assert len(LEADS - set(seller.ids)) == 1


_json = st.recursive(
    st.none() | st.booleans() | st.integers(0, 99) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["destinations", "waiting", "a"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@share
@given(st.binary(max_size=60) | _json.map(orjson.dumps))
def test_stats_that_cannot_be_read_are_empty(tmp_path: Path, content: bytes) -> None:
    """Statistics are for looking at: a damaged file of them doesn't fail a host's process."""
    directory = QueueDirectory(tmp_path / "queue")
    directory.prepare()
    directory.stats_file.write_bytes(content)
    directory.stats_file.chmod(0o600)
    assert isinstance(read_stats(DirectoryStore(directory)), Stats)
    write_stats(DirectoryStore(directory).open(), Stats(waiting=3))
    assert read_stats(DirectoryStore(directory)).waiting == 3
