"""``adcp-tracker demo``: deliver a shop's orders to a seller on this machine."""

from __future__ import annotations

import logging
import re
import signal
import tempfile
import time
import warnings
from collections import defaultdict
from contextlib import contextmanager, nullcontext, suppress
from importlib.resources import as_file, files
from itertools import count, islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import attrs
import typer

from adcp_tracker._development import RejectedEventWarning
from adcp_tracker.cli import _common
from adcp_tracker.cli._common import EXIT_ATTENTION, EXIT_OK, AsJson, command, plural
from adcp_tracker.cli.deliver import flush_tracker
from adcp_tracker.cli.sandbox import require_sandbox
from adcp_tracker.destinations.agent import Agent
from adcp_tracker.destinations.interchange import Interchange
from adcp_tracker.events.event import RejectedEvent
from adcp_tracker.exceptions import ConfigurationError
from adcp_tracker.importing import Import, ImportOptions
from adcp_tracker.importing.mapping import first_value, grouped
from adcp_tracker.journal.files import QueueDirectory
from adcp_tracker.settings import directory_path
from adcp_tracker.tracker import Tracker

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextlib import AbstractContextManager

    from adcp_tracker.delivery.stats import Stats
    from adcp_tracker.destinations.base import Destination
    from adcp_tracker.importing.files import Row
    from adcp_tracker.sandbox import Sandbox

    Mistake = tuple[int, str, str, str]  # line in the file, order id, field, what is wrong


AGENT_SOURCE: Final = "agent_pixel"
_ITEM: Final = "item_"
_REMEDIES: Final = {
    "$.event_id": "Give the order its number, so that it can't be counted twice.",
    "$.event_time": "Export the time with its UTC offset, such as 2026-01-02 03:04:05 +0100.",
    "$.user_match.hashed_email": "Correct the address, or leave it empty.",
    "$.user_match.hashed_phone": "Write the number with + and country code, or set default_region.",
    "$.custom_data.value": (
        "Write a plain number with a decimal point; track a repayment with track_refund()."
    ),
    "$.custom_data.currency": "Write the currency's ISO 4217 code, such as EUR.",
    "$.custom_data.contents[].price": "Write the price of one item, 0 or more.",
    "$.custom_data.contents[].quantity": "Write the number of items as a whole number, 1 or more.",
}
_INDEX: Final = re.compile(r"\[\d+\]")
_MIN_SECONDS: Final = 60.0
_ORDERS_PER_SECOND: Final = 500
_ROWS_SHOWN: Final = 5


@command
def demo(  # noqa: PLR0913 - options
    *,
    orders: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Repeat the file's orders until there are N."),
    ] = None,
    directory: Annotated[
        str | None,
        typer.Option(
            "--directory",
            "-d",
            metavar="PATH",
            help="A new directory for the queue, kept afterwards. [default: a temporary one]",
        ),
    ] = None,
    agent: Annotated[
        bool, typer.Option("--agent/--no-agent", help="Also send to the seller's MCP agent.")
    ] = True,
    shop: Annotated[
        bool, typer.Option("--shop", help="Run a small shop to click through instead.")
    ] = False,
    port: Annotated[
        int,
        typer.Option(min=0, max=65535, metavar="PORT", help="With --shop: its port; 0 is any."),
    ] = 8080,
    as_json: AsJson = False,
) -> int:
    """Deliver a shop's export of orders to a seller on this machine.

    Nothing leaves this machine, and ADCP_* variables are ignored. Some rows of the file are
    wrong on purpose: what can't be used is left out, and an order without an id or a readable
    total becomes a dead letter. Exits with 0 if every event is delivered or dead.

    With --shop, runs a shop and a seller until Ctrl-C: what you click in the shop appears on the
    seller's page.
    """
    require_sandbox()
    if shop:
        return _run_shop(directory, port)
    with _quiet(), _queue_path(directory) as path, make_seller(orders) as seller:
        if not as_json:
            _common.print_line("Sending a shop's orders to a seller on this machine …")
        began = time.perf_counter()
        with Tracker(destinations_at(seller, agent=agent), directory=path) as tracker:
            rejected, omitted = _track(tracker, orders, hidden=as_json)
            timeout = _MIN_SECONDS + (orders or 0) / _ORDERS_PER_SECOND
            stats = flush_tracker(tracker, timeout, hidden=as_json)
        seconds = time.perf_counter() - began
    totals = _totals(stats)
    balanced = totals["accepted"] == totals["delivered"] + totals["dead"] and not stats.pending
    if as_json:
        _common.print_json(totals)
    else:
        _print(stats, totals, seconds, seller)
        _print_mistakes("could not be sent", rejected)
        _print_mistakes("were sent without a part that can't be used", omitted)
        _print_next_steps(directory, balanced=balanced)
    return EXIT_OK if balanced else EXIT_ATTENTION


