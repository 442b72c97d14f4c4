"""How many examples Hypothesis tries: a share, or many with ``--faults-full``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from collections.abc import Callable

    Test = TypeVar("Test", bound=Callable[..., Any])

SHARE, ALL = 20, 2000

examples = SHARE
"""How many; settled by the options before any test is read, as decorators ask for it."""


def share(test: Test) -> Test:
    """Try a test with so many examples."""
    return settings(
        max_examples=examples,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )(test)
