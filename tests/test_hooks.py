"""Hooks: what an application is told of its deliveries, and what a bad hook costs."""

from __future__ import annotations

import logging
import os
import threading
import time
from functools import partial
from typing import TYPE_CHECKING

import pytest

from adcp_tracker import (
    ConfigurationError,
    DeliveredNotice,
    Hooks,
    PausedNotice,
    RejectedNotice,
    Tracker,
)
from adcp_tracker.destinations.base import Delivered, EventFailure, Paused, Retry
from tests.support.booked import track
from tests.support.destinations import ScriptedDestination, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from adcp_tracker.destinations.base import Batch, Outcome

    Make = Callable[..., Tracker]

NAME = "scripted"


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Return what makes a tracker."""
    return partial(Tracker, directory=tmp_path / "q", handle_sigterm=False, flush_interval=0.02)


def test_delivered_events_are_reported_with_their_ids(make: Make) -> None:
    """The notice comes after the counts, and has nothing of a person."""
    told: list[DeliveredNotice] = []
    failure = EventFailure("C", "m", event_id="L-1")
    seller = ScriptedDestination(outcomes=[Delivered(failures=(failure,), processed=1)])
    began = time.time()
    with make([seller], on_delivered=told.append, uploader="external") as shop:
        track(shop, 3)
    with make([seller], on_delivered=told.append) as tracker:
        tracker.flush(20.0)

    (notice,) = told
    assert (notice.destination, notice.event_ids) == (NAME, ("L-0", "L-2"))
    assert (notice.sent, notice.unconfirmed, notice.is_test) == (3, 1, False)
    assert began - 1 < notice.accepted_at[0] <= notice.at <= time.time()


def test_a_hook_sees_the_counts_that_it_is_told_of(make: Make) -> None:
    """It may ask the tracker, as no lock is held."""
    seen: list[int] = []
    with make([ScriptedDestination()]) as tracker:
        tracker.hooks.add(on_delivered=lambda _: seen.append(tracker.stats().total().delivered))
        track(tracker, 1)
        tracker.flush(20.0)
    assert seen == [1]


def test_odd_ids_are_whole(make: Make) -> None:
    """Quotes and other scripts in an id are part of it; a test is told as one."""
    told: list[DeliveredNotice] = []
    with make([ScriptedDestination()], on_delivered=told.append) as tracker:
        tracker.track_lead('a"b\\c-ü', test_event_code="T")
    (notice,) = told
    assert (notice.event_ids, notice.is_test) == (('a"b\\c-ü',), True)


def test_rejected_events_are_reported_by_reason(make: Make) -> None:
    """Whether the library or the seller rejected them."""
    told: list[RejectedNotice] = []
    failures = tuple(EventFailure(code, "m", index=at) for at, code in enumerate("CDC"))
    seller = ScriptedDestination(outcomes=[Delivered(failures=failures)])
    with make([seller], uploader="external") as shop:
        shop.track_purchase({"id": "A-1", "total": "5.00", "currency": "euro"})
        track(shop, 4)
    with make([seller], on_rejected=told.append) as tracker:
        tracker.flush(20.0)

    found = {notice.code: notice.event_ids for notice in told}
    assert found == {"INVALID_EVENT": ("A-1",), "C": ("L-0", "L-2"), "D": ("L-1",)}
    assert {notice.destination for notice in told} == {NAME}
    assert "dead edit" in next(each.remedy for each in told if each.code == "INVALID_EVENT")


def test_a_pause_is_reported_once(make: Make) -> None:
    """Probes that find the same cause are no news."""
    told: list[PausedNotice] = []
    paused = Paused("AUTH_INVALID", "Bad token", "Use another.")
    seller = ScriptedDestination(outcomes=[paused, paused])
    with make([seller], on_paused=told.append) as tracker:
        track(tracker, 1)
        wait_until(lambda: told)
    with make([seller], on_paused=told.append) as tracker:  # a new process probes at once
        tracker.start()
        wait_until(lambda: len(seller.batches) == 2)
        wait_until(lambda: not seller.outcomes)
    (notice,) = told
    assert (notice.code, notice.message, notice.remedy) == (
        "AUTH_INVALID",
        "Bad token",
        "Use another.",
    )


def test_a_raising_hook_costs_nothing(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    """Its error is logged without its words, and the other hooks are called."""
    told: list[DeliveredNotice] = []

    def leave(_: DeliveredNotice) -> None:
        raise SystemExit("alice@example.com")

    with make([ScriptedDestination()], on_delivered=leave) as tracker:
        tracker.hooks.add(on_delivered=told.append)
        track(tracker, 1)
        assert tracker.flush(20.0).total().delivered == 1
    assert len(told) == 1
    (entry,) = [each for each in caplog.messages if "hook.raised" in each]
    assert "SystemExit" in entry
    assert "alice" not in entry


def test_a_slow_hook_holds_up_no_delivery(make: Make) -> None:
    """Everything is delivered while it hangs; closing waits for it as long as it may."""
    gate, seller = threading.Event(), ScriptedDestination(max_events=1)
    tracker = make([seller], on_delivered=lambda _: gate.wait(30.0))
    try:
        track(tracker, 5)
        assert tracker.flush(20.0).total().delivered == 5
        assert tracker.close(0.2).pending == 0
    finally:
        gate.set()
    wait_until(lambda: not _hook_threads())


def test_what_waits_for_a_slow_hook_is_bounded(caplog: pytest.LogCaptureFixture) -> None:
    """Beyond that, notices are skipped, which is logged once a minute."""
    gate, told = threading.Event(), list[DeliveredNotice]()

    def keep(notice: DeliveredNotice) -> None:
        gate.wait(30.0)
        told.append(notice)

    hooks = Hooks()
    hooks.add(on_delivered=keep)
    ids, times = ("L-1",) * 60_000, (0.0,) * 60_000
    with caplog.at_level(logging.WARNING):
        for _ in range(5):
            hooks.post([DeliveredNotice(NAME, ids, times, 60_000, 0, is_test=False, at=0.0)])
    gate.set()
    hooks.close(20.0)
    assert len(told) == 2
    assert sum("hook.skipped" in each for each in caplog.messages) == 1


def test_a_fork_leaves_notices_to_the_parent() -> None:
    """The child has its own thread and none of the parent's notices."""
    gate, told = threading.Event(), list[str]()
    hooks = Hooks()
    hooks.add(on_paused=lambda notice: told.append(notice.code) if gate.wait(30.0) else None)
    hooks.post([PausedNotice(NAME, code, "", "", 0.0) for code in "AB"])
    child = os.fork()
    if not child:
        hooks.reset_after_fork()
        gate.set()
        hooks.post([PausedNotice(NAME, "C", "", "", 0.0)])
        hooks.close(20.0)
        os._exit(0 if told == ["C"] else 1)
    gate.set()
    hooks.close(20.0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert told == ["A", "B"]


@pytest.mark.slow
def test_a_send_is_accompanied_and_never_disturbed(make: Make) -> None:
    """What raises before or after a request changes nothing about its outcome."""
    seen: list[str] = []

    def watch(destination: str, batch: Batch) -> Callable[[Outcome], None]:
        seen.append(f"{destination} {len(batch.events)}")
        return lambda outcome: seen.append(type(outcome).__name__)

    def fail(destination: str, batch: Batch) -> Callable[[Outcome], None]:
        raise ValueError(destination, batch)

    seller = ScriptedDestination(outcomes=[Retry("busy", "m", retry_after=0.01)])
    with make([seller]) as tracker:
        tracker.hooks.add(on_send=watch)
        tracker.hooks.add(on_send=fail)
        track(tracker, 1)
        wait_until(lambda: tracker.stats().total().delivered == 1)
    assert seen == [f"{NAME} 1", "Retry", f"{NAME} 1", "Delivered"]


def test_a_hook_is_a_function(make: Make) -> None:
    """What can't be called is refused when the tracker is made."""
    with pytest.raises(ConfigurationError, match="on_paused: expected a function, got str"):
        make([], on_paused="print")


def _hook_threads() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name == "adcp_tracker-hooks"]
