"""The local seller under uvicorn: in a thread for tests, or in the foreground."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import socket
from typing import TYPE_CHECKING

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from adcp_tracker.exceptions import ConfigurationError
from adcp_tracker.queue.directory import replace_file
from adcp_tracker.sandbox.app import create_app
from adcp_tracker.sandbox.mishaps import TRANSPORT, reset_transport
from adcp_tracker.sandbox.seller import Seller

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from adcp_tracker.sandbox.config import SandboxConfig

_TICK_S = 0.1
_BACKLOG = 128
_DIED = 70
_IPV4 = 4
_TURNS = 4


class OpenProtocol(H11Protocol):
    """HTTP over a connection that the application may break."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Hand the connection to the application in the state of its scopes."""
        super().connection_made(transport)
        self.app_state = {**self.app_state, TRANSPORT: transport}


class ShortServer(uvicorn.Server):
    """Stops at once, as a crash does, instead of waiting for its clients."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._stopping = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def main_loop(self) -> None:
        """Serve until told to stop, by :meth:`stop` or by a signal."""
        self._loop = asyncio.get_running_loop()
        counter = 0
        while not await self.on_tick(counter):
            counter += 1
            if await self._stops_within(_TICK_S):
                return

    async def _stops_within(self, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except asyncio.TimeoutError:
            return False
        return True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the listeners and reset every connection."""
        # Whoever was accepted just now becomes a connection first, and is reset then: it
        # could not become one once the listeners are closed, and would stay open.
        for listener in self.servers:
            for sock in listener.sockets:
                asyncio.get_running_loop().remove_reader(sock.fileno())
        await _let_run()
        for listener in self.servers:
            listener.close()
        for given in sockets or []:
            given.close()
        for connection in list(self.server_state.connections):
            reset_transport(connection.transport)
        tasks = list(self.server_state.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await _let_run()

    def stop(self) -> None:
        """End :meth:`main_loop`; may be called from any thread, even before it begins."""
        self.should_exit = True
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._stopping.set)


async def _let_run() -> None:
    """Let what waits for its turn on the loop run its course."""
    for _ in range(_TURNS):
        await asyncio.sleep(0)


def server_of(seller: Seller) -> ShortServer:
    """Return a server of `seller`, ready to run."""
    config = uvicorn.Config(
        create_app(seller=seller),
        http=OpenProtocol,
        ws="none",
        loop="asyncio",
        lifespan="off",
        log_config=None,
        log_level="critical",
        access_log=False,
        server_header=False,
        backlog=_BACKLOG,
    )
    config.load()
    return ShortServer(config)


def bind(host: str, port: int) -> socket.socket:
    """Listen on a loopback address.

    Raises:
        ConfigurationError: If `host` is no loopback address, or the port is taken.
    """
    address = _loopback(host)
    family = socket.AF_INET if address.version == _IPV4 else socket.AF_INET6
    # asyncio spares only sockets that name TCP the delay of Nagle's algorithm.
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((str(address), port))
        sock.listen(_BACKLOG)
    except OSError as error:
        sock.close()
        message = f"port: expected a free port on {address}, got {port}: {error.strerror}"
        raise ConfigurationError(message) from error
    return sock


def _loopback(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    try:
        address = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError:
        address = ipaddress.IPv4Address(0)
    if not address.is_loopback:
        raise ConfigurationError(
            f"host: expected a loopback address such as 127.0.0.1, got {host!r}: "
            "the local seller shows all it gets to whoever asks, so it serves this machine only"
        )
    return address


def url_of(sock: socket.socket) -> str:
    """Return the address under which `sock` is reached."""
    host, port = sock.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def run(
    config: SandboxConfig | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    port_file: Path | None = None,
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """Run the local seller in the foreground until a signal ends it.

    Args:
        config: How it behaves.
        host: The loopback address to listen on.
        port: The port to listen on; 0 takes a free one.
        port_file: Where to write the port once it listens, for whoever started it.
        on_ready: Called with the seller's URL once it listens.

    Raises:
        ConfigurationError: If `host` is no loopback address, the port is taken, or
            `port_file` cannot be written.
    """
    seller = Seller(config)
    seller.die = lambda: os._exit(_DIED)
    server = server_of(seller)
    # Ctrl-C is how one stops it, so there is nothing to complain about.
    with bind(host, port) as sock, contextlib.suppress(KeyboardInterrupt):
        if port_file is not None:
            _tell(port_file, sock.getsockname()[1])
        if on_ready is not None:
            on_ready(url_of(sock))
        server.run(sockets=[sock])


def _tell(port_file: Path, port: int) -> None:
    try:
        replace_file(port_file, str(port).encode())
    except (OSError, ValueError) as error:
        message = f"port_file: expected a file to write, got {str(port_file)!r}: {error}"
        raise ConfigurationError(message) from error
