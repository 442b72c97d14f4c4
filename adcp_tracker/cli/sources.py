"""``adcp-tracker sources``: which event sources sellers know, and registering one's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import attrs
import typer

from adcp_tracker.cli import screen
from adcp_tracker.cli.accounts import AccountId, Brand, Operator, account_from
from adcp_tracker.cli.exits import FINE, LEFT, command
from adcp_tracker.cli.opening import destinations, expect_destinations, tracker_of
from adcp_tracker.cli.options import AsJson, Directory
from adcp_tracker.cli.working import at_work
from adcp_tracker.exceptions import ConfigurationError

if TYPE_CHECKING:
    from adcp_tracker.sources.reports import Health, Setup, SourceReport, SourcesReport

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
    from adcp_tracker.sources.files import read_sources  # noqa: PLC0415 - for a quick --help

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
        screen.emit({"ok": is_well, "dry_run": dry_run, "destinations": documents})
        return FINE if is_well else LEFT
    if dry_run:
        screen.say("Nothing is changed; this is what would be.")
    for report in reports:
        _print(report)
    return FINE if is_well else LEFT


def _print(report: SourcesReport) -> None:
    screen.say(f"{report.destination}:")
    if report.trouble is not None:
        screen.say(report.trouble.message, "red", indent=2)
        screen.say(report.trouble.remedy, indent=2)
        return
    if not report.sources:
        screen.say("no event sources", indent=2)
        return
    columns = ("source", "name", "result", "by", "types", "health", "24 h", "matched")
    screen.table(columns, [_row(source) for source in report.sources])
    for source in report.sources:
        _print_more(source)


def _row(source: SourceReport) -> list[object]:
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


def _mark(word: str) -> screen.Mark:
    return screen.Mark(word or "-", _STYLES.get(word, ""))


def _count(health: Health | None) -> str:
    known = health is not None and health.events_received_24h is not None
    return f"{health.events_received_24h:,}" if health and known else ""


def _print_more(source: SourceReport) -> None:
    for error in source.errors:
        screen.say(f"{source.event_source_id} failed: {error}", "red", indent=2)
    for issue in source.health.issues if source.health else ():
        screen.say(f"{source.event_source_id}: {issue}", "yellow", indent=2)
    if source.setup is not None:
        _print_setup(source.event_source_id, source.setup)


def _print_setup(source_id: str, setup: Setup) -> None:
    if setup.instructions:
        screen.say(f"The seller says of {source_id}:", indent=2)
        for line in setup.instructions:
            screen.say(line, indent=4)
    if setup.snippet:
        screen.say(f"The seller's {setup.snippet_type or 'tag'}, to be read before use:", indent=2)
        for line in setup.snippet:
            screen.say(line, indent=4)
