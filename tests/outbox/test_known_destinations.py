"""The names of destinations that a directory keeps."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adcp_tracker.exceptions import UnsafeDirectoryError
from adcp_tracker.journal.files import QueueDirectory
from adcp_tracker.outbox.directory import KnownDestinations

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def directory(tmp_path: Path) -> QueueDirectory:
    """Return a queue directory that is all there."""
    made = QueueDirectory(tmp_path / "queue")
    made.prepare()
    return made


def test_what_one_process_enters_another_reads(directory: QueueDirectory) -> None:
    """Entering it once more changes nothing."""
    for _ in range(2):
        KnownDestinations(directory, ["interchange:1/web", "agent"]).add_own()
    assert sorted(KnownDestinations(directory)) == ["agent", "interchange:1/web"]


@pytest.mark.slow
@given(name=st.text(st.characters(exclude_categories=["Cs"]), max_size=400))
def test_any_name_comes_back_as_it_was(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    """However long, and whatever a path would make of it."""
    directory = QueueDirectory(tmp_path_factory.mktemp("queue"))
    directory.prepare()
    KnownDestinations(directory, [name]).add_own()
    assert list(KnownDestinations(directory)) == [name]
    KnownDestinations(directory).remove(name)
    assert list(KnownDestinations(directory)) == []


def test_half_an_entry_is_none_and_is_written_anew(directory: QueueDirectory) -> None:
    """As a power cut may leave it."""
    known = KnownDestinations(directory, ["agent"])
    known.add_own()
    (path,) = directory.destinations.iterdir()
    path.write_bytes(b"age")
    assert list(known) == []
    known.add_own_synced()
    assert list(known) == ["agent"]


def test_a_draft_of_a_process_that_died_is_no_entry(directory: QueueDirectory) -> None:
    """It is swept away, by whoever leads next."""
    (directory.destinations / ".0123").write_bytes(b"agent")
    known = KnownDestinations(directory)
    assert list(known) == []
    known.remove_stale()
    assert list(directory.destinations.iterdir()) == []


def test_entries_are_private(directory: QueueDirectory) -> None:
    """Whoever else is on the machine need not know where a shop advertises."""
    KnownDestinations(directory, ["agent"]).add_own()
    (path,) = directory.destinations.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_link_in_place_of_an_entry_is_refused(directory: QueueDirectory, tmp_path: Path) -> None:
    """It is not followed."""
    known = KnownDestinations(directory, ["agent"])
    known.add_own()
    (path,) = directory.destinations.iterdir()
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UnsafeDirectoryError, match="a link; remove it"):
        known.add_own_synced()
    with pytest.raises(UnsafeDirectoryError, match="a link; remove it"):
        list(known)


def test_a_folder_that_takes_nothing_stops_no_tracking(
    directory: QueueDirectory,
) -> None:
    """The names are one more safety, and not worth an event."""
    directory.destinations.rmdir()
    KnownDestinations(directory, ["agent"]).add_own()
    assert list(KnownDestinations(directory)) == []
