"""The command line: inspect and deliver a queue of conversion events.

Needs the extra ``cli``. Every command uses the same exit codes:

====  ==========================================================================
0     Success.
1     Something needs attention: events are left, dead, rejected or not found.
2     Fix the command, the configuration, the file or the directory's permissions.
3     A disk, a directory or the queue's state can't be used.
4     Another process uploads and did not hand over in time.
130   Interrupted by Ctrl-C.
====  ==========================================================================
"""

from __future__ import annotations

import sys
from importlib.util import find_spec

from adcp_tracker._version import __version__

_NEEDED = ("typer", "rich")


def main() -> None:
    """Run the command line with the arguments of this process, and exit."""
    if sys.argv[1:] in (["--version"], ["-V"]):
        sys.stdout.write(f"adcp-tracker {__version__}\n")
        sys.exit(0)
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        sys.stderr.write(
            f"adcp-tracker: {' and '.join(missing)} must be installed; "
            "run: pip install 'adcp-tracker[cli]'\n"
        )
        sys.exit(2)
    from adcp_tracker.cli.app import app  # noqa: PLC0415 - needs the extra

    app(prog_name="adcp-tracker")
