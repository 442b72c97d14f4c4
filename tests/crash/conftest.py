"""How much of the crash tests to run: a share by default, all of it by command.

::

    python -m pytest tests/crash -m crash --crash-rounds 1 --crash-points all
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import pytest

if TYPE_CHECKING:
    from tests.support.crashing.cases import Verdict

ROUNDS = 3


@attrs.frozen
class Share:
    """Which of the points a round covers.

    Attributes:
        seed: Begins the choice.
        round: Which round it is, from 0.
        rounds: Of how many.
    """

    seed: int
    round: int
    rounds: int

    @property
    def fraction(self) -> float:
        """Where the round begins between two points of the first; rounds are evenly spread."""
        chance = random.Random(self.seed).random()  # noqa: S311 - a choice
        return (self.round + chance) / self.rounds

    def __str__(self) -> str:
        return f"round {self.round + 1} of {self.rounds}, seed {self.seed}"


class CrashLog:
    """Writes down each verdict, one line of JSON each, where somebody asked for it.

    Args:
        path: The file to append to; ``None`` writes nothing.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def add(self, case: str, points: int, verdict: Verdict) -> None:
        """Write one."""
        if self._path is None:
            return
        line = {
            "case": case,
            "points": points,
            "point": str(verdict.case.point),
            "reached": verdict.reached,
            "problems": verdict.problems,
        }
        with self._path.open("a") as file:
            file.write(json.dumps(line) + "\n")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the crash tests."""
    group = parser.getgroup("crash", "crash tests")
    group.addoption(
        "--crash-rounds", type=int, default=ROUNDS, help="how often each crash test is repeated"
    )
    group.addoption(
        "--crash-points", default="share", help="kill points per plan: a number, share or all"
    )
    group.addoption("--crash-seed", type=int, default=None, help="repeats a run's random choices")
    group.addoption("--crash-log", type=Path, default=None, help="a file to append each verdict to")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Repeat each test."""
    rounds = metafunc.config.getoption("--crash-rounds", default=ROUNDS)
    metafunc.fixturenames.append("crash_round")
    metafunc.parametrize("crash_round", range(rounds), scope="function")


@pytest.fixture(scope="session")
def crash_seed(pytestconfig: pytest.Config) -> int:
    """What this run's choices begin with."""
    given: int | None = pytestconfig.getoption("--crash-seed", default=None)
    return random.randrange(1 << 30) if given is None else given  # noqa: S311 - a choice


@pytest.fixture
def share(crash_seed: int, crash_round: int, pytestconfig: pytest.Config) -> Share:
    """Which points this round covers."""
    rounds = pytestconfig.getoption("--crash-rounds", default=ROUNDS)
    return Share(crash_seed, crash_round, rounds)


@pytest.fixture(scope="session")
def crash_log(pytestconfig: pytest.Config) -> CrashLog:
    """Where verdicts are written down."""
    return CrashLog(pytestconfig.getoption("--crash-log", default=None))
