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
    """What waits is delivered once, and both commands show the same counts."""
    leave(env, "L-1", "L-2")
    flushed = manage(env, "adcp", "flush", "--json")
    assert flushed.returncode == 0, flushed.stderr
    (counts,) = json.loads(flushed.stdout)["destinations"].values()
    assert (counts["accepted"], counts["delivered"], counts["pending"]) == (2, 2, 0)
    assert len(seller_process.event_ids) == 2
    status = manage(env, "adcp", "status")
    assert status.returncode == 0, status.stderr
    assert "State: idle" in status.stdout
    (counts,) = json.loads(manage(env, "adcp", "status", "--json").stdout)["destinations"].values()
    assert counts["delivered"] == 2


def test_flush_says_what_is_left(env: dict[str, str], seller_process: SellerProcess) -> None:
    """With the seller down, it exits with 1 and the events stay."""
    leave(env, "L-1")
    seller_process.fail(status=503, times=None)
    flushed = manage(env, "adcp", "flush", "--timeout", "10")
    assert flushed.returncode == 1
    assert "Still pending: 1 delivery; kept on disk." in flushed.stdout
    assert "retries automatically" in flushed.stdout


@pytest.mark.parametrize("command", ["status", "flush", "worker"])
def test_a_mistake_is_reported_without_traceback(
    command: str, env: dict[str, str], tmp_path: Path
) -> None:
    """A directory open to others is refused with the remedy, and exit code 2."""
    (tmp_path / "queue").mkdir(mode=0o755)
    refused = manage(env, "adcp", command)
    assert refused.returncode == 2
    assert "chmod go-rwx" in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_the_worker_delivers_until_it_is_stopped(
    how: signal.Signals, env: dict[str, str], seller_process: SellerProcess
) -> None:
    """For web processes that do not upload: it takes over, and ends in good order."""
    worker = subprocess.Popen(
        [sys.executable, "-m", "django", "adcp", "worker", "--create", "--json"],
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
    assert json.loads(told)["pending"] == 0


def test_a_worker_without_destination_says_so(env: dict[str, str]) -> None:
    """It would wait for ever."""
    names = ("ADCP_ADVERTISER_ID", "ADCP_API_KEY", "ADCP_BASE_URL")
    refused = manage({**env, **dict.fromkeys(names, "")}, "adcp", "worker")
    assert refused.returncode == 2
    assert "No destination is configured." in refused.stderr


def test_djangos_own_options_and_call_command_work(
    env: dict[str, str], seller_process: SellerProcess
) -> None:
    """``--settings`` is Django's, and code can call the command and see its exit code."""
    leave(env, "L-1")
    settings = env["DJANGO_SETTINGS_MODULE"]
    status = manage(env, "adcp", "status", "--json", "--settings", settings)
    assert status.returncode == 1, status.stderr
    assert json.loads(status.stdout)["errors"] == ["No process uploads."]
    code = (
        "import django; django.setup(); from django.core.management import call_command\n"
        "from django.core.management.base import CommandError\n"
        "call_command('adcp', 'flush')\n"
        "try: call_command('adcp', 'status', '--expect-uploader')\n"
        "except CommandError as error: raise SystemExit(10 + error.returncode)"
    )
    called = subprocess.run([sys.executable, "-c", code], env=env, cwd=ROOT, check=False)
    assert called.returncode == 11
    assert len(seller_process.event_ids) == 1
