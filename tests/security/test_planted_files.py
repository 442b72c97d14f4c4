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

from adcp_tracker.clock import SystemClock
from adcp_tracker.delivery.books import Stats, publish, published
from adcp_tracker.delivery.election import Election
from adcp_tracker.destinations.base import Batch, EventFailure, Outcome, Rejected
from adcp_tracker.exceptions import OutboxError, UnsafeDirectoryError
from adcp_tracker.privacy.contextkeys import directory_key
from adcp_tracker.queue.deadletters import DeadLetter, DeadLetters
from adcp_tracker.queue.defaultoutbox import open_outbox
from adcp_tracker.queue.directory import QueueDirectory
from adcp_tracker.queue.segments import Segments
from adcp_tracker.tracker import Tracker
from tests.support.booked import track
from tests.support.destinations import ScriptedDestination, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PRECIOUS = b"what the owner of this file would miss\n"
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
        "leader.lock": lambda: Election(directory, SystemClock()).try_acquire(),
        "leader.wanted": lambda: _want(directory),
        "state/cache.db": lambda: open_outbox(directory).close(),
        "dead/1.log": lambda: DeadLetters(directory).add([LETTER], 1.0),
        "damaged/1.log": lambda: Segments(directory).keep_evidence("1.log", b"x"),
        "context.key": lambda: directory_key(directory),
    }
    uses[name]()


def _want(directory: QueueDirectory) -> None:
    holder = Election(directory, SystemClock())
    assert holder.try_acquire()
    try:
        Election(directory, SystemClock()).acquire(0.1)
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
    with pytest.raises(_REFUSED, match="got user 65534; give each user a directory"):
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


def test_books_are_neither_read_nor_written_through_a_link(
    directory: QueueDirectory, precious: Path
) -> None:
    """They are put in the place of whatever stands there, and the link's target is left alone."""
    precious.write_bytes(b'{"waiting": 7}')
    directory.books.symlink_to(precious)
    (directory.path / ".books.json").symlink_to(precious)
    assert published(directory) == Stats()
    publish(directory, Stats(waiting=3))
    assert published(directory).waiting == 3
    assert not directory.books.is_symlink()
    assert precious.read_bytes() == b'{"waiting": 7}'


@pytest.mark.parametrize("name", ["cache.db-wal", "cache.db-shm", "cache.db-journal"])
def test_the_database_writes_through_no_link(
    directory: QueueDirectory, precious: Path, name: str
) -> None:
    """SQLite's own files are not created or overwritten elsewhere."""
    (directory.state / name).symlink_to(precious)
    seller = ScriptedDestination()
    tracker = Tracker([seller], directory=directory.path, flush_interval=0.02, handle_sigterm=False)
    track(tracker, 3)
    tracker.close(1.0)
    assert precious.read_bytes() == PRECIOUS


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
    wait_until(lambda: len(tracker.dead_letters()) == 1)
    tracker.close(5.0)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_everything_on_disk_is_ours_alone_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    """Every file has mode 0600 and every directory 0700: segments, state, letters, books, keys."""
    before = os.umask(umask)
    try:
        seller = ScriptedDestination(
            outcomes=[lambda _: Rejected("BAD", "no", (EventFailure("BAD", "no", index=0),))]
        )
        tracker = Tracker([seller], directory=tmp_path / "queue", handle_sigterm=False)
        track(tracker, 5)
        tracker.capture_context()
        tracker.remember("A-1")
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


def test_temporary_names_cannot_be_planted(directory: QueueDirectory, precious: Path) -> None:
    """What is made under another name first is made anew, never in a file that is there."""
    (directory.path / ".books.json").write_bytes(PRECIOUS)
    os.link(precious, directory.path / "also")
    publish(directory, Stats(waiting=1))
    assert published(directory).waiting == 1
    assert not (directory.path / ".books.json").exists()
