"""A model of a disk that loses power.

It replays a process's calls up to a moment and keeps apart what the process saw, and what
was certain to be on the disk. What lies between may have got there in part:

``synced``
    Of each file only what it held at its last sync, and of each folder only the names it
    had at its own last sync.
``ordered``
    The same contents, but any sync also keeps all names there were by then, as file systems
    with one journal for names do, such as ext4.
``torn``
    As ``ordered``, and of the later writes to each file the first few too, the last of them
    in part.
``shuffled``
    As ``ordered``, and any of the later writes too, whatever their order, with zeros where
    one is missing.
"""

from __future__ import annotations

import os
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import attrs

from tests.support.crashing.syscalls import takes_effect

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable
    from pathlib import Path

    from tests.support.crashing.syscalls import Call

VARIANTS = ("synced", "ordered", "torn", "shuffled")

Names = dict[str, "File | None"]
"""Files by their path; folders are ``None``."""


@attrs.define(eq=False)
class File:
    """What is in a file.

    Attributes:
        content: What the process sees.
        certain: What the last sync has put on the disk.
        later: The writes since then, and truncations with no data.
        synced: How many came before these.
    """

    content: bytearray = attrs.field(factory=bytearray)
    certain: bytes = b""
    later: list[tuple[int, bytes | None]] = attrs.field(factory=list)
    synced: int = 0

    def change(self, place: int, data: bytes | None) -> None:
        """Write at a place, or cut off there."""
        _change(self.content, place, data)
        self.later.append((place, data))

    def sync(self, content: bytes, changes: int) -> None:
        """Put on the disk what there was after so many changes, unless more of it is there.

        Of two syncs at once, the one that began first may end last.
        """
        if changes > self.synced:
            del self.later[: changes - self.synced]
            self.certain, self.synced = content, changes


@attrs.define(eq=False)
class _Open:
    file: File | None
    path: str
    appends: bool
    place: int = 0


@attrs.define(eq=False)
class _Sync:
    """A sync under way: it takes what there was when it began."""

    begun: int
    content: bytes
    changes: int
    names: Names


