"""What a measured thing looks like to the measures.

A module under ``clients`` is one tracking client, one under ``stores`` a durable store, and one
under ``queues`` a queue with workers;
each satisfies the Protocol of its kind.
They import what they measure at their top, so they are imported only in the process that measures.
"""

from __future__ import annotations

import importlib
import json
from typing import TYPE_CHECKING, Any, Protocol, cast

import attrs

from tests.bench.sales import EVENT_NAME, properties

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path


@attrs.frozen
class Session:
    """A client that is ready to be called.

    Attributes:
        track: The measured call; takes what the same module's ``sale`` made.
        flush: Deliver all that waits; may return before it has all arrived.
    """

    track: Callable[[Any], object]
    flush: Callable[[], object]


class Client(Protocol):
    """A tracking client."""

    MARKER: bytes
    """Occurs once per event in the bodies that the client sends."""

    def sale(self, number: int) -> object:
        """Make what the call takes, before the clock starts."""

    def idle(self, directory: Path) -> Session:
        """Open it so that events are kept and none is sent."""

    def live(self, directory: Path, url: str) -> Session:
        """Open it so that events are delivered to `url` as they come."""


class Store(Protocol):
    """A durable store of records."""

    def appender(self, directory: Path) -> Callable[[bytes], object]:
        """Open the store in `directory` and give the call that appends a record."""


DESTINATIONS = 3
"""How many sellers get each event of a queue."""

EVENT_MARKER = b'"event":'


def body(numbers: range) -> str:
    """Write sales as a job carries them."""
    return json.dumps([{"event": EVENT_NAME, **properties(number)} for number in numbers])


@attrs.frozen
class Waiting:
    """A queue that is ready to be filled.

    Attributes:
        put: Adds the sales of some numbers, for every destination.
        drain: Begins to deliver all that waits; may return before it has all arrived.
    """

    put: Callable[[range], object]
    drain: Callable[[], object]


class Queue(Protocol):
    """A queue with workers that deliver."""

    MARKER: bytes
    """Occurs once per event in the bodies that workers send."""

    def opened(self, directory: Path, url: str) -> AbstractContextManager[Waiting]:
        """Open it with a server of its own, to deliver to `url`."""


def load_client(name: str) -> Client:
    """Import the client's adapter, and the client with it."""
    return cast("Client", importlib.import_module(f"tests.bench.clients.{name}"))


def load_store(name: str) -> Store:
    """Import the store's adapter, and the store with it."""
    return cast("Store", importlib.import_module(f"tests.bench.stores.{name}"))


def load_queue(name: str) -> Queue:
    """Import the queue's adapter, and the queue with it."""
    return cast("Queue", importlib.import_module(f"tests.bench.queues.{name}"))
