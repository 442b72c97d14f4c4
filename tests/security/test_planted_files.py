"""Files and links that somebody planted in the queue directory before, or in the midst.

Pickles planted in the database are shown in the tests of the outbox, segments in those of
the journal, and a listening sandbox in its own.
"""

from __future__ import annotations

import logging
import os
import shutil
import stat
from typing import TYPE_CHECKING

import pytest

from adcp_tracker._platform import SystemClock
from adcp_tracker.context import RequestContext
from adcp_tracker.delivery.stats import Stats, count_unclaimed, read_stats, write_stats
from adcp_tracker.destinations.base import Batch, EventFailure, Outcome, Rejected
from adcp_tracker.exceptions import OutboxError, UnsafeDirectoryError
from adcp_tracker.journal.files import QueueDirectory, open_secure, write_named_file
from adcp_tracker.journal.reader import SegmentStore
from adcp_tracker.journal.records import EVENT, encode_record, parse
from adcp_tracker.outbox.dead_letters import DeadLetter, DeadLetterStore
from adcp_tracker.outbox.directory import ContextFiles, DirectoryStore, FileLeaderLock, open_outbox
from adcp_tracker.privacy.context_store import ContextStore, ContextTokens
from adcp_tracker.privacy.matching import person
from adcp_tracker.tracker import Tracker
from tests.support.booked import track
from tests.support.destinations import HandClock, ScriptedDestination, wait_until
from tests.support.persons import erasure, leading

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PRECIOUS = b"what the owner of this file would miss\n"
SHOPPER = RequestContext(client_ip="203.0.113.7", click_id="Cj0-click")
LETTER = DeadLetter("scripted", "a.log", 0, 1.0, "BAD", "no", event=b'{"event_id":"A"}')

FILES = ["leader.lock", "leader.wanted", "state/cache.db", "dead/1.log", "damaged/1.log"]
_REFUSED = (UnsafeDirectoryError, OutboxError)  # the outbox tells it in its own words
FOLDERS = ["", "segments", "state", "dead", "damaged", "destinations"]


@pytest.fixture
def directory(tmp_path: Path) -> QueueDirectory:
    """Return a queue directory that is all there."""
    made = QueueDirectory(tmp_path / "queue")
    made.prepare()
    return made


@pytest.fixture
def precious(tmp_path: Path) -> Path:
    """Return a file that a link could make the library overwrite."""
    path = tmp_path / "precious"
    path.write_bytes(PRECIOUS)
    path.chmod(0o600)
    return path


def _use(directory: QueueDirectory, name: str) -> None:
    """Do what opens a file of the queue."""
    uses: dict[str, Callable[[], object]] = {
        "leader.lock": lambda: FileLeaderLock(directory, SystemClock()).try_acquire(),
        "leader.wanted": lambda: _want(directory),
        "state/cache.db": lambda: open_outbox(directory).close(),
        "dead/1.log": lambda: DeadLetterStore(directory).add([LETTER], 1.0),
        "damaged/1.log": lambda: SegmentStore(directory).quarantine("1.log", b"x"),
        "context.key": lambda: ContextFiles(directory, SystemClock()).key(),
    }
    uses[name]()


def _want(directory: QueueDirectory) -> None:
    holder = FileLeaderLock(directory, SystemClock())
    assert holder.try_acquire()
    try:
        FileLeaderLock(directory, SystemClock()).acquire(0.1)
    finally:
        holder.release()


@pytest.mark.parametrize("name", [*FILES, "context.key"])
@pytest.mark.parametrize("dangling", [False, True], ids=["link", "dangling link"])
def test_a_link_in_place_of_a_file_is_refused(
    directory: QueueDirectory, precious: Path, name: str, *, dangling: bool
) -> None:
    """It is neither followed nor created through, and the error names it and the remedy."""
    if dangling:
        precious.unlink()
    link = directory.path / name
    link.symlink_to(precious)
    with pytest.raises(_REFUSED, match="a link; remove it") as caught:
        _use(directory, name)
    assert str(link) in str(caught.value)
    assert precious.exists() is not dangling
    if not dangling:
        assert precious.read_bytes() == PRECIOUS


