"""The local seller in a thread of this process, for tests and demonstrations."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import attrs

from adcp_tracker.sandbox.faults import Fault
from adcp_tracker.sandbox.seller import Seller
from adcp_tracker.sandbox.server import bind, server_of, url_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Any

    from typing_extensions import Self

    from adcp_tracker.sandbox.config import SandboxConfig
    from adcp_tracker.sandbox.record import BadEvent, GoodEvent, SeenRequest
    from adcp_tracker.sandbox.server import ShortServer

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
        self._server: ShortServer | None = None
        self._thread: threading.Thread | None = None
        self._dying = False
        self._seller = Seller(config, now=now, monotonic=monotonic)
        self._seller.die = self._die

    def start(self) -> Self:
        """Listen and serve; a second start takes the port of the first.

        Raises:
            ConfigurationError: If the host is no loopback address, or the port is taken.
        """
        if self._dying:
            self.stop()
        if self._thread is not None:
            return self
        sock = bind(self._host, self._port)
        self._origin, self._port = url_of(sock), sock.getsockname()[1]
        self._server = server_of(self._seller)
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
        self._dying = False

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _die(self) -> None:
        self._dying = True
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
        return list(self._seller.record.latest_good())

    @property
    def events(self) -> list[dict[str, Any]]:
        """The live events it took, as they were sent, each once."""
        return [event.decoded() for event in self._seller.record.events()]

    @property
    def test_events(self) -> list[dict[str, Any]]:
        """The events that came under a test code, as they were sent, each once."""
        return [event.decoded() for event in self._seller.record.events(test=True)]

    @property
    def bad(self) -> list[BadEvent]:
        """The events it did not take, and why."""
        return self._seller.record.latest_bad()

    @property
    def requests(self) -> list[SeenRequest]:
        """The requests that came, without what is secret in them."""
        return self._seller.record.latest_requests()

    @property
    def counts(self) -> dict[str, int]:
        """``received``, ``good``, ``bad``, ``duplicates``, ``test``, ``requests``, ``lost``."""
        return self._seller.record.counts()

    def times_received(self, event_id: str) -> int:
        """Return how often an event of that id was taken."""
        return self._seller.record.times_received(event_id)

    def wait_for(self, count: int, timeout: float = 5.0) -> None:
        """Wait until `count` events, live and test together, were taken.

        Raises:
            TimeoutError: If they do not come within `timeout` seconds.
        """
        self._seller.record.wait_for(count, timeout)

    def fail(self, **settings: Any) -> None:  # noqa: ANN401 - each setting has its own type
        """Let requests fail from now on, by the settings of a :class:`Fault`."""
        self._seller.faults.add(Fault(**settings))

    def heal(self) -> None:
        """Let nothing fail any more."""
        self._seller.faults.clear(self._seller.config.seed)

    def configure(self, **changes: Any) -> None:  # noqa: ANN401 - each setting has its own type
        """Change settings of the :class:`SandboxConfig` while it runs."""
        self._seller.configure(attrs.evolve(self._seller.config, **changes))

    def reset(self) -> None:
        """Forget what came, what was to fail and what was registered."""
        self._seller.reset()
