"""``adcp-tracker status``: how a queue stands."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from adcp_tracker import Interchange, Tracker
from adcp_tracker._platform import SystemClock
from adcp_tracker.cli.status import age, size
from adcp_tracker.delivery.stats import DestinationStats, Stats, write_stats
from adcp_tracker.journal.files import QueueDirectory
from adcp_tracker.outbox.directory import DirectoryStore, FileLeaderLock
from tests.cli.program import NAME, fill, flush_until_tried, pointing_at, run
from tests.support.seller import ADVERTISER, SOURCE, TOKEN

if TYPE_CHECKING:
    from pathlib import Path

    from adcp_tracker.sandbox import Sandbox

_LONGEST_SECONDS = 20


def wait_for(path: Path) -> None:
    """Wait until a file is there."""
    deadline = time.monotonic() + _LONGEST_SECONDS
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def contents(directory: Path) -> dict[str, bytes]:
    """Return what the queue's events and counts are."""
    return {
        str(path): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and not path.name.startswith("cache.db") and path.name != "leader.lock"
    }


def test_events_that_nobody_uploads_need_somebody(tmp_path: Path) -> None:
    """Waiting events are counted without credentials, and looking changes nothing."""
    fill(tmp_path / "queue", "A-1", "A-2")
    before = contents(tmp_path)
    ended = run("status", "--directory", tmp_path / "queue", "--json")
    stands = ended.json
    assert (ended.code, ended.err) == (1, "")
    assert (stands["pending"], stands["waiting"], stands["leader"]) == (2, 2, None)
    assert stands["used_bytes"] > 0
    assert abs(stands["oldest_at"] - time.time()) < 60
    assert contents(tmp_path) == before
    human = run("status", ADCP_DIRECTORY=str(tmp_path / "queue"))
    assert human.code == 1
    assert "Uploading: no process" in human.out
    assert "2 events waiting for a destination to be configured" in human.out
    assert stands["state"] == "error"
    assert "The oldest pending event is " in human.out


def test_a_delivered_queue_is_well(tmp_path: Path, seller: Sandbox) -> None:
    """With everything delivered there is nothing to do, also while a process uploads."""
    destination = Interchange(
        advertiser_id=ADVERTISER, event_source_id=SOURCE, api_key=TOKEN, base_url=seller.url
    )
    with Tracker([destination], directory=tmp_path / "queue", flush_interval=0.05) as tracker:
        tracker.track_purchase({"order_id": "A-1", "total": "5", "currency": "EUR"})
        tracker.flush(10)
        wait_for(tmp_path / "queue/books.json")
        during = run("status", "--directory", tmp_path / "queue", "--json")
    assert during.code == 0
    assert during.json["leader"] == os.getpid()
    assert during.json["state"] == "ok"
    after = run("status", "--directory", tmp_path / "queue", **pointing_at(seller))
    assert after.code == 0
    row = next(line for line in after.out.splitlines() if line.startswith(NAME))
    assert row.split() == [NAME, "1", "1", "0", "0", "0", "0", "ok"]
    assert "State: idle" in after.out
    assert run("status", "--expect-uploader", "--directory", tmp_path / "queue").code == 1


def test_a_process_that_uploads_but_reports_nothing_is_an_error(tmp_path: Path) -> None:
    """A leader that is frozen, or killed again and again, is never ok."""
    fill(tmp_path, "A-1")
    queue = QueueDirectory(tmp_path)
    lock = FileLeaderLock(queue, SystemClock())
    assert lock.try_acquire()
    fresh = run("status", "--directory", tmp_path, "--json")
    assert (fresh.code, fresh.json["state"], fresh.json["pending"]) == (1, "error", 1)
    assert "has not reported yet" in fresh.json["errors"][0]
    write_stats(DirectoryStore(queue).open(), Stats(taken_at=time.time() - 3600, leader=1))
    old = run("status", "--directory", tmp_path)
    lock.release()
    assert old.code == 1
    assert "Process 1 uploads, but has not reported for 1 h 0 min." in old.out


def test_dropped_events_are_a_warning(tmp_path: Path) -> None:
    """Events lost to a full disk are shown; events dropped for lack of consent are no problem."""
    fill(tmp_path, "A-1")
    queue = QueueDirectory(tmp_path)
    lock = FileLeaderLock(queue, SystemClock())
    assert lock.try_acquire()
    counts = DestinationStats(
        accepted=3,
        delivered=1,
        dropped={"full": 1, "consent": 1},
        omitted={"user_match.hashed_phone unreadable": 2},
    )
    write_stats(
        DirectoryStore(queue).open(), Stats({"seller": counts}, taken_at=time.time(), leader=1)
    )
    ended = run("status", "--directory", tmp_path)
    lock.release()
    assert ended.code == 0
    assert "State: warning\n  seller dropped 1 event: 1 full.\n" in ended.out
    assert (
        "  seller got events without 2 unusable fields: 2 user_match.hashed_phone unreadable.\n"
    ) in ended.out


