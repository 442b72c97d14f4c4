"""Fixtures of the conformance tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conformance.selling import SdkSeller

if TYPE_CHECKING:
    from collections.abc import Iterator


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
