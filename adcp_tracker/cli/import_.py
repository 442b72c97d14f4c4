"""``adcp-tracker import``: offline, in-store and CRM conversions from a file."""

from __future__ import annotations

import json
import os
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from adcp_tracker._formatting import describe
from adcp_tracker.cli import _common
from adcp_tracker.cli._common import (
    EXIT_ATTENTION,
    EXIT_OK,
    AsJson,
    Directory,
    Yes,
    command,
    confirm,
    plural,
    seconds,
)
from adcp_tracker.cli.deliver import flush_tracker
from adcp_tracker.cli.queue import make_tracker, stopping
from adcp_tracker.exceptions import ConfigurationError
from adcp_tracker.importing import Import, ImportOptions, ImportReport
from adcp_tracker.importing.files import value_at

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from adcp_tracker.events.event import Event
    from adcp_tracker.tracker import Tracker

_PUBLIC: Final = frozenset({"order_id", "total", "currency", "created_at", "country", "event_type"})
_HIDDEN: Final = ("client_ip", "client_user_agent", "click_id", "uids")
_MOST_UNUSED: Final = 12

Pairs = list[str]


@command
def import_(  # noqa: PLR0913 - options, each by its name
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A CSV, NDJSON or Parquet file.")],
    *,
    preset: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Which system wrote it: shopify, woocommerce, hubspot, salesforce, "
            "google-offline or meta-offline.",
        ),
    ] = None,
    mapping: Annotated[
        Path | None, typer.Option(metavar="TOML", help="A file with these options.")
    ] = None,
    columns: Annotated[
        Pairs | None,
        typer.Option("--map", metavar="FIELD=COLUMN", help="Read a field from this column."),
    ] = None,
    constants: Annotated[
        Pairs | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="Give a field this value in every row."),
    ] = None,
    where: Annotated[
        Pairs | None,
        typer.Option(
            metavar="COLUMN=VALUE", help="Skip rows with another value. Repeat it to allow more."
        ),
    ] = None,
    event_type: Annotated[
        str | None,
        typer.Option(
            metavar="TYPE",
            help="The type of events without one. [default: purchase, or the preset's]",
        ),
    ] = None,
    action_source: Annotated[
        str | None,
        typer.Option(
            metavar="SOURCE", help="Where they happened. [default: in_store, or the preset's]"
        ),
    ] = None,
    timezone: Annotated[
        str | None,
        typer.Option(metavar="ZONE", help="The time zone of times without a UTC offset."),
    ] = None,
    currency: Annotated[
        str | None, typer.Option(metavar="CODE", help="The currency of rows without one.")
    ] = None,
    region: Annotated[
        str | None,
        typer.Option(metavar="REGION", help="Where phone numbers without a country code are."),
    ] = None,
    dates: Annotated[
        str | None, typer.Option(metavar="mdy|dmy", help="How dates with slashes are read.")
    ] = None,
    decimal_comma: Annotated[
        bool | None, typer.Option("--decimal-comma", help="Read amounts as 1.234,50.")
    ] = None,
    delimiter: Annotated[
        str | None,
        typer.Option(metavar="CHAR", help="What separates cells. [default: as the header has it]"),
    ] = None,
    encoding: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="How the text is encoded. [default: UTF-8, or UTF-16]"),
    ] = None,
    form: Annotated[
        str | None,
        typer.Option("--format", metavar="csv|ndjson|parquet", help="[default: by its name]"),
    ] = None,
    errors: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Where rejected rows are written. [default: FILE.rejected beside it]",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check every row and show the first events only.")
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Import a file again that was imported.")
    ] = False,
    timeout: Annotated[float, seconds("How long to deliver afterwards.")] = 60.0,
    yes: Yes = False,
    directory: Directory = None,
    as_json: AsJson = False,
) -> int:
    """Import offline, in-store and CRM conversions from a file.

    Columns are guessed by their names unless they are given, and shown before anything is sent.
    Rejected rows are written to a file, to be corrected and imported. After an interruption, the
    same command goes on where it stopped. Exits with 1 if rows were rejected or events are left.
    """
    given: dict[str, Any] = {
        "preset": preset,
        "columns": _pairs("--map", columns, several=True),
        "constants": _pairs("--set", constants),
        "where": _pairs("--where", where, several=True),
        "event_type": event_type,
        "action_source": action_source,
        "timezone": timezone,
        "currency": currency,
        "region": region,
        "dates": dates,
        "decimal_comma": decimal_comma,
        "delimiter": "\t" if delimiter in {"tab", "\\t"} else delimiter,
        "encoding": encoding,
        "format": form,
    }
    given = {name: value for name, value in given.items() if value is not None}
    options = (
        ImportOptions(**given) if mapping is None else ImportOptions.from_toml(mapping, **given)
    )
    found = Import.open(file, options)
    if not as_json:
        _print_plan(found)
    if dry_run:
        return _check(found, directory, errors, as_json=as_json)
    unsure = found.plan.guessed or found.plan.problems
    if unsure and not confirm("Import with these columns?", yes=yes):
        return EXIT_ATTENTION
    with stopping(make_tracker(directory, when_full="raise")) as tracker:
        report = _run(found, tracker, errors, again=again, as_json=as_json)
        left = 0 if report.repeated else _deliver(tracker, timeout, as_json=as_json)
    _print_outcome(found, report, left, as_json=as_json)
    return EXIT_ATTENTION if left or (report.rejected and not report.repeated) else EXIT_OK


