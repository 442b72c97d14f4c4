"""``adcp-tracker metrics``, and ``adcp-tracker worker --metrics`` as a real process."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import httpx
import pytest

from adcp_tracker import Tracker
from adcp_tracker.cli.status import serving
from adcp_tracker.exceptions import ConfigurationError
from tests.cli.program import NAME, clean_environment, fill, pointing_at, run, start
from tests.support.destinations import ScriptedDestination, wait_until

pytest.importorskip("prometheus_client", reason="an extra")

from tests.support.scraping import booked, books_of, run_receiver, scrape, scraped, url_of

if TYPE_CHECKING:
    from pathlib import Path

    from adcp_tracker.sandbox import Sandbox

_DELIVERED = "adcp_events_delivered_total", frozenset({("destination", NAME)})


def test_they_are_printed_without_a_seller(tmp_path: Path, seller: Sandbox) -> None:
    """What the last worker published, and what waits since."""
    fill(tmp_path, "A-1", "A-2")
    delivered = run("worker", "--once", "--json", "--directory", tmp_path, **pointing_at(seller))
    fill(tmp_path, "A-3")
    ended = run("metrics", "--directory", tmp_path)
    assert ended.code == 0
    found = scrape(ended.out)
    assert found[_DELIVERED] == delivered.json["destinations"][NAME]["delivered"] == 2
    assert found["adcp_events_pending", _DELIVERED[1]] == 1


@pytest.mark.slow
def test_a_text_file_is_replaced_at_once(tmp_path: Path) -> None:
    """Everybody may read it, nothing else is left beside it, and a failure leaves the old one."""
    folder = tmp_path / "textfile"
    folder.mkdir()
    target = folder / "adcp.prom"
    target.write_text("old")
    fill(tmp_path / "queue", "A-1")
    ended = run("metrics", "--directory", tmp_path / "queue", "--textfile", target)
    assert (ended.code, ended.out) == (0, "")
    assert scrape(target.read_text())["adcp_events_unassigned", frozenset()] == 1
    assert target.stat().st_mode & 0o777 == 0o644
    assert list(folder.iterdir()) == [target]
    text = target.read_text()
    assert run("metrics", "--directory", tmp_path / "none", "--textfile", target).code == 2
    assert target.read_text() == text
    missing = run("metrics", "-d", tmp_path / "queue", "--textfile", tmp_path / "no" / "a.prom")
    assert missing.code == 3
    assert "No such file or directory" in missing.err


@pytest.mark.slow
def test_a_worker_serves_what_it_prints_at_its_end(tmp_path: Path, seller: Sandbox) -> None:
    """Until SIGTERM it answers with its figures and its health; then it ends as ever."""
    options = ("--metrics", "0", "--create", "--directory", tmp_path / "queue")
    worker = start("worker", "--json", *options, **pointing_at(seller))
    try:
        url = url_of(worker)
        fill(tmp_path / "queue", "A-1", "A-2")
        wait_until(lambda: scraped(url).get(_DELIVERED) == 2)
        found = scraped(url)
        health, ready = httpx.get(f"{url}/healthz"), httpx.get(f"{url}/readyz")
        nothing, head = httpx.get(f"{url}/"), httpx.head(f"{url}/metrics")
        worker.send_signal(signal.SIGTERM)
        out, err = worker.communicate(timeout=20)
    finally:
        worker.kill()
    assert (worker.returncode, "Traceback" in err) == (0, False)
    assert found.items() >= booked(books_of(out)).items()
    assert (health.status_code, health.json()) == (200, {"status": "ok"})
    assert (ready.status_code, ready.json()["pending"]) == (200, 0)
    assert (nothing.status_code, head.status_code, head.content) == (404, 200, b"")


_OTLP = """
import sys
from opentelemetry import metrics
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from adcp_tracker import cli
reader = PeriodicExportingMetricReader(OTLPMetricExporter(sys.argv.pop(1)), 200)
metrics.set_meter_provider(provider := MeterProvider([reader]))
code = cli.run(sys.argv[1:])
provider.shutdown()
sys.exit(code)
"""


@pytest.mark.slow
def test_a_worker_exports_to_the_sdk(tmp_path: Path, seller: Sandbox) -> None:
    """With --opentelemetry, a receiver of OTLP gets the figures that it prints at its end."""
    pytest.importorskip("opentelemetry.sdk", reason="an extra")
    with run_receiver() as exported:
        endpoint = f"{exported.endpoint}/v1/metrics"
        options = ("--opentelemetry", "--json", "--create", "--directory", str(tmp_path / "queue"))
        worker = subprocess.Popen(
            [sys.executable, "-c", _OTLP, endpoint, "worker", *options],
            env=clean_environment() | pointing_at(seller),
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            fill(tmp_path / "queue", "A-1", "A-2")
            wait_until(lambda: exported.samples.get(_DELIVERED) == 2)
            worker.send_signal(signal.SIGTERM)
            out, _ = worker.communicate(timeout=20)
        finally:
            worker.kill()
    assert worker.returncode == 0
    assert exported.samples.items() >= booked(books_of(out)).items()


@pytest.mark.parametrize("address", ["", "localhost", "1:2:3", "70000", "http://127.0.0.1:9464"])
def test_what_is_no_address_is_refused(tmp_path: Path, seller: Sandbox, address: str) -> None:
    """With what was expected, before anything is delivered."""
    options = ("--metrics", address, "--create", "--directory", tmp_path / "q")
    ended = run("worker", "--once", *options, **pointing_at(seller))
    assert ended.code == 2
    assert "such as 9464 or 0.0.0.0:9464" in ended.err


def test_a_port_in_use_is_named(tmp_path: Path, seller: Sandbox) -> None:
    """The error says which address, and what to do."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        options = ("--metrics", port, "--create", "--directory", tmp_path / "q")
        ended = run("worker", "--once", *options, **pointing_at(seller))
    assert ended.code == 2
    assert f"can't listen on {port}: Address already in use." in ended.err


@pytest.mark.slow
def test_a_silent_client_blocks_nobody(tmp_path: Path) -> None:
    """Each connection has a thread of its own, and IPv6 is served, too."""
    with (
        Tracker([ScriptedDestination()], directory=tmp_path / "q") as tracker,
        socket.create_server(("::1", 0), family=socket.AF_INET6) as free,
    ):
        port = free.getsockname()[1]
        free.close()
        with serving(f"[::1]:{port}", [tracker]), socket.create_connection(("::1", port)):
            began = time.monotonic()
            assert httpx.get(f"http://[::1]:{port}/healthz").status_code == 200
            assert time.monotonic() - began < 9
        with pytest.raises(ConfigurationError), serving("[::1]:99999", [tracker]):
            pass
