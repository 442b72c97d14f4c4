"""The model of a disk by which the tests of power cuts judge."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import attrs
import pytest

from tests.support.crashing.disk import VARIANTS, Disk
from tests.support.crashing.syscalls import Call, are_in_order

if TYPE_CHECKING:
    from pathlib import Path

ROOT = "/queue"


def call(name: str, *arguments: bytes | str, result: int = 0, begun: int, ended: int) -> Call:
    """Return a system call that began and ended at these lines of a log."""
    return Call(name, arguments, result, begun, ended)


def opening(path: str, number: int, line: int, flags: str = "O_RDWR|O_CREAT") -> Call:
    """Return a call that opens a file or folder."""
    return call("openat", "AT_FDCWD", path.encode(), flags, result=number, begun=line, ended=line)


def writing(number: int, data: bytes, line: int) -> Call:
    """Return a call that writes."""
    return call("write", str(number), data, result=len(data), begun=line, ended=line)


def left_after(calls: list[Call], tmp_path: Path, variant: str) -> dict[str, bytes]:
    """Return the files that are left when the power goes after some calls."""
    disk = Disk(ROOT)
    disk.replay(calls, 100)
    disk.leave(tmp_path, variant, random.Random(1))  # noqa: S311 - a choice
    return {path.name: path.read_bytes() for path in tmp_path.iterdir()}


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_sync_that_ends_after_a_later_one_takes_nothing_back(
    tmp_path: Path, variant: str
) -> None:
    """Two threads may sync a file at once, each by a descriptor of its own."""
    calls = [
        opening(ROOT, 3, 0, "O_RDONLY|O_DIRECTORY"),
        opening(f"{ROOT}/a", 4, 1),
        opening(f"{ROOT}/a", 5, 2),
        call("fsync", "3", begun=3, ended=3),
        writing(4, b"first ", 4),
        call("fdatasync", "5", begun=5, ended=9),
        writing(4, b"second ", 6),
        call("fdatasync", "4", begun=7, ended=8),
        writing(4, b"third", 10),
        call("fdatasync", "4", begun=11, ended=200),
    ]
    left = left_after(calls, tmp_path, variant)["a"]
    assert left.startswith(b"first second ")
    assert left == b"first second " or variant in {"torn", "shuffled"}


@pytest.mark.parametrize("variant", ["synced", "ordered"])
def test_a_folder_s_sync_that_ends_after_a_later_one_removes_no_name(
    tmp_path: Path, variant: str
) -> None:
    """A file that a later sync has put there stays there."""
    calls = [
        opening(ROOT, 3, 0, "O_RDONLY|O_DIRECTORY"),
        call("fsync", "3", begun=1, ended=5),
        opening(f"{ROOT}/a", 4, 2),
        call("fsync", "3", begun=3, ended=4),
    ]
    assert left_after(calls, tmp_path, variant) == {"a": b""}


def test_what_was_written_after_a_sync_began_is_not_on_the_disk_when_it_ends(
    tmp_path: Path,
) -> None:
    """A sync takes what there was at its beginning, whoever writes meanwhile."""
    calls = [
        opening(ROOT, 3, 0, "O_RDONLY|O_DIRECTORY"),
        opening(f"{ROOT}/a", 4, 1),
        call("fsync", "3", begun=2, ended=2),
        writing(4, b"first ", 3),
        call("fdatasync", "4", begun=4, ended=6),
        writing(4, b"second", 5),
    ]
    assert left_after(calls, tmp_path, "ordered") == {"a": b"first "}


@pytest.mark.parametrize(
    "second",
    [
        Call("write", ("4", b"b"), 1, begun=2, ended=4),
        Call("dup3", ("7", "4", "O_CLOEXEC"), 4, begun=2, ended=4),
    ],
    ids=lambda call: call.name,
)
def test_calls_that_overlap_have_no_order(second: Call) -> None:
    """Two threads wrote by one descriptor, or one changed its file while another wrote."""
    first = Call("write", ("4", b"a"), 1, begun=1, ended=3)
    assert not are_in_order([first, second])
    assert are_in_order([attrs.evolve(first, ended=1), second])
    assert are_in_order([attrs.evolve(first, arguments=("5", b"a")), second])
