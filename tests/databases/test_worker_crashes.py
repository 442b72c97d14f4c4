"""A worker over a database is ended at the lines of the store, and a relay at its own.

A victim lives a plan while a tracer counts the lines that it executes. Then it is run again and
again, and ended as one of those lines is about to run: killed, left by `os._exit`, or with all of
its connections cut off by the server, after which it goes on. Then another worker takes over.

A random share of the points is covered by default; `--database-points all` covers all.
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
from tests.support.crashing.database_forge import CUT_OFF, SELLERS
from tests.support.crashing.ledger import Ledger, keys_at_odds, taken_by

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.crashing.killpoints import Point
    from tests.support.mysql import MySQLServer
    from tests.support.postgres import PostgresServer

SHARE = {"postgres": 5, "mariadb": 3, "mysql": 3}
STORE = {
    "outbox/database.py",
    "outbox/database_log.py",
    "outbox/database_store.py",
    "outbox/_postgresql.py",
    "outbox/_mysql.py",
}
RELAY = {"delivery/relay.py"}


class Cases:
    """Runs cases one after the other, each in a queue of its own.

    Attributes:
        kind: The kind of server.
    """

    def __init__(self, kind: str, url: str, folder: Path) -> None:
        self.kind = kind
        self._url, self._folder, self._count = url, folder, -1
        self._points: dict[str, list[Point]] = {}
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

    def points(self, plan: str, files: set[str]) -> list[Point]:
        """Return the points of a plan in some files, in a random order."""
        if plan not in self._points:
            folder, problems = self.run(plan, "SIGKILL", None)
            assert not problems, problems
            counts = json.loads((folder / "counts").read_text())
            self._points[plan] = points_of({(file, line): count for file, line, count in counts})
        found = [point for point in self._points[plan] if point.file in files]
        return random.sample(found, len(found))

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
def cases(
    kind: str,
    any_server: PostgresServer | MySQLServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Cases]:
    """Return what runs cases over a server of each kind."""
    url = any_server.create("crashes")
    migrate(url, queues=10_000)
    several = Cases(kind, url, tmp_path_factory.mktemp("crashes"))
    yield several
    several.close()


@pytest.mark.timeout(0)
@pytest.mark.parametrize("end", ["SIGKILL", "os._exit", CUT_OFF])
@pytest.mark.parametrize(("plan", "files"), [("work", STORE), ("relay", RELAY | STORE)])
def test_wherever_a_worker_ends_nothing_is_lost_or_doubled(
    cases: Cases, plan: str, files: set[str], end: str, pytestconfig: pytest.Config
) -> None:
    """Each acknowledged event arrives, each batch under one key; the stats are exact."""
    points = cases.points(plan, files)
    wanted = str(pytestconfig.getoption("--database-points", default="share"))
    count = (
        SHARE[cases.kind] if wanted == "share" else len(points) if wanted == "all" else int(wanted)
    )
    reached: Counter[bool] = Counter()
    wrong = []
    for point in points[: 4 * count]:  # not each victim comes to its point
        folder, problems = cases.run(plan, end, point)
        reached[(folder / "reached").exists()] += 1
        if problems:
            log = (folder / "log").read_text()[-3000:]
            wrong.append(f"{point}: " + "; ".join(problems) + f"\n{log}")
        if reached[True] == count:
            break
    print(f"{cases.kind}, {plan}, {end}: {len(points)} points, reached: {dict(reached)}")  # noqa: T201 - figures
    assert not wrong, f"{len(wrong)} of {reached.total()}\n" + "\n\n".join(wrong[:5])
    assert 2 * reached[True] > count
