"""What the log said."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


def told(caplog: pytest.LogCaptureFixture) -> Counter[str]:
    """Count the log entries by their names."""
    return Counter(record.getMessage().split("'")[1] for record in caplog.records)
