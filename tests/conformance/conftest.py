"""Fixtures of the conformance tests, and how many examples they try.

::

    python -m pytest tests/conformance -m conformance --conformance-examples 20000
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conformance import trying
from tests.conformance.selling import SdkSeller

if TYPE_CHECKING:
    from collections.abc import Iterator


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option of the conformance tests."""
    parser.getgroup("conformance", "conformance tests").addoption(
        "--conformance-examples",
        type=int,
        default=trying.EXAMPLES,
        help="how many generated events each property is tried with, at the least",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Settle how much is tried before any test is read, as decorators ask for it."""
    trying.examples = config.getoption("--conformance-examples", default=trying.EXAMPLES)


@pytest.fixture(scope="session")
def running_sdk_seller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SdkSeller]:
    """One seller on the SDK's framework for all tests, as it is slow to start."""
    seller = SdkSeller(tmp_path_factory.mktemp("sdk_seller"))
    seller.start()
    yield seller
    seller.stop()


@pytest.fixture
def sdk_seller(running_sdk_seller: SdkSeller) -> SdkSeller:
    """The seller with nothing on its records."""
    running_sdk_seller.forget()
    return running_sdk_seller
