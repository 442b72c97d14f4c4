"""Fixtures of the tests in a real browser.

They need the extra ``browser``, the browser Chromium and its driver. Where these are not there
the tests are skipped; with ``--require-browser`` the run fails instead, so that a build which is
meant to run them cannot pass without.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.seller import run_seller_process

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.browser.browsing import Browser
    from tests.browser.shopping import Shops
    from tests.support.seller import SellerProcess

# Left out without a word in the fast run; --require-browser fails instead.
collect_ignore_glob = [] if importlib.util.find_spec("selenium") else ["test_*.py"]


AXE = Path(__file__).with_name("node_modules") / "axe-core" / "axe.min.js"
_INSTALL_AXE = "npm ci --prefix tests/browser"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let a build insist on the browser."""
    words = "fail where the tests in a browser would be skipped"
    parser.addoption("--require-browser", action="store_true", help=words)


def pytest_configure(config: pytest.Config) -> None:
    """Fail at once where the browser was insisted on and is not there."""
    reason = _missing()
    if reason and config.getoption("--require-browser", default=False):
        raise pytest.UsageError(f"--require-browser: {reason}")


def _missing() -> str | None:
    if not AXE.exists():
        return f"axe-core is not installed; run {_INSTALL_AXE}"
    return _missing_browser()


def _missing_browser() -> str | None:
    if importlib.util.find_spec("selenium") is None:
        return "selenium is not installed (extra browser)"
    from tests.browser.browsing import missing  # noqa: PLC0415 - needs selenium

    return missing()


@pytest.fixture(scope="session")
def axe() -> str:
    """The script of axe-core, which finds barriers."""
    if not AXE.exists():
        pytest.skip(f"axe-core is not installed; run {_INSTALL_AXE}")
    return AXE.read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def running_browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One browser for all tests, as it is slow to start."""
    reason = _missing_browser()
    if reason:
        pytest.skip(f"no browser: {reason}")
    from tests.browser.browsing import open_browser  # noqa: PLC0415 - needs selenium

    with open_browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture
def browser(running_browser: Browser) -> Browser:
    """The browser of somebody who was never here before."""
    running_browser.start_afresh()
    return running_browser


@pytest.fixture(scope="session")
def standing_seller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SellerProcess]:
    """One seller for all shops."""
    with run_seller_process(tmp_path_factory.mktemp("seller")) as seller:
        yield seller


@pytest.fixture
def seller(standing_seller: SellerProcess) -> SellerProcess:
    """The seller with nothing on its records."""
    standing_seller.reset()
    return standing_seller


@pytest.fixture(scope="session")
def shops(
    tmp_path_factory: pytest.TempPathFactory, standing_seller: SellerProcess
) -> Iterator[Shops]:
    """The shops, each started when it is first visited."""
    from tests.browser.shopping import Shops  # noqa: PLC0415 - needs cryptography

    with Shops(tmp_path_factory.mktemp("shops"), standing_seller) as standing:
        yield standing
