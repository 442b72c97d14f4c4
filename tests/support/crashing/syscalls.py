"""The file system calls of a process, as strace tells them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

CALLS = (
    "openat,write,pwrite64,rename,unlink,unlinkat,rmdir,mkdir,fdatasync,fsync,ftruncate,"
    "dup,dup2,dup3,close,fcntl,link,linkat,symlink,renameat,renameat2,writev,pwritev"
)
_LONGEST = 100_000_000
_WHOLE = re.compile(r"(\d+) +[\d.]+ (\w+)\((.*)\) += (-?\d+)")
_BEGUN = re.compile(r"(\d+) +[\d.]+ (\w+)\((.*) <unfinished \.\.\.>")
_ENDED = re.compile(r"(\d+) +[\d.]+ <\.\.\. (\w+) resumed>(.*)\) += (-?\d+)")
_ARGUMENT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"|([^",]+)')


@attrs.frozen
class Call:
    """A system call that succeeded.

    Attributes:
        name: Its name.
        arguments: Strings as bytes, everything else as text.
        result: What it returned.
        begun: The number of the line of the log in which it began.
        ended: That in which it returned; others may have been made in between.
    """

    name: str
    arguments: tuple[bytes | str, ...]
    result: int
    begun: int
    ended: int

    def text(self, place: int) -> str:
        """Return an argument that is a path or a flag."""
        argument = self.arguments[place]
        return argument.decode() if isinstance(argument, bytes) else argument

    def number(self, place: int) -> int:
        """Return an argument that is a number."""
        return int(self.text(place))

    def data(self, place: int) -> bytes:
        """Return an argument that is what is to be written."""
        argument = self.arguments[place]
        if isinstance(argument, str):
            raise TypeError(f"expected bytes, got {argument!r}")
        return argument


def takes_effect(call: Call) -> int:
    """Return by when a call has done what it does.

    A number that is closed may be another thread's new file before the close returns.
    """
    return call.begun if call.name == "close" else call.ended


def are_in_order(calls: Iterable[Call]) -> bool:
    """Return whether the log tells the order of what was done with each descriptor.

    Of two calls that overlap, the one that ends first may be the one that did its work last.
    """
    ended: dict[int, int] = {}
    for call in sorted(calls, key=lambda each: each.begun):
        if call.name in {"write", "writev", "pwrite64", "pwritev"}:
            number = call.number(0)
        elif call.name in {"dup2", "dup3"}:
            number = call.result
        else:
            continue
        if call.begun < ended.get(number, -1):
            return False
        ended[number] = call.ended
    return True


def is_possible() -> bool:
    """Say whether strace is there, and may trace."""
    strace = shutil.which("strace")
    if strace is None:
        return False
    return not subprocess.run([strace, "-o", "/dev/null", "/bin/true"], check=False).returncode


def trace(log: Path, *command: str, root: Path) -> None:
    """Run a Python module and write down its file system calls."""
    strace = shutil.which("strace")
    options = [
        "-f",
        "-ttt",
        "-xx",
        "-s",
        str(_LONGEST),
        "-e",
        "signal=none",
        "-e",
        f"trace={CALLS}",
    ]
    subprocess.run(
        [str(strace), *options, "-o", str(log), sys.executable, "-m", *command],
        check=True,
        cwd=root,
    )


def read(log: Path) -> list[Call]:
    """Return the calls that succeeded, in the order in which they returned."""
    return [call for call in _calls(log) if call.result >= 0]


def _calls(log: Path) -> Iterator[Call]:
    begun: dict[str, tuple[int, str]] = {}
    with log.open() as lines:
        for number, line in enumerate(lines):
            if match := _BEGUN.match(line):
                begun[match[1]] = number, match[3]
            elif match := _ENDED.match(line):
                first, arguments = begun.pop(match[1])
                yield Call(match[2], _split(arguments + match[3]), int(match[4]), first, number)
            elif match := _WHOLE.match(line):
                yield Call(match[2], _split(match[3]), int(match[4]), number, number)


def _split(arguments: str) -> tuple[bytes | str, ...]:
    found: list[bytes | str] = []
    for match in _ARGUMENT.finditer(arguments):
        if match[1] is not None:
            found.append(bytes.fromhex(match[1].replace("\\x", "")))
        elif match[2].strip():
            found.append(match[2].strip())
    return tuple(found)
