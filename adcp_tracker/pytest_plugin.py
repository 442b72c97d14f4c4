"""The pytest plugin: fixtures, and a guard against sending to a real seller by accident.

It is active wherever adcp_tracker is installed beside pytest. ``-p no:adcp_tracker`` turns it off.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from typing import TYPE_CHECKING

import pytest

from adcp_tracker import _development

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

    from adcp_tracker.events.event import Event
    from adcp_tracker.sandbox import Sandbox
    from adcp_tracker.testing import CapturedEvents

_MARK = "adcp_send: let this test send events to the sellers that are configured"
_PREFIX = "adcp-tests-"


class _Guard:
    """Drops the events that would leave this machine."""

    strict = False

    def takes(self, *, remote: bool) -> bool:
        return remote

    def add(self, event: Event) -> None:
        """Drop an event; no fixture asked for it."""


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, and let nothing be sent beyond this machine."""
    config.addinivalue_line("markers", _MARK)
    _development.active = _Guard()
    _name_a_directory()


def _name_a_directory() -> None:
    """Let an application be made that is only told in production where its events wait."""
    given = os.environ.get("ADCP_DIRECTORY") or os.environ.get("ADCP_QUEUE")
    # A worker of pytest-xdist inherits the directory of the process that started it.
    if given and not os.path.basename(given).startswith(_PREFIX):  # noqa: PTH119 - may be a URL
        return
    directory = os.environ["ADCP_DIRECTORY"] = tempfile.mkdtemp(prefix=_PREFIX)
    # At exit rather than when pytest ends, since trackers that were not closed end at exit, too.
    atexit.register(shutil.rmtree, directory, ignore_errors=True)


def pytest_unconfigure() -> None:
    """Record and send events as usual again."""
    _development.active = None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Let a test that is marked ``adcp_send`` send events."""
    guard = _development.active
    if item.get_closest_marker("adcp_send") is not None:
        _development.active = None
    try:
        return (yield)
    finally:
        _development.active = guard


@pytest.fixture
def adcp_events() -> Iterator[CapturedEvents]:
    """Capture the events of every tracker in this test. None is written or sent."""
    from adcp_tracker.testing import capture_events  # noqa: PLC0415 - only for who asks

    with capture_events() as events:
        yield events


@pytest.fixture
def adcp_seller(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Sandbox]:
    """Run a local seller for this test, and set the ``ADCP_*`` variables that lead to it."""
    from adcp_tracker.sandbox import (  # noqa: PLC0415 - needs the extra sandbox
        DEFAULT_ADVERTISER,
        DEFAULT_SOURCE,
        DEFAULT_TOKEN,
        Sandbox,
    )

    with Sandbox() as seller:
        monkeypatch.setenv("ADCP_DIRECTORY", str(tmp_path / "adcp-queue"))
        monkeypatch.setenv("ADCP_BASE_URL", seller.url)
        monkeypatch.setenv("ADCP_ADVERTISER_ID", DEFAULT_ADVERTISER)
        monkeypatch.setenv("ADCP_EVENT_SOURCE_ID", DEFAULT_SOURCE)
        monkeypatch.setenv("ADCP_API_KEY", DEFAULT_TOKEN)
        yield seller
