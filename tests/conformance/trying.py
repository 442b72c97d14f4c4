"""How thoroughly Hypothesis tries: 2,000 events a property, or as many as the command says."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

EXAMPLES = 2_000
"""How many events each property is tried with unless told otherwise."""

examples = EXAMPLES
"""How many it is this time; set before the tests are read."""


def thoroughly(share: int = 1) -> settings:
    """Return settings that try one in `share` of the examples, of which each has several events."""
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large]
    return settings(
        max_examples=max(examples // share, 1), deadline=None, suppress_health_check=slow
    )
