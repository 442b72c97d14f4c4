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


def _nothing() -> None:
    """Have nothing to do and nothing to tell."""


@attrs.frozen
class Waiting:
    """A queue that is ready to be filled.

    Attributes:
        put: Adds the sales of some numbers, for every destination.
        drain: Begins to deliver all that waits; may return before it has all arrived.
        settle: Waits until what was put is where workers find it.
        spent: Tells what the queue's server has spent so far, if it can.
    """

    put: Callable[[range], object]
    drain: Callable[[], object]
    settle: Callable[[], object] = _nothing
    spent: Callable[[], Spent | None] = _nothing


@attrs.frozen
class Spent:
    """What a database server has spent.

    Attributes:
        cpu_ns: Processor time of all of its processes, in nanoseconds.
        wal_bytes: What it has written to its write-ahead log.
    """

    cpu_ns: int
    wal_bytes: int

    def since(self, before: Spent, what: str, events: int) -> dict[str, float]:
        """Give what was spent since then, for each event."""
        return {
            f"{what} server cpu": (self.cpu_ns - before.cpu_ns) / 1000 / events,
            f"{what} wal": (self.wal_bytes - before.wal_bytes) / events,
        }


CREATE_ORDERS = "CREATE TABLE shop_order (id bigint GENERATED ALWAYS AS IDENTITY, total numeric)"
PLACE_ORDER = "INSERT INTO shop_order (total) VALUES (%s)"


class Shop(Protocol):
    """Checkouts in transactions of one framework, over PostgreSQL with psycopg."""

    def outbox(self) -> Any:  # noqa: ANN401 - a TransactionalOutbox
        """Make the outbox of a tracker that inserts in these checkouts' transactions."""

    def check_out(self, add: Callable[[int], object], number: int) -> int:
        """Place an order and add something; return the time of that until before the commit, ns."""

    def insert_row(self, row: dict[str, object]) -> object:
        """Insert a row of the intake in the open transaction, as the framework's users do."""

    def driver(self) -> Any:  # noqa: ANN401 - psycopg's connection
        """Return the driver's connection of the open transaction."""


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


def load_shop(name: str, url: str) -> Shop:
    """Import the framework's adapter, and open a shop with it."""
    module = importlib.import_module(f"tests.bench.checkouts.{name}")
    return cast("Shop", module.make_shop(url))


def load_queue(name: str) -> Queue:
    """Import the queue's adapter, and the queue with it."""
    return cast("Queue", importlib.import_module(f"tests.bench.queues.{name}"))
