"""Purchases through killed, stopped and reloaded workers and a seller that fails."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.servers.storm import WORKERS, storm

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("worker", list(WORKERS))
def test_a_storm_costs_no_purchase(worker: str, tmp_path: Path) -> None:
    """Each answered purchase arrives, resent batches have the same bytes, and the stats add up.

    A short one; ``python -m tests.servers.storm --minutes 5`` runs long ones.
    """
    report = storm(worker, 5.0, tmp_path)
    assert report.problems == []
    assert report.answered
    assert report.signals
