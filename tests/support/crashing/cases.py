"""One case of the crash matrix: a victim, its end, the next process, and the verdict."""

from __future__ import annotations

import hashlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from tests.support.crashing.erasing import GONE, has_begun, readable, remains
from tests.support.crashing.failing import counts, failing, has_failed
from tests.support.crashing.killpoints import OUTLIVED, Point, ask_where
from tests.support.crashing.ledger import Ledger, keys_at_odds, taken_by
from tests.support.crashing.plans import JOINED, MENDED_AT_LAST, SELLERS, promised

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from adcp_tracker.settings import Durability
    from tests.support.crashing.failing import Failure

_ROOT = Path(__file__).parents[3]
_QUICK = Path("/dev/shm")  # noqa: S108 - a private folder is made in it
_KNOWN = {
    "leader.lock",
    "leader.wanted",
    "books.json",
    "reserve",
    "segments",
    "state",
    "dead",
    "damaged",
    "destinations",
}


@attrs.frozen
class Case:
    """What is done to a victim.

    Attributes:
        plan: What the victim does.
        end: How it ends, or is forked.
        point: Where; ``None`` lets it live.
        before: Another victim that left something in the directory before.
        beside: What another process does with the directory meanwhile.
        sealed: Whether the queue is sealed.
    """

    plan: str
    end: str = "SIGKILL"
    point: Point | None = None
    before: Case | None = None
    beside: str | None = None
    sealed: bool = False

    def at(self, point: Point) -> Case:
        """Return the same case at a point."""
        return attrs.evolve(self, point=point)

    def __str__(self) -> str:
        where = f" at {self.point}" if self.point else ""
        after = f", after {self.before.point}" if self.before else ""
        sealed = ", sealed" if self.sealed else ""
        return f"{self.plan}{sealed}: {self.end}{where}{after}"


@attrs.frozen
class Verdict:
    """What a case came to.

    Attributes:
        case: The case.
        reached: Whether the victim came to the point.
        problems: What is wrong, one sentence each; empty if all is well.
    """

    case: Case
    reached: bool
    problems: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.case}: " + "; ".join(self.problems)


