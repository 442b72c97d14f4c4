"""Agents on MCP 2.x, FastMCP and A2A get every event once, and what they say is read."""

from __future__ import annotations

import importlib.util
import json
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from adcp_tracker import Agent, Tracker
from tests.conformance.framework_seller import SHAPES
from tests.conformance.installed import needs_sdk
from tests.conformance.selling import SOURCE, TOKEN, SdkSeller

if TYPE_CHECKING:
    from collections.abc import Iterator

COUNT = 10
IDS = [f"order-{number}" for number in range(COUNT)]
_ROOT = Path(__file__).parents[2]
_START_S = 240.0


def _is_new(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


FRAMEWORKS = [
    pytest.param(
        "mcp", marks=pytest.mark.skipif(not _is_new("mcp.server.mcpserver"), reason="mcp 2")
    )
    if importlib.util.find_spec("mcp")
    else pytest.param("mcp", marks=pytest.mark.skip("mcp isn't installed")),
    pytest.param("fastmcp", marks=pytest.mark.skipif(not _is_new("fastmcp"), reason="fastmcp")),
]


@pytest.fixture(scope="module", params=FRAMEWORKS)
def servers(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, dict[str, int]]]:
    """Run one server for each shape, which takes a framework ten seconds."""
    directory: Path = tmp_path_factory.mktemp("framework")
    ports = dict(zip(SHAPES, _free_ports(len(SHAPES)), strict=True))
    command = [sys.executable, "-m", "tests.conformance.framework_seller", request.param]
    command += [str(directory), *map(str, ports.values())]
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=_ROOT, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + _START_S
        while not all(map(_listens, ports.values())):
            assert process.poll() is None, (directory / "log").read_text()[-2000:]
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield directory, ports
    finally:
        process.kill()
        process.wait()


def _free_ports(count: int) -> list[int]:
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("end", ["/mcp", "/mcp/"])
def test_events_are_sent_once_and_booked_as_delivered(
    servers: tuple[Path, dict[str, int]], shape: str, end: str, tmp_path: Path
) -> None:
    """Whatever the tool's return type, the revision, and the slash at the end."""
    directory, ports = servers
    taken = directory / "taken.jsonl"
    taken.unlink(missing_ok=True)
    agent = Agent(url=f"http://127.0.0.1:{ports[shape]}{end}", event_source_id=SOURCE, token=TOKEN)
    with Tracker([agent], directory=tmp_path) as tracker:
        for event_id in IDS:
            tracker.track_purchase({"id": event_id, "total": "59.90", "currency": "EUR"})
        counts = tracker.flush(60.0).total()
    assert (counts.delivered, counts.unconfirmed, counts.dead) == (COUNT, 0, 0)
    calls = [json.loads(line) for line in taken.read_text().splitlines()]
    assert sorted(each for call in calls for each in call["ids"]) == sorted(IDS)
    assert {call["shape"] for call in calls} == {shape}


@needs_sdk
@pytest.mark.parametrize("protocol", ["a2a", None])
def test_the_sdks_a2a_server_gets_events_once(protocol: str | None, tmp_path: Path) -> None:
    """Named or found out by its card, which doesn't advertise the extension."""
    (tmp_path / "seller").mkdir()
    seller = SdkSeller(tmp_path / "seller", {"transport": "a2a"})
    seller.start()
    try:
        url = f"http://127.0.0.1:{seller.port}/"
        agent = Agent(url=url, event_source_id=SOURCE, token=TOKEN, protocol=protocol)  # type: ignore[arg-type]
        with Tracker([agent], directory=tmp_path / "queue") as tracker:
            for event_id in IDS:
                tracker.track_purchase({"id": event_id, "total": "59.90", "currency": "EUR"})
            counts = tracker.flush(60.0).total()
        assert (counts.delivered, counts.unconfirmed, counts.dead) == (COUNT, 0, 0)
        assert sorted(seller.taken_ids()) == sorted(IDS)
    finally:
        seller.stop()