def _run_shop(directory: str | None, port: int) -> int:
    """Run the shop and the seller until Ctrl-C or SIGTERM."""
    try:
        from adcp_tracker.cli.demo_shop import make_shop  # noqa: PLC0415 - needs an extra
    except ImportError as error:
        raise ConfigurationError(
            f"--shop needs {error.name}; run: pip install 'adcp-tracker[cli,fastapi,sandbox]'"
        ) from None
    import uvicorn  # noqa: PLC0415 - needs an extra

    from adcp_tracker.sandbox.server import bind  # noqa: PLC0415 - likewise

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # SIGTERM stops it like Ctrl-C
    with (
        _queue_path(directory) as path,
        make_seller(None) as seller,
        bind("127.0.0.1", port) as sock,
        suppress(KeyboardInterrupt),
    ):
        app = make_shop(path, destinations_at(seller, agent=False), f"{seller.origin}/")
        seller.show_dead_letters(app.state.adcp_tracker.dead_letters)
        _common.print_line(f"Seller's page: {seller.origin}/")
        _common.print_line(f"Shop: http://127.0.0.1:{sock.getsockname()[1]}/?gclid=demo-click-1")
        _common.print_line(
            "Open both side by side. Every click in the shop appears on the seller's page. "
            "Ctrl-C stops them."
        )
        _common.flush()
        uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[sock])
    return EXIT_OK


@contextmanager
def _quiet() -> Iterator[None]:
    """Log and warn of nothing, since the demo lists the mistakes itself."""
    logger = logging.getLogger("adcp_tracker")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RejectedEventWarning)
            yield
    finally:
        logger.setLevel(before)


def _track(
    tracker: Tracker, orders: int | None, *, hidden: bool
) -> tuple[list[Mistake], list[Mistake]]:
    """Track the orders; return what rejected some of them, and what was left out of others."""
    rejected: list[Mistake] = []
    omitted: list[Mistake] = []
    numbered = _common.track_progress(order_stream(orders), "tracking", orders, hidden=hidden)
    for line, order in numbered:
        event = tracker.track_purchase(order, default_region=order.get("country"))
        order_id = order.get("order_id", "")
        if isinstance(event, RejectedEvent):
            rejected += [(line, order_id, each.path, str(each)) for each in event.errors]
        else:
            omitted += [
                (line, order_id, f"$.{each.field}", f"{each.field}: {each.reason}")
                for each in event.omissions
            ]
    return rejected, omitted


def destinations_at(seller: Sandbox, *, agent: bool) -> list[Destination]:
    """Return `seller` as an Interchange destination and, if asked, as an agent."""
    from adcp_tracker.sandbox import config  # noqa: PLC0415 - needs an extra

    interchange = Interchange(
        advertiser_id=config.DEFAULT_ADVERTISER,
        event_source_id=config.DEFAULT_SOURCE,
        api_key=config.DEFAULT_TOKEN,
        base_url=seller.url,
        name="interchange",
    )
    # The agent has its own source: the seller counts an event once per source.
    token = config.DEFAULT_TOKEN
    mcp = Agent(url=seller.mcp_url, event_source_id=AGENT_SOURCE, token=token, name="agent")
    return [interchange, mcp] if agent else [interchange]


def make_seller(orders: int | None) -> Sandbox:
    """Return a local seller; it keeps only event ids if `orders` is given."""
    from adcp_tracker.sandbox import Sandbox, SandboxConfig, config  # noqa: PLC0415 - an extra

    sources: dict[str, tuple[str, ...]] = {
        config.DEFAULT_ADVERTISER: (config.DEFAULT_SOURCE, AGENT_SOURCE)
    }
    return Sandbox(SandboxConfig(advertisers=sources, ids_only=bool(orders)))


