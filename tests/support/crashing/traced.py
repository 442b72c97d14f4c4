"""A victim whose power is cut; run as ``python -m tests.support.crashing.traced``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.crashing.plans import PLANS, open_shop

if TYPE_CHECKING:
    from adcp_tracker.settings import Durability


def main() -> None:
    """Live a plan."""
    folder, plan, durability, interval = sys.argv[1:]
    kept: Durability = "power" if durability == "power" else "process"
    PLANS[plan](open_shop(Path(folder), durability=kept, flush_interval=float(interval)))


if __name__ == "__main__":
    main()
