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
from typing import TYPE_CHECKING

from adcp_tracker._version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

    from adcp_tracker.tracker import Tracker

_NEEDED = ("typer", "rich")


def main() -> None:
    """Run the command line with the arguments of this process, and exit."""
    sys.exit(run(sys.argv[1:]))


def run(
    arguments: Sequence[str], *, tracker: Tracker | None = None, prog: str = "adcp-tracker"
) -> int:
    """Run one command, and return its exit code.

    Web integrations call this, so that ``manage.py adcp`` and ``flask adcp`` have the same
    commands and exit codes as ``adcp-tracker``.

    Args:
        arguments: The command and its options.
        tracker: The tracker of an application, whose settings and destinations are used
            instead of ADCP_* variables.
        prog: The name of the program in its help.
    """
    if list(arguments) == ["--version"]:
        sys.stdout.write(f"adcp-tracker {__version__}\n")
        return 0
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        sys.stderr.write(
            f"{prog}: {' and '.join(missing)} must be installed; "
            "run: pip install 'adcp-tracker[cli]'\n"
        )
        return 2
    from adcp_tracker.cli.app import app  # noqa: PLC0415 - needs the extra
    from adcp_tracker.cli.queue import using_tracker  # noqa: PLC0415 - needs the extra

    with using_tracker(tracker):
        try:
            app(args=list(arguments), prog_name=prog)
        except SystemExit as ended:
            return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return 0