@pytest.mark.parametrize("name", FILES)
def test_a_file_with_a_second_name_is_not_written(
    directory: QueueDirectory, precious: Path, name: str
) -> None:
    """A hard link would have what is written stand elsewhere as well; the error names it."""
    path = directory.path / name
    os.link(precious, path)
    with pytest.raises(_REFUSED, match="got one with 2") as caught:
        _use(directory, name)
    assert str(path) in str(caught.value)
    assert precious.read_bytes() == PRECIOUS


def test_a_key_is_read_that_its_maker_died_over(directory: QueueDirectory) -> None:
    """It has a second name for a moment while it is made, and keeps it if nobody removes it."""
    key = ContextFiles(directory, SystemClock()).key()
    os.link(directory.context_key, directory.path / ".context.key.1-0a1b2c3d")
    assert ContextFiles(directory, SystemClock()).key() == key


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", [*FILES, "context.key"])
def test_a_pipe_in_place_of_a_file_holds_nobody_up(directory: QueueDirectory, name: str) -> None:
    """Nobody waits for its other end, in a request least of all; the error has the remedy."""
    path = directory.path / name
    os.mkfifo(path, 0o600)
    with pytest.raises(_REFUSED, match="something else; remove it") as caught:
        _use(directory, name)
    assert str(path) in str(caught.value)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", ["books.json", "segments/x.log"])
def test_a_pipe_in_place_of_the_published_stats_blocks_no_reader(
    directory: QueueDirectory, name: str
) -> None:
    """It counts for nothing."""
    os.mkfifo(directory.path / name, 0o600)
    store = DirectoryStore(directory)
    assert read_stats(store) == count_unclaimed(store) == Stats()


def test_a_file_is_opened_for_plain_blocking_use(directory: QueueDirectory) -> None:
    """What is written is read back whole, as from any file."""
    path = directory.path / "file"
    data = bytes(range(256)) * 4096
    with os.fdopen(open_secure(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY), "wb") as file:
        file.write(data)
    with os.fdopen(open_secure(path, os.O_RDONLY), "rb") as file:
        assert file.read() == data


@pytest.mark.parametrize("name", [*FILES, "context.key"])
def test_a_file_that_others_can_open_is_refused(directory: QueueDirectory, name: str) -> None:
    """The error names the mode that was found and the command that mends it."""
    path = directory.path / name
    path.touch(0o600)
    path.chmod(0o640)
    with pytest.raises(_REFUSED, match=f"got mode 0640; run: chmod go-rwx {path}"):
        _use(directory, name)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
@pytest.mark.parametrize("name", [*FILES, "context.key"])
def test_a_file_of_another_user_is_refused(directory: QueueDirectory, name: str) -> None:
    """Whoever owns it could open it whatever its mode says."""
    path = directory.path / name
    path.touch(0o600)
    os.chown(path, 65534, 65534)
    with pytest.raises(_REFUSED, match="got user 65534; run this as that user"):
        _use(directory, name)


@pytest.mark.parametrize("name", FOLDERS)
@pytest.mark.parametrize("fault", ["link", "open", "foreign", "file"])
def test_a_folder_that_is_not_ours_alone_is_refused(
    directory: QueueDirectory, tmp_path: Path, name: str, fault: str
) -> None:
    """Before anything is written into it."""
    folder = directory.path / name
    if fault == "foreign" and os.geteuid() != 0:
        pytest.skip("only root can give a folder away")
    if fault == "link":
        away = tmp_path / "away"
        folder.rename(away)
        folder.symlink_to(away)
    elif fault == "open":
        folder.chmod(0o750)
    elif fault == "foreign":
        os.chown(folder, 65534, 65534)
    else:
        shutil.rmtree(folder)
        folder.touch(0o600)
    with pytest.raises(UnsafeDirectoryError, match="expected"):
        QueueDirectory(directory.path).prepare()


@pytest.fixture
def away(tmp_path: Path) -> Path:
    """Return a folder of somebody's documents, old enough for any sweep."""
    folder = tmp_path / "away"
    folder.mkdir(mode=0o700)
    for name in ("thesis.txt", "1.log", "5f" * 16):
        (folder / name).write_bytes(PRECIOUS)
        (folder / name).chmod(0o600)
        os.utime(folder / name, (1.0, 1.0))
    return folder


