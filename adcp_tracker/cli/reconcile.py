"""``adcp-tracker reconcile``: whether sellers count what the books say they were sent."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Annotated

import attrs
import typer

from adcp_tracker.cli import screen
from adcp_tracker.cli.accounts import AccountId, Brand, Operator, account_from
from adcp_tracker.cli.exits import FINE, LEFT, command
from adcp_tracker.cli.opening import destinations, existing_queue, expect_destinations
from adcp_tracker.cli.options import AsJson, Directory

if TYPE_CHECKING:
    from adcp_tracker.sources.reconciling import HourRow, Reconciliation

_MOST_HOURS = 35 * 24


@command
def reconcile(  # noqa: PLR0913 - options, each by its name
    *,
    hours: Annotated[
        int,
        typer.Option(min=1, max=_MOST_HOURS, metavar="N", help="How many hours to look back."),
    ] = 24,
    account: AccountId = None,
    brand: Brand = None,
    operator: Operator = None,
    directory: Directory = None,
    as_json: AsJson = False,
) -> int:
    """Compare the books with what sellers say they received.

    Exits with 1 if they differ, or if a seller does not answer. Hours that ended less than
    an hour ago are shown, but sellers may still count them.
    """
    from adcp_tracker.cli.standing import standing  # noqa: PLC0415 - for a quick --help
    from adcp_tracker.delivery.books import Books  # noqa: PLC0415 - likewise
    from adcp_tracker.sources import reconciling  # noqa: PLC0415 - likewise

    whose = account_from(account, brand, operator)
    found = destinations()
    expect_destinations(found)
    stats = standing(existing_queue(directory), [each.name for each in found]).stats
    results = [
        reconciling.reconcile(
            each, stats.destinations.get(each.name, Books()), whose, hours, time.time()
        )
        for each in found
    ]
    agree = all(result.agrees for result in results)
    if as_json:
        screen.emit({"ok": agree, "destinations": [_document(result) for result in results]})
    else:
        for result in results:
            _print(result)
    return FINE if agree else LEFT


def _document(result: Reconciliation) -> dict[str, object]:
    rows = [
        attrs.asdict(row) | {"hour": _written(row.hour), "difference": row.difference}
        for row in result.rows
    ]
    totals = {
        "delivered": result.delivered,
        "received": result.received,
        "difference": result.difference,
        "agrees": result.agrees,
    }
    return attrs.asdict(result) | {"rows": rows} | totals


def _print(result: Reconciliation) -> None:
    screen.say(f"{result.destination}:")
    if result.trouble is not None:
        screen.say(result.trouble.message, "red", indent=2)
        screen.say(result.trouble.remedy, indent=2)
        return
    if result.rows:
        columns = ("from (UTC)", "hours", "delivered", "received", "difference", "")
        screen.table(columns, [_row(row) for row in result.rows])
    if result.note:
        screen.say(result.note, indent=2)
    screen.say(_verdict(result), "green" if result.agrees else "red", indent=2)


def _row(row: HourRow) -> list[object]:
    state = "" if row.is_final else "may still be counted"
    return [_written(row.hour), row.hours, row.delivered, row.received, row.difference, state]


def _verdict(result: Reconciliation) -> str:
    if result.agrees and not any(row.is_final for row in result.rows):
        return "There is nothing yet that the seller has surely counted."
    if result.agrees:
        return f"Both count {result.delivered:,} events."
    gap = abs(result.difference)
    if result.difference < 0:
        return (
            f"The seller counts {gap:,} fewer of {result.delivered:,} delivered: "
            "ask it for its reasons, and see the books for what it left unprocessed."
        )
    return (
        f"The seller counts {gap:,} more than the {result.delivered:,} delivered: "
        "it counts repeats, or events that others sent."
    )


def _written(hour: int) -> str:
    return datetime.fromtimestamp(hour * 3600, timezone.utc).strftime("%Y-%m-%d %H:00")