def _pairs(option: str, given: list[str] | None, *, several: bool = False) -> dict[str, Any] | None:
    """Return ``NAME=VALUE`` options by name."""
    if not given:
        return None
    found: dict[str, Any] = {}
    for each in given:
        name, separator, value = each.partition("=")
        if not separator or not name:
            raise ConfigurationError(f"{option}: expected NAME=VALUE, got {describe(each)}")
        found[name] = (*found.get(name, ()), value) if several else value
    return found


def _print_plan(found: Import) -> None:
    """Show which column is read as which field, with the first row's values."""
    plan = found.plan
    first = next((row for row in found.source.rows() if not row.problem), None)
    rows = []
    for field, columns in plan.fields.items():
        values = () if first is None else (value_at(first.values, each) for each in columns)
        value = next((each for each in values if each not in {None, ""}), None)
        rows.append((field, ", ".join(columns), _shown(field, value)))
    constants = [(field, "", str(value)) for field, value in plan.options.constants.items()]
    how = "guessed from their names" if plan.guessed else "as given"
    _common.print_line(f"{found.path}: {found.source.format}, columns {how}:")
    _common.print_table(("field", "column", "first row"), rows + constants)
    _common.print_line(f"Events: {plan.event_type}, action source: {plan.action_source or 'none'}.")
    for column, allowed in plan.where.items():
        _common.print_line(f"Only rows whose {column} is {' or '.join(sorted(allowed))}.")
    if plan.unused:
        more = len(plan.unused) - _MOST_UNUSED
        listed = ", ".join(plan.unused[:_MOST_UNUSED]) + (f" and {more:,} more" if more > 0 else "")
        _common.print_line(f"Not read: {listed}.")
    for problem in plan.problems:
        _common.print_line(problem, "yellow")


def _shown(field: str, value: object) -> str:
    if value is None:
        return "-"
    return str(value) if field in _PUBLIC else describe(value)


@contextmanager
def _interruptible() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        _common.print_error("stopped; run the same command to go on where it stopped")
        raise


def _run(
    found: Import, tracker: Tracker, errors: Path | None, *, again: bool, as_json: bool
) -> ImportReport:
    with _interruptible(), _common.progress("importing", hidden=as_json) as show:
        return found.run(tracker, errors=errors, again=again, on_progress=show)


def _deliver(tracker: Tracker, timeout: float, *, as_json: bool) -> int:
    """Deliver what was recorded, where this process may; return how many events are left."""
    if not tracker.destinations or tracker.settings.uploader == "external":
        return 0
    stats = flush_tracker(tracker, timeout, hidden=as_json)
    return stats.pending


def _check(found: Import, directory: str | None, errors: Path | None, *, as_json: bool) -> int:
    """Do all but recording, with the tracker's settings if there is one."""
    place = directory or os.environ.get("ADCP_DIRECTORY") or os.environ.get("ADCP_QUEUE")
    tracker = make_tracker(directory) if place else None
    with _common.progress("checking", hidden=as_json) as show:
        report = found.dry_run(tracker, errors=errors, on_progress=show)
    if as_json:
        first = [_redacted(event) for event in report.first]
        _common.print_json({**report.as_json(), "dry_run": True, "first": first})
        return EXIT_ATTENTION if report.rejected else EXIT_OK
    for event in report.first:
        _common.print_line(json.dumps(_redacted(event)))
    _common.print_line(f"{plural(report.events, 'event')} would be recorded.")
    _print_report(report)
    return EXIT_ATTENTION if report.rejected else EXIT_OK


def _redacted(event: Event) -> Mapping[str, Any]:
    """Return an event as it would be sent, what identifies a person only as hashes."""
    shown: dict[str, Any] = json.loads(event.json)
    match = shown.get("user_match", {})
    for name in _HIDDEN:
        if name in match:
            match[name] = describe(match[name])
    return shown


def _print_outcome(found: Import, report: ImportReport, left: int, *, as_json: bool) -> None:
    if as_json:
        _common.print_json({**report.as_json(), "dry_run": False, "pending": left})
        return
    if report.repeated:
        day = time.strftime("%Y-%m-%d %H:%M", time.localtime(report.finished_at))
        _common.print_line(
            f"{found.path} was imported on {day}: {plural(report.events, 'event')}. "
            "To record them once more under the same ids, use --again.",
            "yellow",
        )
        return
    if report.resumed_after:
        _common.print_line(f"It went on after row {report.resumed_after:,}.")
    _common.print_line(f"{plural(report.events, 'event')} recorded.", "green")
    _print_report(report)
    if left:
        _common.print_line(
            f"{plural(left, 'delivery')} still pending; kept on disk. Run: adcp-tracker flush",
            "yellow",
        )


def _print_report(report: ImportReport) -> None:
    for reasons, what in ((report.skipped, "skipped"), (report.dropped, "dropped")):
        for reason, count in reasons.items():
            _common.print_line(f"{plural(count, 'row')} {what}: {reason}.")
    if report.unidentified:
        _common.print_line(
            f"{plural(report.unidentified, 'event')} without anything that identifies the person.",
            "yellow",
        )
    for omission, count in report.omitted.most_common():
        field, _, reason = omission.rpartition(" ")
        _common.print_line(f"{field} left out of {plural(count, 'event')}: {reason}.", "yellow")
    if not report.rejected:
        return
    where = f", written to {report.errors}" if report.errors else ""
    _common.print_line(f"{plural(report.rejected, 'row')} rejected{where}:", "red")
    for row, why in report.reasons.items():
        _common.print_line(f"row {row:,}: {why}", indent=2)
