"""The management commands, in processes of their own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from adcp_tracker import Tracker
from tests.integrations.django.serving import ROOT, environment, manage

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.seller import SellerProcess

pytestmark = pytest.mark.slow


@pytest.fixture
def env(tmp_path: Path, seller_process: SellerProcess) -> dict[str, str]:
    """The environment of a shop that sends to the seller."""
    return environment(tmp_path, seller_process)


def leave(env: dict[str, str], *lead_ids: str) -> None:
    """Leave events on disk, as a process that was killed does."""
    tracker = Tracker(directory=env["ADCP_DIRECTORY"], handle_sigterm=False)
    for lead_id in lead_ids:
        tracker.track_lead(lead_id)
    tracker.close()


def test_flush_delivers_and_status_counts(
    env: dict[str, str], seller_process: SellerProcess
) -> None:
    """What waits is delivered once, and both commands show the same books."""
    leave(env, "L-1", "L-2")
    flushed = manage(env, "adcp_flush", "--json")
    assert flushed.returncode == 0, flushed.stderr
    (books,) = json.loads(flushed.stdout)["destinations"].values()
    assert (books["accepted"], books["delivered"], books["pending"]) == (2, 2, 0)
    assert len(seller_process.event_ids) == 2
    status = manage(env, "adcp_status")
    assert status.returncode == 0, status.stderr
    assert "accepted 2 = delivered 2 + pending 0 + dead 0 + dropped 0" in status.stdout
    (books,) = json.loads(manage(env, "adcp_status", "--json").stdout)["destinations"].values()
    assert books["delivered"] == 2


def test_flush_says_what_is_left(env: dict[str, str], seller_process: SellerProcess) -> None:
    """With the seller down, it exits with 1 and the events stay."""
    leave(env, "L-1")
    seller_process.fail(status=503, times=None)
    flushed = manage(env, "adcp_flush", "--timeout", "3")
    assert flushed.returncode == 1
    assert "1 deliveries are left; they are safe on disk" in flushed.stderr
    assert "pending 1" in flushed.stdout
    assert "retrying: " in flushed.stdout


@pytest.mark.parametrize("command", ["adcp_status", "adcp_flush", "adcp_worker"])
def test_a_mistake_is_told_without_traceback(
    command: str, env: dict[str, str], tmp_path: Path
) -> None:
    """A directory open to others is refused with the remedy, and exit code 2."""
    (tmp_path / "queue").mkdir(mode=0o755)
    refused = manage(env, command)
    assert refused.returncode == 2
    assert "chmod go-rwx" in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_the_worker_delivers_until_it_is_stopped(
    how: signal.Signals, env: dict[str, str], seller_process: SellerProcess
) -> None:
    """For web processes that do not upload: it takes over, and ends in good order."""
    worker = subprocess.Popen(
        [sys.executable, "-m", "django", "adcp_worker"],
        env={**env, "ADCP_UPLOADER": "external"},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        leave(env, "L-1")
        seller_process.wait_for(1, timeout=20)
        worker.send_signal(how)
        told, _ = worker.communicate(timeout=20)
    finally:
        worker.kill()
        worker.wait()
    assert worker.returncode == 0
    assert told.splitlines() == [
        f"Delivering from {env['ADCP_DIRECTORY']}",
        "Stopped; 0 deliveries are left on disk",
    ]


def test_a_worker_without_destination_says_so(env: dict[str, str]) -> None:
    """It would wait for ever."""
    names = ("ADCP_ADVERTISER_ID", "ADCP_API_KEY", "ADCP_BASE_URL")
    refused = manage({**env, **dict.fromkeys(names, "")}, "adcp_worker")
    assert refused.returncode == 2
    assert "there is no destination to deliver to" in refused.stderr
