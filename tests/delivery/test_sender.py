"""A lane sends in a thread of its own, if there is one to be had."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

from adcp_tracker.delivery.uploader import Sender
from adcp_tracker.destinations.base import Batch, Delivered, Outcome, Retry
from tests.support.destinations import ScriptedDestination, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

BATCH = Batch([b'{"event_id":"A-1"}'], b"identity")
_NO_SUCH_STACK = 1 << 46


@pytest.fixture
def no_more_threads() -> Iterator[None]:
    """Have every start of a thread fail, as at the end of a process or at a limit."""
    usual = threading.stack_size(_NO_SUCH_STACK)
    with pytest.raises(RuntimeError):
        threading.Thread(target=print).start()
    yield
    threading.stack_size(usual)


def test_a_sender_does_not_block_its_caller() -> None:
    """The outcome is there once the seller has answered."""
    seller = ScriptedDestination()
    seller.gate.clear()
    lane = Sender(seller, lambda: None)
    lane.send(BATCH)
    early = lane.take_outcome()
    seller.gate.set()
    wait_until(lambda: isinstance(lane.take_outcome(), Delivered))
    assert early is None
    lane.stop()


@pytest.mark.usefixtures("no_more_threads")
def test_without_a_thread_the_caller_waits_for_the_seller() -> None:
    """An interpreter that is ending starts none, and what waits is delivered all the same."""
    seller = ScriptedDestination()
    told: list[str] = []
    lane = Sender(seller, lambda: told.append("done"))
    for _ in range(2):
        lane.send(BATCH)
        assert isinstance(lane.take_outcome(), Delivered)
        assert not lane.is_busy
    assert seller.ids == ["A-1", "A-1"]
    assert told == ["done", "done"]


@pytest.mark.parametrize("error", [asyncio.CancelledError, SystemExit, KeyboardInterrupt])
def test_a_destination_that_raises_what_is_no_exception_is_tried_again(
    error: type[BaseException],
) -> None:
    """The lane outlives it, and what was on its way is so no more."""

    def fail(batch: Batch) -> Outcome:
        del batch
        raise error

    told = threading.Event()
    lane = Sender(ScriptedDestination(outcomes=[fail]), told.set)
    for expected in (Retry("raised", f"the destination raised {error.__name__}"), Delivered()):
        lane.send(BATCH)
        wait_until(told.is_set)
        told.clear()
        assert lane.take_outcome() == expected
        assert not lane.is_busy
    lane.stop()


@pytest.mark.parametrize("returned", [None, True, "delivered"])
def test_what_is_no_outcome_is_said_and_tried_again_after_a_wait(
    returned: Any,  # noqa: ANN401 - whatever a destination may forget itself to
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nothing could be settled by it, and the seller would be asked again without a rest."""
    what = type(returned).__name__
    told = threading.Event()
    lane = Sender(ScriptedDestination(outcomes=[lambda _: returned]), told.set)
    lane.send(BATCH)
    wait_until(told.is_set)
    expected = Retry("no_outcome", f"expected an outcome of the destination, got {what}")
    assert lane.take_outcome() == expected
    assert f"destination='scripted' returned='{what}'" in caplog.text
    lane.stop()
