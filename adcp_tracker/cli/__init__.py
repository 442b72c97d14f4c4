"""The command line: the queue of a shop, in the hands of whoever runs it.

It needs the extra ``cli``. Exit codes, alike for every command:

====  ===============================================================================
0     All is well.
1     Something is left, dead, refused, not found or at fault; the output says what.
2     The command, its configuration, its file or the directory's rights have to be changed.
3     The machine is at fault: a disk, a directory or the queue's state.
4     Another process uploads, and did not hand over in time.
130   Stopped by Ctrl-C.
====  ===============================================================================
"""

from __future__ import annotations

import sys
from importlib.util import find_spec

_NEEDED = ("typer", "rich")


def main() -> None:
    """Run the command line by the process's arguments, and exit."""
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        sys.stderr.write(
            f"adcp-tracker: expected {' and '.join(_NEEDED)} to be installed, got no "
            f"{' and no '.join(missing)}; run: pip install 'adcp-tracker[cli]'\n"
        )
        sys.exit(2)
    from adcp_tracker.cli.app import app  # noqa: PLC0415 - only where it is installed

    app(prog_name="adcp-tracker")
