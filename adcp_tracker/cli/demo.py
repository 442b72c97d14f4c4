"""``adcp-tracker demo``: the main job, on one machine, with nothing else."""

from __future__ import annotations

import csv
import re
import tempfile
import time
from contextlib import nullcontext
from importlib.resources import files
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import attrs
import typer

from adcp_tracker.cli import _output
from adcp_tracker.cli._common import EXIT_ATTENTION, EXIT_OK, MAX_SECONDS, AsJson, command
from adcp_tracker.cli.sandbox import require_sandbox
from adcp_tracker.events.rejected import RejectedEvent
from adcp_tracker.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from adcp_tracker.delivery.stats import Books, Stats
    from adcp_tracker.destinations.base import Destination
    from adcp_tracker.exceptions import FieldError
    from adcp_tracker.outbox.dead_letters import DeadLetter
    from adcp_tracker.sandbox import Sandbox

    NumberedOrder = tuple[int, dict[str, Any]]
    from contextlib import AbstractContextManager


_ORDER_COLUMNS = {
    "order_id": "Name",
    "created_at": "Created at",
    "email": "Email",
    "phone": "Phone",
    "country": "Billing Country",
    "currency": "Currency",
    "total": "Total",
}
_ITEM_COLUMNS = {
    "sku": "Lineitem sku",
    "name": "Lineitem name",
    "quantity": "Lineitem quantity",
    "price": "Lineitem price",
}
_OFFSET = re.compile(r"(?<=\d) ?([+-]\d\d)(\d\d)$")


def demo_orders() -> Iterator[tuple[int, dict[str, Any]]]:
    """Read the export that comes with the library; see :func:`read_orders`."""
    export = files("adcp_tracker.cli").joinpath("demo_orders.csv")
    with export.open(encoding="utf-8-sig") as lines:
        yield from read_orders(lines)


