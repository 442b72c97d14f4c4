"""A process of a shop, for tests of two versions on one directory.

Run as a script with another version's checkout on the path, so it imports nothing but the
library's public names.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import adcp_tracker
from adcp_tracker import Agent, Tracker

FLUSH_S = 20.0


def main() -> int:
    """Track events, write down each that was promised, and deliver."""
    directory, url, name, count, pause_ms = sys.argv[1:]
    folder = Path(directory).parent
    (folder / f"{name}.version").write_text(str(Path(adcp_tracker.__file__).parents[1]))
    seller = Agent(url=url, event_source_id="website_pixel", token="t-1", name="agent")
    tracker = Tracker([seller], directory=directory, flush_interval=0.01, handle_sigterm=False)
    promised = os.open(folder / f"{name}.promised", os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    for number in range(int(count)):
        event = tracker.track("lead", event_id=f"{name}-{number}", click_id="c")
        os.write(promised, event.event_id.encode() + b"\n")
        time.sleep(float(pause_ms) / 1000)
    tracker.flush(FLUSH_S)
    tracker.close(FLUSH_S)
    return 0


if __name__ == "__main__":
    sys.exit(main())
