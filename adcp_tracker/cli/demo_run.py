"""The demo's work: orders of a file, tracked and delivered to a seller on this machine."""

from __future__ import annotations

import time
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import attrs

from adcp_tracker.cli.demo_data import demo_orders
from adcp_tracker.events.rejection import RejectedEvent

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from adcp_tracker.delivery.books import Books, Stats
    from adcp_tracker.destinations.base import Destination
    from adcp_tracker.exceptions import Fault
    from adcp_tracker.queue.deadletters import DeadLetter
    from adcp_tracker.sandbox import Sandbox

    NumberedOrder = tuple[int, dict[str, Any]]

AGENT_SOURCE: Final = "agent_pixel"
_MOST_WRONG_KEPT: Final = 1000


@attrs.frozen
class WrongRow:
    """An order that could not be sent.

    Attributes:
        line: Where it begins in the file.
        order_id: Its number, empty if it has none.
        faults: What is wrong with it.
    """

    line: int
    order_id: str
    faults: tuple[Fault, ...]


@attrs.frozen
class Summary:
    """What became of the events, each counted once however many destinations it has.

    Attributes:
        accepted: Events taken up.
        delivered: Events that every seller has.
        dead: Events that at least one seller will not get, each with a reason.
        pending: Events that are still on their way to one.
        dropped: Events let go.
    """

    accepted: int
    delivered: int
    dead: int
    pending: int
    dropped: int


@attrs.frozen
class Demonstration:
    """How it went.

    Attributes:
        orders: How many orders were tracked.
        wrong: The first of those that could not be sent.
        wrong_count: How many those were altogether.
        stats: The books.
        letters: The dead letters.
        seller: What the seller counted.
        tracking_seconds: How long all calls took together.
        delivery_seconds: From the first call until all was delivered.
    """

    orders: int
    wrong: tuple[WrongRow, ...]
    wrong_count: int
    stats: Stats
    letters: tuple[DeadLetter, ...]
    seller: dict[str, int]
    tracking_seconds: float
    delivery_seconds: float

    @property
    def summary(self) -> Summary:
        """What became of the events."""
        every = self.stats.destinations.values()
        accepted = max((books.accepted for books in every), default=0)
        pending = max((books.pending for books in every), default=0)
        dropped = max((sum(books.dropped.values()) for books in every), default=0)
        dead = len({(letter.segment, letter.offset) for letter in self.letters})
        return Summary(accepted, accepted - dead - pending - dropped, dead, pending, dropped)

    @property
    def is_balanced(self) -> bool:
        """Whether each destination's books balance, and the seller has what they say."""
        every = self.stats.destinations.values()
        delivered = sum(books.delivered for books in every)
        arrived = self.seller["good"] + self.seller["duplicates"]
        return bool(every) and all(map(_balances, every)) and arrived >= delivered


def run(
    directory: str, seller: Sandbox, *, orders: int | None, agent: bool, timeout: float
) -> Demonstration:
    """Track the file's orders and deliver them to `seller`.

    Args:
        directory: Where the queue lies.
        seller: Takes the events.
        orders: How many to make of the file's; left out, the file's own.
        agent: Send them to the seller's agent as well.
        timeout: How long delivery may take after the last call, in seconds.
    """
    from adcp_tracker.tracker import Tracker  # noqa: PLC0415 - for a quick --help

    wrong: list[WrongRow] = []
    count = wrong_count = 0
    with Tracker(destinations_at(seller, agent=agent), directory=directory) as tracker:
        began = time.perf_counter()
        for line, order in order_stream(orders):
            count += 1
            event = tracker.track_purchase(order, default_region=order.get("country"))
            if isinstance(event, RejectedEvent):
                wrong_count += 1
                if len(wrong) < _MOST_WRONG_KEPT:
                    wrong.append(WrongRow(line, order.get("order_id", ""), event.faults))
        tracked = time.perf_counter()
        stats = tracker.flush(timeout)
        delivered = time.perf_counter()
        letters = tuple(tracker.dead_letters())
    return Demonstration(
        count,
        tuple(wrong),
        wrong_count,
        stats,
        letters,
        seller.counts,
        tracked - began,
        delivered - began,
    )


def destinations_at(seller: Sandbox, *, agent: bool) -> list[Destination]:
    """Return the local seller as the kinds of destination there are."""
    from adcp_tracker.destinations.agent import Agent  # noqa: PLC0415 - for a quick --help
    from adcp_tracker.destinations.interchange import Interchange  # noqa: PLC0415 - likewise
    from adcp_tracker.sandbox import (  # noqa: PLC0415 - likewise
        DEFAULT_ADVERTISER,
        DEFAULT_SOURCE,
        DEFAULT_TOKEN,
    )

    interchange = Interchange(
        advertiser_id=DEFAULT_ADVERTISER,
        event_source_id=DEFAULT_SOURCE,
        api_key=DEFAULT_TOKEN,
        base_url=seller.url,
        name="interchange",
    )
    if not agent:
        return [interchange]
    # A source of its own: an event that came to one source twice would count once.
    return [
        interchange,
        Agent(url=seller.mcp_url, event_source_id=AGENT_SOURCE, token=DEFAULT_TOKEN, name="agent"),
    ]


def order_stream(orders: int | None) -> Iterator[NumberedOrder]:
    """Return the file's orders, or as many as are asked for: the same ones under new numbers."""
    return demo_orders() if orders is None else islice(_repeated(list(demo_orders())), orders)


def _repeated(orders: Iterable[NumberedOrder]) -> Iterator[NumberedOrder]:
    yield from orders
    number = 2
    while True:
        for line, order in orders:
            again = dict(order)
            if "order_id" in again:
                again["order_id"] = f"{again['order_id']}-{number}"
            yield line, again
        number += 1


def _balances(books: Books) -> bool:
    settled = books.delivered + books.pending + books.dead + sum(books.dropped.values())
    return books.accepted == settled
