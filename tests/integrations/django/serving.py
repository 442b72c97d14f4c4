"""The shop under its real servers, each a process of its own, and shoppers who buy there."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import httpx

from tests.support.seller import ADVERTISER, SOURCE, TOKEN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.seller import SellerProcess

ROOT = Path(__file__).parents[3]
SHOP = "tests.integrations.django.shop"
_STOP_S = 20.0
_SHOPPERS = 8


def environment(directory: Path, seller: SellerProcess) -> dict[str, str]:
    """Return the environment of a shop that sends to `seller`."""
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": f"{SHOP}.settings",
        "SHOP_DATABASE": str(directory / "shop.sqlite3"),
        "ADCP_DIRECTORY": str(directory / "queue"),
        "ADCP_BASE_URL": seller.url,
        "ADCP_ADVERTISER_ID": ADVERTISER,
        "ADCP_EVENT_SOURCE_ID": SOURCE,
        "ADCP_API_KEY": TOKEN,
        "ADCP_FLUSH_INTERVAL": "0.1",
        "PYTHONWARNINGS": "default",
    }


def manage(env: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a management command to its end."""
    command = [sys.executable, "-m", "django", *arguments]
    return subprocess.run(
        command, env=env, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )


@attrs.define
class Server:
    """A server that listens."""

    url: str
    process: subprocess.Popen[bytes]

    def stop(self) -> None:
        """Stop it as a supervisor does."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise


@contextmanager
def serve(env: dict[str, str], *command: str) -> Iterator[Server]:
    """Serve the shop by a server's command line, in which ``{fd}`` stands for a listening socket.

    The socket listens before the server starts, so a first request waits for it.
    """
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listening:
        number = listening.fileno()
        words = [word.format(fd=number) for word in command]
        process = subprocess.Popen(
            [sys.executable, "-m", *words], env=env, cwd=ROOT, pass_fds=[number]
        )
        server = Server(f"http://127.0.0.1:{listening.getsockname()[1]}", process)
    try:
        yield server
    finally:
        server.stop()


GUNICORN = ("gunicorn", f"{SHOP}.wsgi", "--bind", "fd://{fd}", "--log-level", "error")
UVICORN = ("uvicorn", f"{SHOP}.asgi:application", "--fd", "{fd}", "--log-level", "error")


@attrs.frozen
class Shopper:
    """Somebody with an address and a browser of their own, who buys once.

    Attributes:
        number: Which order is theirs.
        where: The page they buy on.
    """

    number: int
    where: str = "buy"

    @property
    def ip(self) -> str:
        """Their address, which is a public one."""
        return f"8.8.{self.number // 250}.{self.number % 250 + 1}"

    @property
    def agent(self) -> str:
        """Their browser."""
        return f"Mozilla/5.0 (Shopper {self.number})"

    @property
    def path(self) -> str:
        """The page's path and query."""
        return f"/{self.where}/{self.number}?utm_source=mail&token=secret"

    def buy(self, client: httpx.Client, url: str) -> dict[str, Any] | None:
        """Buy, through a proxy that tells who they are.

        Returns:
            The shop's answer; nothing if it gave none.
        """
        headers = {
            "Host": "shop.example",
            "User-Agent": self.agent,
            "X-Forwarded-For": f"9.9.9.9, {self.ip}",
            "X-Forwarded-Proto": "https",
        }
        try:
            answer = client.get(url + self.path, headers=headers)
        except httpx.TransportError:
            return None
        if answer.is_error:
            return None
        bought: dict[str, Any] = answer.json()
        return bought

    def expected(self) -> tuple[str, str, str]:
        """Return the address, browser and page that their event has to carry."""
        return (
            self.ip,
            self.agent,
            f"https://shop.example/{self.where}/{self.number}?utm_source=mail",
        )


def shop_at(
    server: Server,
    shoppers: list[Shopper],
    *,
    midway: Callable[[dict[str, Any]], None] | None = None,
) -> dict[str, Shopper]:
    """Let everybody buy, a few at a time.

    Args:
        server: Where.
        shoppers: Who.
        midway: Called twice, a third of the way each, with the answer that came last.

    Returns:
        Who was answered, by the id of their event.
    """
    answered: dict[str, Shopper] = {}
    lock = threading.Lock()

    def buy(shopper: Shopper) -> None:
        bought = shopper.buy(client, server.url)
        if bought is None:
            return
        with lock:
            answered[bought["event_id"]] = shopper
            is_midway = len(answered) in {len(shoppers) // 3, len(shoppers) // 3 * 2}
        if is_midway and midway is not None:
            midway(bought)

    with httpx.Client(timeout=30.0) as client, ThreadPoolExecutor(_SHOPPERS) as pool:
        list(pool.map(buy, shoppers))
    return answered


def carried(event: dict[str, Any]) -> tuple[str, str, str]:
    """Return the address, browser and page that an event carries."""
    match = event["user_match"]
    return match["client_ip"], match["client_user_agent"], event["event_source_url"]
