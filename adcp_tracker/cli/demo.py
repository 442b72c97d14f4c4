"""``adcp-tracker demo``: the main job, on one machine, with nothing else."""

from __future__ import annotations

import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import attrs
import typer

from adcp_tracker.cli import screen
from adcp_tracker.cli.exits import FINE, LEFT, command
from adcp_tracker.cli.options import LONGEST_SECONDS, AsJson
from adcp_tracker.cli.remedies import remedy_for
from adcp_tracker.cli.seller import expect_sandbox
from adcp_tracker.exceptions import ConfigurationError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from adcp_tracker.cli.demo_run import Demonstration, WrongRow
    from adcp_tracker.sandbox import Sandbox

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
            max=LONGEST_SECONDS,
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
    expect_sandbox()
    from adcp_tracker.cli.demo_run import run  # noqa: PLC0415 - for a quick --help

    wait = _LEAST_SECONDS + (orders or 0) / _ORDERS_PER_SECOND if timeout is None else timeout
    with _place(directory) as place, _seller(orders) as seller:
        shown = run(place, seller, orders=orders, agent=agent, timeout=wait)
    if as_json:
        summary = attrs.asdict(shown.summary)
        screen.emit(summary | _details(shown) if details else summary)
    else:
        _tell(shown, every_row=details, kept_at=directory)
    return FINE if shown.is_balanced and not shown.stats.pending else LEFT


def _place(directory: str | None) -> AbstractContextManager[str]:
    """Return where the queue lies: never where another one does already."""
    if directory is None:
        return tempfile.TemporaryDirectory(prefix="adcp-tracker-demo-")
    from adcp_tracker.queue.directory import QueueDirectory  # noqa: PLC0415 - for a quick --help

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
    from adcp_tracker.cli.demo_run import AGENT_SOURCE  # noqa: PLC0415 - for a quick --help
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
    screen.table(
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
    screen.say()
    screen.say(
        f"{shown.orders:,} orders tracked in {shown.tracking_seconds:.2f} s, delivered after "
        f"{shown.delivery_seconds:.2f} s: {shown.orders / shown.delivery_seconds:,.0f} events/s"
    )
    screen.say(
        f"The seller counts {shown.seller['good']:,} events in {shown.seller['requests']:,} "
        f"requests, and {shown.seller['duplicates']:,} that it had already."
    )
    rest = "".join(
        f" + {count:,} {word}"
        for word, count in (("pending", summary.pending), ("dropped", summary.dropped))
        if count
    )
    balanced = shown.is_balanced and not shown.stats.pending
    screen.say(
        f"{summary.accepted:,} accepted = {summary.delivered:,} delivered + "
        f"{summary.dead:,} dead{rest}",
        "green" if balanced else "red",
    )
    if not shown.is_balanced:
        screen.say("The books do not balance: this is a fault of this library.", "red")
    if kept_at is not None:
        screen.say(f"Look into the queue with: adcp-tracker dead list --directory {kept_at}")


def _tell_wrong_rows(shown: Demonstration, *, every_row: bool) -> None:
    rows = shown.wrong if every_row else shown.wrong[:_ROWS_SHOWN]
    for row in rows:
        order = f" ({row.order_id})" if row.order_id else ""
        for fault in row.faults:
            screen.say(f"line {row.line}{order}: {fault}", "yellow")
            screen.say(remedy_for(fault), indent=4)
    more = shown.wrong_count - len(rows)
    if more:
        screen.say(f"… and {more:,} more like these.")
    if rows:
        screen.say()


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
