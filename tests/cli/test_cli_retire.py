"""``adcp-tracker retire``: forget a destination."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.cli.program import NAME, fill, pointing_at, run

if TYPE_CHECKING:
    from pathlib import Path

    from adcp_tracker.sandbox import Sandbox


@pytest.mark.slow
def test_a_destination_that_is_gone_is_removed_with_its_events(
    tmp_path: Path, seller: Sandbox
) -> None:
    """Only one that is not configured any more, and only when somebody means it."""
    fill(tmp_path, "A-1")
    wrong = pointing_at(seller, ADCP_API_KEY="not-the-token")
    here = ("--directory", tmp_path)
    assert run("flush", *here, "--timeout", "5", **wrong).code == 1

    configured = run("retire", NAME, "--yes", *here, **wrong)
    assert configured.code == 1
    assert "Remove it from the ADCP_* variables first" in configured.err
    unasked = run("retire", NAME, *here)
    assert unasked.code == 2
    assert "--yes" in unasked.err
    unknown = run("retire", "nobody", "--yes", "--json", *here)
    assert unknown.code == 1
    assert unknown.json["retired"] is False
    assert f"known: {NAME}" in unknown.err

    ended = run("retire", NAME, "--yes", "--json", *here)
    assert ended.code == 0
    assert ended.json == {"destination": NAME, "retired": True, "reason": ""}
    assert NAME not in run("status", *here, "--json").json["destinations"]