class Forge:
    """The process that forks victims."""

    def __init__(self) -> None:
        self._other: Forge | None = None
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.crashing.forge"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=_ROOT,
            text=True,
        )

    def ask(self, **request: object) -> dict[str, Any]:
        """Have something done, and return how it went."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps(request) + "\n")
        stdin.flush()
        answer: dict[str, Any] = json.loads(stdout.readline())
        return answer

    def close(self) -> None:
        """End it."""
        if self._other is not None:
            self._other.close()
        with self._process:
            assert self._process.stdin is not None
            self._process.stdin.close()

    def survey(self, case: Case) -> dict[tuple[str, int], int]:
        """Let a victim live, and return how often each line was executed."""
        with quick_folder() as folder:
            (folder / JOINED).touch()
            if case.before is not None:
                self._live(case.before, folder)
            answer = self.ask(
                do="live",
                plan=case.plan,
                end="SIGKILL",
                folder=str(folder),
                sealed=case.sealed,
            )
            assert answer == {"status": 0, "hung": False}, (answer, _log(folder))
            counts = json.loads((folder / "counts").read_text())
        return {(file, line): count for file, line, count in counts}

    def judge(self, case: Case) -> Verdict:
        """Run a case, be the next process, and look at everything."""
        with quick_folder() as folder:
            if case.before is not None:
                self._live(case.before, folder)
                (folder / "reached").unlink(missing_ok=True)
            with self._company(case, folder) as problems:
                problems.extend(self._live(case, folder))
            reached = (folder / "reached").exists()
            child = folder / "child"
            problems += remains(folder)
            if hung := self._recover(folder, case):
                problems += hung
                if case.end == OUTLIVED and child.exists():
                    ask_where(int(child.read_text()), folder / "log")
            if case.end == OUTLIVED and child.exists():
                problems += _of_others(folder, child.read_text())
                _kill(int(child.read_text()))
                problems += self._recover(folder, case)
            problems += examine(folder) + remains(folder)
            if problems:
                problems.append(_log(folder))
        return Verdict(case, reached, tuple(problems))

    def _recover(self, folder: Path, case: Case) -> list[str]:
        problems = readable(folder) if case.sealed else []
        request = {"do": "recover", "sealed": case.sealed, "mended": case.plan in MENDED_AT_LAST}
        answer = self.ask(**request, folder=str(folder))
        return [*problems, *(["the next process hung"] if answer["hung"] else [])]

    def endure(
        self, plan: str, failure: Failure | None, durability: Durability = "process"
    ) -> tuple[Verdict, Counter[str]]:
        """Have calls of a victim fail, and judge it; it must come to its own end.

        Returns:
            The verdict, and how often each call was made if none was to fail.
        """
        case = Case(plan, str(failure))
        request = {"do": "live", "plan": plan, "end": "SIGKILL", "traced": True}
        request["durability"] = durability
        with quick_folder() as folder:
            with ThreadPoolExecutor(1) as pool:
                answer = pool.submit(self.ask, **request, folder=str(folder))
                with failing(folder, failure):
                    ended = answer.result()
            problems = [] if ended == {"status": 0, "hung": False} else [f"it ended by {ended}"]
            # An event whose sync failed is appended again, and may be sent twice under its id.
            check = examine_after_power_cut if durability == "power" else examine
            problems += self._recover(folder, case) + check(folder)
            if problems:
                problems.append(_log(folder))
            reached = failure is not None and has_failed(folder)
            made = counts(folder) if failure is None else Counter[str]()
        return Verdict(case, reached, tuple(problems)), made

    @contextmanager
    def _company(self, case: Case, folder: Path) -> Iterator[list[str]]:
        """Have another process beside the victim, if there is to be one."""
        problems: list[str] = []
        if case.beside is None:
            yield problems
            return
        other = self._other = self._other or Forge()
        request = {"do": "live", "plan": case.beside, "end": "SIGKILL", "suffix": "-b"}
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(other.ask, **request, folder=str(folder))
            yield problems
            if answer.result() != {"status": 0, "hung": False}:
                problems.append(f"the process beside it ended by {answer.result()}")

    def _live(self, case: Case, folder: Path) -> list[str]:
        last = "SIGKILL" if case.end == OUTLIVED else None
        point = list(case.point) if case.point else None
        answer = self.ask(
            do="live",
            plan=case.plan,
            end=case.end,
            point=point,
            last=last,
            folder=str(folder),
            sealed=case.sealed,
        )
        return ["the victim hung"] if answer["hung"] else []


@contextmanager
def quick_folder() -> Iterator[Path]:
    """Make a private folder in memory where there is such a thing: a kill spares both alike."""
    base = _QUICK if os.access(_QUICK, os.W_OK) else None
    folder = Path(tempfile.mkdtemp(prefix="adcp-crash-", dir=base))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def _log(folder: Path) -> str:
    path = folder / "log"
    text = path.read_text() if path.exists() else ""
    # Where a victim that hung was asked where it stands, all of its answer is wanted.
    return text[text.rfind("load: ") :][:12_000] if "load: " in text else text[-3000:]


def examine(folder: Path) -> list[str]:
    """Say what is wrong in the folder of a case whose directory was flushed and closed."""
    if not (folder / "recovered").exists():
        return ["the next process did not come to its end"]
    found = json.loads((folder / "recovered").read_text())
    entries = list(Ledger(folder))
    problems = [*keys_at_odds(entries), *_left_behind(folder / "queue")]
    for seller in SELLERS:
        taken = taken_by(entries, seller)
        letters = [name for destination, name in found["letters"] if destination == seller]
        totals = found["stats"]["destinations"][seller]
        excused = _erased(folder)
        problems += [
            f"{seller}: {problem}"
            for problem in (
                *_lost(promised(folder), taken, letters, excused),
                *_unbalanced(totals, set(taken), letters, excused),
            )
        ]
    return problems


def _erased(folder: Path) -> set[str]:
    """Return the events of whoever was to be erased: any of them may have been sent before."""
    return {name for name in promised(folder) if GONE in name} if has_begun(folder) else set()


def examine_after_power_cut(folder: Path) -> list[str]:
    """Say what is wrong where more than a process has ended.

    Events that were delivered may be so again, and what nobody was promised may be torn.
    """
    if not (folder / "recovered").exists():
        return ["the next process did not come to its end"]
    found = json.loads((folder / "recovered").read_text())
    entries = list(Ledger(folder))
    problems = [f"segments/{path.name} is left" for path in (folder / "queue/segments").iterdir()]
    problems += [each for each in keys_at_odds(entries) if "under one key" in each]
    for seller in SELLERS:
        letters = [name for destination, name in found["letters"] if destination == seller]
        totals = found["stats"]["destinations"][seller]
        problems += _lost(promised(folder), taken_by(entries, seller), letters)
        if totals["pending"] or not _is_balanced(totals):
            problems.append(f"{seller}: the counts do not balance: {totals}")
    return problems


def _lost(
    promises: dict[str, str],
    taken: dict[str, set[str]],
    letters: list[str],
    excused: Collection[str] = (),
) -> Iterator[str]:
    for name, digest in promises.items():
        if name not in taken and name not in letters and name not in excused:
            yield f"{name} was promised and is lost"
        for form in taken.get(name, ()):
            if hashlib.sha256(form.encode()).hexdigest() != digest:
                yield f"{name} was delivered with other bytes"
    for name, forms in taken.items():
        if len(forms) > 1:
            yield f"{name} was delivered in {len(forms)} forms"


def _unbalanced(
    totals: dict[str, Any], taken: set[str], letters: list[str], erased: set[str]
) -> Iterator[str]:
    dropped = Counter(totals["dropped"])
    gone = dropped.pop("erased", 0)
    if not _is_balanced(totals):
        yield f"the counts do not balance: {totals}"
    if totals["pending"] or dropped or gone > len(erased):
        yield f"expected nothing pending or dropped: {totals}"
    if not len(taken - erased) <= totals["delivered"] <= len(taken):
        yield f"the seller took {len(taken)}, the counts say {totals['delivered']}"
    if erased.intersection(letters):
        yield f"of who was erased there are dead letters {letters}"
    if totals["dead"] != len(letters) or len(set(letters)) != len(letters):
        yield f"there are dead letters {letters}, the counts say {totals['dead']}"


def _is_balanced(totals: dict[str, Any]) -> bool:
    ends = (
        totals["delivered"] + totals["dead"] + totals["pending"] + sum(totals["dropped"].values())
    )
    return bool(totals["accepted"] == ends)


def _left_behind(queue: Path) -> list[str]:
    left = [f"segments/{path.name} is left" for path in (queue / "segments").iterdir()]
    left += [f"damaged/{path.name} is left" for path in (queue / "damaged").iterdir()]
    left += [
        f"dead/{path.name} is left"
        for path in (queue / "dead").iterdir()
        if path.suffix != ".log" or not path.stat().st_size
    ]
    left += [
        f"state/{path.name} is left"
        for path in (queue / "state").iterdir()
        if path.name != "cache.db"
    ]
    left += [
        f"destinations/{path.name} is left"
        for path in (queue / "destinations").iterdir()
        if path.name.startswith(".")
    ]
    return left + [f"{path.name} is left" for path in queue.iterdir() if path.name not in _KNOWN]


def _kill(process: int) -> None:
    """Kill a process and wait until the kernel has taken back what it held."""
    descriptor = os.pidfd_open(process)
    try:
        os.kill(process, signal.SIGKILL)
        select.select([descriptor], [], [])
    finally:
        os.close(descriptor)


def _of_others(folder: Path, child: str) -> list[str]:
    """Say which segments are left that are not those of a child that still lives."""
    left = (folder / "queue" / "segments").iterdir()
    return [f"{path.name} is left" for path in left if path.name.split("-")[1] != child]


def points_of(survey: dict[tuple[str, int], int]) -> list[Point]:
    """Return the points to reach: each line's first times, its middle and its last."""
    return [
        Point(file, line, time)
        for (file, line), count in sorted(survey.items())
        for time in sorted({1, 2, 3, (count + 1) // 2, count})
        if time <= count
    ]
