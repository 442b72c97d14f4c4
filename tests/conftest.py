"""Fixtures for all tests."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from tests.support.seller import run_seller, run_seller_process

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from adcp_tracker.sandbox import Sandbox
    from tests.support.seller import SellerProcess

# How long an example takes says something about the machine, and nothing about the code.
settings.register_profile("steady", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("steady")

_ENDING_S = 10.0

PLACES = {
    "bench": "tests/bench/",
    "browser": "tests/browser/",
    "conformance": "tests/conformance/",
    "crash": "tests/crash/",
    "databases": "tests/databases/",
    "faults": "tests/faults/",
    "servers": "_served.py",
    "uwsgi": "test_uwsgi",
}
"""Which path makes a test one of a long kind; `compat`, `shops` and `slow` are marked by hand."""

LONG = {*PLACES, "compat", "shops", "slow"}


def pytest_configure() -> None:
    """Take back the directory that the plugin names: tests here name their own, or want none."""
    os.environ.pop("ADCP_DIRECTORY", None)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the long kinds by their place, and each of them `long`, which the default leaves out."""
    for item in items:
        path = item.path.as_posix()
        for kind, place in PLACES.items():
            if place in path and not ("uwsgi" in path and kind == "servers"):
                item.add_marker(kind)
        if any(mark.name in LONG for mark in item.iter_markers()):
            item.add_marker("long")


@pytest.fixture(autouse=True)
def _no_thread_left() -> Iterator[None]:
    """Have every test end the flushers that it started: one left goes on in the others' way."""
    before = _flushers()
    yield
    left = _flushers() - before
    for each in left:  # told to end, perhaps, and about to
        each.join(_ENDING_S)
    assert not {each for each in left if each.is_alive()}


def _flushers() -> set[threading.Thread]:
    return {each for each in threading.enumerate() if each.name == "adcp_tracker"}


@pytest.fixture
def seller() -> Iterator[Sandbox]:
    """A fresh local seller in a thread of this process."""
    with run_seller() as running:
        yield running


@pytest.fixture
def seller_process(tmp_path: Path) -> Iterator[SellerProcess]:
    """A fresh local seller in a process of its own."""
    with run_seller_process(tmp_path) as running:
        yield running
