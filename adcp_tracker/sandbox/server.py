"""The local seller under uvicorn: in a thread for tests, or in the foreground."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import socket
import threading
import time
from typing import TYPE_CHECKING

import attrs
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from adcp_tracker.exceptions import ConfigurationError
from adcp_tracker.journal.files import replace_file
from adcp_tracker.sandbox.app import create_app
from adcp_tracker.sandbox.config import InjectedFault
from adcp_tracker.sandbox.failures import TRANSPORT, reset_transport
from adcp_tracker.sandbox.seller import Seller

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType
    from typing import Any

    from typing_extensions import Self

    from adcp_tracker.sandbox.config import SandboxConfig
    from adcp_tracker.sandbox.store import BadEvent, GoodEvent, SeenRequest


_TICK_S = 0.1
_BACKLOG = 128
_DIED = 70
_IPV4 = 4
_TURNS = 4


class BreakableProtocol(H11Protocol):
    """HTTP over a connection that the application may break."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Hand the connection to the application in the state of its scopes."""
        super().connection_made(transport)
        self.app_state = {**self.app_state, TRANSPORT: transport}


class AbruptServer(uvicorn.Server):
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
        await _run_pending()
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
        await _run_pending()

    def stop(self) -> None:
        """End :meth:`main_loop`; may be called from any thread, even before it begins."""
        self.should_exit = True
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._stopping.set)


async def _run_pending() -> None:
    """Let what waits for its turn on the loop run its course."""
    for _ in range(_TURNS):
        await asyncio.sleep(0)


def make_server(seller: Seller) -> AbruptServer:
    """Return a server of `seller`, ready to run."""
    config = uvicorn.Config(
        create_app(seller=seller),
        http=BreakableProtocol,
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
    return AbruptServer(config)


def bind(host: str, port: int) -> socket.socket:
    """Listen on a loopback address.

    Raises:
        ConfigurationError: If `host` is no loopback address, or the port is taken.
    """
    address = _parse_loopback(host)
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


def _parse_loopback(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
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


def origin_of(sock: socket.socket) -> str:
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
    seller.crash = lambda: os._exit(_DIED)
    server = make_server(seller)
    # Ctrl-C is how one stops it, so there is nothing to complain about.
    with bind(host, port) as sock, contextlib.suppress(KeyboardInterrupt):
        if port_file is not None:
            _write_port(port_file, sock.getsockname()[1])
        if on_ready is not None:
            on_ready(origin_of(sock))
        server.run(sockets=[sock])


def _write_port(port_file: Path, port: int) -> None:
    try:
        replace_file(port_file, str(port).encode())
    except (OSError, ValueError) as error:
        message = f"port_file: expected a file to write, got {str(port_file)!r}: {error}"
        raise ConfigurationError(message) from error


_STOP_S = 5.0


class Sandbox:
    """A seller on this machine, as a context manager.

    ::

        with Sandbox() as seller:
            tracker = Tracker([Interchange(base_url=seller.url, …)], …)
            …
            seller.wait_for(1)
            seller.events[0]["event_id"]

    It can be stopped and started again on its port; what it remembers outlives that,
    except for MCP sessions.

    Args:
        config: How it behaves.
        host: The loopback address to listen on.
        port: The port to listen on; 0 takes a free one.
        now: Tells the time in seconds since 1970.
        monotonic: Tells the time the rate limit goes by.
    """

    def __init__(
        self,
        config: SandboxConfig | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._host = host
        self._port = port
        self._origin = ""
        self._server: AbruptServer | None = None
        self._thread: threading.Thread | None = None
        self._crashed = False
        self._seller = Seller(config, now=now, monotonic=monotonic)
        self._seller.crash = self._crash

    def start(self) -> Self:
        """Listen and serve; a second start takes the port of the first.

        Raises:
            ConfigurationError: If the host is no loopback address, or the port is taken.
        """
        if self._crashed:
            self.stop()
        if self._thread is not None:
            return self
        sock = bind(self._host, self._port)
        self._origin, self._port = origin_of(sock), sock.getsockname()[1]
        self._server = make_server(self._seller)
        # The socket listens already, so whoever connects from here on is served.
        self._thread = threading.Thread(
            target=self._server.run, args=([sock],), name="adcp-tracker-sandbox", daemon=True
        )
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop at once, with a reset for every open connection."""
        if self._server is None or self._thread is None:
            return
        self._server.stop()
        self._thread.join(_STOP_S)
        self._seller.sessions.clear()
        self._server = self._thread = None
        self._crashed = False

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _crash(self) -> None:
        self._crashed = True
        if self._server is not None:
            self._server.stop()

    @property
    def origin(self) -> str:
        """Where it is reached, without a path."""
        return self._origin

    @property
    def url(self) -> str:
        """The ``base_url`` of its Interchange side."""
        return f"{self._origin}/api/v2/buyer"

    @property
    def mcp_url(self) -> str:
        """The URL of its MCP side."""
        return f"{self._origin}/mcp"

    @property
    def config(self) -> SandboxConfig:
        """How it behaves now."""
        return self._seller.config

    @property
    def received(self) -> list[GoodEvent]:
        """All events it took and still keeps, live and test, each once, in their order."""
        return list(self._seller.store.latest_good())

    @property
    def events(self) -> list[dict[str, Any]]:
        """The live events it took, as they were sent, each once."""
        return [event.decoded() for event in self._seller.store.events()]

    @property
    def test_events(self) -> list[dict[str, Any]]:
        """The events that came under a test code, as they were sent, each once."""
        return [event.decoded() for event in self._seller.store.events(test=True)]

    @property
    def bad(self) -> list[BadEvent]:
        """The events it did not take, and why."""
        return self._seller.store.latest_bad()

    @property
    def requests(self) -> list[SeenRequest]:
        """The requests that came, without what is secret in them."""
        return self._seller.store.latest_requests()

    @property
    def counts(self) -> dict[str, int]:
        """``received``, ``good``, ``bad``, ``duplicates``, ``test``, ``requests``, ``lost``."""
        return self._seller.store.counts()

    def times_received(self, event_id: str) -> int:
        """Return how often an event of that id was taken."""
        return self._seller.store.times_received(event_id)

    def wait_for(self, count: int, timeout: float = 5.0) -> None:
        """Wait until `count` events, live and test together, were taken.

        Raises:
            TimeoutError: If they do not come within `timeout` seconds.
        """
        self._seller.store.wait_for(count, timeout)

    def fail(self, **settings: Any) -> None:  # noqa: ANN401 - each setting has its own type
        """Let requests fail from now on, by the settings of a :class:`InjectedFault`."""
        self._seller.faults.add(InjectedFault(**settings))

    def clear_faults(self) -> None:
        """Let nothing fail any more."""
        self._seller.faults.clear(self._seller.config.seed)

    def configure(self, **changes: Any) -> None:  # noqa: ANN401 - each setting has its own type
        """Change settings of the :class:`SandboxConfig` while it runs."""
        self._seller.configure(attrs.evolve(self._seller.config, **changes))

    def reset(self) -> None:
        """Forget what came, what was to fail and what was registered."""
        self._seller.reset()
