"""How many examples Hypothesis tries: a share, or many with ``--faults-full``."""

from __future__ import annotations

import sys

from hypothesis import HealthCheck, settings

_EXAMPLES = 2000 if "--faults-full" in sys.argv else 20

share = settings(
    max_examples=_EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
