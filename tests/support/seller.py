"""Sellers for tests: one in this process, one in a process of its own."""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import attrs
import httpx

from adcp_tracker.sandbox import (
    DEFAULT_ADVERTISER,
    DEFAULT_SOURCE,
    DEFAULT_TOKEN,
    Sandbox,
    SandboxConfig,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ADVERTISER = DEFAULT_ADVERTISER
SOURCE = DEFAULT_SOURCE
TOKEN = DEFAULT_TOKEN

PLAIN = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Spares a client that speaks plain HTTP the reading of a hundred certificates."""

_START_S = 20.0
_STOP_S = 10.0
_ANSWER_S = 20.0
_POLL_S = 0.01


@contextmanager
def run_seller(**settings: Any) -> Iterator[Sandbox]:  # noqa: ANN401 - each setting has its own type
    """Run a seller in a thread, by the settings of a ``SandboxConfig``."""
    with Sandbox(SandboxConfig(**settings)) as seller:
        yield seller


@attrs.define
class SellerProcess:
    """A seller in a process of its own, which can be killed and started again."""

    port_file: Path
    settings: dict[str, Any]
    port: int = 0
    process: subprocess.Popen[bytes] | None = None

    @property
    def origin(self) -> str:
        """Where it is reached, without a path."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """The ``base_url`` of its Interchange side."""
        return f"{self.origin}/api/v2/buyer"

    @property
    def mcp_url(self) -> str:
        """The URL of its MCP side."""
        return f"{self.origin}/mcp"

    def start(self) -> None:
        """Start it and wait until it listens; a second start takes the port of the first."""
        self.port_file.unlink(missing_ok=True)
        command = [sys.executable, "-m", "adcp_tracker", "sandbox", "--quiet"]
        command += ["--port", str(self.port), "--port-file", str(self.port_file)]
        command += ["--config", json.dumps(self.settings)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + _START_S
        while not self.port_file.exists():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the seller did not start: {self.process.poll()}")
            time.sleep(_POLL_S)
        self.port = int(self.port_file.read_text())

    def kill(self) -> None:
        """Kill it, as SIGKILL does."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(_STOP_S)

    def _ask(self, method: str, path: str, content: object = None) -> Any:  # noqa: ANN401 - JSON
        url = f"{self.origin}/_sandbox/{path}"
        answer = httpx.request(method, url, json=content, verify=PLAIN, timeout=_ANSWER_S)
        answer.raise_for_status()
        return answer.json()

    def fail(self, **settings: Any) -> None:  # noqa: ANN401 - each setting has its own type
        """Let requests fail from now on, by the settings of a ``Fault``."""
        self._ask("POST", "faults", settings)

    def configure(self, **changes: Any) -> None:  # noqa: ANN401 - each setting has its own type
        """Change settings of the ``SandboxConfig`` while it runs."""
        self._ask("POST", "config", changes)

    def reset(self) -> None:
        """Forget what came, what was to fail and what was registered."""
        self._ask("POST", "reset")

    @property
    def counts(self) -> dict[str, int]:
        """What it counted."""
        counts: dict[str, int] = self._ask("GET", "counts")
        return counts

    @property
    def events(self) -> list[dict[str, Any]]:
        """The live events it took, as they were sent, each once."""
        return [
            kept["event"]
            for kept in self._ask("GET", "events?limit=1000000")
            if kept["test_event_code"] is None
        ]

    @property
    def event_ids(self) -> list[str]:
        """The ids of the live events it took, each event once."""
        return [event["event_id"] for event in self.events]

    def wait_for(self, count: int, timeout: float = 20.0) -> None:
        """Wait until `count` events, live and test together, were taken."""
        deadline = time.monotonic() + timeout
        got = -1
        while got < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"expected {count} events within {timeout} s, got {got}")
            counts = self.counts
            got = counts["good"] + counts["test"]
            time.sleep(_POLL_S)


@contextmanager
def run_seller_process(directory: Path, **settings: Any) -> Iterator[SellerProcess]:  # noqa: ANN401 - each setting has its own type
    """Run a seller in a process of its own, by the settings of a ``SandboxConfig``."""
    seller = SellerProcess(directory / "seller.port", settings)
    seller.start()
    try:
        yield seller
    finally:
        seller.kill()