def test_why_a_destination_is_paused_is_said_once(tmp_path: Path) -> None:
    """Below the counts for a person, and among the errors for a script."""
    fill(tmp_path, "A-1")
    queue = QueueDirectory(tmp_path)
    lock = FileLeaderLock(queue, SystemClock())
    assert lock.try_acquire()
    reason = "AUTH_INVALID: The token is wrong. Use another."
    stats = Stats({"seller": DestinationStats(paused=reason)}, taken_at=time.time(), leader=1)
    write_stats(DirectoryStore(queue).open(), stats)
    ended = run("status", "--directory", tmp_path)
    scripted = run("status", "--directory", tmp_path, "--json")
    lock.release()
    assert (ended.code, ended.out.count(reason)) == (1, 1)
    assert f"seller is paused; no event is lost: {reason}\n" in ended.out
    assert "State: error\n  seller is paused.\n" in ended.out
    assert scripted.json["errors"] == [f"seller is paused: {reason}"]


def test_a_queue_that_nobody_uploads_from_says_what_to_start(
    tmp_path: Path, seller: Sandbox
) -> None:
    """A seller that failed is not tried again by itself then."""
    fill(tmp_path, "A-1")
    seller.fail(status=503, times=None)
    flush_until_tried("--directory", tmp_path, **pointing_at(seller))
    ended = run("status", "--directory", tmp_path, **pointing_at(seller))
    assert "No process uploads.\n  Start your application, or run " in ended.out
    assert f"{NAME} retries once a process uploads. The last attempt failed: " in ended.out
    assert "by itself" not in ended.out


@pytest.mark.slow
def test_another_destination_than_the_configured_is_pointed_out(
    tmp_path: Path, seller: Sandbox
) -> None:
    """Events kept for a destination that is gone are not forgotten silently."""
    fill(tmp_path, "A-1")
    old = pointing_at(seller, ADCP_EVENT_SOURCE_ID="unknown_source")
    run("flush", "--directory", tmp_path, "--timeout", "5", **old)
    ended = run("status", "--directory", tmp_path, **pointing_at(seller))
    assert ended.code == 1
    assert f"adcp-tracker retire interchange:{ADVERTISER}/unknown_source" in ended.out
    assert "paused" in ended.out


@pytest.mark.slow
def test_a_damaged_state_is_reported_and_left_to_be_rebuilt(
    tmp_path: Path, seller: Sandbox
) -> None:
    """Looking neither repairs nor hides it."""
    fill(tmp_path, "A-1")
    run("flush", "--directory", tmp_path, **pointing_at(seller))
    database = tmp_path / "state/cache.db"
    database.write_bytes(b"no database " * 1000)
    ended = run("status", "--directory", tmp_path, "--json")
    assert ended.code == 1
    assert ended.json["damage"]
    assert ended.json["destinations"][NAME]["delivered"] == 1
    assert database.read_bytes().startswith(b"no database")


@pytest.mark.parametrize("command", [["status"], ["dead", "list"], ["flush"]], ids=" ".join)
def test_no_queue_is_made_by_looking_for_one(tmp_path: Path, command: list[str]) -> None:
    """A mistyped path is a mistake, not an empty queue."""
    ended = run(*command, "--directory", tmp_path / "typo")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(f"adcp-tracker: {tmp_path}/typo: expected a queue of events")
    assert not (tmp_path / "typo").exists()


def test_a_queue_open_to_others_is_refused_with_the_remedy(tmp_path: Path) -> None:
    """The line says what to run."""
    fill(tmp_path / "queue", "A-1")
    (tmp_path / "queue").chmod(0o755)
    ended = run("status", "--directory", tmp_path / "queue")
    assert (ended.code, ended.out) == (2, "")
    assert f"chmod go-rwx {tmp_path}/queue" in ended.err


def test_a_directory_may_be_in_the_home_directory(tmp_path: Path) -> None:
    """A shell leaves the ~ of --directory=~/queue and of a variable in a file as it is."""
    fill(tmp_path / "queue", "A-1")
    for given in ({"ADCP_DIRECTORY": "~/queue"}, {}):
        options = () if given else ("--directory=~/queue",)
        ended = run("status", *options, "--json", HOME=str(tmp_path), **given)
        assert (ended.json["directory"], ended.json["pending"]) == (f"{tmp_path}/queue", 1)
    ended = run("demo", "--directory=~/queue", HOME=str(tmp_path))
    assert f"{tmp_path}/queue: expected a new or empty directory" in ended.err


def test_a_directory_is_asked_for() -> None:
    """Without one, the line names both ways to give it."""
    ended = run("status")
    assert ended.code == 2
    assert "--directory" in ended.err
    assert "ADCP_DIRECTORY" in ended.err


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1500, "1.5 kB"), (2e6, "2 MB"), (5e12, "5e+03 GB")],
)
def test_sizes_are_short(number: float, text: str) -> None:
    """A size has three digits and a unit."""
    assert size(number) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-3, "0 s"), (59.9, "59 s"), (61, "1 min 1 s"), (7260, "2 h 1 min"), (4e6, "1,111 h 6 min")],
)
def test_ages_are_short(seconds: float, text: str) -> None:
    """An age has one or two units; a clock that went back makes none below zero."""
    assert age(seconds) == text
