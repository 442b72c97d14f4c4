"""The compose example, run without containers: its commands as processes of this machine."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import attrs
import httpx
import pytest
import yaml

from tests.integrations.servers import ROOT, SCRIPTS, free_port
from tests.support.destinations import wait_until
from tests.support.postgres import run_postgres

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_FOLDER = ROOT / "docs" / "howto" / "compose"
_COMPOSE: dict[str, Any] = yaml.safe_load((_FOLDER / "compose.yaml").read_text())
_TOKEN = _COMPOSE["x-app"]["environment"]["ADCP_API_KEY"]
_AS_SEEN_HERE = {"Authorization": f"Bearer {_TOKEN}"}
_ORDERS = 300


@attrs.define
class Composition:
    """The services of the example, with addresses of this machine in place of their names.

    Attributes:
        places: What stands in place of what, in commands and variables.
        log: Where the processes write.
    """

    places: dict[str, str]
    log: Path

    def environment(self, service: str) -> dict[str, str]:
        """Return the variables of a service."""
        own = {name: self._here(value) for name, value in _service(service)["environment"].items()}
        path = f"{ROOT}{os.pathsep}{ROOT / 'integrations'}"
        return {**os.environ, **own, "PYTHONPATH": path, "PYTHONWARNINGS": "error"}

    def command(self, service: str) -> list[str]:
        """Return the command of a service."""
        program, *arguments = _service(service)["command"]
        return [str(SCRIPTS / program), *map(self._here, arguments)]

    def _here(self, text: str) -> str:
        for there, here in self.places.items():
            text = text.replace(there, here)
        return text

    @contextmanager
    def run(self, service: str) -> Iterator[subprocess.Popen[bytes]]:
        """Run a service until the end of the block."""
        command = self.command(service)
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                command, cwd=_FOLDER, env=self.environment(service), stdout=log, stderr=log
            )
        try:
            yield process
        finally:
            process.terminate()
            process.wait(30)


def _service(name: str) -> dict[str, Any]:
    service: dict[str, Any] = _COMPOSE["services"][name]
    return service


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, headers=_AS_SEEN_HERE).status_code < 500
    except httpx.TransportError:
        return False


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Path]:
    """Return where the services write; what they wrote is shown if the test fails."""
    path = tmp_path / "log"
    yield path
    sys.stdout.write(path.read_text() if path.exists() else "")


def test_the_walk_of_the_example(log: Path) -> None:
    """Of two workers one is killed, then the database: the page shows every order once."""
    shop_port, page_port = free_port(), free_port()
    page, shop = f"http://127.0.0.1:{page_port}", f"http://127.0.0.1:{shop_port}"
    with run_postgres() as postgres, ExitStack() as services:
        postgres.create("shop")
        socket_folder = quote(str(postgres.directory), safe="")
        places = {
            "shop:local-secret@database/shop": f"postgres@/shop?host={socket_folder}",
            "sandbox:8765": f"127.0.0.1:{page_port}",
            "0.0.0.0:8000": f"127.0.0.1:{shop_port}",
            "0.0.0.0": "127.0.0.1",  # noqa: S104 - stands in the file
        }
        here = Composition(places, log)
        subprocess.run(here.command("migrate"), check=True, env=here.environment("migrate"))
        seller = here.command("sandbox")
        seller += ["--port", str(page_port)]
        with log.open("ab") as output:
            services.callback(_end, subprocess.Popen(seller, stdout=output, stderr=output))
        services.enter_context(here.run("shop"))
        first, second = (services.enter_context(here.run("worker")) for _ in range(2))
        wait_until(lambda: _answers(f"{page}/_sandbox/counts") and _answers(f"{shop}/readyz"))

        numbers = (f"A-{number}" for number in itertools.count(1))
        _buy(shop, itertools.islice(numbers, _ORDERS // 3))
        first.kill()
        _buy(shop, itertools.islice(numbers, _ORDERS // 3))
        postgres.kill()
        _buy(shop, itertools.islice(numbers, _ORDERS // 3))
        postgres.start()

        expected = sorted(f"A-{number}" for number in range(1, _ORDERS + 1))
        wait_until(lambda: len(_received(page)) >= _ORDERS, 40)
        assert sorted(_received(page)) == expected
        assert second.poll() is None
        assert first.wait() == -signal.SIGKILL


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait(30)


def _buy(shop: str, numbers: Iterator[str]) -> None:
    """Buy as shoppers do: the shop answers whatever happens behind it."""
    with httpx.Client() as client:
        for number in numbers:
            response = client.post(f"{shop}/orders/{number}", timeout=30)
            assert response.text == f"Order {number} is paid.\n"


def _received(page: str) -> list[str]:
    """Return the ids of the events that the seller's page lists."""
    found = httpx.get(f"{page}/_sandbox/events?limit=1000", headers=_AS_SEEN_HERE).json()
    return [kept["event"]["event_id"] for kept in found]


def test_every_service_is_named_by_what_it_needs() -> None:
    """Services wait for what exists, and get their variables from the common block."""
    services = _COMPOSE["services"]
    for service in services.values():
        assert set(service.get("depends_on", {})) <= set(services)
    for name in ("migrate", "shop", "worker"):
        assert _service(name)["environment"]["ADCP_QUEUE"].startswith("postgresql://")
    assert _service("worker")["deploy"]["replicas"] == 2
    assert "volumes" not in _service("shop")
