"""What the fault tests share: how much of them to run, trackers, and small volumes.

A share runs by default, all of it by command::

    python -m pytest tests/faults -m faults --faults-full --faults-rounds 100
"""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from adcp_tracker.delivery.outcomes import RetryPolicy
from adcp_tracker.tracker import Tracker
from tests.faults import share

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from adcp_tracker.destinations.base import Destination

    Make = Callable[..., Tracker]

_STEADY = RetryPolicy(lambda: 0.5)
_VOLUME_BYTES = 1 << 20


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option of the fault tests."""
    group = parser.getgroup("faults", "fault tests")
    group.addoption(
        "--faults-full", action="store_true", default=False, help="run all of each fault test"
    )
    group.addoption(
        "--faults-rounds", type=int, default=1, help="how often each fault test is repeated"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Settle how much is tried; a worker of pytest-xdist has the options, not the command line."""
    if config.getoption("--faults-full", default=False):
        share.examples = share.ALL


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Repeat each test, if it is to be repeated."""
    rounds = metafunc.config.getoption("--faults-rounds", default=1)
    if rounds > 1:
        metafunc.fixturenames.append("faults_round")
        metafunc.parametrize("faults_round", range(rounds))


@pytest.fixture
def full(request: pytest.FixtureRequest) -> bool:
    """Say whether to run all of a test, not a share."""
    return bool(request.config.getoption("--faults-full", default=False))


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Return a maker of trackers over one directory, closed at the end."""
    made: list[Tracker] = []

    def maker(*destinations: Destination, **settings: object) -> Tracker:
        options: dict[str, object] = {
            "directory": tmp_path / "queue",
            "flush_interval": 0.02,
            "handle_sigterm": False,
            "_policy": _STEADY,
            **settings,
        }
        tracker = Tracker(destinations, **options)  # type: ignore[arg-type]  # by name, as given
        made.append(tracker)
        return tracker

    yield maker
    for tracker in made:
        tracker.close(timeout=0.5)


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Path]:
    """Mount a file system of a megabyte; only root can."""
    place = tmp_path / "volume"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={_VOLUME_BYTES},mode=0755", "tmpfs", str(place)]
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small volume")
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount a small volume")
    yield place
    # Lazily, since a test that failed may have left files open.
    subprocess.run(["umount", "--lazy", str(place)], check=True)  # noqa: S607 - root's own path
