"""The seller as an ASGI application, and uvicorn: in a thread, or in the foreground."""

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
from starlette.applications import Starlette
from starlette.middleware import Middleware
from uvicorn.protocols.http.h11_impl import H11Protocol

from adcp_tracker.exceptions import ConfigurationError
from adcp_tracker.journal.files import write_named_file
from adcp_tracker.sandbox.admin import admin_routes
from adcp_tracker.sandbox.agent import a2a_routes, mcp_routes
from adcp_tracker.sandbox.config import InjectedFault, SandboxConfig
from adcp_tracker.sandbox.failures import TRANSPORT, reset_transport
from adcp_tracker.sandbox.middleware import (
    Guard,
    refuse_other_hosts,
    refuse_other_origins,
    require_page_token,
)
from adcp_tracker.sandbox.page import page_routes
from adcp_tracker.sandbox.rest import rest_routes
from adcp_tracker.sandbox.seller import Seller

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Any

    from starlette.types import ASGIApp, Receive, Scope, Send
    from typing_extensions import Self

    from adcp_tracker.sandbox.store import BadEvent, DeadLetterAccess, GoodEvent, SeenRequest
    from adcp_tracker.sandbox.timeline import Entry


_TICK_S = 0.1
_BACKLOG = 128
_DIED = 70
_IPV4 = 4
_TURNS = 4


def create_app(
    config: SandboxConfig | None = None, *, seller: Seller | None = None, token: str | None = None
) -> Starlette:
    """Build the local seller as an ASGI application.

    Connection faults only work under the server of :class:`~.Sandbox` or :func:`~.run`.

    Args:
        config: The seller's settings; ignored if `seller` is given.
        seller: The seller to serve.
        token: Required for the page and for ``/_sandbox``; then requests may name any host.
    """
    seller = Seller(config) if seller is None else seller
    routes = [rest_routes, mcp_routes, a2a_routes, admin_routes, page_routes]
    app = Starlette(
        routes=[route for make in routes for route in make(seller)],
        middleware=[
            Middleware(Guard, refuse_other_hosts if token is None else require_page_token(token)),
            Middleware(Guard, refuse_other_origins),
        ],
    )
    app.state.seller = seller
    return app


class BreakableProtocol(H11Protocol):
    """An HTTP protocol whose connection the application can break."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Put the transport into the state of the connection's scopes."""
        super().connection_made(transport)
        self.app_state = {**self.app_state, TRANSPORT: transport}


