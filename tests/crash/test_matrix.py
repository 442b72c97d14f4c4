"""The crash matrix: how a process ends, times where it stood.

A victim lives a plan while a tracer counts the lines of the library that it executes.
Then it is run again and again, and ended at one of those lines: the first few times the
line is about to run, the middle one and the last. So it is stopped before, between and
after each step of appending, rolling, sealing, committing, sending, settling, deleting and
erasing a person, in whichever thread that happens. After each end another process takes
over the directory.

By default an evenly spread share of the points is covered, another one in each round;
``--crash-points all`` covers all of them in each, ``--crash-seed`` repeats the choice of a run.
"""

from __future__ import annotations

import inspect
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.support.crashing import ledger
from tests.support.crashing.cases import Case, points_of
from tests.support.crashing.forges import Forges
from tests.support.crashing.killpoints import (
    CONTAINER_STOP,
    FORK,
    OUTLIVED,
    RAISING,
    Point,
    is_with,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.crash.conftest import CrashLog, Share

_SHARE = 12


def _line_of(text: str) -> int:
    """Return the number of the line of the ledger's `send` that holds `text`."""
    lines, first = inspect.getsourcelines(ledger.LedgerDestination.send)
    return first + next(number for number, line in enumerate(lines) if text in line)


TAKEN_BUT_NOT_SETTLED = Case(
    "leave behind", "SIGKILL", Point("crashing/ledger.py", _line_of("return outcome"), 2)
)
FROZEN_BUT_NOT_SENT = Case(
    "leave behind", "SIGKILL", Point("crashing/ledger.py", _line_of("identity ="), 2)
)
MATRIX = [
    *(
        Case("sales", end)
        for end in (
            "SIGKILL",
            "SIGTERM",
            "SIGINT",
            CONTAINER_STOP,
            "os._exit",
            "exec",
            "clean exit",
            "unhandled exception",
            FORK,
            OUTLIVED,
        )
    ),
    Case("roll", "SIGKILL"),
    Case("roll", "SIGTERM"),
    Case("threads", "SIGKILL"),
    Case("threads", FORK),
    Case("threads", OUTLIVED),
    Case("daemons", "clean exit"),
    Case("daemons", "unhandled exception"),
    Case("lead", "SIGKILL", beside="join"),
    Case("recover", "SIGKILL", before=TAKEN_BUT_NOT_SETTLED),
    Case("recover", "SIGKILL", before=FROZEN_BUT_NOT_SENT),
    Case("recover", "SIGTERM", before=TAKEN_BUT_NOT_SETTLED),
    Case("recover", "os._exit", before=FROZEN_BUT_NOT_SENT),
    Case("sales", "SIGKILL", sealed=True),
    Case("forget", "SIGKILL"),
    Case("forget", "SIGTERM"),
    Case("forget", "SIGKILL", sealed=True),
]


@pytest.fixture(scope="module")
def forges() -> Iterator[Forges]:
    """Processes that judge cases side by side."""
    with Forges() as several:
        yield several


@pytest.fixture(scope="module")
def tally() -> Iterator[Counter[tuple[str, bool]]]:
    """Count places by case and by whether the victim came there; most of each case's must be so.

    Counted over all rounds, since a few places of one may be missed by chance: what other
    threads do meanwhile is never twice the same.
    """
    counted: Counter[tuple[str, bool]] = Counter()
    yield counted
    for case in {case for case, _ in counted}:
        assert counted[case, True] >= counted[case, False], f"{case}: {counted}"


def _chosen(points: list[Point], wanted: str, share: Share) -> list[Point]:
    """Choose evenly; as many rounds as a share has gaps cover every point between them."""
    if wanted == "all":
        return points
    count = _SHARE if wanted == "share" else int(wanted)
    step = max(len(points) / count, 1.0)
    offset = step * share.fraction
    places = (int(offset + step * number) for number in range(count))
    return [points[place] for place in places if place < len(points)]


@pytest.mark.timeout(0)
@pytest.mark.parametrize("case", MATRIX, ids=str)
def test_whatever_ends_a_process_wherever_it_stands_nothing_is_lost_or_doubled(  # noqa: PLR0913, PLR0917 - fixtures
    case: Case,
    forges: Forges,
    share: Share,
    crash_log: CrashLog,
    tally: Counter[tuple[str, bool]],
    pytestconfig: pytest.Config,
) -> None:
    """Each promised event is delivered with its bytes, under one key a batch; counts balance."""
    points = points_of(forges.survey(case))
    if case.end in RAISING:
        points = [point for point in points if not is_with(point)]
    chosen = _chosen(points, str(pytestconfig.getoption("--crash-points", default="share")), share)
    verdicts = []
    for verdict in forges.judge(case.at(point) for point in chosen):
        crash_log.add(str(case), len(points), verdict)
        tally[str(case), verdict.reached] += 1
        verdicts.append(verdict)
    reached = sum(verdict.reached for verdict in verdicts)
    print(f"{case}: {len(chosen)} of {len(points)} points, {reached} reached, {share}")  # noqa: T201 - figures
    wrong = [str(verdict) for verdict in verdicts if verdict.problems]
    assert not wrong, f"{share}: {len(wrong)} of {len(chosen)}\n" + "\n\n".join(wrong[:10])
