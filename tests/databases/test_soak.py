"""Everything around a queue is killed, stopped and started again: no order is lost or doubled."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from tests.databases.soak import soak

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_a_soak_costs_no_order(kind: str, tmp_path: Path) -> None:
    """What was committed is delivered, and nothing else, each in one body; the stats are exact.

    A short one; ``python -m tests.databases.soak --minutes 15`` runs long ones.
    """
    seed = random.randrange(1_000_000)  # noqa: S311 - no secret
    report = soak(kind, 15.0, 60.0, tmp_path, seed)
    assert report.problems == [], report
    assert report.orders
    assert report.relayed
    assert report.troubles