def read_orders(lines: Iterable[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Read a shop's export, and leave what is wrong in it for the tracker to find.

    Args:
        lines: The file's lines, as CSV with a header.

    Yields:
        The line an order begins on, counted from 1 as editors do, and the order as a mapping
        for ``track_purchase``. Empty cells are left out. ``country`` is the region in which
        its phone number is to be read.
    """
    order: dict[str, Any] = {}
    starts_at = 0
    for line, row in _numbered(csv.DictReader(lines)):
        if order and _continues(row, order):
            order["items"].append(_cells(row, _ITEM_COLUMNS))
            continue
        if order:
            yield starts_at, order
        starts_at, order = line, _order(row)
    if order:
        yield starts_at, order


def _numbered(reader: csv.DictReader[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Give each row the line it begins on: a quoted cell may go over several."""
    _ = reader.fieldnames  # The header is read on demand, and it has lines, too.
    before = reader.line_num
    for row in reader:
        yield before + 1, row
        before = reader.line_num


def _order(row: Mapping[str, str | None]) -> dict[str, Any]:
    order: dict[str, Any] = _cells(row, _ORDER_COLUMNS)
    if "created_at" in order:
        order["created_at"] = _OFFSET.sub(r"\1:\2", order["created_at"])
    if "phone" in order:
        # Spreadsheets put an apostrophe before whatever they might take for a formula.
        order["phone"] = order["phone"].removeprefix("'")
    return order | {"items": [_cells(row, _ITEM_COLUMNS)]}


def _continues(row: Mapping[str, str | None], order: Mapping[str, Any]) -> bool:
    return not row["Created at"] and row["Name"] == order.get("order_id", "")


def _cells(row: Mapping[str, str | None], columns: Mapping[str, str]) -> dict[str, str]:
    cells = {name: row.get(column) for name, column in columns.items()}
    return {name: cell for name, cell in cells.items() if cell}


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
    faults: tuple[FieldError, ...]


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
                    wrong.append(WrongRow(line, order.get("order_id", ""), event.errors))
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


_INDEX: Final = re.compile(r"\[\d+\]")
_NEGATIVE: Final = re.compile(r"-\d")
_NEGATIVE_REMEDY: Final = (
    "Money paid back is a refund: track it by track_refund, as a positive value."
)
_GENERAL_REMEDY: Final = "Mend the order where it comes from."
_REMEDIES: Final = {
    "$.event_id": "Give the order its number: it is what keeps it from counting twice.",
    "$.event_time": "Export the time with its offset from UTC, as in 2026-01-02 03:04:05 +0100.",
    "$.user_match.hashed_email": "Correct the address or leave it empty: a wrong one is nobody's.",
    "$.user_match.hashed_phone": (
        "Write the number with plus and country code, or give default_region and a whole number."
    ),
    "$.custom_data.value": (
        "Write a plain number, with a point and with no more decimals than the currency has."
    ),
    "$.custom_data.currency": "Write the currency's ISO 4217 code in capitals, such as EUR.",
    "$.custom_data.contents[].price": "Write the price of one item, and 0 or more.",
    "$.custom_data.contents[].quantity": "Write how many items as a whole number, and 1 or more.",
}


def remedy_for(fault: FieldError) -> str:
    """Return what to do about a fault in an order."""
    if fault.path == "$.custom_data.value" and _NEGATIVE.match(fault.got):
        return _NEGATIVE_REMEDY
    return _REMEDIES.get(_INDEX.sub("[]", fault.path), _GENERAL_REMEDY)


_LEAST_SECONDS: Final = 60.0
_ORDERS_PER_SECOND: Final = 500
_ROWS_SHOWN: Final = 30


@command
def demo(  # noqa: PLR0913 - options, each by its name
    *,
    orders: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Make N orders of the file's. [default: as it is]"),
    ] = None,
    directory: Annotated[
        str | None,
        typer.Option(
            "--directory",
            "-d",
            metavar="PATH",
            help="A new directory for the queue, kept to look into. [default: a temporary one]",
        ),
    ] = None,
    agent: Annotated[
        bool, typer.Option("--agent/--no-agent", help="Send to the seller's MCP agent as well.")
    ] = True,
    timeout: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=MAX_SECONDS,
            metavar="SECONDS",
            help="How long delivery may take. [default: 60+]",
        ),
    ] = None,
    details: Annotated[
        bool, typer.Option("--details", help="Show every wrong row; in JSON, all that is known.")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Deliver a shop's export of orders to a seller on this machine.

    Nothing leaves the machine, and no ADCP_* variable is read. Some of the file's rows are
    wrong: each is set aside with its reason and a remedy. Exits with 0 if the books balance
    and nothing is left.
    """
    require_sandbox()

    wait = _LEAST_SECONDS + (orders or 0) / _ORDERS_PER_SECOND if timeout is None else timeout
    with _place(directory) as place, _seller(orders) as seller:
        shown = run(place, seller, orders=orders, agent=agent, timeout=wait)
    if as_json:
        summary = attrs.asdict(shown.summary)
        _output.print_json(summary | _details(shown) if details else summary)
    else:
        _tell(shown, every_row=details, kept_at=directory)
    return EXIT_OK if shown.is_balanced and not shown.stats.pending else EXIT_ATTENTION


def _place(directory: str | None) -> AbstractContextManager[str]:
    """Return where the queue lies: never where another one does already."""
    if directory is None:
        return tempfile.TemporaryDirectory(prefix="adcp-tracker-demo-")
    from adcp_tracker.journal.files import QueueDirectory  # noqa: PLC0415 - for a quick --help

    path = Path(directory)
    if path.is_dir() and any(path.iterdir()):
        raise ConfigurationError(
            f"{path}: expected a new or empty directory for the demo, got one with files in it; "
            "choose another"
        )
    QueueDirectory(path).prepare()  # or the demo would wait for the disk to get well
    return nullcontext(directory)


def _seller(orders: int | None) -> Sandbox:
    """Return a seller that keeps ids only where there are many events."""
    from adcp_tracker.sandbox import (  # noqa: PLC0415 - it needs an extra of its own
        DEFAULT_ADVERTISER,
        DEFAULT_SOURCE,
        Sandbox,
        SandboxConfig,
    )

    sources: dict[str, tuple[str, ...]] = {DEFAULT_ADVERTISER: (DEFAULT_SOURCE, AGENT_SOURCE)}
    return Sandbox(SandboxConfig(advertisers=sources, ids_only=bool(orders)))


def _tell(shown: Demonstration, *, every_row: bool, kept_at: str | None) -> None:
    summary = shown.summary
    _tell_wrong_rows(shown, every_row=every_row)
    _output.print_table(
        ("destination", "accepted", "delivered", "dead", "pending", "dropped"),
        [
            (
                name,
                each.accepted,
                each.delivered,
                each.dead,
                each.pending,
                sum(each.dropped.values()),
            )
            for name, each in shown.stats.destinations.items()
        ],
    )
    _output.print_line()
    _output.print_line(
        f"{shown.orders:,} orders tracked in {shown.tracking_seconds:.2f} s, delivered after "
        f"{shown.delivery_seconds:.2f} s: {shown.orders / shown.delivery_seconds:,.0f} events/s"
    )
    _output.print_line(
        f"The seller counts {shown.seller['good']:,} events in {shown.seller['requests']:,} "
        f"requests, and {shown.seller['duplicates']:,} that it had already."
    )
    rest = "".join(
        f" + {count:,} {word}"
        for word, count in (("pending", summary.pending), ("dropped", summary.dropped))
        if count
    )
    balanced = shown.is_balanced and not shown.stats.pending
    _output.print_line(
        f"{summary.accepted:,} accepted = {summary.delivered:,} delivered + "
        f"{summary.dead:,} dead{rest}",
        "green" if balanced else "red",
    )
    if not shown.is_balanced:
        _output.print_line("The books do not balance: this is a fault of this library.", "red")
    if kept_at is not None:
        _output.print_line(
            f"Look into the queue with: adcp-tracker dead list --directory {kept_at}"
        )


def _tell_wrong_rows(shown: Demonstration, *, every_row: bool) -> None:
    rows = shown.wrong if every_row else shown.wrong[:_ROWS_SHOWN]
    for row in rows:
        order = f" ({row.order_id})" if row.order_id else ""
        for fault in row.faults:
            _output.print_line(f"line {row.line}{order}: {fault}", "yellow")
            _output.print_line(remedy_for(fault), indent=4)
    more = shown.wrong_count - len(rows)
    if more:
        _output.print_line(f"… and {more:,} more like these.")
    if rows:
        _output.print_line()


def _details(shown: Demonstration) -> dict[str, object]:
    return {
        "orders": shown.orders,
        "events_per_second": round(shown.orders / shown.delivery_seconds, 1),
        "tracking_seconds": round(shown.tracking_seconds, 3),
        "delivery_seconds": round(shown.delivery_seconds, 3),
        "balanced": shown.is_balanced,
        "seller": shown.seller,
        "destinations": shown.stats.as_json()["destinations"],
        "wrong_count": shown.wrong_count,
        "wrong": [_wrong(row) for row in shown.wrong],
    }


def _wrong(row: WrongRow) -> dict[str, object]:
    faults = [attrs.asdict(fault) | {"remedy": remedy_for(fault)} for fault in row.faults]
    return {"line": row.line, "order_id": row.order_id, "faults": faults}
