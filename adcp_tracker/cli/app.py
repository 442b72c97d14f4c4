"""The Typer application with all commands."""

from __future__ import annotations

from typing import Annotated

import typer

from adcp_tracker._version import __version__
from adcp_tracker.cli.check import check, explain
from adcp_tracker.cli.coach import coach
from adcp_tracker.cli.dead_letters import dead, retire
from adcp_tracker.cli.deliver import flush, worker
from adcp_tracker.cli.demo import demo
from adcp_tracker.cli.event_sources import reconcile, sources
from adcp_tracker.cli.import_ import import_
from adcp_tracker.cli.privacy import erase, export
from adcp_tracker.cli.queue import queue
from adcp_tracker.cli.sandbox import sandbox
from adcp_tracker.cli.status import metrics, status

app = typer.Typer(
    help="Inspect and deliver a queue of events. Set up by ADCP_* variables or a site's settings.",
    epilog=(
        "Exit codes: 0 success; 1 something needs attention; 2 wrong command or configuration; "
        "3 disk, directory or state can't be used; 4 another process uploads and did not hand "
        "over; 130 interrupted."
    ),
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    demo,
    sandbox,
    status,
    metrics,
    coach,
    flush,
    worker,
    check,
    explain,
    erase,
    export,
    retire,
    reconcile,
):
    app.command()(command)
app.command("import")(import_)
app.add_typer(dead, name="dead")
app.add_typer(sources, name="sources")
app.add_typer(queue, name="queue")


def _print_version(wanted: bool) -> None:  # noqa: FBT001 - as typer calls it
    if wanted:
        typer.echo(f"adcp-tracker {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_print_version, help="Print the version."
        ),
    ] = False,
) -> None:
    """Take the options before a command."""