def _is_untouched(folder: Path) -> bool:
    found = {path.name: path.read_bytes() for path in folder.iterdir()}
    return found == dict.fromkeys(("thesis.txt", "1.log", "5f" * 16), PRECIOUS)


SWAPPED: dict[str, tuple[str, Callable[[QueueDirectory], object]]] = {
    "letter added": ("dead", lambda queue: DeadLetterStore(queue).add([LETTER], 1.0)),
    "letter removed": ("dead", lambda queue: DeadLetterStore(queue).remove({LETTER.id})),
    "evidence kept": ("damaged", lambda queue: SegmentStore(queue).quarantine("1.log", b"x")),
    "segment deleted": (
        "segments",
        lambda queue: SegmentStore(queue).delete("1.log", len(PRECIOUS)),
    ),
    "segment erased": (
        "segments",
        lambda queue: SegmentStore(queue).erase("1.log", parse(encode_record(b"{}", 1, EVENT))[0]),
    ),
}


@pytest.mark.parametrize("use", SWAPPED)
@pytest.mark.parametrize("whole", [False, True], ids=["folder", "whole queue"])
def test_a_folder_that_is_swapped_for_a_link_is_left_alone(
    directory: QueueDirectory, away: Path, use: str, *, whole: bool
) -> None:
    """What changes files looks at their folder each time, not only when the queue is opened."""
    name, change = SWAPPED[use]
    swapped = directory.path if whole else directory.path / name
    shutil.rmtree(swapped)
    if whole:
        nest = away.parent / "nest"
        nest.mkdir(mode=0o700)
        away = away.rename(nest / name)
        swapped.symlink_to(nest)
    else:
        swapped.symlink_to(away)
    with pytest.raises(UnsafeDirectoryError, match="expected a directory, got a link"):
        change(directory)
    assert _is_untouched(away)


