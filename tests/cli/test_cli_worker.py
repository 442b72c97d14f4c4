"""``adcp-tracker worker``: delivery in a process of its own."""

from __future__ import annotations

import json
import signal
import time
from typing import TYPE_CHECKING

import pytest

from tests.cli.program import NAME, fill, pointing_at, run, start

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from adcp_tracker.sandbox import Sandbox

_STOP_SECONDS = 20


def wait_for_request(seller: Sandbox) -> None:
    """Wait until a request has reached the seller, answered or not."""
    deadline = time.monotonic() + _STOP_SECONDS
    while not seller.requests:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def stop(worker: subprocess.Popen[str], number: signal.Signals) -> tuple[str, str]:
    """Send a signal, and return what was printed."""
    worker.send_signal(number)
    out, err = worker.communicate(timeout=_STOP_SECONDS)
    assert "Traceback" not in err, err
    return out, err


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_delivers_until_it_is_told_to_stop(
    tmp_path: Path, seller: Sandbox, number: signal.Signals
) -> None:
    """Events that come while it runs are delivered; then it ends well, with the counts."""
    worker = start("worker", "--json", "--directory", tmp_path, **pointing_at(seller))
    try:
        fill(tmp_path, "A-1", "A-2")
        seller.wait_for(2, 20)
        out, err = stop(worker, number)
    finally:
        worker.kill()
    assert worker.returncode == 0
    counts = json.loads(out)["destinations"][NAME]
    assert (counts["accepted"], counts["delivered"], counts["pending"]) == (2, 2, 0)
    assert "worker.started" in err
    assert "sandbox-token" not in err


@pytest.mark.slow
def test_the_request_on_its_way_is_finished(tmp_path: Path, seller: Sandbox) -> None:
    """A stop waits for the answer, so that the same events are not sent again later."""
    fill(tmp_path, "A-1")
    seller.fail(latency_ms=1500, after=True)
    worker = start("worker", "--json", "--directory", tmp_path, **pointing_at(seller))
    try:
        seller.wait_for(1, 20)
        out, _ = stop(worker, signal.SIGTERM)
    finally:
        worker.kill()
    assert worker.returncode == 0
    assert json.loads(out)["destinations"][NAME]["delivered"] == 1
    assert run("flush", "--directory", tmp_path, **pointing_at(seller)).code == 0
    assert seller.times_received("A-1") == 1


@pytest.mark.slow
def test_a_seller_that_never_answers_does_not_hold_up_the_end(
    tmp_path: Path, seller: Sandbox
) -> None:
    """After the grace the request is broken off; its events stay on disk."""
    fill(tmp_path, "A-1")
    seller.fail(connection="stall")
    options = ("--grace", "0.3", "--directory", tmp_path)
    worker = start("worker", "--json", *options, **pointing_at(seller))
    try:
        wait_for_request(seller)
        asked_at = time.monotonic()
        stop(worker, signal.SIGTERM)
        took = time.monotonic() - asked_at
    finally:
        worker.kill()
    assert worker.returncode == 0
    assert took < 5
    assert run("status", "--directory", tmp_path, "--json").json["pending"] == 1


@pytest.mark.slow
def test_once_drains_and_ends(tmp_path: Path, seller: Sandbox) -> None:
    """It works as a scheduled job, too, and creates its directory if it is told to."""
    here = ("--create", "--directory", tmp_path / "queue")
    empty = run("worker", "--once", *here, **pointing_at(seller))
    assert empty.code == 0
    fill(tmp_path / "queue", "A-1")
    ended = run("worker", "--once", "--directory", tmp_path / "queue", **pointing_at(seller))
    assert ended.code == 0
    assert seller.times_received("A-1") == 1
    fill(tmp_path / "queue", "A-2")
    wrong = pointing_at(seller, ADCP_API_KEY="not-the-token")
    left = run("worker", "--once", "--json", "--directory", tmp_path / "queue", **wrong)
    assert left.code == 1
    assert left.json["pending"] == 1
    assert "destination.paused" in left.err
    assert "not-the-token" not in left.err


def test_a_directory_that_cannot_be_made_ends_it_at_once(tmp_path: Path, seller: Sandbox) -> None:
    """A worker that could never work does not pretend to."""
    (tmp_path / "file").touch()
    ended = run("worker", "--directory", tmp_path / "file/queue", **pointing_at(seller))
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(f"adcp-tracker: directory: {tmp_path}/file")


def test_a_directory_that_does_not_exist_is_refused(tmp_path: Path, seller: Sandbox) -> None:
    """A misspelt path ends with an error instead of waiting there for ever."""
    missing = tmp_path / "quewe"
    ended = run("worker", "--once", "--directory", missing, **pointing_at(seller))
    assert (ended.code, ended.out) == (2, "")
    assert f"{missing}: no such directory." in ended.err
    assert not missing.exists()
    created = run("worker", "--once", "--create", "--directory", missing, **pointing_at(seller))
    assert created.code == 0
    assert missing.is_dir()
