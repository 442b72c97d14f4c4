"""Starts the program many times over, without importing everything anew each time.

Run as ``python -m tests.cli.forking``. Each line of standard input is an order to run the
program, as ``python -m adcp_tracker`` does, in a new process; each line of standard output
is the exit code it ended with.
"""

from __future__ import annotations

import gc
import json
import os
import runpy
import sys
from typing import Any

import adcp_tracker.cli.app
import adcp_tracker.cli.check
import adcp_tracker.cli.demo
import adcp_tracker.cli.queue
import adcp_tracker.sandbox  # noqa: F401 - what takes long to import is imported once


def run(order: dict[str, Any]) -> None:
    """Be the program: its arguments, its environment, its files."""
    os.environ.clear()
    os.environ.update(order["environment"])
    for number, (path, flags) in enumerate(
        ((os.devnull, os.O_RDONLY), (order["out"], os.O_WRONLY), (order["err"], os.O_WRONLY))
    ):
        descriptor = os.open(path, flags)
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.argv[1:] = order["arguments"]
    runpy.run_module("adcp_tracker", run_name="__main__", alter_sys=True)


def main() -> None:
    """Run what is ordered, one after the other."""
    gc.freeze()  # or each child would look through all that was imported as it ends
    # Read without a buffer of Python's: a child would find the next order in its copy.
    with os.fdopen(os.dup(0), "rb", buffering=0) as orders:
        while line := orders.readline():
            child = os.fork()
            if child == 0:
                run(json.loads(line))
                sys.exit(0)
            _, status = os.waitpid(child, 0)
            os.write(1, b"%d\n" % os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