def _queue_path(directory: str | None) -> AbstractContextManager[str]:
    if directory is None:
        return tempfile.TemporaryDirectory(prefix="adcp-tracker-demo-")

    path = Path(directory_path(directory))
    if path.is_dir() and any(path.iterdir()):
        raise ConfigurationError(
            f"{path}: expected a new or empty directory, got one with files in it. "
            "Choose another directory."
        )
    QueueDirectory(path).prepare()
    return nullcontext(directory)


def demo_orders() -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the orders of the export that ships with the library, each with its row in the file.

    They are read as ``adcp-tracker import`` reads them, but none of their values is corrected.
    """
    with as_file(files("adcp_tracker.cli").joinpath("demo_orders.csv")) as path:
        export = Import.open(path, ImportOptions(preset="shopify"))
        for rows in grouped(export.source.rows(), export.plan):
            yield rows[0].number, _to_order(rows, export.plan.fields)


def _to_order(rows: list[Row], fields: Mapping[str, tuple[str, ...]]) -> dict[str, Any]:
    def cells(row: Row, *, is_item: bool) -> dict[str, object]:
        return {
            name.removeprefix(_ITEM): value
            for name, columns in fields.items()
            if name.startswith(_ITEM) is is_item
            and (value := first_value(row.values, columns)) is not None
        }

    return {**cells(rows[0], is_item=False), "items": [cells(row, is_item=True) for row in rows]}


def order_stream(orders: int | None) -> Iterator[tuple[int, dict[str, Any]]]:
    """Return the file's orders, or `orders` of them; repeated ones get new numbers."""
    if orders is None:
        return demo_orders()
    numbered = list(demo_orders())
    endless = (
        (line, order if turn == 1 else _renumbered(order, turn))
        for turn in count(1)
        for line, order in numbered
    )
    return islice(endless, orders)


def _renumbered(order: dict[str, Any], turn: int) -> dict[str, Any]:
    return order | ({"order_id": f"{order['order_id']}-{turn}"} if "order_id" in order else {})


def _totals(stats: Stats) -> dict[str, int]:
    """Count each event once, however many destinations it has."""
    every = [attrs.asdict(each) for each in stats.destinations.values()]
    totals = {
        name: max((each[name] for each in every), default=0)
        for name in ("accepted", "delivered", "dead", "pending")
    }
    dropped = max((sum(each["dropped"].values()) for each in every), default=0)
    return totals | {"dropped": dropped}


def _print(stats: Stats, totals: dict[str, int], seconds: float, seller: Sandbox) -> None:
    _common.print_counts(stats)
    counts = seller.counts
    _common.print_line(
        f"{totals['accepted']:,} events in {seconds:.2f} s "
        f"({totals['accepted'] / seconds:,.0f} events/s). The seller received "
        f"{counts['received']:,} events in {counts['requests']:,} requests, and already had "
        f"{counts['duplicates']:,} of these events."
    )


def _print_mistakes(what: str, mistakes: list[Mistake]) -> None:
    """Print each kind of mistake once, with its remedy and its lines."""
    kinds: defaultdict[str, list[Mistake]] = defaultdict(list)
    for each in mistakes:
        kinds[_INDEX.sub("[]", each[2])].append(each)
    if kinds:
        orders = len({line for line, *_ in mistakes})
        _common.print_line()
        _common.print_line(f"{plural(orders, 'order')} {what}:")
    for path, found in sorted(kinds.items(), key=lambda item: -len(item[1])):
        _common.print_line(f"{len(found):,} × {found[0][3]}", "yellow", indent=2)
        _common.print_line(_REMEDIES.get(path, "Correct the order."), indent=6)
        rows = [f"{line} ({order_id})" if order_id else f"{line}" for line, order_id, *_ in found]
        more = " …" if len(rows) > _ROWS_SHOWN else ""
        _common.print_line(f"lines {', '.join(rows[:_ROWS_SHOWN])}{more}", indent=6)


def _print_next_steps(directory: str | None, *, balanced: bool) -> None:
    _common.print_line()
    if not balanced:
        _common.print_line("Not every event was delivered or stored as a dead letter.", "red")
    if directory is not None:
        _common.print_line(f"Look at the queue: adcp-tracker dead list --directory {directory}")
    _common.print_line("Click through a shop:  adcp-tracker demo --shop")
    _common.print_line("Run a seller for your own application:  adcp-tracker sandbox")
