"""Real servers in processes of their own, and shoppers who buy from them over HTTP."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import httpx

from tests.support.seller import ADVERTISER, SOURCE, TOKEN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tests.support.seller import SellerProcess

ROOT = Path(__file__).parents[2]
SCRIPTS = Path(sys.executable).parent

_START_SECONDS = 20.0
_STOP_SECONDS = 15.0
_RETRY_SECONDS = 20.0
_POLL_SECONDS = 0.02
_SHOPPERS = 8


@attrs.define
class Server:
    """A server under test.

    Attributes:
        url: Where it is reached.
        process: Its first process.
        log: Where it writes what it has to say.
    """

    url: str
    process: subprocess.Popen[bytes]
    log: Path

    def kill(self, worker: int) -> None:
        """Kill it at once, and the worker that its first process would leave behind."""
        self.stop(signal.SIGKILL)
        with suppress(ProcessLookupError):  # where the first process is the worker
            os.kill(worker, signal.SIGKILL)

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End it with a signal, and wait until it has ended."""
        self.process.send_signal(number)
        self.process.wait(_STOP_SECONDS)


def shop_environment(directory: Path, seller: SellerProcess, **more: str) -> dict[str, str]:
    """Return the environment of a shop's processes; its options come from there."""
    return {
        **os.environ,
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'integrations'}",
        "PYTHONWARNINGS": "error",
        "ADCP_DIRECTORY": str(directory),
        "ADCP_BASE_URL": seller.url,
        "ADCP_ADVERTISER_ID": ADVERTISER,
        "ADCP_API_KEY": TOKEN,
        "ADCP_EVENT_SOURCE_ID": SOURCE,
        "ADCP_FLUSH_INTERVAL": "0.1",
        **more,
    }


@contextmanager
def serve(
    command: Callable[[int], list[str]],
    environment: dict[str, str],
    folder: Path,
    scheme: str = "http",
) -> Iterator[Server]:
    """Run a server until the end of the block.

    Args:
        command: Makes its command line of the port it shall listen on.
        environment: Its environment.
        folder: Where its log is kept.
        scheme: What it speaks; over ``https`` with whatever certificate.
    """
    port = free_port()
    log = folder / "server.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            command(port), cwd=ROOT, env=environment, stdout=output, stderr=output
        )
    server = Server(f"{scheme}://127.0.0.1:{port}", process, log)
    try:
        _await_start(server)
        yield server
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _await_start(server: Server) -> None:
    deadline = time.monotonic() + _START_SECONDS
    context = ssl._create_unverified_context()  # noqa: S323, SLF001 - its certificate is its own
    while True:
        try:
            if httpx.get(f"{server.url}/health", verify=context).is_success:
                return
        except httpx.TransportError:
            pass
        if server.process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the server did not start:\n{server.log.read_text()}")
        time.sleep(_POLL_SECONDS)


@attrs.frozen
class Shopper:
    """Who buys order number `number`, and what the shop's proxy tells of them."""

    number: int

    @property
    def order_id(self) -> str:
        """The order's number, which is the event's id."""
        return f"o-{self.number}"

    @property
    def ip(self) -> str:
        """A public address of their own."""
        return f"8.8.{self.number // 250}.{self.number % 250 + 1}"

    @property
    def agent(self) -> str:
        """A browser of their own."""
        return f"Mozilla/5.0 shopper/{self.number}"

    @property
    def headers(self) -> dict[str, str]:
        """What arrives from the proxy; the first address is the client's own claim."""
        return {
            "Host": "shop.example",
            "User-Agent": self.agent,
            "X-Forwarded-For": f"9.9.9.9, {self.ip}",
            "X-Forwarded-Proto": "https",
        }

    @property
    def seen(self) -> tuple[str, str, str, str]:
        """What the seller has to be told: id, address, browser and page."""
        url = f"https://shop.example/buy/{self.order_id}?gclid=click-{self.number}"
        return self.order_id, self.ip, self.agent, url


def told(event: dict[str, dict[str, str]]) -> tuple[object, object, object, object]:
    """Return of an event what :attr:`Shopper.seen` expects."""
    match = event["user_match"]
    return (
        event["event_id"],
        match["client_ip"],
        match["client_user_agent"],
        event["event_source_url"],
    )


def buy(client: httpx.Client, shopper: Shopper) -> int:
    """Buy, again if the server was killed meanwhile, and return the worker's process id."""
    deadline = time.monotonic() + _RETRY_SECONDS
    while True:
        try:
            path = f"/buy/{shopper.order_id}?gclid=click-{shopper.number}&token=secret"
            answer = client.post(path, headers=shopper.headers)
            if answer.is_success:
                return int(answer.text)
        except httpx.TransportError:
            pass
        if time.monotonic() > deadline:
            raise TimeoutError(f"{shopper.order_id} could not be bought")
        time.sleep(_POLL_SECONDS)


def buy_all(
    url: str, shoppers: Iterable[Shopper], meanwhile: Callable[[int, int], None] | None = None
) -> set[int]:
    """Let several shoppers buy at a time.

    Args:
        url: Where.
        shoppers: Who.
        meanwhile: Called after each purchase with how many there were and who served it.

    Returns:
        The process ids of the workers that served them.
    """
    workers: list[int] = []
    lock = threading.Lock()

    def one(shopper: Shopper) -> None:
        worker = buy(client, shopper)
        with lock:
            workers.append(worker)
            if meanwhile is not None:
                meanwhile(len(workers), worker)

    with httpx.Client(base_url=url, timeout=10) as client, ThreadPoolExecutor(_SHOPPERS) as pool:
        for _ in pool.map(one, shoppers):
            pass
    return set(workers)


def shoppers(start: int, stop: int) -> list[Shopper]:
    """Return the shoppers of some order numbers."""
    return [Shopper(number) for number in range(start, stop)]


def killing(*signals: tuple[int, int]) -> Callable[[int, int], None]:
    """Return what kills whichever worker served the purchase, at each of some counts."""
    due = dict(signals)

    def kill(count: int, worker: int) -> None:
        number = due.pop(count, None)
        if number is not None:
            os.kill(worker, number)

    return kill