def test_dead_letters_wait_until_their_folder_is_one_again(
    directory: QueueDirectory, away: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """None is written through a link that appears while the queue is in use, and none is lost."""
    seller = ScriptedDestination(
        outcomes=[lambda _: Rejected("BAD", "no", (EventFailure("BAD", "no", index=0),))]
    )
    seller.gate.clear()
    tracker = Tracker([seller], directory=directory.path, flush_interval=0.02, handle_sigterm=False)
    track(tracker, 2)
    wait_until(lambda: seller.batches)
    directory.dead.rmdir()
    directory.dead.symlink_to(away)
    seller.gate.set()
    wait_until(lambda: f"{directory.dead}: expected a directory, got a link" in caplog.text)
    assert _is_untouched(away)
    directory.dead.unlink()
    directory.dead.mkdir(mode=0o700)
    wait_until(lambda: len(tracker.dead_letters.list()) == 1)
    tracker.close(5.0)


@pytest.mark.parametrize("name", ["damaged", "remembered"])
def test_erasing_removes_nothing_through_a_link(
    directory: QueueDirectory, away: Path, name: str
) -> None:
    """It says what is in its way, and can be done again."""
    errand = erasure(directory, person(email="alice@example.com"))
    with leading(directory, ScriptedDestination()) as uploader:
        folder = directory.path / name
        if folder.exists():
            folder.rmdir()
        folder.symlink_to(away)
        with pytest.raises(UnsafeDirectoryError, match="expected a directory, got a link"):
            errand(uploader)
        assert _is_untouched(away)
        folder.unlink()
        folder.mkdir(mode=0o700)
        errand(uploader)


def _memory(directory: QueueDirectory, clock: HandClock) -> ContextStore:
    contexts = ContextFiles(directory, clock)
    return ContextStore(contexts, ContextTokens(contexts, (), clock), clock)


def test_the_sweep_removes_nothing_through_a_link(
    directory: QueueDirectory, away: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """However old it is; the log has the remedy."""
    directory.remembered.symlink_to(away)
    memory = _memory(directory, HandClock())
    memory.sweep()
    assert _is_untouched(away)
    assert "contexts.not_swept" in caplog.text
    assert f"{directory.remembered}: expected a directory, got a link" in caplog.text


def test_nothing_is_recalled_through_a_link(
    directory: QueueDirectory, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Else whoever planted it would say who shopped."""
    memory = _memory(directory, HandClock())
    assert memory.remember("A-1", SHOPPER)
    assert memory.recall("A-1") == SHOPPER
    directory.remembered.rename(tmp_path / "moved")
    directory.remembered.symlink_to(tmp_path / "moved")
    assert memory.recall("A-1") is None
    assert "context.not_recalled" in caplog.text


def test_what_was_not_remembered_here_is_left_where_it_is(directory: QueueDirectory) -> None:
    """Neither the sweep nor forgetting removes a file of a name that is never given here."""
    memory = _memory(directory, HandClock())
    assert memory.remember("A-1", SHOPPER)
    names = {"thesis.txt", ".profile", "5f" * 16 + "0", "5F" * 16}
    for name in names:
        (directory.remembered / name).write_bytes(PRECIOUS)
        (directory.remembered / name).chmod(0o600)
        os.utime(directory.remembered / name, (1.0, 1.0))
    memory.sweep()
    memory.delete(memory.of_person(person(order_id="A-1")))
    assert {path.name for path in directory.remembered.iterdir()} == names


def test_stats_are_neither_read_nor_written_through_a_link(
    directory: QueueDirectory, precious: Path
) -> None:
    """They are put in the place of whatever stands there, and the link's target is left alone."""
    precious.write_bytes(b'{"waiting": 7}')
    directory.stats_file.symlink_to(precious)
    (directory.path / ".books.json").symlink_to(precious)
    assert read_stats(DirectoryStore(directory)) == Stats()
    write_stats(DirectoryStore(directory).open(), Stats(waiting=3))
    assert read_stats(DirectoryStore(directory)).waiting == 3
    assert not directory.stats_file.is_symlink()
    assert precious.read_bytes() == b'{"waiting": 7}'


def test_stats_are_not_written_into_a_queue_that_became_a_link(
    directory: QueueDirectory, tmp_path: Path
) -> None:
    """Those that are published while the queue is in use are not put into what it leads to."""
    directory.path.rename(tmp_path / "moved")
    directory.path.symlink_to(tmp_path / "moved")
    with pytest.raises(UnsafeDirectoryError, match="expected a directory, got a link"):
        write_stats(DirectoryStore(directory).open(), Stats(waiting=1))
    assert not (tmp_path / "moved" / "books.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cache.db-wal", "cache.db-shm", "cache.db-journal"])
def test_the_database_writes_through_no_link(
    directory: QueueDirectory, precious: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """SQLite's own files are not created or overwritten elsewhere, and the log names the link."""
    (directory.state / name).symlink_to(precious)
    seller = ScriptedDestination()
    tracker = Tracker([seller], directory=directory.path, flush_interval=0.02, handle_sigterm=False)
    track(tracker, 3)
    tracker.close(1.0)
    assert precious.read_bytes() == PRECIOUS
    assert f"{name}: expected a file, got a link; remove it" in caplog.text


def test_stats_count_nothing_through_a_link(directory: QueueDirectory, precious: Path) -> None:
    """Not even the lines of what it leads to."""
    (directory.segments / "x.log").symlink_to(precious)
    assert count_unclaimed(DirectoryStore(directory)) == Stats()


@pytest.mark.parametrize("name", ["x.log", "x.new"])
def test_a_link_among_the_segments_is_no_segment(
    directory: QueueDirectory, precious: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is not read, sent or deleted."""
    (directory.segments / name).symlink_to(precious)
    seller = ScriptedDestination()
    tracker = Tracker([seller], directory=directory.path, flush_interval=0.02, handle_sigterm=False)
    with caplog.at_level(logging.WARNING):
        ids = track(tracker, 3)
        if name == "x.log":
            wait_until(lambda: seller.ids == ids)
        else:
            wait_until(lambda: "a link; remove it" in caplog.text)
            (directory.segments / name).unlink()
            wait_until(lambda: seller.ids == ids)
        tracker.close(5.0)
    assert precious.read_bytes() == PRECIOUS


def test_a_link_that_appears_later_holds_up_no_checkout(
    directory: QueueDirectory, precious: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A dead letter is not written through it; it waits, and the log has the remedy."""

    def refuse(batch: Batch) -> Outcome:
        del batch
        return Rejected("BAD", "no", (EventFailure("BAD", "no", index=0),))

    seller = ScriptedDestination(outcomes=[refuse])
    seller.gate.clear()
    tracker = Tracker([seller], directory=directory.path, flush_interval=0.02, handle_sigterm=False)
    track(tracker, 2)
    wait_until(lambda: seller.batches)
    link = directory.dead / "9.log"
    link.symlink_to(precious)
    seller.gate.set()
    wait_until(lambda: "a link; remove it" in caplog.text)
    assert precious.read_bytes() == PRECIOUS
    link.unlink()
    wait_until(lambda: len(tracker.dead_letters.list()) == 1)
    tracker.close(5.0)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_everything_on_disk_is_ours_alone_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    """Every file has mode 0600 and every directory 0700: segments, state, letters, counts, keys."""
    before = os.umask(umask)
    try:
        seller = ScriptedDestination(
            outcomes=[lambda _: Rejected("BAD", "no", (EventFailure("BAD", "no", index=0),))]
        )
        tracker = Tracker([seller], directory=tmp_path / "queue", handle_sigterm=False)
        track(tracker, 5)
        tracker.contexts.capture()
        tracker.contexts.remember("A-1")
        tracker.flush(10.0)
        track(tracker, 5, first=5)
        found = {path: path.lstat() for path in (tmp_path / "queue").rglob("*")}
        tracker.close(5.0)
    finally:
        os.umask(before)
    assert {path.name for path in found} >= {"segments", "cache.db", "dead", "books.json"}
    for path, status in found.items():
        expected = 0o700 if stat.S_ISDIR(status.st_mode) else 0o600
        assert stat.S_IMODE(status.st_mode) == expected, path


@pytest.mark.parametrize("umask", [0o000, 0o022])
def test_folders_made_above_the_queue_are_ours_alone(tmp_path: Path, umask: int) -> None:
    """Where others may write into one of them, they may put another queue in its place."""
    before = os.umask(umask)
    try:
        QueueDirectory(tmp_path / "p1" / "p2" / "queue").prepare()
    finally:
        os.umask(before)
    for folder in (tmp_path / "p1", tmp_path / "p1" / "p2"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_temporary_names_cannot_be_planted(directory: QueueDirectory, precious: Path) -> None:
    """What is made under another name first is made anew, never in a file that is there."""
    (directory.path / ".books.json").write_bytes(PRECIOUS)
    os.link(precious, directory.path / "also")
    write_stats(DirectoryStore(directory).open(), Stats(waiting=1))
    assert read_stats(DirectoryStore(directory)).waiting == 1
    assert not (directory.path / ".books.json").exists()


@pytest.mark.parametrize("mode", [0o700, 0o755, 0o775, 0o1777])
def test_a_file_that_a_user_names_may_be_in_any_ordinary_folder(tmp_path: Path, mode: int) -> None:
    """Folders of projects are open to readers and to a group, and /tmp to everybody."""
    folder, target = tmp_path / "folder", tmp_path / "link" / "file"
    folder.mkdir()
    folder.chmod(mode)
    (tmp_path / "link").symlink_to(folder)
    for content in (b"one", b"two"):
        write_named_file(target, content)
        assert target.read_bytes() == content
        assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert list(folder.iterdir()) == [folder / "file"]


def test_a_named_file_is_not_written_where_everybody_may_replace_it(tmp_path: Path) -> None:
    """The message has the remedy."""
    tmp_path.chmod(0o777)
    with pytest.raises(ValueError, match=r"everybody may replace files in .*; run: chmod o-w "):
        write_named_file(tmp_path / "file", b"port")
    assert not (tmp_path / "file").exists()


def test_a_named_file_is_written_through_no_link(tmp_path: Path) -> None:
    """A link in its place is replaced, and what cannot be written leaves nothing behind."""
    (tmp_path / "precious").write_bytes(PRECIOUS)
    (tmp_path / "file").symlink_to(tmp_path / "precious")
    write_named_file(tmp_path / "file", b"port")
    assert (tmp_path / "precious").read_bytes() == PRECIOUS
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_named_file(tmp_path / "folder", b"port")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["file", "folder", "precious"]
