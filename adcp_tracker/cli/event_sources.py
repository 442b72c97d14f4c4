"""sources, reconcile."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import attrs
import typer

from adcp_tracker.cli import _output
from adcp_tracker.cli._common import FINE, LEFT, AsJson, Directory, command
from adcp_tracker.cli._queue import (
    at_work,
    destinations,
    existing_queue,
    expect_destinations,
    tracker_of,
)
from adcp_tracker.exceptions import ConfigurationError

if TYPE_CHECKING:
    from adcp_tracker.event_sources.model import Account
    from adcp_tracker.event_sources.reconciliation import HourRow, Reconciliation
    from adcp_tracker.event_sources.reports import Health, Setup, SourceReport, SourcesReport


AccountId = Annotated[
    str | None,
    typer.Option("--account", metavar="ID", help="The account at an agent, by its id."),
]
Brand = Annotated[
    str | None,
    typer.Option(metavar="DOMAIN", help="The account at an agent, by the brand's domain."),
]
Operator = Annotated[
    str | None,
    typer.Option(metavar="DOMAIN", help="Who operates for the brand. [default: the brand]"),
]


def account_from(account: str | None, brand: str | None, operator: str | None) -> Account | None:
    """Return the account that options describe, if they describe any.

    Raises:
        ConfigurationError: If they describe it in part, or twice.
    """
    from adcp_tracker.event_sources.model import Account  # noqa: PLC0415 - for a quick --help

    if account is None and brand is None and operator is None:
        return None
    if account is None:
        operator = operator or brand
    return Account(account_id=account, brand=brand, operator=operator)


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
    from adcp_tracker.cli._queue import standing  # noqa: PLC0415 - for a quick --help
    from adcp_tracker.delivery.stats import Books  # noqa: PLC0415 - likewise
    from adcp_tracker.event_sources import reconciliation  # noqa: PLC0415 - likewise

    whose = account_from(account, brand, operator)
    found = destinations()
    expect_destinations(found)
    stats = standing(existing_queue(directory), [each.name for each in found]).stats
    results = [
        reconciliation.reconcile(
            each, stats.destinations.get(each.name, Books()), whose, hours, time.time()
        )
        for each in found
    ]
    agree = all(result.agrees for result in results)
    if as_json:
        _output.emit({"ok": agree, "destinations": [_document(result) for result in results]})
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
    _output.say(f"{result.destination}:")
    if result.trouble is not None:
        _output.say(result.trouble.message, "red", indent=2)
        _output.say(result.trouble.remedy, indent=2)
        return
    if result.rows:
        columns = ("from (UTC)", "hours", "delivered", "received", "difference", "")
        _output.table(columns, [_row(row) for row in result.rows])
    if result.note:
        _output.say(result.note, indent=2)
    _output.say(_verdict(result), "green" if result.agrees else "red", indent=2)


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


_STYLES = {
    "created": "green",
    "updated": "yellow",
    "deleted": "yellow",
    "failed": "red",
    "good": "green",
    "excellent": "green",
    "receiving": "green",
    "insufficient": "red",
    "needs_attention": "red",
}
sources = typer.Typer(
    help="List event sources with sellers, or register them.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@command
def _list(
    *,
    account: AccountId = None,
    brand: Brand = None,
    operator: Operator = None,
    directory: Directory = None,
    as_json: AsJson = False,
) -> int:
    """List the event sources that each seller knows, and how they do.

    Exits with 1 if a seller does not answer.
    """
    expect_destinations(destinations())
    whose = account_from(account, brand, operator)
    with at_work(tracker_of(directory)) as tracker:
        reports = tracker.list_event_sources(account=whose)
    return _show(reports, as_json=as_json, dry_run=False)


@command
def _sync(  # noqa: PLR0913 - options, each by its name
    *,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Event sources, as TOML or JSON.")],
    delete_missing: Annotated[
        bool, typer.Option("--delete-missing", help="Delete those that FILE does not name.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would change.")
    ] = False,
    account: AccountId = None,
    brand: Brand = None,
    operator: Operator = None,
    directory: Directory = None,
    as_json: AsJson = False,
) -> int:
    """Register the event sources of FILE with each seller.

    Shows what changed. Exits with 1 if a source failed or a seller does not answer.
    """
    from adcp_tracker.event_sources.model import read_sources  # noqa: PLC0415 - for a quick --help

    try:
        wanted = read_sources(file)
    except OSError as error:
        raise ConfigurationError(
            f"{file}: expected a file of event sources, got {error.strerror}; check FILE"
        ) from None
    expect_destinations(destinations())
    whose = account_from(account, brand, operator) or wanted.account
    with at_work(tracker_of(directory)) as tracker:
        reports = tracker.sync_event_sources(
            wanted.sources, account=whose, delete_missing=delete_missing, dry_run=dry_run
        )
    return _show(reports, as_json=as_json, dry_run=dry_run)


sources.command("list")(_list)
sources.command("sync")(_sync)


def _show(reports: list[SourcesReport], *, as_json: bool, dry_run: bool) -> int:
    is_well = all(report.is_well for report in reports)
    if as_json:
        documents = [attrs.asdict(report) for report in reports]
        _output.emit({"ok": is_well, "dry_run": dry_run, "destinations": documents})
        return FINE if is_well else LEFT
    if dry_run:
        _output.say("Nothing is changed; this is what would be.")
    for report in reports:
        _print_of_sources(report)
    return FINE if is_well else LEFT


def _print_of_sources(report: SourcesReport) -> None:
    _output.say(f"{report.destination}:")
    if report.trouble is not None:
        _output.say(report.trouble.message, "red", indent=2)
        _output.say(report.trouble.remedy, indent=2)
        return
    if not report.sources:
        _output.say("no event sources", indent=2)
        return
    columns = ("source", "name", "result", "by", "types", "health", "24 h", "matched")
    _output.table(columns, [_row_of_sources(source) for source in report.sources])
    for source in report.sources:
        _print_more(source)


def _row_of_sources(source: SourceReport) -> list[object]:
    health = source.health
    return [
        source.event_source_id,
        source.name,
        _mark(source.action),
        source.managed_by,
        "all" if not source.event_types else ", ".join(source.event_types),
        _mark(health.status if health else ""),
        _count(health),
        f"{health.match_rate:.0%}" if health and health.match_rate is not None else "",
    ]


def _mark(word: str) -> _output.Mark:
    return _output.Mark(word or "-", _STYLES.get(word, ""))


def _count(health: Health | None) -> str:
    known = health is not None and health.events_received_24h is not None
    return f"{health.events_received_24h:,}" if health and known else ""


def _print_more(source: SourceReport) -> None:
    for error in source.errors:
        _output.say(f"{source.event_source_id} failed: {error}", "red", indent=2)
    for issue in source.health.issues if source.health else ():
        _output.say(f"{source.event_source_id}: {issue}", "yellow", indent=2)
    if source.setup is not None:
        _print_setup(source.event_source_id, source.setup)


def _print_setup(source_id: str, setup: Setup) -> None:
    if setup.instructions:
        _output.say(f"The seller says of {source_id}:", indent=2)
        for line in setup.instructions:
            _output.say(line, indent=4)
    if setup.snippet:
        _output.say(f"The seller's {setup.snippet_type or 'tag'}, to be read before use:", indent=2)
        for line in setup.snippet:
            _output.say(line, indent=4)
