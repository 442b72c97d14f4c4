"""A victim whose power is cut; run as ``python -m tests.support.crashing.traced``."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.support.crashing.plans import PLANS, open_shop


def main() -> None:
    """Live a plan."""
    folder, plan, durability = sys.argv[1:]
    PLANS[plan](open_shop(Path(folder), durability="power" if durability == "power" else "process"))


if __name__ == "__main__":
    main()
