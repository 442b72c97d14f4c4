"""How many points the crash matrix has: a file that is moved must not leave it unseen.

The figures are the lines of the library that a plan executes, about four fifths of those of
commit de0da3b. Where code is removed on purpose, lower them in the same commit and say why.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.crashing.cases import Case, Forge
from tests.support.crashing.killpoints import LIBRARY, TRACED

if TYPE_CHECKING:
    from collections.abc import Iterator

FEWEST: dict[Case, int] = {
    Case("sales"): 1100,
    Case("roll"): 820,
    Case("threads"): 790,
    Case("daemons"): 730,
    Case("lead"): 860,
    Case("leave behind"): 770,
    Case("recover"): 780,
    Case("sales", sealed=True): 1100,
    Case("forget"): 950,
    Case("forget", sealed=True): 960,
}
"""The fewest lines with points by what a victim does."""

_SUPPORT = TRACED[-1].parent

Survey = dict[tuple[str, int], int]


@pytest.fixture(scope="module")
def surveys() -> Iterator[dict[Case, Survey]]:
    """How often each line is executed, by what a victim does."""
    forge = Forge()
    yield {case: forge.survey(case) for case in FEWEST}
    forge.close()


def test_each_plan_has_enough_points(surveys: dict[Case, Survey]) -> None:
    """No plan has lost a large part of the lines at which its victim can be ended."""
    lost = {
        str(case): len(survey) for case, survey in surveys.items() if len(survey) < FEWEST[case]
    }
    assert not lost, f"lines by plan, where they are too few: {lost}; is a package left out?"


def test_each_traced_package_has_points(surveys: dict[Case, Survey]) -> None:
    """Each package that is not left out is executed by some plan."""
    executed = {file.split("/")[0] for survey in surveys.values() for file, _ in survey}
    packages = {path.parent.name for path in TRACED if path.parent not in {LIBRARY, _SUPPORT}}
    assert len(packages) > 2
    assert packages <= executed, "a package that writes nothing to a queue belongs to UNTRACED"


def test_points_have_names_of_their_own() -> None:
    """No two traced files share the short name by which points are known."""
    short = ["/".join(path.parts[-2:]) for path in TRACED]
    assert len(set(short)) == len(short)
