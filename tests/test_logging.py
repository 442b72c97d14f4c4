"""What is said once an interval, what is said at once, and what is said at all."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from adcp_tracker._logging import ThrottledLogger
from tests.support.destinations import HandClock

if TYPE_CHECKING:
    import pytest

_INTERVAL_S = 60.0
_WITHOUT_STRUCTLOG = """
import logging, sys
sys.modules["structlog"] = None
from adcp_tracker._logging import logger
logging.basicConfig(stream=sys.stdout, format="%(levelname)s %(name)s %(message)s")
logger.warning("event.dropped", reason="full", suppressed=2)
del sys.modules["structlog"]
logger.warning("event.dropped", reason="full", suppressed=2)
"""


def test_one_cause_is_one_line_an_interval_with_how_often_it_was(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is said again when it lasts."""
    clock = HandClock()
    throttled_log = ThrottledLogger(clock, _INTERVAL_S)
    for second in range(130):
        clock.time = second
        throttled_log.warning("queue.failing", error="no room")
    assert caplog.messages == [
        f"event='queue.failing' error='no room' suppressed={suppressed}"
        for suppressed in (0, 59, 59)
    ]


def test_different_causes_are_different_lines(caplog: pytest.LogCaptureFixture) -> None:
    """Another destination, segment, reason or error is another cause."""
    throttled_log = ThrottledLogger(HandClock())
    for _ in range(3):
        for name in ("reason", "destination", "segment", "error"):
            for value in ("one", "two"):
                throttled_log.warning("queue.failing", **{name: value})
    assert len(caplog.messages) == 8


def test_numbers_in_an_error_make_it_no_other_one(caplog: pytest.LogCaptureFixture) -> None:
    """Else a full disk would be one line an event."""
    throttled_log = ThrottledLogger(HandClock())
    for size in range(100):
        throttled_log.warning("queue.failing", error=f"no room for {size} bytes in /q/{size}-a.log")
    assert len(caplog.messages) == 1


def test_causes_without_end_are_no_memory_without_end(caplog: pytest.LogCaptureFixture) -> None:
    """Those that were not heard of for longest are forgotten."""
    throttled_log = ThrottledLogger(HandClock())
    for number in range(1000):
        throttled_log.warning("queue.failing", destination=f"seller-{number}")
    throttled_log.warning("queue.failing", destination="seller-999")
    assert len(throttled_log._last) <= 200  # noqa: SLF001 - what nobody else may look at
    assert len(caplog.messages) == 1000


def test_what_cannot_be_loaded_costs_no_entry_and_no_error() -> None:
    """The standard logger gets the same words, and structlog is tried again next time."""
    ended = subprocess.run(
        [sys.executable, "-c", _WITHOUT_STRUCTLOG], capture_output=True, text=True, check=False
    )
    words = "WARNING adcp_tracker event='event.dropped' reason='full' suppressed=2"
    assert (ended.stdout.splitlines(), ended.stderr) == ([words, words], "")
