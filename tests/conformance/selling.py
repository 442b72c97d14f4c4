"""The SDK's seller as a process that a test starts, watches, troubles and kills."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import attrs

TOKEN = "sdk-seller-token"
SOURCE = "website"

_ROOT = Path(__file__).parents[2]
_START_S = 240.0
_STOP_S = 10.0
_POLL_S = 0.05


@attrs.define
class SdkSeller:
    """One seller; see :mod:`tests.conformance.sdk_seller` for what it does.

    Attributes:
        directory: Where it writes what came, and reads what is to go wrong.
        settings: Settings of the framework's own ``serve``; with ``signed_by``, a set of
            public keys, it takes signed requests only and asks for no token.
        port: Where it listens, the same after a restart.
    """

    directory: Path
    settings: dict[str, Any] = attrs.field(factory=dict)
    port: int = 0
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its MCP address."""
        return f"http://127.0.0.1:{self.port}/mcp"

    def start(self) -> None:
        """Start it and wait until it listens, which takes the framework ten seconds or more."""
        self.port = self.port or _free_port()
        command = [sys.executable, "-m", "tests.conformance.sdk_seller", str(self.directory)]
        command += [str(self.port), json.dumps(self.settings)]
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(command, cwd=_ROOT, stdout=log, stderr=log)
        deadline = time.monotonic() + _START_S
        while not self._listens():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                said = (self.directory / "log").read_text()[-2000:]
                raise RuntimeError(f"the SDK's seller did not start: {said}")
            time.sleep(_POLL_S)

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self) -> None:
        """Kill it, as SIGKILL does."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(_STOP_S)

    def wait_for_death(self) -> None:
        """Wait until it has died of a mishap."""
        assert self.process is not None
        self.process.wait(_START_S)

    def suffer(self, *mishaps: dict[str, Any]) -> None:
        """Let the next calls of ``log_event`` go wrong, one mishap each."""
        (self.directory / "mishaps.json").write_text(json.dumps(mishaps))

    def forget(self) -> None:
        """Begin new records, and let nothing go wrong any more."""
        for name in ("calls.jsonl", "taken.jsonl", "mishaps.json"):
            (self.directory / name).unlink(missing_ok=True)

    def calls(self, tool: str = "log_event") -> list[dict[str, Any]]:
        """Return the calls of a tool as they arrived, refused ones and replays too."""
        return [call for call in self._read("calls") if call["tool"] == tool]

    def taken(self) -> list[dict[str, Any]]:
        """Return what was executed, by key and event ids, without replays."""
        return self._read("taken")

    def taken_ids(self) -> list[str]:
        """Return the ids of all events that were taken, in order."""
        return [event_id for call in self.taken() for event_id in call["ids"]]

    def _read(self, name: str) -> list[dict[str, Any]]:
        path = self.directory / f"{name}.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [json.loads(line) for line in lines]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