class Disk:
    """A folder on a disk.

    Args:
        root: The folder; what is done elsewhere does not count.
    """

    def __init__(self, root: str) -> None:
        self._root = root
        self._names: Names = {root: None}
        self._synced: Names = {root: None}
        self._ordered: Names = {root: None}
        self._open: dict[int, _Open] = {}
        self._under_way: dict[int, _Sync] = {}
        self._newest: dict[str, int] = {}

    def replay(self, calls: Iterable[Call], until: int) -> None:
        """Do what was done before a line of the log."""
        done = list(calls)
        moments = [(call.begun, 0, call) for call in done if call.begun < until]
        moments += [(takes_effect(call), 1, call) for call in done if takes_effect(call) < until]
        for _, end, call in sorted(moments, key=lambda moment: moment[:2]):
            if not end and call.name in {"fsync", "fdatasync"}:
                self._begin_sync(call)
            elif end:
                getattr(self, f"_{call.name}", self._unknown)(call)

    def leave(self, folder: Path, variant: str, chance: random.Random) -> None:
        """Write into a real folder what is left after the power has gone."""
        names = self._synced if variant == "synced" else self._ordered
        for path, file in sorted(names.items()):
            if any(str(parent) not in names for parent in self._parents(path)):
                continue
            target = folder / PurePosixPath(path).relative_to(self._root)
            if file is None:
                target.mkdir(mode=0o700, exist_ok=True)
            else:
                target.write_bytes(_left(file, variant, chance))
                target.chmod(0o600)

    def _parents(self, path: str) -> list[PurePosixPath]:
        within = PurePosixPath(path)
        return [each for each in within.parents if str(each).startswith(self._root)]

    def _is_ours(self, path: str) -> bool:
        return path == self._root or path.startswith(self._root + "/")

    def _unknown(self, call: Call) -> None:
        paths = [each.decode() for each in call.arguments if isinstance(each, bytes)]
        if any(self._is_ours(path) for path in paths):
            raise NotImplementedError(f"the model does not know {call.name}")

    # --- descriptors ------------------------------------------------------------------

    def _openat(self, call: Call) -> None:
        path, flags = call.text(1), call.text(2)
        if not self._is_ours(path):
            self._open.pop(call.result, None)
            return
        file = self._names.get(path)
        if file is None and "O_DIRECTORY" not in flags and not self._is_folder(path):
            file = self._names[path] = File()
        if file is not None and "O_TRUNC" in flags:
            file.change(0, None)
        self._open[call.result] = _Open(file, path, "O_APPEND" in flags)

    def _is_folder(self, path: str) -> bool:
        return path in self._names and self._names[path] is None

    def _close(self, call: Call) -> None:
        self._open.pop(call.number(0), None)

    def _dup2(self, call: Call) -> None:
        self._copy(call.number(0), call.result)

    _dup = _dup3 = _dup2

    def _fcntl(self, call: Call) -> None:
        if call.text(1).startswith("F_DUPFD"):
            self._copy(call.number(0), call.result)

    def _copy(self, old: int, new: int) -> None:
        self._open.pop(new, None)
        if old in self._open:
            self._open[new] = self._open[old]

    # --- contents ---------------------------------------------------------------------

    def _write(self, call: Call) -> None:
        opened = self._open.get(call.number(0))
        if opened is None or opened.file is None:
            return
        place = len(opened.file.content) if opened.appends else opened.place
        opened.file.change(place, call.data(1)[: call.result])
        opened.place = place + call.result

    def _pwrite64(self, call: Call) -> None:
        opened = self._open.get(call.number(0))
        if opened is not None and opened.file is not None:
            opened.file.change(call.number(3), call.data(1)[: call.result])

    def _ftruncate(self, call: Call) -> None:
        opened = self._open.get(call.number(0))
        if opened is not None and opened.file is not None:
            opened.file.change(int(call.text(1), 0), None)

    # --- names ------------------------------------------------------------------------

    def _mkdir(self, call: Call) -> None:
        if self._is_ours(call.text(0)):
            self._names[call.text(0)] = None

    def _unlink(self, call: Call) -> None:
        if self._is_ours(call.text(0)):
            del self._names[call.text(0)]

    def _link(self, call: Call) -> None:
        if self._is_ours(call.text(1)):
            self._names[call.text(1)] = self._names[call.text(0)]

    def _rename(self, call: Call) -> None:
        old, new = call.text(0), call.text(1)
        if not self._is_ours(old):
            return
        for path in [each for each in self._names if each == old or each.startswith(old + "/")]:
            self._names[new + path.removeprefix(old)] = self._names.pop(path)

    # --- syncs ------------------------------------------------------------------------

    def _begin_sync(self, call: Call) -> None:
        opened = self._open.get(call.number(0))
        if opened is not None:
            file = opened.file
            content, changes = b"", 0
            if file is not None:
                content, changes = bytes(file.content), file.synced + len(file.later)
            sync = _Sync(call.begun, content, changes, dict(self._names))
            self._under_way[call.begun] = sync

    def _fdatasync(self, call: Call) -> None:
        opened, sync = self._open.get(call.number(0)), self._under_way.pop(call.begun, None)
        if opened is None or sync is None:
            return
        if self._is_newest("", sync):
            self._ordered = sync.names
        if opened.file is not None:
            opened.file.sync(sync.content, sync.changes)
        elif self._is_newest(opened.path, sync):
            self._keep_names(opened.path, sync.names)

    _fsync = _fdatasync

    def _is_newest(self, folder: str, sync: _Sync) -> bool:
        """Return whether no sync of a folder's names, or of any with "", has begun later."""
        newest = self._newest.get(folder, -1) < sync.begun
        if newest:
            self._newest[folder] = sync.begun
        return newest

    def _keep_names(self, folder: str, names: Names) -> None:
        for path in [each for each in self._synced if os.path.dirname(each) == folder]:  # noqa: PTH120 - a text
            if path not in names:
                del self._synced[path]
        for path, file in names.items():
            if os.path.dirname(path) == folder:  # noqa: PTH120 - a text
                self._synced[path] = file


def _change(content: bytearray, place: int, data: bytes | None) -> None:
    if len(content) < place:
        content.extend(bytes(place - len(content)))
    if data is None:
        del content[place:]
    else:
        content[place : place + len(data)] = data


def _left(file: File, variant: str, chance: random.Random) -> bytes:
    content = bytearray(file.certain)
    if variant == "torn":
        count = chance.randint(0, len(file.later))
        for place, data in file.later[:count]:
            _change(content, place, data)
        if count < len(file.later):
            place, data = file.later[count]
            _change(content, place, data[: chance.randint(0, len(data))] if data else b"")
    elif variant == "shuffled":
        for place, data in file.later:
            if chance.random() < 0.5:
                _change(content, place, data)
    return bytes(content)
