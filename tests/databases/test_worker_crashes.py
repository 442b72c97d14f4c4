"""A worker over PostgreSQL is ended at the lines of the store, and a relay at its own.

A victim lives a plan while a tracer counts the lines that it executes. Then it is run again and
again, and ended as one of those lines is about to run: killed, left by `os._exit`, or with all of
its connections cut off by the server, after which it goes on. Then another worker takes over.

A share of the points is covered by default; `--database-points all` covers all.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from adcp_tracker.outbox.database import migrate
from tests.support.crashing.cases import points_of
from tests.support.crashing.database_forge import SELLERS, TERMINATED
from tests.support.crashing.ledger import Ledger, keys_at_odds, taken_by

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.crashing.killpoints import Point
    from tests.support.postgres import PostgresServer

SHARE = 5
STORE = {"outbox/database.py", "outbox/_postgresql.py"}
RELAY = {"delivery/relay.py"}


class Cases:
    """Runs cases one after the other, each in a queue of its own."""

    def __init__(self, url: str, folder: Path) -> None:
        self._url, self._folder, self._count = url, folder, -1
        self._forge = subprocess.Popen(
            [sys.executable, "-m", "tests.support.crashing.database_forge"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def close(self) -> None:
        """End the forge."""
        self._forge.communicate()

    def _ask(self, **request: object) -> int | None:
        assert self._forge.stdin is not None
        assert self._forge.stdout is not None
        self._forge.stdin.write(json.dumps(request) + "\n")
        self._forge.stdin.flush()
        status: int | None = json.loads(self._forge.stdout.readline())["status"]
        return status

    def run(self, plan: str, end: str, point: Point | None) -> tuple[Path, list[str]]:
        """Run a case; return its folder and what is wrong."""
        self._count += 1
        folder = self._folder / str(self._count)
        folder.mkdir()
        case = {
            "folder": str(folder),
            "url": self._url,
            "queue": self._count,
            "plan": plan,
            "end": end,
            "point": point,
        }
        if self._ask(do="live", **case) is None:
            return folder, ["the victim hung"]
        if self._ask(do="recover", **case) != 0:
            return folder, ["recovery failed: " + (folder / "log").read_text()[-2000:]]
        return folder, _problems(folder)


def _problems(folder: Path) -> list[str]:
    """Return what is wrong after recovery."""
    entries = list(Ledger(folder))
    found = json.loads((folder / "recovered").read_text())
    promised = (
        set((folder / "promised").read_text().split()) if (folder / "promised").exists() else set()
    )
    wrong = keys_at_odds(entries)
    for seller in SELLERS:
        taken = taken_by(entries, seller)
        wrong += [
            f"{seller}: {len(forms)} forms of {name}"
            for name, forms in taken.items()
            if len(forms) > 1
        ]
        missing = {
            name for name in promised - taken.keys() if not name.startswith(("bad-", "person-"))
        }
        wrong += [f"{seller} never took {sorted(missing)}"] if missing else []
        wrong += _books_at_odds(seller, found, taken, (len(promised), _count_tracked(folder)))
    return wrong


def _count_tracked(folder: Path) -> int:
    """Return how many calls were begun; those not acknowledged may be accepted, too."""
    tracked = folder / "tracked"
    return len(tracked.read_text().split()) if tracked.exists() else 0


def _books_at_odds(
    seller: str, found: dict[str, Any], taken: dict[str, set[str]], bounds: tuple[int, int]
) -> list[str]:
    stats = found["stats"]["destinations"].get(seller)
    if stats is None:
        return [f"{seller} has no stats"] if bounds[0] else []
    dropped: dict[str, int] = stats["dropped"]
    accounted = stats["delivered"] + stats["unconfirmed"] + stats["dead"] + sum(dropped.values())
    letters = [name for destination, name in found["letters"] if destination == seller]
    wrong = []
    if stats["pending"] or stats["accepted"] != accounted:
        wrong.append(f"{seller}: the stats don't balance: {stats}")
    if stats["delivered"] + stats["unconfirmed"] != len(taken):
        wrong.append(f"{seller}: took {len(taken)}, counted {stats['delivered']}")
    if stats["dead"] != len(letters):
        wrong.append(f"{seller}: {letters} are dead, counted {stats['dead']}")
    if dropped.keys() - {"erased", "operator"}:
        wrong.append(f"{seller}: dropped {dropped}")
    if not bounds[0] <= stats["accepted"] <= bounds[1]:
        wrong.append(f"{seller}: expected {bounds}, accepted {stats['accepted']}")
    return wrong


@pytest.fixture(scope="module")
def cases(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cases]:
    """Return what runs cases."""
    url = postgres.create("crashes")
    migrate(url, queues=10_000)
    several = Cases(url, tmp_path_factory.mktemp("crashes"))
    yield several
    several.close()


def _points(cases: Cases, plan: str, files: set[str]) -> list[Point]:
    folder, problems = cases.run(plan, "SIGKILL", None)
    assert not problems, problems
    counts = json.loads((folder / "counts").read_text())
    return [
        point
        for point in points_of({(file, line): count for file, line, count in counts})
        if point.file in files
    ]


@pytest.mark.timeout(0)
@pytest.mark.parametrize("end", ["SIGKILL", "os._exit", TERMINATED])
@pytest.mark.parametrize(("plan", "files"), [("work", STORE), ("relay", RELAY | STORE)])
def test_wherever_a_worker_ends_nothing_is_lost_or_doubled(
    cases: Cases, plan: str, files: set[str], end: str, pytestconfig: pytest.Config
) -> None:
    """Each acknowledged event arrives, each batch under one key; the stats are exact."""
    points = _points(cases, plan, files)
    wanted = str(pytestconfig.getoption("--database-points", default="share"))
    count = SHARE if wanted == "share" else len(points) if wanted == "all" else int(wanted)
    step = max(len(points) / count, 1.0)
    offset = random.random() * step  # noqa: S311 - a choice, shown below
    chosen = [
        points[int(offset + step * n)] for n in range(count) if offset + step * n < len(points)
    ]
    reached: Counter[bool] = Counter()
    wrong = []
    for point in chosen:
        folder, problems = cases.run(plan, end, point)
        reached[(folder / "reached").exists()] += 1
        if problems:
            log = (folder / "log").read_text()[-3000:]
            wrong.append(f"{point}: " + "; ".join(problems) + f"\n{log}")
    print(f"{plan}, {end}: {len(chosen)} of {len(points)} points, {dict(reached)}")  # noqa: T201 - figures
    assert not wrong, f"{len(wrong)} of {len(chosen)}\n" + "\n\n".join(wrong[:5])
    assert reached[True] >= reached[False]
