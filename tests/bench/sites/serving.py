"""A site under its usual server: one worker, a process of its own, and the time it works.

Servers are started as a site's operator would, with no access log and one worker that keeps
connections open. Only the worker's processor time is looked at, so neither the client's nor
waiting counts.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from tests.bench.sites.browser import Browser
from tests.bench.sites.requests import BARE_QUERY
from tests.bench.sites.shop import DIRECTORY, PAGE

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[3]

_START_S = 30.0
_STOP_S = 15.0
_POLL_S = 0.05
_NS_PER_US = 1_000


class ServerError(RuntimeError):
    """A server did not start; the message ends with what it said."""


@attrs.frozen
class Worker:
    """The process that answers, and a browser connected to it.

    Attributes:
        pid: Its process id.
        browser: Asks it for pages.
    """

    pid: int
    browser: Browser

    def cpu_us(self) -> float:
        """Give the processor time of all its threads since its start, in µs."""
        tasks = Path(f"/proc/{self.pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / _NS_PER_US


@contextmanager
def serving(site: str, directory: Path) -> Iterator[Worker]:
    """Serve a site, bare and tracked, until the end of the block.

    Args:
        site: Its module, as in ``flask_site``.
        directory: Where the tracker keeps its events, and the server its log.

    Raises:
        ServerError: If it does not start.
    """
    port, log = _free_port(), directory / "server.log"
    path = f"{ROOT}{os.pathsep}{ROOT / 'integrations'}"
    environment = {**os.environ, "PYTHONPATH": path, DIRECTORY: str(directory)}
    with log.open("wb") as output:
        process = subprocess.Popen(
            _command(site, port), cwd=ROOT, env=environment, stdout=output, stderr=output
        )
    try:
        browser = _connected(process, port, log)
        with closing(browser):
            yield Worker(_worker(process.pid), browser)
    finally:
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _command(site: str, port: int) -> list[str]:
    module = f"tests.bench.sites.{site}"
    python = [sys.executable, "-m"]
    if site == "fastapi_site":
        quiet = ["--no-access-log", "--log-level", "warning"]
        return [*python, "uvicorn", f"{module}:served", "--factory", "--port", str(port), *quiet]
    worker = ["--worker-class", "gthread", "--threads", "1", "--keep-alive", "60"]
    bind = ["--bind", f"127.0.0.1:{port}", "--log-level", "warning", "--no-control-socket"]
    return [*python, "gunicorn", f"{module}:served()", *worker, *bind]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _connected(process: subprocess.Popen[bytes], port: int, log: Path) -> Browser:
    deadline = time.monotonic() + _START_S
    while process.poll() is None and time.monotonic() < deadline:
        if (browser := _answered(port)) is not None:
            return browser
        time.sleep(_POLL_S)
    raise ServerError(f"expected an answer, got none; the server said: {log.read_text()}")


def _answered(port: int) -> Browser | None:
    try:
        browser = Browser(port)
        browser.ask(f"{PAGE}?{BARE_QUERY}", 1)
    except OSError:
        return None
    return browser


def _worker(pid: int) -> int:
    """Return the only child of a server's first process, or that one if it serves itself."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(children[0]) if children else pid
