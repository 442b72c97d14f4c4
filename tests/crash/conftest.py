"""How much of the crash tests to run: a share by default, all of it by command.

::

    python -m pytest tests/crash --crash-rounds 100 --crash-points all
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

ROUNDS = 3


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the crash tests."""
    group = parser.getgroup("crash", "crash tests")
    group.addoption(
        "--crash-rounds", type=int, default=ROUNDS, help="how often each way to end is repeated"
    )
    group.addoption(
        "--crash-points", default="share", help="kill points per plan: a number, share or all"
    )
    group.addoption("--crash-seed", type=int, default=None, help="repeats a run's random choices")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Repeat each test that asks for ``crash_round``."""
    if "crash_round" in metafunc.fixturenames:
        rounds = metafunc.config.getoption("--crash-rounds", default=ROUNDS)
        metafunc.parametrize("crash_round", range(rounds))
