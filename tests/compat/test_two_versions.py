"""Processes of commit de0da3b and of this version share a directory, as during a deployment.

The old version is taken from the repository's history; without it, these are skipped.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import pytest

from tests.compat import deploying
from tests.compat.local_seller import LocalSeller, local_seller

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.compat

OLD = "de0da3b"
_ROOT = Path(__file__).parents[2]
_SCRIPT = Path(deploying.__file__)
_EACH = 300
_PATIENCE_S = 60.0
_ORDERS = [("old", "new"), ("new", "old")]


@pytest.fixture(scope="module")
def checkouts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Where each version is."""
    git = shutil.which("git")
    if git is None or not (_ROOT / ".git").exists():
        pytest.skip("the repository's history is not here")
    folder: Path = tmp_path_factory.mktemp("old")
    archive = folder / "old.tar"
    made = subprocess.run(
        [git, "archive", "-o", str(archive), OLD, "adcp_tracker"],
        cwd=_ROOT,
        capture_output=True,
        check=False,
    )
    if made.returncode:
        pytest.skip(f"commit {OLD} is not in the repository's history")
    with tarfile.open(archive) as file:
        for entry in file.getmembers():
            source = file.extractfile(entry)
            if source is not None:
                path = folder / entry.name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(source.read())
    return {"old": folder, "new": _ROOT}


@attrs.define
class Deployment:
    """A directory and a seller, and processes of either version.

    Attributes:
        directory: The queue directory.
        seller: The seller of all processes.
        checkouts: Where each version is.
        running: The processes that were started.
    """

    directory: Path
    seller: LocalSeller
    checkouts: dict[str, Path]
    running: list[subprocess.Popen[bytes]] = attrs.field(factory=list)

    def start(self, version: str, name: str, count: int, pause_ms: float = 1.0) -> Process:
        """Start a process that tracks `count` events, called by its name and a number."""
        command = [sys.executable, str(_SCRIPT), str(self.directory), f"{self.seller.origin}/mcp"]
        process = subprocess.Popen(
            [*command, name, str(count), str(pause_ms)],
            env={**os.environ, "PYTHONPATH": str(self.checkouts[version]), "PYTHONSAFEPATH": "1"},
            cwd=self.directory.parent,
        )
        self.running.append(process)
        return Process(process, self.directory.parent, name, self.checkouts[version])

    def promised(self) -> list[str]:
        """Return the ids of all events that some process was promised."""
        return [
            line
            for path in self.directory.parent.glob("*.promised")
            for line in path.read_text().splitlines()
        ]


@attrs.frozen
class Process:
    """One process of the shop."""

    process: subprocess.Popen[bytes]
    folder: Path
    name: str
    checkout: Path

    def promised(self) -> int:
        """Return how many events it was promised so far."""
        path = self.folder / f"{self.name}.promised"
        return len(path.read_text().splitlines()) if path.exists() else 0

    def end(self) -> None:
        """Wait until it has ended well, and was of the version that was asked for."""
        assert self.process.wait(_PATIENCE_S) == 0
        version = (self.folder / f"{self.name}.version").read_text()
        assert Path(version) == self.checkout

    def kill(self) -> None:
        """End it by SIGKILL."""
        self.process.kill()
        self.process.wait(_PATIENCE_S)


@pytest.fixture
def deployment(tmp_path: Path, checkouts: dict[str, Path]) -> Iterator[Deployment]:
    """An empty directory and a seller."""
    with local_seller() as seller:
        made = Deployment(tmp_path / "queue", seller, checkouts)
        yield made
        for process in made.running:
            process.kill()
            process.wait(_PATIENCE_S)


def _wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize(("first", "second"), _ORDERS)
def test_both_versions_track_and_deliver_side_by_side(
    deployment: Deployment, first: str, second: str
) -> None:
    """Nothing is lost and nothing is sent twice while one version hands over to the other."""
    one = deployment.start(first, "one", _EACH)
    _wait_for(lambda: bool(deployment.seller.taken("agent")))
    other = deployment.start(second, "other", _EACH)
    one.end()
    other.end()
    last = deployment.start(first, "last", 5)
    last.end()
    taken = Counter(deployment.seller.taken("agent"))
    assert set(taken) == set(deployment.promised())
    assert len(taken) == 2 * _EACH + 5
    assert set(taken.values()) == {1}


@pytest.mark.parametrize(("first", "second"), _ORDERS)
def test_what_a_killed_process_of_one_version_leaves_the_other_delivers(
    deployment: Deployment, first: str, second: str
) -> None:
    """Each event that was promised arrives; one that arrives twice has one idempotency key."""
    victim = deployment.start(first, "victim", 100_000)
    _wait_for(lambda: victim.promised() > _EACH and bool(deployment.seller.taken("agent")))
    deployment.seller.is_busy = True
    busy_from = len(deployment.seller.requests)
    _wait_for(lambda: len(deployment.seller.requests) > busy_from)
    victim.kill()
    deployment.seller.is_busy = False
    deployment.start(second, "heir", 5).end()
    promised = set(deployment.promised())
    assert promised <= set(deployment.seller.taken("agent"))
    bodies: dict[str, set[str]] = {}
    for each in deployment.seller.requests:
        bodies.setdefault(each.key, set()).add(each.body)
    assert all(len(forms) == 1 for forms in bodies.values())
    keys: dict[str, set[str]] = {}
    for each in deployment.seller.requests:
        for name in each.ids:
            keys.setdefault(name, set()).add(each.key)
    assert all(len(forms) == 1 for forms in keys.values())
