"""``python -m adcp_tracker``: the command line."""

from __future__ import annotations

from adcp_tracker.cli import main

if __name__ == "__main__":
    main()
