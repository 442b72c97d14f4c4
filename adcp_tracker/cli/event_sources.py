"""``adcp-tracker sources`` and ``reconcile``."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import attrs
import typer

from adcp_tracker.cli import _common
from adcp_tracker.cli._common import EXIT_ATTENTION, EXIT_OK, AsJson, Directory, command
from adcp_tracker.cli.queue import (
    destinations,
    make_tracker,
    open_existing_queue,
    read_status,
    require_destinations,
    stopping,
)
from adcp_tracker.delivery.stats import DestinationStats
from adcp_tracker.event_sources import api
from adcp_tracker.event_sources.clients import HOUR_SECONDS
from adcp_tracker.event_sources.model import Account, read_sources
from adcp_tracker.exceptions import ConfigurationError

if TYPE_CHECKING:
    from adcp_tracker.event_sources.api import HourRow, Reconciliation
    from adcp_tracker.event_sources.model import Setup, SourceReport, SourcesReport


_MOST_HOURS = 35 * 24
_STYLES = {
    "created": "green",
    "updated": "yellow",
    "deleted": "yellow",
    "failed": "red",
    "unconfirmed": "red",
    "good": "green",
    "excellent": "green",
    "receiving": "green",
    "insufficient": "red",
    "needs_attention": "red",
}

AccountId = Annotated[
    str | None, typer.Option("--account", metavar="ID", help="The account id at an agent.")
]
Brand = Annotated[
    str | None,
    typer.Option(metavar="DOMAIN", help="The brand's domain, for an account at an agent."),
]
Operator = Annotated[
    str | None, typer.Option(metavar="DOMAIN", help="The operator's domain. [default: the brand]")
]


def parse_account(account: str | None, brand: str | None, operator: str | None) -> Account | None:
    """Return the account given by the options, or ``None``.

    Raises:
        ConfigurationError: If the options are incomplete or contradict each other.
    """
    if account is None and brand is None and operator is None:
        return None
    if account is None:
        operator = operator or brand
    return Account(account_id=account, brand=brand, operator=operator)


@command
def reconcile(  # noqa: PLR0913 - options, each by its name
    *,
    hours: Annotated[
        int, typer.Option(min=1, max=_MOST_HOURS, metavar="N", help="How many hours to look back.")
    ] = 24,
    account: AccountId = None,
    brand: Brand = None,
    operator: Operator = None,
    directory: Directory = None,
    as_json: AsJson = False,
) -> int:
    """Compare delivered events with what sellers say they received.

    Exits with 1 if the counts differ or a seller does not answer. Hours that ended less than an
    hour ago are shown, but not compared: sellers may still be counting them.
    """
    whose = parse_account(account, brand, operator)
    found = destinations()
    require_destinations(found)
    stats = read_status(open_existing_queue(directory), [each.name for each in found]).stats
    results = [
        api.reconcile(
            each, stats.destinations.get(each.name, DestinationStats()), whose, hours, time.time()
        )
        for each in found
    ]
    agree = all(result.agrees for result in results)
    if as_json:
        _common.print_json({"ok": agree, "destinations": [_document(result) for result in results]})
    else:
        for result in results:
            _print_reconciliation(result)
    return EXIT_OK if agree else EXIT_ATTENTION


def _document(result: Reconciliation) -> dict[str, object]:
    rows = [
        attrs.asdict(row) | {"hour": _format_hour(row.hour), "difference": row.difference}
        for row in result.rows
    ]
    names = ("delivered", "received", "difference", "agrees")
    return attrs.asdict(result) | {"rows": rows} | {name: getattr(result, name) for name in names}


def _print_reconciliation(result: Reconciliation) -> None:
    _common.print_line(f"{result.destination}:")
    if result.problem is not None:
        _common.print_line(result.problem.message, "red", indent=2)
        _common.print_line(result.problem.remedy, indent=2)
        return
    if result.rows:
        columns = ("from (UTC)", "hours", "delivered", "received", "difference", "")
        _common.print_table(columns, [_hour_row(row) for row in result.rows])
    if result.note:
        _common.print_line(result.note, indent=2)
    _common.print_line(_verdict(result), "green" if result.agrees else "red", indent=2)


def _hour_row(row: HourRow) -> list[object]:
    state = "" if row.is_final else "not final"
    return [_format_hour(row.hour), row.hours, row.delivered, row.received, row.difference, state]


def _verdict(result: Reconciliation) -> str:
    if result.agrees and not any(row.is_final for row in result.rows):
        return "No hour is old enough to compare yet."
    if result.agrees:
        return f"The counts agree: {result.delivered:,} events."
    gap = abs(result.difference)
    if result.difference < 0:
        return (
            f"The seller counts {gap:,} fewer than the {result.delivered:,} delivered. "
            "Ask the seller why, and run adcp-tracker status for unconfirmed events."
        )
    return (
        f"The seller counts {gap:,} more than the {result.delivered:,} delivered. "
        "It counts repeats, or events from other senders."
    )


def _format_hour(hour: int) -> str:
    return datetime.fromtimestamp(hour * HOUR_SECONDS, timezone.utc).strftime("%Y-%m-%d %H:00")


sources = typer.Typer(
    help="List or register event sources at sellers.", no_args_is_help=True, rich_markup_mode=None
)


@sources.command("list")
@command
def list_sources(
    *,
    account: AccountId = None,
    brand: Brand = None,
    operator: Operator = None,
    directory: Directory = None,
    as_json: AsJson = False,
) -> int:
    """List the event sources at each seller, with their health.

    Exits with 1 if a seller does not answer.
    """
    require_destinations(destinations())
    whose = parse_account(account, brand, operator)
    with stopping(make_tracker(directory)) as tracker:
        reports = tracker.event_sources.list(account=whose)
    return _show(reports, as_json=as_json, dry_run=False)


@sources.command("sync")
@command
def sync(  # noqa: PLR0913 - options, each by its name
    *,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Event sources, as TOML or JSON.")],
    delete_missing: Annotated[
        bool, typer.Option("--delete-missing", help="Delete event sources that FILE doesn't name.")
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
    """Register the event sources in FILE at each seller, and show what changed.

    Exits with 1 if a source failed or a seller does not answer.
    """
    try:
        wanted = read_sources(file)
    except OSError as error:
        raise ConfigurationError(f"{file}: can't read event sources: {error.strerror}") from None
    require_destinations(destinations())
    whose = parse_account(account, brand, operator) or wanted.account
    with stopping(make_tracker(directory)) as tracker:
        reports = tracker.event_sources.sync(
            wanted.sources, account=whose, delete_missing=delete_missing, dry_run=dry_run
        )
    return _show(reports, as_json=as_json, dry_run=dry_run)


def _show(reports: list[SourcesReport], *, as_json: bool, dry_run: bool) -> int:
    is_well = all(report.is_ok for report in reports)
    if as_json:
        documents = [attrs.asdict(report) for report in reports]
        _common.print_json({"ok": is_well, "dry_run": dry_run, "destinations": documents})
        return EXIT_OK if is_well else EXIT_ATTENTION
    if dry_run:
        _common.print_line("Dry run: nothing was changed.")
    for report in reports:
        _print_sources(report)
    return EXIT_OK if is_well else EXIT_ATTENTION


def _print_sources(report: SourcesReport) -> None:
    _common.print_line(f"{report.destination}:")
    if report.problem is not None:
        _common.print_line(report.problem.message, "red", indent=2)
        _common.print_line(report.problem.remedy, indent=2)
        return
    if not report.sources:
        _common.print_line("no event sources", indent=2)
        return
    columns = ("source", "name", "result", "by", "types", "health", "24 h", "matched")
    _common.print_table(columns, [_source_row(source) for source in report.sources])
    for source in report.sources:
        _print_details(source)


def _source_row(source: SourceReport) -> list[object]:
    health = source.health
    received = health.events_received_24h if health else None
    return [
        source.event_source_id,
        source.name,
        _styled_word(source.action),
        source.managed_by,
        "all" if not source.event_types else ", ".join(source.event_types),
        _styled_word(health.status if health else ""),
        "" if received is None else f"{received:,}",
        f"{health.match_rate:.0%}" if health and health.match_rate is not None else "",
    ]


def _styled_word(word: str) -> _common.Styled:
    return _common.Styled(word or "-", _STYLES.get(word, ""))


def _print_details(source: SourceReport) -> None:
    for error in source.errors:
        _common.print_line(f"{source.event_source_id} failed: {error}", "red", indent=2)
    for issue in source.health.issues if source.health else ():
        _common.print_line(f"{source.event_source_id}: {issue}", "yellow", indent=2)
    if source.setup is not None:
        _print_setup(source.event_source_id, source.setup)


def _print_setup(source_id: str, setup: Setup) -> None:
    if setup.instructions:
        _common.print_line(f"Instructions for {source_id}:", indent=2)
        for line in setup.instructions:
            _common.print_line(line, indent=4)
    if setup.snippet:
        _common.print_line(
            f"Snippet ({setup.snippet_type or 'tag'}); review it before use:", indent=2
        )
        for line in setup.snippet:
            _common.print_line(line, indent=4)