class AbruptServer(uvicorn.Server):
    """A server that stops at once, as in a crash, without waiting for clients."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._stopping = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def main_loop(self) -> None:
        """Serve until :meth:`stop` is called or a signal arrives."""
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
        # Let sockets accepted just now become connections first, so that they are reset too.
        # Once the listeners are closed they couldn't, and would stay open.
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
        """End :meth:`main_loop`. Can be called from any thread, even before it starts."""
        self.should_exit = True
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._stopping.set)


async def _run_pending() -> None:
    """Let pending callbacks of the loop run."""
    for _ in range(_TURNS):
        await asyncio.sleep(0)


def _until_cancelled(app: ASGIApp) -> ASGIApp:
    """Return `app`, whose requests may be cancelled when the server stops."""

    async def run(scope: Scope, receive: Receive, send: Send) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await app(scope, receive, send)

    return run


def make_server(seller: Seller, token: str | None = None) -> AbruptServer:
    """Return a server for `seller`."""
    config = uvicorn.Config(
        _until_cancelled(create_app(seller=seller, token=token)),
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


def bind(host: str, port: int, *, any_address: bool = False) -> socket.socket:
    """Listen on a loopback address, or on any address if that is allowed.

    Raises:
        ConfigurationError: If `host` is not such an address, or the port is in use.
    """
    address = _parse_address(host, any_address=any_address)
    family = socket.AF_INET if address.version == _IPV4 else socket.AF_INET6
    # asyncio sets TCP_NODELAY only on sockets whose protocol is IPPROTO_TCP.
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((str(address), port))
        sock.listen(_BACKLOG)
    except OSError as error:
        sock.close()
        message = f"Can't listen on {address}, port {port}: {error.strerror}. Choose another port."
        raise ConfigurationError(message) from error
    return sock


def _parse_address(
    host: str, *, any_address: bool
) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    try:
        address = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError:
        raise ConfigurationError(
            f"host: expected a loopback address such as 127.0.0.1, or 0.0.0.0, got {host!r}."
        ) from None
    if not address.is_loopback and not any_address:
        raise ConfigurationError(
            f"host: expected a loopback address such as 127.0.0.1, got {host!r}. Anyone who can "
            "connect can read all received events; to listen there, set a token."
        )
    return address


def origin_of(sock: socket.socket) -> str:
    """Return the origin of `sock` as a URL."""
    host, port = sock.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def run(  # noqa: PLR0913 - options
    config: SandboxConfig | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    port_file: Path | None = None,
    on_ready: Callable[[str], None] | None = None,
    on_event: Callable[[Entry], None] | None = None,
    token: str | None = None,
    dead_letters: DeadLetterAccess | None = None,
) -> None:
    """Run the local seller in the foreground until a signal stops it.

    Args:
        config: Its settings.
        host: The address to listen on: a loopback address, unless there is a `token`.
        port: The port to listen on; 0 picks a free one.
        port_file: A file to write the port to once it listens.
        on_ready: Called with the seller's origin once it listens.
        on_event: Called with each new row of the page's timeline.
        token: Required for the page and, in place of the config's tokens, for all calls.
        dead_letters: The dead letters to show on the page, such as ``tracker.dead_letters``.

    Raises:
        ConfigurationError: If `host` is not a loopback address and there is no `token`, the
            port is in use, or `port_file` can't be written.
    """
    config = SandboxConfig() if config is None else config
    seller = Seller(config if token is None else attrs.evolve(config, tokens=(token,)))
    seller.crash = lambda: os._exit(_DIED)
    seller.timeline.listener = on_event
    seller.dead_letters = dead_letters
    server = make_server(seller, token)
    # Ctrl-C is the normal way to stop it.
    with bind(host, port, any_address=bool(token)) as sock, contextlib.suppress(KeyboardInterrupt):
        if port_file is not None:
            _write_port(port_file, sock.getsockname()[1])
        if on_ready is not None:
            on_ready(origin_of(sock))
        server.run(sockets=[sock])


def _write_port(port_file: Path, port: int) -> None:
    try:
        write_named_file(port_file, str(port).encode())
    except (OSError, ValueError) as error:
        message = f"port_file: can't write {str(port_file)!r}: {error}"
        raise ConfigurationError(message) from error


_STOP_S = 5.0


class Sandbox:
    """A local seller, as a context manager.

    ::

        with Sandbox() as seller:
            tracker = Tracker([Interchange(base_url=seller.url, …)], …)
            …
            seller.wait_for(1)
            seller.events[0]["event_id"]

    It can be stopped and started again on its port; only MCP sessions are lost.

    Args:
        config: Its settings.
        host: The loopback address to listen on.
        port: The port to listen on; 0 picks a free one.
        now: Returns the time in seconds since 1970.
        monotonic: Returns the time used by the rate limit.
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
        """Listen and serve; a later start uses the same port.

        Raises:
            ConfigurationError: If the host is not a loopback address, or the port is in use.
        """
        if self._crashed:
            self.stop()
        if self._thread is not None:
            return self
        sock = bind(self._host, self._port)
        self._origin, self._port = origin_of(sock), sock.getsockname()[1]
        self._server = make_server(self._seller)
        # The socket listens already, so clients can connect from here on.
        self._thread = threading.Thread(
            target=self._server.run, args=([sock],), name="adcp-tracker-sandbox", daemon=True
        )
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop at once and reset every open connection."""
        if self._server is None or self._thread is None:
            return
        self._server.stop()
        self._thread.join(_STOP_S)
        self._seller.sessions.clear()
        self._server = self._thread = None
        self._crashed = False

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _crash(self) -> None:
        self._crashed = True
        if self._server is not None:
            self._server.stop()

    @property
    def origin(self) -> str:
        """Its origin, such as ``http://127.0.0.1:8765``."""
        return self._origin

    @property
    def url(self) -> str:
        """The ``base_url`` for an Interchange destination."""
        return f"{self._origin}/api/v2/buyer"

    @property
    def mcp_url(self) -> str:
        """The ``url`` for an Agent destination."""
        return f"{self._origin}/mcp"

    @property
    def config(self) -> SandboxConfig:
        """Its current settings."""
        return self._seller.config

    @property
    def received(self) -> list[GoodEvent]:
        """The accepted events it still keeps, live and test, without repeats."""
        return self._seller.store.latest_good()

    @property
    def events(self) -> list[dict[str, Any]]:
        """The accepted live events as sent, without repeats."""
        return [event.decoded() for event in self._seller.store.events()]

    @property
    def test_events(self) -> list[dict[str, Any]]:
        """The accepted test events as sent, without repeats."""
        return [event.decoded() for event in self._seller.store.events(test=True)]

    @property
    def bad(self) -> list[BadEvent]:
        """The rejected events, with the reasons."""
        return self._seller.store.latest_bad()

    @property
    def requests(self) -> list[SeenRequest]:
        """The received requests, without credentials."""
        return self._seller.store.latest_requests()

    @property
    def counts(self) -> dict[str, int]:
        """``received``, ``good``, ``bad``, ``duplicates``, ``test``, ``requests``, ``lost``."""
        return self._seller.store.counts()

    def times_received(self, event_id: str) -> int:
        """Return how often an event with this id was accepted."""
        return self._seller.store.times_received(event_id)

    def wait_for(self, count: int, timeout: float = 5.0) -> None:
        """Wait until `count` events, live and test, were accepted.

        Raises:
            TimeoutError: If that takes longer than `timeout` seconds.
        """
        self._seller.store.wait_for(count, timeout)

    def fail(self, **settings: Any) -> None:  # noqa: ANN401 - each setting has its own type
        """Inject a fault, with the settings of :class:`InjectedFault`."""
        self._seller.faults.add(InjectedFault(**settings))

    def clear_faults(self) -> None:
        """Remove all injected faults."""
        self._seller.faults.clear(self._seller.config.seed)

    def configure(self, **changes: Any) -> None:  # noqa: ANN401 - each setting has its own type
        """Change settings of :class:`SandboxConfig` while it runs."""
        self._seller.configure(attrs.evolve(self._seller.config, **changes))

    def show_dead_letters(self, dead_letters: DeadLetterAccess) -> None:
        """Show the dead letters of a tracker on the page: its ``tracker.dead_letters``."""
        self._seller.dead_letters = dead_letters

    def reset(self) -> None:
        """Discard events, faults and registered event sources."""
        self._seller.reset()
