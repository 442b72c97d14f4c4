"""Running the real program, as a shell or a script does."""

from __future__ import annotations

import atexit
import functools
import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import attrs

from adcp_tracker import Tracker
from tests.support.seller import ADVERTISER, SOURCE, TOKEN

if TYPE_CHECKING:
    from adcp_tracker.sandbox import Sandbox

NAME = f"interchange:{ADVERTISER}/{SOURCE}"
COMMAND = (sys.executable, "-m", "adcp_tracker")
_LONGEST_SECONDS = 60
_MOST_FLUSHES = 60


@attrs.frozen
class Ended:
    """What a run of the program came to.

    Attributes:
        code: Its exit code.
        out: What it printed.
        err: What it printed to the error output.
    """

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:  # noqa: ANN401 - JSON
        """What it printed, which is one JSON document and nothing else."""
        return json.loads(self.out)


def run(*arguments: str | Path, **environment: str) -> Ended:
    """Run the program to its end. It must never show a traceback."""
    with TemporaryDirectory() as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        out.touch()
        err.touch()
        order = {
            "arguments": [str(argument) for argument in arguments],
            "environment": clean_environment() | environment,
            "out": str(out),
            "err": str(err),
        }
        server = _server()
        assert server.stdin is not None
        assert server.stdout is not None
        server.stdin.write(json.dumps(order) + "\n")
        server.stdin.flush()
        answered, _, _ = select.select([server.stdout], [], [], _LONGEST_SECONDS)
        assert answered, f"{arguments} did not end; {err.read_text()}"
        ended = Ended(int(server.stdout.readline()), out.read_text(), err.read_text())
    assert "Traceback" not in ended.err, ended.err
    return ended


def flush_until_tried(*arguments: str | Path, **environment: str) -> Ended:
    """Run ``flush`` for a seller that fails, until it was tried once; a machine may be busy."""
    for _ in range(_MOST_FLUSHES):
        ended = run("flush", *arguments, "--timeout", "1", **environment)
        if "The last attempt failed" in ended.out:
            return ended
    raise AssertionError(f"expected an attempt in {_MOST_FLUSHES} flushes, got {ended.out}")


@functools.cache
def _server() -> subprocess.Popen[str]:
    """Return the process that starts the program, one for all tests."""
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.cli.forking"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    atexit.register(_end, server)
    return server


def _heed_interrupts() -> None:
    """Let Ctrl-C reach the program, also where the tests run with it ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _end(server: subprocess.Popen[str]) -> None:
    server.communicate()  # the end of its input is the end of its work


def start(*arguments: str | Path, **environment: str) -> subprocess.Popen[str]:
    """Start the program, to be met with signals."""
    return subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        preexec_fn=_heed_interrupts,  # noqa: PLW1509 - nothing here runs threads that hold locks
        env=clean_environment() | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def clean_environment() -> dict[str, str]:
    """Return this process's environment without what would configure the program."""
    unwanted = ("ADCP_", "COLUMNS", "NO_COLOR", "FORCE_COLOR")
    return {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}


def pointing_at(seller: Sandbox, **changes: str) -> dict[str, str]:
    """Return the environment that sends events to `seller`."""
    return {
        "ADCP_ADVERTISER_ID": ADVERTISER,
        "ADCP_EVENT_SOURCE_ID": SOURCE,
        "ADCP_API_KEY": TOKEN,
        "ADCP_BASE_URL": seller.url,
        **changes,
    }


def fill(directory: Path, *order_ids: str, value: str = "12.50") -> None:
    """Leave purchases in a queue, as a shop does whose trackers do not upload."""
    with Tracker(directory=directory, uploader="external") as tracker:
        for order_id in order_ids:
            tracker.track_purchase({"order_id": order_id, "total": value, "currency": "EUR"})
